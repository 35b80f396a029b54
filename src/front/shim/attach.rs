//! Finds the running daemon, or starts one.

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
                "the daemon ended at once ({status}); see {}",
                start_log(settings).display()
            ));
        }
        if Instant::now() > deadline {
            return Err(format!(
                "the daemon does not answer; see {}",
                start_log(settings).display()
            ));
        }
        tokio::time::sleep(START_POLL).await;
    }
}

/// Exit code of a daemon that finds another one on its data folder.
pub const LOCKED: i32 = 4;

fn start_log(settings: &Settings) -> std::path::PathBuf {
    settings.log_dir.join("daemon-start.log")
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
