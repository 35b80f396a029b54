//! What a person sees on stderr when the daemon starts, or does not.
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::front::Front;
use crate::tasks::Tasks;

/// The list of servers is shown when all have had their first chance, or after this.
const FIRST_CHANCE: Duration = Duration::from_secs(5);

/// Writes to stderr. Where that is closed or full nobody reads it, and the daemon goes on.
fn say(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Says why nothing was started.
pub(super) fn refuse(text: &str) {
    for line in text.lines() {
        say(&format!("mcp-wrapper: {line}\n"));
    }
}

/// Says where it listens at once, and soon after which servers are up and what to paste.
pub(super) async fn greet(front: &Arc<Front>, project_dir: &Path, tasks: &Tasks) {
    say(&format!(
        "mcp-wrapper {} listens on {}
",
        env!("CARGO_PKG_VERSION"),
        front.url
    ));
    let settings = front.declarations.settings();
    if settings.is_of_user {
        say(&format!(
            "There is no servers.toml in {}, so servers are declared in {}, or with `mcpctl add`.\n",
            absolute(project_dir).display(),
            settings.servers_file.display()
        ));
    }
    let (front, snippet) = (Arc::clone(front), snippet(front, project_dir));
    tasks.spawn("banner", async move {
        let settled = settled(&front);
        tokio::select! {
            () = front.closing.cancelled() => return,
            _timeout_or_not = tokio::time::timeout(FIRST_CHANCE, settled) => {}
        }
        say(&format!("{}{snippet}", servers(&front)));
    });
}

async fn settled(front: &Front) {
    let directory = Arc::clone(&front.manager.directory().borrow());
    for entry in directory.iter() {
        let mut states = entry.child.watch();
        drop(
            states
                .wait_for(|status| !matches!(status.state, "spawning" | "handshaking"))
                .await,
        );
    }
}

fn servers(front: &Front) -> String {
    let directory = Arc::clone(&front.manager.directory().borrow());
    let mut text = String::from("\nServers:\n");
    let mut n = 0;
    for entry in directory.iter() {
        n += 1;
        let status = entry.child.status();
        let name = entry.spec.name.as_str();
        let why = status
            .cause
            .map(|cause| format!(": {cause}; `mcpctl why {name}` tells more"));
        let why = if status.state == "ready" { None } else { why };
        text.push_str(&format!(
            "  {name:<20} {}{}\n",
            status.state,
            why.unwrap_or_default()
        ));
    }
    if n == 0 {
        text.push_str("  none yet; `mcpctl add NAME -- COMMAND ARGS…` adds one\n");
    }
    text
}

/// One entry of `mcpServers`, in the order in which people write it.
#[derive(Serialize)]
struct Entry {
    command: PathBuf,
    args: [String; 3],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'static str, PathBuf>,
}

/// The entry for `claude_desktop_config.json`, with absolute paths: a desktop client starts it anywhere.
fn snippet(front: &Front, project_dir: &Path) -> String {
    let command = std::env::current_exe().unwrap_or_else(|_| "mcp-wrapper".into());
    let settings = front.declarations.settings();
    let project_dir = absolute(project_dir);
    // A folder that has nothing to do with it may get a servers.toml of its own, or go away.
    let project_dir = home().filter(|_| settings.is_of_user).unwrap_or(project_dir);
    // What the environment said of our folders, the shim has to hear too.
    let told = [
        ("MCP_DATA_DIR", &settings.data_dir),
        ("MCP_LOG_DIR", &settings.log_dir),
        ("MCP_SERVERS_FILE", &settings.servers_file),
    ];
    let env = told
        .into_iter()
        .filter(|(name, _)| std::env::var_os(name).is_some())
        .map(|(name, path)| (name, path.clone()))
        .collect();
    let args = [
        "stdio".to_owned(),
        "--dir".to_owned(),
        project_dir.display().to_string(),
    ];
    let text = pasted(Entry { command, args, env });
    format!("\nFor Claude Desktop, in claude_desktop_config.json:\n{text}\n")
}

fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// The person's home folder, where that is no project folder itself.
fn home() -> Option<PathBuf> {
    let home = std::env::home_dir().filter(|home| home.is_absolute() && home.is_dir())?;
    (!home.join("servers.toml").exists()).then_some(home)
}

/// The whole text to paste. Serialised from types: a JSON value would sort the members of the entry.
fn pasted(entry: Entry) -> String {
    let whole = BTreeMap::from([("mcpServers", BTreeMap::from([("mcp-wrapper", entry)]))]);
    serde_json::to_string_pretty(&whole).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_comes_first_and_an_empty_environment_not_at_all() {
        let args = ["stdio", "--dir", "/p"].map(str::to_owned);
        let text = pasted(Entry {
            command: "/b/mcp-wrapper".into(),
            args,
            env: BTreeMap::new(),
        });
        let compact: String = text.split_whitespace().collect();
        assert_eq!(
            compact,
            r#"{"mcpServers":{"mcp-wrapper":{"command":"/b/mcp-wrapper","args":["stdio","--dir","/p"]}}}"#
        );
    }
}
