//! Where the servers are in the files of different programs.
//!
//! | program | path |
//! | --- | --- |
//! | Claude Desktop, Cursor, Windsurf, Gemini | `mcpServers` |
//! | Claude Code | `mcpServers` and `projects.*.mcpServers` |
//! | Zed | `context_servers` |
//! | Codex | `mcp_servers` |
//! | VS Code | `servers` in `mcp.json`; `mcp.servers` in `settings.json` |
//! | LangChain and its kin | the file itself: names with `command` or `transport` |

use serde_json::{Map, Value};

/// One server as it stands in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a Value,
    /// The folder of the project it belongs to, in Claude Code.
    pub(super) project: Option<&'a str>,
}

/// All servers in a file; `None` when it has no place for servers at all.
pub(super) fn servers_in(file: &Value) -> Option<Vec<Found<'_>>> {
    let file = file.as_object()?;
    let mut maps: Vec<(Option<&str>, &Map<String, Value>)> = Vec::new();
    for key in ["mcpServers", "servers", "context_servers", "mcp_servers"] {
        maps.extend(map(file.get(key)).map(|servers| (None, servers)));
    }
    let in_settings = file.get("mcp").and_then(|mcp| map(mcp.get("servers")));
    maps.extend(in_settings.map(|servers| (None, servers)));
    for (folder, project) in map(file.get("projects")).into_iter().flatten() {
        maps.extend(map(project.get("mcpServers")).map(|servers| (Some(folder.as_str()), servers)));
    }
    if maps.is_empty() && looks_like_servers(file) {
        maps.push((None, file));
    }
    (!maps.is_empty()).then(|| {
        maps.into_iter()
            .flat_map(|(project, servers)| listed(project, servers))
            .collect()
    })
}

fn map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn listed<'a>(project: Option<&'a str>, servers: &'a Map<String, Value>) -> impl Iterator<Item = Found<'a>> {
    servers
        .iter()
        .map(move |(name, value)| Found { name, value, project })
}

/// A file that is itself the map: each entry says how it is reached.
fn looks_like_servers(file: &Map<String, Value>) -> bool {
    let is_server = |value: &Value| {
        ["command", "transport"]
            .iter()
            .any(|key| value.get(key).is_some_and(Value::is_string))
    };
    !file.is_empty() && file.values().all(is_server)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(file: &Value) -> Option<Vec<&str>> {
        Some(servers_in(file)?.into_iter().map(|found| found.name).collect())
    }

    #[test]
    fn servers_are_found_where_each_program_keeps_them() {
        let one = json!({"a": {"command": "x"}});
        assert_eq!(names(&json!({"mcpServers": one})), Some(vec!["a"]));
        assert_eq!(names(&json!({"servers": one, "inputs": []})), Some(vec!["a"]));
        assert_eq!(
            names(&json!({"editor": 1, "mcp": {"servers": one}})),
            Some(vec!["a"])
        );
        assert_eq!(
            names(&json!({"projects": {"/p": {"mcpServers": one}, "/q": {}}})),
            Some(vec!["a"])
        );
        assert_eq!(names(&one), Some(vec!["a"]));
    }

    #[test]
    fn other_files_have_no_place_for_servers() {
        for file in [
            json!({}),
            json!([]),
            json!({"a": {"b": 1}}),
            json!({"projects": {"/p": {}}}),
        ] {
            assert_eq!(names(&file), None, "{file}");
        }
    }
}
