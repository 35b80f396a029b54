//! What a desktop client launches: hands lines on between its stdin and stdout and the running daemon, and starts the
//! daemon when there is none. Starts no server and holds no lock, so any number of them share one daemon.
//!
//! A daemon that goes does not end it: it finds the next one, says to it what the client has said (`memory`), and
//! the client goes on. Only calls that were in flight are lost, each with an error.

mod again;
mod attach;
mod in_order;
mod memory;

#[cfg(fuzzing)]
pub use memory::fuzzed;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Stdin, Stdout};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

pub use attach::LOCKED;

use super::BODY_BYTES_MAX;
use crate::config::Settings;
use crate::rpc::RpcError;
use crate::rpc::frame::{Line, Splitter};
use crate::rpc::message::response_line;
use memory::{Memory, Onward};

/// After stdin has closed, the daemon may take so long to send its last answers.
const LAST_ANSWERS: Duration = Duration::from_secs(65);
/// Between two looks for a daemon that is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A daemon that ends sooner than this after it was found is of no use: the pause before the next look grows, from
/// [`LOOK_AGAIN`] to [`PAUSE_MAX`].
const SHORT_LIFE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// When a client speaks while there is no daemon, one that is just being restarted gets this long to appear before
/// another is started.
const RESTART_PATIENCE: Duration = Duration::from_secs(3);
/// The daemon refuses longer ones with a good error, which is its to give; only far longer ones never get there.
const UP_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;
/// What the daemon sends has its own limits.
const DOWN_BYTES_MAX: usize = usize::MAX / 2;

/// Relays until the client has closed stdin.
///
/// # Errors
/// A sentence for stderr: the daemon cannot be reached or started.
pub async fn run(settings: &Settings, project_dir: &Path) -> Result<(), String> {
    let mut client = Client {
        stdin: tokio::io::stdin(),
        lines: Splitter::new(UP_BYTES_MAX, UP_BYTES_MAX * 4),
        stdout: tokio::io::stdout(),
        memory: Memory::default(),
    };
    let mut daemon = attach::attach(settings, project_dir).await?;
    let mut first = Vec::new();
    let mut pause = Duration::ZERO;
    loop {
        let found_at = Instant::now();
        if let Ended::Client = relay(&mut client, daemon, first).await {
            return Ok(());
        }
        let lost = client.memory.lost();
        if put(&mut client.stdout, &lost).await.is_err() {
            return Ok(());
        }
        pause = pause_after(found_at.elapsed(), pause);
        if !rest(&mut client, pause).await {
            return Ok(());
        }
        daemon = match attach_again(&mut client, settings, project_dir).await? {
            Some(daemon) => daemon,
            None => return Ok(()),
        };
        first = client.memory.replay();
    }
}

/// How long to pause after a daemon that has lived so long, when the last pause was this.
fn pause_after(life: Duration, last: Duration) -> Duration {
    if life >= SHORT_LIFE {
        return Duration::ZERO;
    }
    (last * 2).clamp(LOOK_AGAIN, PAUSE_MAX)
}

/// Waits. `false`: the client has ended meanwhile.
async fn rest(client: &mut Client, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    tokio::select! {
        () = tokio::time::sleep_until(until) => true,
        // Cancel-safe: what was read is in the splitter. One look a pause: what it says does not pile up here.
        read = client.stdin.read_buf(client.lines.room()) => match read {
            Ok(n) if n > 0 => {
                tokio::time::sleep_until(until).await;
                true
            }
            _ended_or_failed => false,
        },
    }
}

/// The client, and what it has said.
struct Client {
    stdin: Stdin,
    lines: Splitter,
    stdout: Stdout,
    memory: Memory,
}

/// Whose end it was.
enum Ended {
    Client,
    Daemon,
}

/// Hands lines on, both ways, until one side has ended.
async fn relay(client: &mut Client, daemon: UnixStream, first: Vec<Bytes>) -> Ended {
    let Client {
        stdin,
        lines,
        stdout,
        memory,
    } = client;
    let memory = std::sync::Mutex::new(memory);
    let (mut from_daemon, to_daemon) = daemon.into_split();
    let (refuse, refused) = mpsc::channel(1);
    let more = Notify::new();
    let up = up(stdin, lines, to_daemon, (&memory, &more), refuse, first);
    let down = down(&mut from_daemon, stdout, (&memory, &more), refused);
    tokio::pin!(up, down);
    tokio::select! {
        ended = &mut down => ended,
        up = &mut up => match up {
            // It shows in what comes from there, after the last of it.
            Up::DaemonGone => down.await,
            Up::Finished(_still_open) => {
                drop(tokio::time::timeout(LAST_ANSWERS, down).await);
                Ended::Client
            }
        },
    }
}

/// How the way up came to its end.
enum Up {
    /// The client has closed stdin. The daemon knows; its side is open for the last answers.
    Finished(#[allow(dead_code, reason = "dropped, it would close")] OwnedWriteHalf),
    DaemonGone,
}

type SharedMemory<'a> = std::sync::Mutex<&'a mut Memory>;
/// The memory, and what is rung when it has something to say to the daemon.
type Remembered<'a> = (&'a SharedMemory<'a>, &'a Notify);

