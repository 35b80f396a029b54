//! The PATH of a login shell: what a daemon uses that was started by a desktop client, whose own is bare.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;

/// A shell may take this long; people's start-up files do all sorts of things.
const PATIENCE: Duration = Duration::from_secs(10);
const MARK: &str = "__mcp_wrapper_path__";
/// More than this is not read, bytes.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// Asks the user's shell, as a login shell, for its PATH, and adds what is only in ours at the end.
///
/// `None` when it does not answer in time or sensibly.
pub async fn ask() -> Option<String> {
    let shell = shell();
    // Interactive too: many version managers are set up in files that only interactive shells read.
    for flags in ["-ilc", "-lc"] {
        let asked = tokio::time::timeout(PATIENCE, output(&shell, flags)).await;
        if let Some(path) = asked.ok().flatten().as_deref().and_then(between_marks) {
            let ours = std::env::var("PATH").unwrap_or_default();
            return Some(joined(path, &ours));
        }
    }
    tracing::warn!(
        shell,
        "the login shell did not tell its PATH; the daemon's own is used"
    );
    None
}

/// `SHELL`, or what the user database says.
fn shell() -> String {
    let named = std::env::var("SHELL").ok().filter(|shell| shell.starts_with('/'));
    named.unwrap_or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        user.map_or_else(|| "/bin/sh".to_owned(), |user| user.shell.display().to_string())
    })
}

async fn output(shell: &str, flags: &str) -> Option<String> {
    let mut child = tokio::process::Command::new(shell)
        .arg(flags)
        .arg(format!("printf '%s%s%s' {MARK} \"$PATH\" {MARK}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut text = Vec::new();
    let stdout = child.stdout.take()?;
    stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut text).await.ok()?;
    drop(child.wait().await);
    String::from_utf8(text).ok()
}

/// Start-up files may print what they like before and after.
fn between_marks(text: &str) -> Option<&str> {
    let (_, after) = text.split_once(MARK)?;
    let (path, _) = after.split_once(MARK)?;
    path.contains('/').then_some(path)
}

fn joined(first: &str, second: &str) -> String {
    let mut folders: Vec<&str> = Vec::new();
    for folder in first
        .split(':')
        .chain(second.split(':'))
        .filter(|folder| !folder.is_empty())
    {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_start_up_files_print_is_not_taken_for_a_path() {
        assert_eq!(
            between_marks("hello\n__mcp_wrapper_path__/a:/b__mcp_wrapper_path__bye"),
            Some("/a:/b")
        );
        assert_eq!(between_marks("no marks"), None);
        assert_eq!(between_marks("__mcp_wrapper_path____mcp_wrapper_path__"), None);
    }

    #[test]
    fn paths_are_joined_without_repeating() {
        assert_eq!(joined("/a:/b", "/b:/c:"), "/a:/b:/c");
    }

    #[tokio::test]
    async fn a_shell_tells_its_path() {
        let text = output("/bin/sh", "-lc").await.unwrap();
        assert!(
            between_marks(&text).is_some_and(|path| path.contains("/bin")),
            "{text}"
        );
    }
}
