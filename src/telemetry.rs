//! The daemon's log: the console on stderr, and a file a day of which a few are kept. Never stdout.

use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Days of log files that are kept.
pub const N_LOG_FILES_MAX: usize = 14;
/// Lines that may wait to be written; more are dropped. The queue has its memory from the start: 32 bytes a line.
const N_LINES_WAITING_MAX: usize = 4096;

/// Starts logging. Keep the guard until the very end: it writes what is still in the queue.
///
/// # Errors
/// The log folder cannot be written; then the console alone is used, and the sentence says why.
pub fn start(level: Level, log_dir: &Path) -> Result<WorkerGuard, String> {
    // Libraries speak only when they worry.
    let filter = || {
        Targets::new()
            .with_default(LevelFilter::WARN)
            .with_target("mcp_wrapper", level)
    };
    let console = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // A closed or full stderr is no reason to fall over it.
        .log_internal_errors(false)
        .with_filter(filter());
    let appender = file(log_dir);
    let (file_layer, guard, problem) = match appender {
        Ok(appender) => {
            let (writer, guard) = NonBlockingBuilder::default()
                .buffered_lines_limit(N_LINES_WAITING_MAX)
                .finish(appender);
            (
                Some(
                    fmt::layer()
                        .with_writer(writer)
                        .with_ansi(false)
                        .with_filter(filter()),
                ),
                Some(guard),
                None,
            )
        }
        Err(error) => (
            None,
            None,
            Some(format!("no log file in {}: {error}", log_dir.display())),
        ),
    };
    // A second start in one process, as in tests, keeps the first.
    drop(
        tracing_subscriber::registry()
            .with(console)
            .with(file_layer)
            .try_init(),
    );
    guard.ok_or_else(|| problem.unwrap_or_default())
}

fn file(log_dir: &Path) -> Result<RollingFileAppender, String> {
    // What servers say may be secret.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(log_dir)
        .map_err(|error| error.to_string())?;
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("mcp-wrapper.log")
        .max_log_files(N_LOG_FILES_MAX)
        .build(log_dir)
        .map_err(|error| error.to_string())
}
