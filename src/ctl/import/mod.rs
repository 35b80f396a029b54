//! Taking servers over from the settings of other programs.
//!
//! Text → value (`lenient`) → the maps of servers within (`shapes`) → one entry each (`entry`) → its secrets elsewhere
//! (`secrets`) → what will be done about it (`plan`). Everything here is pure; `commands/import.rs` reads and writes.

mod entry;
mod plan;
pub(super) mod secrets;
mod shapes;
mod template;

pub(super) use entry::{Candidate, Entry, Kind};
pub(super) use plan::{Action, Known, Step, plan};

use serde_json::Value;

use super::clients::{Client, Format};
use super::lenient;

/// Why a file has nothing that can be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotImportable {
    /// Neither JSON, not even with comments, nor TOML where that is expected.
    #[error("it cannot be read as {format}: {why}")]
    Unreadable {
        /// What it should be.
        format: Format,
        /// What is wrong with it.
        why: String,
    },
    /// JSON, but without servers.
    #[error(
        "it has no servers: looked for `mcpServers`, `servers`, `projects.*.mcpServers`, `context_servers`, `mcp_servers`, and for entries with `command` or `transport`"
    )]
    NoServers,
}

/// Reads a settings file: its servers in the order of their names, each as it can be taken over or not. `client`: whose it
/// is, where that is known.
pub(super) fn read(text: &str, format: Format, client: Option<Client>) -> Result<Vec<Entry>, NotImportable> {
    let value = lenient::parse(text, format).map_err(|why| NotImportable::Unreadable { format, why })?;
    read_value(&value, client)
}

/// The same of what was read already.
pub(super) fn read_value(value: &Value, client: Option<Client>) -> Result<Vec<Entry>, NotImportable> {
    let found = shapes::servers_in(value).ok_or(NotImportable::NoServers)?;
    let has_bare_variables = client.is_some_and(Client::has_bare_variables);
    let entries = found.into_iter().map(|one| entry::read(one, has_bare_variables));
    Ok(entries.collect())
}

/// For the fuzz targets.
#[cfg(fuzzing)]
pub(in crate::ctl) mod fuzzed {
    use super::Format;

