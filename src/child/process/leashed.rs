//! A process below a leash, as the daemon sees it. What the leash does is told in [`crate::child::leash`].
//!
//! Should the leash itself be killed, its tree becomes the daemon's own: the daemon is a subreaper too. Then the
//! daemon finds the tree by its session, by its token and among its own new children, ends it, and reaps it.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as Pair;
use std::process::Stdio;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin};

use super::Pipes;
use crate::child::cgroup::Leaf;
use crate::child::leash::order::{HEAD_BYTES, KILL, Order, TERMINATE, WORD_BYTES, Word};
use crate::child::strays::{self, Awaited};
use crate::child::{leash, tree};
use crate::event::{Exit, Rung};

/// Our own file, also when another version has taken its place on the disk: both ends are always of one build.
const OURSELVES: &str = "/proc/self/exe";
/// A leash answers within milliseconds, or the machine is in trouble.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How often we look whether the tree of a lost leash is gone.
const LOST_POLL: Duration = Duration::from_millis(20);
/// What is told of a server whose leash was killed: we killed it too.
const LOST: Exit = Exit::Signal(SIGKILL);
/// How the kernel ends who has taken too much memory.
const SIGKILL: i32 = 9;

/// A process below a leash.
#[derive(Debug)]
pub(super) struct Leashed {
    leash: Child,
    control: UnixStream,
    /// What has come of the next word.
    heard: Vec<u8>,
    leader: i32,
    token: String,
    exit: Option<Exit>,
    /// Its cgroup, where it has one, and the limit of its memory there, bytes.
    leaf: Option<(Leaf, u64)>,
    /// The whole tree was to be killed: should the leash be killed too, that holds.
    killing: bool,
    state: State,
    awaited: Awaited,
    /// When the leash began, see [`tree::Seen::start`].
    start: u64,
}

#[derive(Debug)]
enum State {
    /// The leash holds the tree.
    Held,
    /// Nothing of the tree is left.
    Gone,
    /// The leash was killed. These were seen of its tree.
    Lost { known: Vec<tree::Seen> },
}

/// Why there is no process.
#[derive(Debug)]
pub(super) enum Failed {
    /// The arguments or the environment cannot be given to any process.
    Order,
    /// The leash could not be made.
    Leash(io::Error),
    /// The program could not be started.
    Program(io::Error),
}

impl Leashed {
    /// Makes a leash, and below it a process.
    pub(super) async fn spawn(order: &Order, leaf: Option<(Leaf, u64)>) -> Result<(Self, Pipes), Failed> {
        let bytes = order.encode().ok_or(Failed::Order)?;
        // Making a process blocks until it runs, for long on a busy machine; nobody else is to wait for that.
        let (token, n_bytes) = (order.token.clone(), bytes.len());
        let making = tokio::task::spawn_blocking(move || Self::make(token, n_bytes));
        let mut made = match making.await {
            Ok(made) => made.map_err(Failed::Leash)?,
            Err(error) => return Err(Failed::Leash(io::Error::other(error))),
        };
        made.0.leaf = leaf;
        // Dropped on the way, the leash sees its socket close, and leaves nothing.
        let answered = tokio::time::timeout(ANSWER_PATIENCE, Self::begin(made, &bytes));
        answered
            .await
            .unwrap_or_else(|_late| Err(Failed::Leash(io::ErrorKind::TimedOut.into())))
    }

