//! What a desktop client launches: copies bytes between its stdin and stdout and the running daemon, and starts
//! the daemon when there is none. Starts no server and holds no lock, so any number of them share one daemon.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::socket;
use crate::config::Settings;

/// How long a daemon may take until it can be reached.
const START_PATIENCE: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(10);
/// After stdin has closed, the daemon may take so long to send its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(65);

/// Relays until the client has closed stdin, or the daemon is gone.
///
/// # Errors
/// A sentence for stderr: the daemon cannot be reached or started.
pub async fn run(settings: &Settings, project_dir: &Path) -> Result<(), String> {
    let daemon = attach(settings, project_dir).await?;
    let (from_daemon, to_daemon) = daemon.into_split();
    let up = copy(tokio::io::stdin(), to_daemon);
    let down = copy(from_daemon, tokio::io::stdout());
    tokio::pin!(up, down);
    tokio::select! {
        () = &mut down => Err("the daemon is gone; start the client's entry again, or look at the daemon's log".to_owned()),
        () = &mut up => {
            drop(tokio::time::timeout(LAST_ANSWERS, down).await);
            Ok(())
        }
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = match from.read(&mut buffer).await {
            Ok(n) if n > 0 => n,
            _ended_or_failed => break,
        };
        let piece = buffer.get(..n).unwrap_or_default();
        if to.write_all(piece).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    // Tells the other side that nothing more comes.
    drop(to.shutdown().await);
}

async fn attach(settings: &Settings, project_dir: &Path) -> Result<UnixStream, String> {
    if let Ok(daemon) = socket::connect(&settings.data_dir, socket::LINES).await {
        return Ok(daemon);
    }
    let mut starting = start_daemon(settings, project_dir)?;
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Ok(daemon) = socket::connect(&settings.data_dir, socket::LINES).await {
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
