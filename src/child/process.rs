//! One process in the operating system: made, asked to go, seen to be gone with all that it has started.
//!
//! On Linux it lives below a [leash](super::leash), which nothing it starts can leave (`leashed`). Elsewhere it
//! leads a process group (`grouped`).

mod grouped;
#[cfg(target_os = "linux")]
mod leashed;

use std::path::Path;
use std::process::Stdio;
#[cfg(target_os = "linux")]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use nix::errno::Errno;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

#[cfg(target_os = "linux")]
pub use super::cgroup::Cgroups;
#[cfg(target_os = "linux")]
pub use super::leash::order::Bounds;
use super::program;
use super::usage::Tree;
use crate::config::spec::Command;
use crate::event::{Cause, Exit, Rung};
use grouped::Grouped;
#[cfg(target_os = "linux")]
use leashed::{Failed, Leashed};

/// How processes are kept together.
#[derive(Debug, Clone)]
pub enum Keeping {
    /// In a process group.
    Grouped,
    /// Below a leash.
    #[cfg(target_os = "linux")]
    Leashed {
        /// The daemon's name in the tokens of its processes, see [`super::tree`].
        daemon: Arc<str>,
        /// Processes made so far: a token is never given twice.
        n_made: Arc<AtomicU64>,
        /// Where each gets a cgroup of its own, if that is possible.
        cgroups: Option<Arc<Cgroups>>,
    },
}

/// What a process is called, and what is its own.
#[derive(Debug, Clone, Copy)]
pub struct Tag<'a> {
    /// Its server.
    pub server: &'a str,
    /// Its number among the server's processes.
    pub generation: u64,
    /// From the end of stdin to SIGTERM, when nobody is left who decides.
    pub eof_grace: Duration,
    /// From SIGTERM to SIGKILL, likewise.
    pub term_grace: Duration,
    /// What the kernel is told to keep it from. Kept where there are leashes.
    #[cfg(target_os = "linux")]
    pub bounds: Bounds,
    /// Memory of its whole tree, bytes, for the kernel to keep where it can.
    pub memory_max: Option<u64>,
    /// Processes of its whole tree, likewise.
    pub processes_max: u32,
}

/// A running process, or one that has ended and is not reaped yet.
#[derive(Debug)]
pub struct Process(Kept);

#[derive(Debug)]
enum Kept {
    Grouped(Grouped),
    #[cfg(target_os = "linux")]
    Leashed(Leashed),
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

#[cfg(target_os = "linux")]
impl Keeping {
    /// Below leashes, by the name of a daemon.
    pub fn leashed(daemon: &str, cgroups: Option<Arc<Cgroups>>) -> Self {
        Self::Leashed {
            daemon: Arc::from(daemon),
            n_made: Arc::default(),
            cgroups,
        }
    }
}

impl Process {
    /// Makes a process.
    ///
    /// # Errors
    /// `CannotStart` when trying again soon is useless, `NoResources` when the machine is short of something.
    pub async fn spawn(
        command: &Command,
        path: &str,
        keeping: &Keeping,
        tag: Tag<'_>,
    ) -> Result<(Self, Pipes), Cause> {
        let file = program::find(command, path).map_err(|why| Cause::CannotStart { why })?;
        match keeping {
            Keeping::Grouped => {
                let spawned = Grouped::spawn(in_group(command, &file, path));
                let (process, pipes) = spawned.map_err(|error| refused(&file, &error))?;
                Ok((Self(Kept::Grouped(process)), pipes))
            }
            #[cfg(target_os = "linux")]
            Keeping::Leashed {
                daemon,
                n_made,
                cgroups,
            } => {
                let serial = n_made.fetch_add(1, Ordering::Relaxed);
                let token = format!("{daemon}/{}/{}/{serial}", tag.server, tag.generation);
                let leaf = cgroups.as_ref().and_then(|cgroups| leaf(cgroups, &token, tag));
                let mut order = order(command, &file, path, token, tag);
                order.cgroup = leaf.as_ref().map(|leaf| leaf.folder().to_owned());
                let limited = leaf.map(|leaf| (leaf, tag.memory_max.unwrap_or_default()));
                let spawned = Leashed::spawn(&order, limited);
                let (process, pipes) = spawned.await.map_err(|why| failed(&file, why))?;
                Ok((Self(Kept::Leashed(process)), pipes))
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        let pid = match &self.0 {
            Kept::Grouped(process) => process.pid(),
            #[cfg(target_os = "linux")]
            Kept::Leashed(process) => process.pid(),
        };
        u32::try_from(pid).unwrap_or_default()
    }

    /// Where it stands among the processes, to be measured with all that it has started.
    pub fn tree(&self) -> Tree {
        match &self.0 {
            Kept::Grouped(process) => Tree {
                leader: process.pid(),
                leash: None,
            },
            #[cfg(target_os = "linux")]
            Kept::Leashed(process) => Tree {
                leader: process.pid(),
                leash: Some(process.leash()),
            },
        }
    }

    /// Waits until it has ended itself. What it has started may live.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ended(&mut self) {
        match &mut self.0 {
            Kept::Grouped(process) => process.ended().await,
            #[cfg(target_os = "linux")]
            Kept::Leashed(process) => process.ended().await,
        }
    }

    /// Asks it and all that it has started to go. Closing stdin is the writer's part.
    pub fn ask(&mut self, rung: Rung) {
        match &mut self.0 {
            Kept::Grouped(process) => process.ask(rung),
            #[cfg(target_os = "linux")]
            Kept::Leashed(process) => process.ask(rung),
        }
    }

    /// Waits until nothing that it has started lives. Call it after [`Self::ended`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn tree_gone(&mut self) {
        match &mut self.0 {
            Kept::Grouped(process) => process.group_gone().await,
            #[cfg(target_os = "linux")]
            Kept::Leashed(process) => process.tree_gone().await,
        }
    }

