//! Finds the running daemon, or starts one.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::config::Settings;
use crate::front::socket;

/// How long a daemon may take until it can be reached.
const START_PATIENCE: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(10);
/// So much is shown of what a daemon said that did not start: lines, bytes.
const N_LINES_SHOWN: usize = 10;
const N_BYTES_SHOWN: u64 = 8 << 10;

/// Connects, if a daemon is there.
pub(super) async fn find(settings: &Settings) -> Option<UnixStream> {
    socket::connect(&settings.data_dir, socket::LINES).await.ok()
}

/// Connects to the daemon that is there, or starts one.
///
/// # Errors
/// A sentence: the daemon cannot be reached or started.
pub(super) async fn attach(settings: &Settings, project_dir: &Path) -> Result<UnixStream, String> {
    if let Some(daemon) = find(settings).await {
        return Ok(daemon);
    }
    let mut starting = start_daemon(settings, project_dir)?;
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Some(daemon) = find(settings).await {
            return Ok(daemon);
        }
        let ended = starting.try_wait().map_err(|error| error.to_string())?;
        // A daemon that another shim has started at the same moment holds the lock: that one is as good.
        if let Some(status) = ended.filter(|status| !status.success() && status.code() != Some(LOCKED)) {
            return Err(format!(
                "the daemon ended at once ({status}); {}",
                last_words(settings)
            ));
        }
        if Instant::now() > deadline {
            return Err(format!("the daemon does not answer; {}", last_words(settings)));
        }
        tokio::time::sleep(START_POLL).await;
    }
}

/// Exit code of a daemon that finds another one on its data folder.
pub const LOCKED: i32 = 4;

fn start_log(settings: &Settings) -> std::path::PathBuf {
    settings.log_dir.join("daemon-start.log")
}

/// The end of what a daemon said that did not start: the host of the client shows our stderr, and not that file.
fn last_words(settings: &Settings) -> String {
    let file = start_log(settings);
    let shown = file.display();
    let said = tail(&file).unwrap_or_default();
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        // Each line is told under our name once more.
        .map(|line| line.strip_prefix("mcp-wrapper: ").unwrap_or(line))
        .collect();
    let last = lines
        .get(lines.len().saturating_sub(N_LINES_SHOWN)..)
        .unwrap_or_default();
    if last.is_empty() {
        return format!("it said nothing in {shown}");
    }
    format!(
        "the last it said, all of which is in {shown}:\n{}",
        last.join("\n")
    )
}

/// The last bytes of a file.
fn tail(file: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(file)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(N_BYTES_SHOWN)))?;
    let mut bytes = Vec::new();
    file.take(N_BYTES_SHOWN).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn start_daemon(settings: &Settings, project_dir: &Path) -> Result<std::process::Child, String> {
    let ourselves =
        std::env::current_exe().map_err(|error| format!("the file of mcp-wrapper itself: {error}"))?;
    let log = start_log(settings);
    let open = || {
        std::fs::create_dir_all(&settings.log_dir)?;
        std::fs::File::create(&log)
    };
    let stderr = open().map_err(|error| format!("{}: {error}", log.display()))?;
    std::process::Command::new(ourselves)
        .args(["serve", "--background", "--dir"])
        .arg(project_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|error| format!("the daemon cannot be started: {error}"))
}
