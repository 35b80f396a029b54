//! The command that is declared for the end of a process: for what that has started outside its tree, a container or
//! a service, where no signal of ours arrives.
//!
//! It runs once for each process: beside the first rung when the process is asked to go, or when it has gone by
//! itself. The next process is not made before it has ended, lest it ends that one.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::birth::Surroundings;
use super::process::{Pipes, Process, Tag};
use super::stderr::{self, Log};
use crate::config::spec::Command;
use crate::event::Rung;
use crate::ids::{Generation, ServerName};

/// It is ended when it takes longer: a container gets ten seconds from its own tools.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The command for the end of one process.
#[derive(Debug)]
pub(super) struct Stop {
    /// `None` when there is none, or it has been begun.
    order: Option<Order>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct Order {
    command: Command,
    server: ServerName,
    generation: Generation,
    surroundings: Surroundings,
    /// For its stdout and its stderr.
    logs: [Log; 2],
}

impl Stop {
    /// What is to be run at the end of a process, with its words in these logs.
    pub(super) fn new(
        command: Option<&Command>,
        server: &ServerName,
        generation: Generation,
        surroundings: &Surroundings,
        log: impl Fn() -> Log,
    ) -> Self {
        let order = command.map(|command| Order {
            command: command.clone(),
            server: server.clone(),
            generation,
            surroundings: surroundings.clone(),
            logs: [log(), log()],
        });
        let ended = CancellationToken::new();
        if order.is_none() {
            ended.cancel();
        }
        Self { order, ended }
    }

    /// Set when it has ended; at once, where there is nothing to run.
    pub(super) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Runs it, if that was not done yet. Does not wait for it.
    pub(super) fn begin(&mut self) {
        let Some(order) = self.order.take() else { return };
        let (tasks, ended) = (order.surroundings.tasks.clone(), self.ended.clone().drop_guard());
        tasks.spawn("stop command", async move {
            order.carry_out().await;
            drop(ended);
        });
    }
}

/// Who never asked for its end, and is gone all the same, holds nobody up.
impl Drop for Stop {
    fn drop(&mut self) {
        if self.order.take().is_some() {
            self.ended.cancel();
        }
    }
}

impl Order {
    async fn carry_out(self) {
        let Self {
            command,
            server,
            generation,
            surroundings,
            logs,
        } = self;
        let tag = Tag {
            server: server.as_str(),
            generation: generation.0,
            eof_grace: Duration::ZERO,
            term_grace: Duration::ZERO,
            #[cfg(target_os = "linux")]
            bounds: super::process::Bounds {
                files_max: 65_536,
                core_dumps: false,
                nice: 0,
            },
            memory_max: None,
            processes_max: 1_000,
        };
        let spawned = Process::spawn(&command, &surroundings.path, &surroundings.keeping, tag);
        let (mut process, pipes) = match spawned.await {
            Ok(made) => made,
            Err(cause) => {
                tracing::error!(generation = generation.0, "stop_command {cause}");
                return;
            }
        };
        let Pipes {
            stdin,
            stdout,
            stderr,
        } = pipes;
        drop(stdin);
        let [out_log, err_log] = logs;
        let read = async {
            tokio::join!(
                stderr::drain(stdout, out_log, || ()),
                stderr::drain(stderr, err_log, || ())
            )
        };
        let in_time = timeout(PATIENCE, async { tokio::join!(process.ended(), read) })
            .await
            .is_ok();
        // What it has left behind goes with it.
        process.ask(Rung::Killed);
        process.ended().await;
        process.tree_gone().await;
        let exit = process.reap().await;
        if !in_time {
            tracing::error!(
                generation = generation.0,
                "stop_command took longer than {} s, and was ended",
                PATIENCE.as_secs()
            );
        } else if exit.is_success() {
            tracing::info!(generation = generation.0, "stop_command has run");
        } else {
            tracing::warn!(
                generation = generation.0,
                "stop_command: {exit}; its words are in the server's log"
            );
        }
    }
}
