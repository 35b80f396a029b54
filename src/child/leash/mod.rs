//! The small process above each server: our own binary once more, which starts the server and outlives everything
//! that the server starts.
//!
//! It is the subreaper of the tree: whatever a process below does, a session of its own, a double fork, an empty
//! environment, it cannot get out from under its leash, and the leash ends when nobody is left. So "the tree is
//! gone" is no guess from process groups but the kernel's own word (`ECHILD`), and every zombie is reaped here.
//!
//! It holds one end of a socket. As long as the daemon holds the other, the daemon decides; when that end closes
//! without the tree being gone, the daemon was killed, and the leash takes the tree down by itself (`rungs`).
//!
//! Why one per server and not one for all: only so the kernel keeps the trees apart. And why it starts the server
//! rather than watch it from beside: a watcher would know the tree only from looking at `/proc` now and then.
//! Its one thread starts the server and never ends before the process does, so that there is no question of which
//! thread is the server's parent. No bytes of the server pass through it.

pub(in crate::child) mod order;
mod rungs;

use std::ffi::OsStr;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Pid, Resource, Rlimit, WaitOptions, WaitStatus, getpid, getrlimit, setpriority_process, setrlimit, wait,
};
use tokio::time::Instant;

use super::{cgroup, tree};
use crate::event::Rung;
use order::{Bounds, HEAD_BYTES, KILL, ORDER_BYTES_MAX, Order, TERMINATE, Word};
use rungs::Rungs;

/// The word on the command line.
pub const VERB: &str = "leash";
/// Its name in lists of processes: not that of the daemon, so that `pkill mcp-wrapper` does not mean it.
const NAME: &std::ffi::CStr = c"mcp-leash";
/// Servers are the first to go when memory is short, and never the daemon. Scale: man 5 `proc_pid_oom_score_adj`.
const OOM_SCORE: i32 = 500;
const OOM_SCORE_MAX: i32 = 1000;
/// The first pause between two looks for those that are to be killed; it doubles up to the second.
const KILL_PAUSE: Duration = Duration::from_millis(20);
const KILL_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Holds one server until nothing of it is left.
pub fn run() -> ExitCode {
    match Leash::take().and_then(Leash::hold) {
        Ok(()) => ExitCode::SUCCESS,
        // Who could read a sentence has gone, or has not asked for a leash.
        Err(_error) => ExitCode::FAILURE,
    }
}

/// One tree and the way to the daemon.
struct Leash {
    daemon: UnixStream,
    /// Says that a process below has ended.
    deaths: SignalFd,
    /// The server itself; `None` when it has ended.
    leader: Option<i32>,
    rungs: Rungs,
    /// That of the server, where it has one.
    cgroup: Option<PathBuf>,
    kill_pause: Duration,
}

impl Leash {
    /// Takes an order and starts what it says.
    fn take() -> io::Result<Self> {
        close_inherited();
        // A session of its own: what a terminal sends to the daemon's reaches neither it nor the server.
        nix::unistd::setsid()?;
        nix::sys::prctl::set_name(NAME)?;
        nix::sys::prctl::set_child_subreaper(true)?;
        let mut daemon = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let null = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        let (order, stdin) = receive(&mut daemon)?;
        let deaths = deaths()?;
        let rungs = Rungs::new(order.eof_grace, order.term_grace);
        let cgroup = order.cgroup.clone();
        let started = start(order, stdin);
        // Not before: a process inherits the mask of who makes it. A death until now is found by the first `reap`.
        grow_deaf()?;
        // The pipes are the server's: with a copy here nobody would see their end.
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        let leader = match started {
            Ok(leader) => leader,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or_default();
                return Err(daemon
                    .write_all(&Word::Refused(errno).encode())
                    .err()
                    .unwrap_or(error));
            }
        };
        // It may live long, and is to hold no folder.
        std::env::set_current_dir("/")?;
        let mut leash = Self {
            daemon,
            deaths,
            leader: Some(leader),
            rungs,
            cgroup,
            kill_pause: KILL_PAUSE,
        };
        leash.tell(Word::Runs(leader));
        Ok(leash)
    }

    fn hold(mut self) -> io::Result<()> {
        while self.reap() {
            let now = Instant::now();
            if self.rungs.is_over(now) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match self.rungs.due(now) {
                Some(Rung::Terminated) => tree::terminate(&Self::tree()),
                Some(Rung::Killed) => {
                    tree::kill(&Self::tree());
                    self.cgroup.as_deref().inspect(|leaf| cgroup::kill(leaf));
                    self.rungs.look_again_at(now + self.kill_pause);
                    self.kill_pause = (self.kill_pause * 2).min(KILL_PAUSE_MAX);
                }
                Some(Rung::StdinClosed) | None => {}
            }
            self.listen()?;
        }
        self.tell(Word::Gone);
        Ok(())
    }

    fn tree() -> Vec<tree::Seen> {
        tree::below(&tree::all(), getpid().as_raw_nonzero().get())
    }

    /// Reaps whoever has ended. False when nobody is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if self.leader == Some(pid.as_raw_nonzero().get()) {
                        self.leader = None;
                        self.tell(end_of(status));
                    }
                }
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_no_child) => return false,
            }
        }
    }

    /// Waits until the daemon says something, somebody ends, or it is time for the next rung.
    fn listen(&mut self) -> io::Result<()> {
        let patience = self
            .rungs
            .wake_at()
            .map(|at| at.saturating_duration_since(Instant::now()));
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        // A daemon that is gone is always readable, and has nothing to say any more.
        let asked = if self.rungs.is_alone() {
            PollFlags::empty()
        } else {
            PollFlags::IN
        };
        let mut awaited = [
            PollFd::new(&self.deaths, PollFlags::IN),
            PollFd::new(&self.daemon, asked),
        ];
        let awaited = if self.rungs.is_alone() {
            awaited.split_at_mut(1).0
        } else {
            &mut awaited
        };
        match poll(awaited, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_asked = awaited.get(1).is_some_and(|daemon| !daemon.revents().is_empty());
        while let Ok(Some(_death)) = self.deaths.read_signal() {}
        if is_asked {
            self.obey();
        }
        Ok(())
    }

    fn obey(&mut self) {
        let mut said = [0; 8];
        let n = match self.daemon.read(&mut said) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(_gone) => 0,
        };
        let now = Instant::now();
        if n == 0 {
            self.rungs.left_alone(now);
        }
        for byte in said.iter().take(n) {
            match *byte {
                TERMINATE => self.rungs.told(Rung::Terminated, now),
                KILL => self.rungs.told(Rung::Killed, now),
                _unknown => {}
            }
        }
    }

    /// A daemon that does not hear it is gone, and that is seen where it is listened to.
    fn tell(&mut self, word: Word) {
        drop(self.daemon.write_all(&word.encode()));
    }
}