    /// Reads a settings file and plans its import into an empty registry; the names that would be taken.
    pub fn import(text: &str) -> Vec<String> {
        let steps =
            super::read(text, Format::Json, None).map(|entries| super::plan(entries, &[], &[], false));
        let steps = steps.unwrap_or_default();
        let taken = steps
            .iter()
            .filter_map(|step| Some(step.action.change()?.0.to_string()));
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::entry::Kind;
    use super::*;

    fn from_file(name: &str) -> Vec<Entry> {
        let path = format!("{}/tests/data/import/{name}.json", env!("CARGO_MANIFEST_DIR"));
        read(&std::fs::read_to_string(path).unwrap(), Format::Json, None).unwrap()
    }

    fn told(entries: &[Entry]) -> Vec<String> {
        entries
            .iter()
            .map(|entry| match &entry.kind {
                Kind::Server(it) => format!("{}: {}", entry.name, it.command_line().join(" ")),
                Kind::Skip(reason) => format!("{}: SKIP {reason}", entry.name),
            })
            .collect()
    }

    fn candidate<'a>(entries: &'a [Entry], name: &str) -> &'a Candidate {
        let entry = entries
            .iter()
            .find(|entry| entry.name == name)
            .expect("it is in the file");
        match &entry.kind {
            Kind::Server(it) => it,
            Kind::Skip(reason) => panic!("skipped: {reason}"),
        }
    }

    #[test]
    fn claude_desktop() {
        let entries = from_file("claude_desktop");
        assert_eq!(
            told(&entries),
            [
                "filesystem: npx -y @modelcontextprotocol/server-filesystem /Users/me/Desktop",
                "gateway: SKIP it is mcp-wrapper itself",
                "my github: docker run -i --rm -e GITHUB_PERSONAL_ACCESS_TOKEN mcp/github",
            ]
        );
        let github = candidate(&entries, "my github");
        assert_eq!(
            github.env["GITHUB_PERSONAL_ACCESS_TOKEN"].reveal(),
            "not-a-real-token"
        );
        assert!(!format!("{entries:?}").contains("not-a-real-token"));
    }

    #[test]
    fn claude_code_with_its_projects() {
        let entries = from_file("claude_code");
        assert_eq!(
            told(&entries),
            [
                "memory: npx -y @modelcontextprotocol/server-memory",
                "sentry: SKIP it is a remote server (https://mcp.sentry.dev/mcp); only servers with a command can be taken over",
                "memory: npx -y @modelcontextprotocol/server-memory",
                "time: uvx mcp-server-time",
            ]
        );
        assert!(entries[2].notes[0].contains("/home/me/app"), "{:?}", entries[2]);
        assert_eq!(candidate(&entries, "time").env["ZONE"].reveal(), "${TZ:-UTC}");
    }

    #[test]
    fn cursor_with_comments_and_trailing_commas() {
        let entries = from_file("cursor");
        assert_eq!(
            told(&entries),
            ["off: node server.js", "web: npx -y web // not a comment"]
        );
        assert!(!candidate(&entries, "off").enabled);
        assert_eq!(candidate(&entries, "web").env["KEY"].reveal(), "${WEB_KEY}");
    }

    #[test]
    fn windsurf() {
        let entries = from_file("windsurf");
        assert_eq!(
            told(&entries),
            [
                "figma: npx -y figma-developer-mcp --stdio",
                "remote: SKIP it is a remote server (https://example.com/mcp); only servers with a command can be taken over",
            ]
        );
        assert!(
            entries[0].notes.iter().any(|note| note.contains("disabledTools")),
            "{:?}",
            entries[0]
        );
    }

    #[test]
    fn vs_code_with_its_inputs() {
        let entries = from_file("vscode");
        assert_eq!(
            told(&entries),
            [
                "fetch: uvx mcp-server-fetch",
                "perplexity: npx -y server-perplexity-ask",
                "web: SKIP it is a remote server (https://api.example.com/mcp); only servers with a command can be taken over",
            ]
        );
        let fetch = candidate(&entries, "fetch");
        assert_eq!(fetch.env["PROXY"].reveal(), "${HTTPS_PROXY}");
        assert_eq!(fetch.cwd.as_deref(), Some("${HOME}/work"));
        let notes = entries[1].notes.join("; ");
        assert!(
            notes.contains("PERPLEXITY_API_KEY") && notes.contains("perplexity-key"),
            "{notes}"
        );
    }

    #[test]
    fn langchain() {
        let entries = from_file("langchain");
        assert_eq!(
            told(&entries),
            [
                "math: python /path/to/math_server.py",
                "weather: SKIP it is a remote server (http://localhost:8000/mcp); only servers with a command can be taken over",
            ]
        );
    }

    #[test]
    fn files_without_servers_say_what_was_looked_for() {
        let read = |text: &str| read(text, Format::Json, None);
        assert!(matches!(read("not json"), Err(NotImportable::Unreadable { .. })));
        assert_eq!(read("{\"theme\": \"dark\"}"), Err(NotImportable::NoServers));
        assert_eq!(read("[]"), Err(NotImportable::NoServers));
        assert_eq!(read("{\"mcpServers\": {}}"), Ok(Vec::new()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            read(&text, Format::Json, None).ok();
        }

        #[test]
        fn a_json_value_survives_unless_it_has_comments(text in "\\PC*") {
            let json = serde_json::to_string(&serde_json::json!({"a": [text, 1], "b": {"c": "//,}"}})).unwrap();
            let read = lenient::parse(&json, Format::Json).unwrap();
            proptest::prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
    }
}