    /// Reaps it. Call it when its tree is gone.
    pub async fn reap(self) -> Exit {
        match self.0 {
            Kept::Grouped(process) => process.reap().await,
            #[cfg(target_os = "linux")]
            Kept::Leashed(process) => process.reap().await,
        }
    }
}

fn in_group(command: &Command, file: &Path, path: &str) -> tokio::process::Command {
    let mut made = tokio::process::Command::new(file);
    made.args(&command.args)
        .env_clear()
        .envs(program::environment(std::env::vars_os(), path, command))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(cwd) = &command.cwd {
        made.current_dir(cwd);
    }
    made
}

#[cfg(target_os = "linux")]
fn order(
    command: &Command,
    file: &Path,
    path: &str,
    token: String,
    tag: Tag<'_>,
) -> super::leash::order::Order {
    super::leash::order::Order {
        file: file.to_owned(),
        args: command.args.iter().map(Into::into).collect(),
        env: program::environment(std::env::vars_os(), path, command)
            .into_iter()
            .collect(),
        cwd: command.cwd.clone(),
        token,
        eof_grace: tag.eof_grace,
        term_grace: tag.term_grace,
        bounds: tag.bounds,
        cgroup: None,
    }
}

/// A cgroup for a process. Without one, its limits are measured.
#[cfg(target_os = "linux")]
fn leaf(cgroups: &Cgroups, token: &str, tag: Tag<'_>) -> Option<super::cgroup::Leaf> {
    let made = cgroups.leaf(token, tag.memory_max, tag.processes_max);
    made.inspect_err(|error| tracing::warn!(%error, "no cgroup can be made for the server"))
        .ok()
}

#[cfg(target_os = "linux")]
fn failed(file: &Path, why: Failed) -> Cause {
    match why {
        Failed::Program(error) => refused(file, &error),
        // Our own file can be run, or we would not be here: what is missing is processes, memory or time.
        Failed::Leash(error) => Cause::NoResources {
            why: format!("the process above `{}`: {error}", file.display()),
        },
        Failed::Order => Cause::CannotStart {
            why: "its arguments or variables are too long, or contain a NUL byte".to_owned(),
        },
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

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    async fn sh(script: &str) -> Process {
        let command = Command {
            program: "sh".to_owned(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: BTreeMap::new(),
            late: crate::config::spec::Late::default(),
            cwd: None,
            shown: Vec::new(),
            stop: None,
        };
        let tag = Tag {
            server: "a",
            generation: 1,
            eof_grace: Duration::ZERO,
            term_grace: Duration::ZERO,
            bounds: Bounds {
                files_max: 1024,
                core_dumps: false,
                nice: 0,
            },
            memory_max: None,
            processes_max: 1_000,
        };
        // The binary of these tests is no leash; `tests/it/trees.rs` tries that.
        let spawned = Process::spawn(&command, "/usr/bin:/bin", &Keeping::Grouped, tag);
        spawned.await.unwrap().0
    }

    #[tokio::test]
    async fn a_grandchild_goes_with_the_group() {
        let mut process = sh("sleep 1000 & sleep 1000").await;
        process.ask(Rung::Terminated);
        process.ended().await;
        process.tree_gone().await;
        assert_eq!(process.reap().await, Exit::Signal(15));
    }

    #[tokio::test]
    async fn the_exit_code_is_told() {
        let mut process = sh("exit 3").await;
        process.ended().await;
        process.tree_gone().await;
        assert_eq!(process.reap().await, Exit::Code(3));
    }
}
