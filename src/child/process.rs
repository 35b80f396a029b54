//! One process in the operating system, in a group of its own: made, asked to go, seen to be gone.
//!
//! The only code that knows signals. The leader stays unreaped until its whole group is gone, so that the group's
//! number cannot become somebody else's while we signal it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::program;
use crate::config::spec::Command;
use crate::event::{Cause, Exit, Rung};

/// How often we look whether the rest of a group is gone.
const GROUP_POLL: Duration = Duration::from_millis(20);

/// A running process, or one that has ended and is not reaped yet.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
    #[cfg(target_os = "linux")]
    pidfd: Option<tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>>,
}

/// The three pipes to it.
#[derive(Debug)]
pub struct Pipes {
    /// To it.
    pub stdin: ChildStdin,
    /// From it: messages.
    pub stdout: ChildStdout,
    /// From it: text for people.
    pub stderr: ChildStderr,
}

impl Process {
    /// Makes a process.
    ///
    /// # Errors
    /// `CannotStart` when trying again soon is useless, `NoResources` when the machine is short of something.
    pub fn spawn(command: &Command, path: &str) -> Result<(Self, Pipes), Cause> {
        let file = program::find(command, path).map_err(|why| Cause::CannotStart { why })?;
        let mut child = Self::command(command, &file, path)
            .spawn()
            .map_err(|error| refused(&file, &error))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pipes = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .zip(child.stderr.take());
        let (Some(pid), Some(((stdin, stdout), stderr))) = (pid, pipes) else {
            return Err(Cause::CannotStart {
                why: "the process has no pipes; this is a bug in mcp-wrapper".to_owned(),
            });
        };
        let process = Self {
            child,
            group: Pid::from_raw(pid),
            #[cfg(target_os = "linux")]
            pidfd: pidfd(pid),
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

    fn command(command: &Command, file: &Path, path: &str) -> tokio::process::Command {
        let mut made = tokio::process::Command::new(file);
        made.args(&command.args)
            .env_clear()
            .envs(program::environment(std::env::vars_os(), path, command))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            // A net, not the plan: should the task be dropped, the leader does not outlive it.
            .kill_on_drop(true);
        if let Some(cwd) = &command.cwd {
            made.current_dir(cwd);
        }
        made
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        u32::try_from(self.group.as_raw()).unwrap_or_default()
    }

    /// Waits until the leader has ended. It is not reaped by this where the kernel lets us wait without.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ended(&mut self) {
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
    pub fn ask(&self, rung: Rung) {
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
    pub async fn group_gone(&self) {
        while members_alive(self.group) {
            tokio::time::sleep(GROUP_POLL).await;
        }
    }

    /// Reaps the leader. Call it after [`Self::ended`].
    pub async fn reap(mut self) -> Exit {
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

fn refused(file: &Path, error: &std::io::Error) -> Cause {
    let why = format!("`{}`: {error}", file.display());
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => Cause::NoResources { why },
        Some(Errno::ENOEXEC) => Cause::CannotStart {
            why: format!("{why}; a script needs a first line like `#!/usr/bin/env node`"),
        },
        Some(Errno::ENOENT) => Cause::CannotStart {
            why: format!("{why}; the interpreter in its first line may be missing"),
        },
        _other => Cause::CannotStart { why },
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
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return false;
    };
    entries.flatten().any(|entry| {
        let is_process = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        is_process
            && std::fs::read_to_string(entry.path().join("stat"))
                .is_ok_and(|stat| lives_in(&stat, group.as_raw()))
    })
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
    use std::collections::BTreeMap;

    use super::*;

    fn sh(script: &str) -> Process {
        let command = Command {
            program: "sh".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::new(),
            cwd: None,
            shown: Vec::new(),
        };
        Process::spawn(&command, "/usr/bin:/bin").unwrap().0
    }

    #[test]
    fn a_stat_line_is_read_even_when_the_name_has_parentheses() {
        assert!(lives_in("1 (a) b) S 0 42 42 0", 42));
        assert!(!lives_in("1 (a) Z 0 42 42 0", 42));
        assert!(!lives_in("1 (a) S 42 7 42 0", 42));
    }

    #[tokio::test]
    async fn a_grandchild_goes_with_the_group() {
        let mut process = sh("sleep 1000 & sleep 1000");
        process.ask(Rung::Terminated);
        process.ended().await;
        process.group_gone().await;
        assert_eq!(process.reap().await, Exit::Signal(15));
    }

    #[tokio::test]
    async fn the_exit_code_is_told() {
        let mut process = sh("exit 3");
        process.ended().await;
        process.group_gone().await;
        assert_eq!(process.reap().await, Exit::Code(3));
    }
}