fn remember<T>(memory: &SharedMemory<'_>, of: impl FnOnce(&mut Memory) -> T) -> T {
    of(&mut memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

async fn up(
    stdin: &mut Stdin,
    lines: &mut Splitter,
    mut to_daemon: OwnedWriteHalf,
    (memory, more): Remembered<'_>,
    refuse: mpsc::Sender<Bytes>,
    first: Vec<Bytes>,
) -> Up {
    // What this daemon has to hear before anything else; its answers are read meanwhile.
    let mut out = Vec::new();
    for line in first {
        push_line(&mut out, &line);
    }
    loop {
        // First what was read while there was no daemon.
        loop {
            match lines.next_line() {
                Ok(Some(Line::Whole(line))) => {
                    if remember(memory, |memory| memory.heard_client(&line)) == Onward::Pass {
                        push_line(&mut out, &line);
                    }
                }
                Ok(Some(Line::TooLong { n_bytes, .. })) => drop(refuse.send(too_long(n_bytes)).await),
                Ok(None) => break,
                Err(_endless) => return finish(to_daemon).await,
            }
        }
        for line in remember(memory, Memory::next_lines) {
            push_line(&mut out, &line);
        }
        if !out.is_empty() && to_daemon.write_all(&out).await.is_err() {
            return Up::DaemonGone;
        }
        reuse(&mut out);
        tokio::select! {
            // Both are cancel-safe: what was read is in the splitter.
            read = stdin.read_buf(lines.room()) => match read {
                Ok(n) if n > 0 => {}
                _ended_or_failed => break,
            },
            () = more.notified() => {}
        }
    }
    // The last line may lack its end.
    let rest = Bytes::copy_from_slice(lines.rest());
    if !rest.trim_ascii().is_empty() {
        remember(memory, |memory| memory.heard_client(&rest));
        if to_daemon.write_all(&rest).await.is_err() {
            return Up::DaemonGone;
        }
    }
    finish(to_daemon).await
}

/// Tells the daemon that nothing more comes.
async fn finish(mut to_daemon: OwnedWriteHalf) -> Up {
    drop(to_daemon.shutdown().await);
    Up::Finished(to_daemon)
}

async fn down(
    from_daemon: &mut OwnedReadHalf,
    stdout: &mut Stdout,
    (memory, more): Remembered<'_>,
    mut refused: mpsc::Receiver<Bytes>,
) -> Ended {
    // Of a line that a dying daemon has begun nothing reaches the client.
    let mut lines = Splitter::new(DOWN_BYTES_MAX, DOWN_BYTES_MAX);
    let mut out = Vec::new();
    loop {
        tokio::select! {
            // Both are cancel-safe: what was read is in the splitter.
            read = from_daemon.read_buf(lines.room()) => match read {
                Ok(n) if n > 0 => {}
                _ended_or_failed => return Ended::Daemon,
            },
            Some(line) = refused.recv() => push_line(&mut out, &line),
        }
        while let Ok(Some(Line::Whole(line))) = lines.next_line() {
            match remember(memory, |memory| memory.heard_daemon(&line)) {
                Onward::Pass => push_line(&mut out, &line),
                Onward::Drop => {}
                Onward::Instead(lines) => lines.iter().for_each(|line| push_line(&mut out, line)),
            }
        }
        if remember(memory, |memory| memory.has_more_to_say()) {
            more.notify_one();
        }
        if write(stdout, &out).await.is_err() {
            return Ended::Client;
        }
        reuse(&mut out);
    }
}

/// Looks for a daemon; starts one when the client speaks. `None`: the client has ended.
async fn attach_again(
    client: &mut Client,
    settings: &Settings,
    project_dir: &Path,
) -> Result<Option<UnixStream>, String> {
    // A client that waits for the answer to its handshake says nothing more.
    while !client.memory.waits_for_hello() {
        if let Some(daemon) = attach::find(settings).await {
            return Ok(Some(daemon));
        }
        tokio::select! {
            read = client.stdin.read_buf(client.lines.room()) => match read {
                Ok(n) if n > 0 => break,
                _ended_or_failed => return Ok(None),
            },
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    let deadline = Instant::now() + RESTART_PATIENCE;
    while Instant::now() < deadline {
        if let Some(daemon) = attach::find(settings).await {
            return Ok(Some(daemon));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    attach::attach(settings, project_dir).await.map(Some)
}

/// What the daemon says of a line that is too long; this one was so long that it did not get there.
fn too_long(n_bytes: usize) -> Bytes {
    let text =
        format!("Invalid request: the message has {n_bytes} bytes, more than the {BODY_BYTES_MAX} allowed");
    response_line(None, &Err(RpcError::invalid_request(text).raw()))
}

async fn put(to: &mut (impl AsyncWrite + Unpin), lines: &[Bytes]) -> std::io::Result<()> {
    let mut out = Vec::new();
    for line in lines {
        push_line(&mut out, line);
    }
    write(to, &out).await
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    to.write_all(bytes).await?;
    to.flush().await
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    out.push(b'\n');
}

/// A buffer that was large once does not stay so.
fn reuse(out: &mut Vec<u8>) {
    out.clear();
    out.shrink_to(64 * 1024);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_while_daemons_end_at_once_and_no_further() {
        let at_once = Duration::from_millis(1);
        let mut pauses = vec![Duration::ZERO];
        for _again in 0..10 {
            pauses.push(pause_after(at_once, *pauses.last().unwrap()));
        }
        assert!(pauses[1] == LOOK_AGAIN && pauses[2] == LOOK_AGAIN * 2 && pauses[10] == PAUSE_MAX);
        assert_eq!(pause_after(SHORT_LIFE, PAUSE_MAX), Duration::ZERO);
    }
}
