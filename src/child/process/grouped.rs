//! A process in a group of its own, for systems without subreapers and for tests: what leaves the group is lost.
//!
//! The leader stays unreaped until its whole group is gone, so that the group's number cannot become somebody
//! else's while we signal it.

use std::io;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

use super::Pipes;
#[cfg(target_os = "linux")]
use crate::child::tree;
use crate::event::{Exit, Rung};

/// How often we look whether the rest of a group is gone.
const GROUP_POLL: Duration = Duration::from_millis(20);
/// Where processes are seen.
#[cfg(target_os = "linux")]
const PROC: &str = "/proc";

/// A process that leads its group.
#[derive(Debug)]
pub(super) struct Grouped {
    child: Child,
    group: Pid,
    #[cfg(target_os = "linux")]
    pidfd: Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>,
}

impl Grouped {
    /// Makes it.
    pub(super) fn spawn(mut command: tokio::process::Command) -> io::Result<(Self, Pipes)> {
        // The net, not the plan: should the task be dropped, the leader does not outlive it.
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pipes = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .zip(child.stderr.take());
        let (Some(pid), Some(((stdin, stdout), stderr))) = (pid, pipes) else {
            return Err(io::Error::other(
                "the process has no pipes; this is a bug in mcp-wrapper",
            ));
        };
        let process = Self {
            child,
            group: Pid::from_raw(pid),
            // Where groups cannot be looked at, the leader is reaped when it ends, as elsewhere.
            #[cfg(target_os = "linux")]
            pidfd: pidfd(pid).filter(|_| std::fs::read_dir(PROC).is_ok()),
        };
        Ok((
            process,
            Pipes {
                stdin,
                stdout,
                stderr,
            },
        ))
    }

    pub(super) fn pid(&self) -> i32 {
        self.group.as_raw()
    }

    /// Waits until the leader has ended. It is not reaped by this where the kernel lets us wait without.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn ended(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(pidfd) = &self.pidfd
            && pidfd.readable().await.is_ok()
        {
            return;
        }
        // Without pidfd the leader is reaped here, and the group is signalled by a number that lives only as long
        // as a member does.
        if let Err(error) = self.child.wait().await {
            tracing::error!(%error, "cannot wait for a process");
        }
    }

    /// Asks the whole group to go. Closing stdin is the writer's part.
    pub(super) fn ask(&self, rung: Rung) {
        match rung {
            Rung::StdinClosed => {}
            Rung::Terminated => {
                // A stopped process gets SIGTERM only when it continues.
                self.signal(Signal::SIGCONT);
                self.signal(Signal::SIGTERM);
            }
            Rung::Killed => self.signal(Signal::SIGKILL),
        }
    }

    fn signal(&self, signal: Signal) {
        match killpg(self.group, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => {
                tracing::error!(%error, group = %self.group, %signal, "cannot signal a process group")
            }
        }
    }

    /// Waits until no other member of the group lives. Call it after [`Self::ended`].
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn group_gone(&self) {
        while members_alive(self.group) {
            tokio::time::sleep(GROUP_POLL).await;
        }
    }

    /// Reaps the leader. Call it after [`Self::ended`].
    pub(super) async fn reap(mut self) -> Exit {
        use std::os::unix::process::ExitStatusExt;
        match self.child.wait().await {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, signal) => Exit::Signal(signal.unwrap_or_default()),
            },
            Err(error) => {
                tracing::error!(%error, "cannot reap a process");
                Exit::Code(-1)
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn pidfd(pid: i32) -> Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an `OwnedFd` keeps the promise that it asks for"
    )]
    tokio::io::unix::AsyncFd::with_interest(fd, tokio::io::Interest::READABLE).ok()
}

/// Whether a process that is no zombie is in the group.
#[cfg(target_os = "linux")]
fn members_alive(group: Pid) -> bool {
    members_alive_in(Path::new(PROC), group)
}

/// The same, by what is written there. Where that cannot be read: whether anybody is there to be signalled, and so also
/// while the leader is not reaped.
#[cfg(target_os = "linux")]
fn members_alive_in(proc: &Path, group: Pid) -> bool {
    find_member(proc, group).unwrap_or_else(|error| {
        tracing::debug!(%error, %group, "cannot see who is in a process group");
        killpg(group, None).is_ok()
    })
}

#[cfg(target_os = "linux")]
fn find_member(proc: &Path, group: Pid) -> io::Result<bool> {
    for entry in std::fs::read_dir(proc)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_process = name
            .to_str()
            .is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        if !is_process {
            continue;
        }
        match std::fs::read(entry.path().join("stat")) {
            Ok(stat) if lives_in(&String::from_utf8_lossy(&stat), group.as_raw()) => return Ok(true),
            Ok(_of_another) => {}
            Err(error) if tree::is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Reads one line of `/proc/PID/stat` (man 5 proc_pid_stat): after the name in parentheses come state, parent, group.
#[cfg(target_os = "linux")]
fn lives_in(stat: &str, group: i32) -> bool {
    let Some((_, after_name)) = stat.rsplit_once(") ") else {
        return false;
    };
    let mut fields = after_name.split(' ');
    let state = fields.next();
    let its_group = fields.nth(1).and_then(|field| field.parse::<i32>().ok());
    its_group == Some(group) && !matches!(state, Some("Z" | "X"))
}

/// Elsewhere: whether anybody is left to be signalled. The leader is reaped by then.
#[cfg(not(target_os = "linux"))]
fn members_alive(group: Pid) -> bool {
    killpg(group, None).is_ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_even_when_the_name_has_parentheses() {
        assert!(lives_in("1 (a) b) S 0 42 42 0", 42));
        assert!(!lives_in("1 (a) Z 0 42 42 0", 42));
        assert!(!lives_in("1 (a) S 42 7 42 0", 42));
    }
    #[tokio::test]
    async fn a_group_is_not_gone_because_nobody_can_be_seen() {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", "exec sleep 1000"]);
        command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let (mut process, _pipes) = Grouped::spawn(command).unwrap();
        process.pidfd = None;
        let nowhere = tempfile::tempdir().unwrap();
        let missing = nowhere.path().join("proc");
        // An entry of which the stat cannot be read: a folder in its place.
        let broken = nowhere.path().join("7/stat");
        std::fs::create_dir_all(&broken).unwrap();
        for proc in [missing.as_path(), nowhere.path(), Path::new(PROC)] {
            assert!(members_alive_in(proc, process.group), "{}", proc.display());
        }
        process.ask(Rung::Killed);
        process.ended().await;
        assert!(!members_alive_in(&missing, process.group));
        assert_eq!(process.reap().await, Exit::Signal(9));
    }
}
