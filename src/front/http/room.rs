//! The listener of the network door: it takes a connection in only while there is room for the files that others need.
//!
//! A process that has no file left can take no client in, start no child and write no registry. So the last files are
//! kept free: one more client is told to come again, and those that are there do not notice.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::door::Arrival;
use super::limits::Gate;
use crate::config::ClientLimits;
use crate::rpc::error::code;
use crate::rpc::{RpcError, message};
use crate::tasks::Tasks;

/// Files that are kept free for processes, the registry and logs. Where few are allowed, a quarter of them.
const N_FILES_FREE: u64 = 64;
/// Connections that are told at once that there is no room; more are closed without a word.
const N_REFUSED_AT_ONCE: usize = 8;
/// A client that is refused has so long to say what it wants, and to go.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);
/// What is read of its request, bytes; it is not looked at.
const REFUSED_BYTES_MAX: usize = 64 * 1024;
/// Refusals are told to the operator this often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// The listener.
#[derive(Debug)]
pub struct Room {
    listener: TcpListener,
    tasks: Tasks,
    gate: Arc<Gate>,
    /// For the listener itself.
    ours: Gate,
    refusing: Arc<Semaphore>,
    told: Option<Instant>,
}

impl Room {
    /// A listener whose refusals are tasks of these.
    pub fn new(listener: TcpListener, tasks: Tasks, gate: Arc<Gate>) -> Self {
        Self {
            listener,
            tasks,
            gate,
            ours: Gate::new(ClientLimits::default()),
            refusing: Arc::new(Semaphore::new(N_REFUSED_AT_ONCE)),
            told: None,
        }
    }

    fn refuse(&mut self, stream: TcpStream, why: &'static str) {
        let is_news = self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        if is_news {
            self.told = Some(Instant::now());
            tracing::warn!(files_max = files_max(), why, "clients are refused");
        }
        let Ok(place) = Arc::clone(&self.refusing).try_acquire_owned() else {
            return;
        };
        self.tasks.spawn("refusal", async move {
            // Who does not listen is cut off.
            drop(tokio::time::timeout(REFUSAL_PATIENCE, refused(stream)).await);
            drop(place);
        });
    }
}

impl axum::serve::Listener for Room {
    type Io = TcpStream;
    type Addr = Arrival;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            if !has_room(u64::try_from(stream.as_raw_fd()).unwrap_or_default(), files_max()) {
                let why = "hardly any more files may be open; raise the limit (`ulimit -n`)";
                self.refuse(stream, why);
                continue;
            }
            let Some(connection) = self.gate.connect(address.ip()) else {
                self.refuse(stream, "one address has as many connections as it may");
                continue;
            };
            // Small answers must not wait for more to come.
            drop(stream.set_nodelay(true));
            let connection = Arc::new(connection);
            return (stream, Arrival { address, connection });
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        let address = self.listener.local_addr()?;
        let connection = Arc::new(self.ours.connect(address.ip()).ok_or(std::io::ErrorKind::Other)?);
        Ok(Arrival { address, connection })
    }
}

/// Whether a connection with this number may stay. The lowest free number is given to a new file, so that there are at
/// least as many open ones as its number says.
fn has_room(number: u64, files_max: Option<u64>) -> bool {
    files_max.is_none_or(|most| number < most - N_FILES_FREE.min(most / 4))
}

/// How many files this process may have open; `None` where there is no limit.
#[cfg(target_os = "linux")]
fn files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Not known here; then connections wait until there is room.
#[cfg(not(target_os = "linux"))]
fn files_max() -> Option<u64> {
    None
}

/// Says that there is no room. First what the client says is read: a connection that is closed with something unread
/// is reset, and then the client may not see why.
async fn refused(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = vec![0; REFUSED_BYTES_MAX];
    let mut n_read = stream.read(&mut request).await?;
    let error = RpcError::new(
        code::OVERLOADED,
        "mcp-wrapper serves as many clients as it may now; try again",
    );
    let body = message::response_line(None, &Err(error.raw()));
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    stream.shutdown().await?;
    while n_read < REFUSED_BYTES_MAX {
        match stream.read(&mut request).await? {
            0 => break,
            more => n_read += more,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_files_are_kept_free_and_of_few_files_a_quarter() {
        assert!(has_room(1 << 40, None));
        assert!(has_room(959, Some(1024)) && !has_room(960, Some(1024)));
        assert!(has_room(74, Some(100)) && !has_room(75, Some(100)));
        assert!(!has_room(0, Some(0)));
    }
}