    fn make(token: String, n_bytes: usize) -> io::Result<(Self, Pipes)> {
        let (ours, theirs) = Pair::pair()?;
        let (stdin, to_stdin) = io::pipe()?;
        let mut command = tokio::process::Command::new(OURSELVES);
        command
            .arg0("mcp-wrapper")
            .arg(leash::VERB)
            .arg(server_of(&token))
            .env_clear()
            .env(tree::LEASH, &token)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (mut leash, awaited) = Awaited::make(|| command.spawn())?;
        // With its end still open here, we would never see the leash die.
        drop(command);
        pass(&ours, n_bytes, &stdin.into())?;
        ours.set_nonblocking(true)?;
        let no_pipes = || io::Error::other("the leash has no pipes");
        let stdout = leash.stdout.take().ok_or_else(no_pipes)?;
        let stderr = leash.stderr.take().ok_or_else(no_pipes)?;
        let stdin = ChildStdin::from_std(std::process::ChildStdin::from(OwnedFd::from(to_stdin)))?;
        let made = Self {
            leash,
            control: UnixStream::from_std(ours)?,
            heard: Vec::with_capacity(WORD_BYTES),
            leader: 0,
            token,
            exit: None,
            leaf: None,
            killing: false,
            state: State::Held,
            start: tree::one(awaited.pid()).map_or(u64::MAX, |seen| seen.start),
            awaited,
        };
        Ok((
            made,
            Pipes {
                stdin,
                stdout,
                stderr,
            },
        ))
    }

    async fn begin((mut made, pipes): (Self, Pipes), bytes: &[u8]) -> Result<(Self, Pipes), Failed> {
        made.control.write_all(bytes).await.map_err(Failed::Leash)?;
        match made.next_word().await {
            Some(Word::Runs(pid)) => {
                made.leader = pid;
                Ok((made, pipes))
            }
            Some(Word::Refused(errno)) => Err(Failed::Program(io::Error::from_raw_os_error(errno))),
            Some(Word::Returned(_) | Word::Signalled(_) | Word::Gone) | None => {
                Err(Failed::Leash(io::ErrorKind::UnexpectedEof.into()))
            }
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.leader
    }

    /// The number of what holds its tree.
    pub(super) fn leash(&self) -> i32 {
        self.awaited.pid()
    }

    /// Waits until the leader has ended.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn ended(&mut self) {
        while self.exit.is_none() && matches!(self.state, State::Held) {
            self.hear().await;
        }
    }

    /// Asks the whole tree to go.
    pub(super) fn ask(&mut self, rung: Rung) {
        let byte = match rung {
            Rung::StdinClosed => return,
            Rung::Terminated => TERMINATE,
            Rung::Killed => KILL,
        };
        self.killing |= rung == Rung::Killed;
        match &self.state {
            State::Held => self.say(byte),
            State::Gone => {}
            State::Lost { .. } if rung == Rung::Terminated => {
                tree::terminate(&self.look().unwrap_or_default());
            }
            // The next look kills.
            State::Lost { .. } => {}
        }
    }

    fn say(&self, byte: u8) {
        // A leash that somebody has stopped would not hear it.
        if let Some(leash) = rustix::process::Pid::from_raw(self.awaited.pid()) {
            kill_process(leash, Signal::CONT).ok();
        }
        // A handful of bytes in all: they find room, unless nobody is there any more, and that is seen elsewhere.
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        send(&self.control, &[byte], flags).ok();
    }