fn end_of(status: WaitStatus) -> Word {
    match status.terminating_signal() {
        Some(signal) => Word::Signalled(signal),
        None => Word::Returned(status.exit_status().unwrap_or_default()),
    }
}

/// Closes what the daemon itself has inherited without knowing: its own descriptors close by themselves.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in open.into_iter().filter(|number| *number > 2) {
        // Nothing in this process owns any yet. The one that listed them is closed already.
        nix::unistd::close(number).ok();
    }
}

/// Where deaths are read, once SIGCHLD is blocked.
fn deaths() -> io::Result<SignalFd> {
    let deaths = SigSet::from(Signal::SIGCHLD);
    Ok(SignalFd::with_flags(
        &deaths,
        SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
    )?)
}

/// From here on what asks us to end is not heard at all: the leash ends with its tree.
fn grow_deaf() -> io::Result<()> {
    let mut deaf = SigSet::from(Signal::SIGCHLD);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        deaf.add(signal);
    }
    Ok(deaf.thread_block()?)
}

/// The order, and the stdin of the server to be.
fn receive(daemon: &mut UnixStream) -> io::Result<(Order, OwnedFd)> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let mut head = [0; HEAD_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    let received = recvmsg(&*daemon, &mut [IoSliceMut::new(&mut head)], &mut passed, flags)?;
    let stdin = passed.drain().find_map(|message| {
        let RecvAncillaryMessage::ScmRights(mut descriptors) = message else {
            return None;
        };
        descriptors.next()
    });
    let length = usize::try_from(u32::from_le_bytes(head)).map_err(|_too_long| bad())?;
    if received.bytes != HEAD_BYTES || length > ORDER_BYTES_MAX {
        return Err(bad());
    }
    let mut bytes = vec![0; length];
    daemon.read_exact(&mut bytes)?;
    Order::decode(&bytes).zip(stdin).ok_or_else(bad)
}

/// Starts the server in a group of its own, in our session, with no signal blocked.
///
/// The standard library gives SIGPIPE its default back, but hands on the mask as it is; and who starts the daemon
/// may have blocked signals.
fn start(order: Order, stdin: OwnedFd) -> io::Result<i32> {
    let mut command = Command::new(&order.file);
    command
        .args(&order.args)
        .env_clear()
        .envs(order.env.iter().map(|(name, value)| (name, value)))
        .env(tree::CHILD, &order.token)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .process_group(0);
    if let Some(cwd) = &order.cwd {
        command.current_dir(cwd);
    }
    bound(order.bounds);
    SigSet::empty().thread_set_mask()?;
    let child = cgroup::inside(order.cgroup.as_deref(), || expendable(|| command.spawn()))?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    give_way(pid, order.bounds.nice);
    Ok(pid)
}

/// What is made from now on inherits our limits; they are far beyond what we need ourselves.
fn bound(bounds: Bounds) {
    let allowed = getrlimit(Resource::Nofile).maximum;
    let files = Some(bounds.files_max.min(allowed.unwrap_or(u64::MAX)));
    let both = |limit| Rlimit {
        current: limit,
        maximum: limit,
    };
    // A limit can always be lowered: should it fail, the server runs with that of the daemon.
    setrlimit(Resource::Nofile, both(files)).ok();
    if !bounds.core_dumps {
        setrlimit(Resource::Core, both(Some(0))).ok();
    }
}

/// Not before the server is there: we could not take our own share back, and have to be quick when it is to end.
fn give_way(pid: i32, nice: u8) {
    if nice == 0 {
        return;
    }
    setpriority_process(Pid::from_raw(pid), nice.into()).ok();
    // Where the kernel shares the processor out among sessions first, that of our session counts.
    drop(std::fs::write("/proc/self/autogroup", nice.to_string()));
}

/// What is made meanwhile is the first to go when memory is short: it inherits our score, and we take ours back.
fn expendable<T>(make: impl FnOnce() -> T) -> T {
    const FILE: &str = "/proc/self/oom_score_adj";
    let before = std::fs::read_to_string(FILE).unwrap_or_default();
    let before: i32 = before.trim().parse().unwrap_or_default();
    let raised = (before + OOM_SCORE).min(OOM_SCORE_MAX);
    // Without it a server is only as likely as others to be chosen.
    drop(std::fs::write(FILE, raised.to_string()));
    let made = make();
    drop(std::fs::write(FILE, before.to_string()));
    made
}

/// Whether this command line asks for a leash.
pub fn is_asked_for(verb: Option<&OsStr>) -> bool {
    verb == Some(OsStr::new(VERB))
}