    /// Waits until nothing of the tree is left.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn tree_gone(&mut self) {
        loop {
            match self.state {
                State::Held => self.hear().await,
                State::Gone => return,
                State::Lost { .. } => {
                    if self.is_swept() {
                        return;
                    }
                    tokio::time::sleep(LOST_POLL).await;
                }
            }
        }
    }

    /// Reaps the leash. Call it when the tree is gone.
    pub(super) async fn reap(mut self) -> Exit {
        if let Err(error) = self.leash.wait().await {
            tracing::error!(%error, "cannot reap a leash");
        }
        self.exit.unwrap_or(LOST)
    }

    async fn hear(&mut self) {
        match self.next_word().await {
            Some(Word::Returned(code)) => self.exit = Some(Exit::Code(code)),
            Some(Word::Signalled(signal)) => self.exit = Some(self.signalled(signal)),
            Some(Word::Gone) => self.state = State::Gone,
            Some(Word::Runs(_) | Word::Refused(_)) => {}
            None => {
                tracing::error!(token = self.token, "a leash was killed; its processes are ended");
                self.state = State::Lost { known: Vec::new() };
            }
        }
    }

    /// What is behind a signal: the kernel may have sent it for want of memory.
    fn signalled(&self, signal: i32) -> Exit {
        match &self.leaf {
            Some((leaf, limit)) if signal == SIGKILL && leaf.was_out_of_memory() => {
                Exit::OutOfMemory { limit: *limit }
            }
            _other => Exit::Signal(signal),
        }
    }

    /// Cancel-safe: what has come of a word stays.
    async fn next_word(&mut self) -> Option<Word> {
        while self.heard.len() < WORD_BYTES {
            let room = u64::try_from(WORD_BYTES - self.heard.len()).unwrap_or_default();
            match (&mut self.control).take(room).read_buf(&mut self.heard).await {
                Ok(n) if n > 0 => {}
                _ended_or_failed => return None,
            }
        }
        let word = <[u8; WORD_BYTES]>::try_from(self.heard.as_slice()).ok()?;
        self.heard.clear();
        Word::decode(word)
    }

    // === The leash was killed ===

    /// What is left of the tree. The session's number cannot be another's yet: the dead leash still holds it.
    ///
    /// # Errors
    /// Nobody can be seen now.
    fn look(&self) -> io::Result<Vec<tree::Seen>> {
        let State::Lost { known } = &self.state else {
            return Ok(Vec::new());
        };
        let session = self.awaited.pid();
        let all = tree::look()?;
        let orphans = strays::orphans(&all, self.start);
        let ours = tree::Token::Child(self.token.clone());
        let found = tree::with_descendants(&all, |seen| {
            seen.session == session
                || orphans.contains(seen)
                || known
                    .iter()
                    .any(|one| (one.pid, one.start) == (seen.pid, seen.start))
                || tree::token_of(seen.pid).as_ref() == Some(&ours)
        });
        Ok(found.into_iter().filter(|seen| seen.pid != session).collect())
    }

    /// Looks, kills if that is wanted, reaps what has become ours. True when nothing is left.
    ///
    /// It reads `/proc` where it stands, some milliseconds: that a leash is killed is no everyday matter.
    fn is_swept(&mut self) -> bool {
        let found = match self.look() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot see what is left of a tree; looking again");
                return false;
            }
        };
        let ourselves = rustix::process::getpid().as_raw_nonzero().get();
        for dead in found
            .iter()
            .filter(|seen| seen.is_dead && seen.parent == ourselves)
        {
            if let Some(pid) = rustix::process::Pid::from_raw(dead.pid) {
                // This very one: the exit of any other child belongs to whoever waits for it.
                waitpid(Some(pid), WaitOptions::NOHANG).ok();
            }
        }
        let State::Lost { known } = &mut self.state else {
            return true;
        };
        let leaf = self.leaf.as_ref().map(|(leaf, _)| leaf);
        if self.killing {
            tree::kill(&found);
            leaf.inspect(|leaf| leaf.kill());
        }
        // The dead whose parents live are reaped by these, or come to us with the next look.
        let is_over = found.iter().all(|seen| seen.is_dead && seen.parent == ourselves)
            && leaf.is_none_or(|leaf| leaf.is_empty());
        *known = found;
        is_over
    }
}

/// Sends the stdin of the server to be, with the length of the order.
fn pass(control: &Pair, length: usize, stdin: &OwnedFd) -> io::Result<()> {
    let length = u32::try_from(length).map_err(io::Error::other)?;
    let head: [u8; HEAD_BYTES] = length.to_le_bytes();
    let descriptors = [stdin.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = SendAncillaryBuffer::new(&mut space);
    if !passed.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(control, &[IoSlice::new(&head)], &mut passed, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The server's name in a token, for people who look at the list of processes.
fn server_of(token: &str) -> OsString {
    token.split('/').nth(1).unwrap_or_default().into()
}
