//! What a child's task tells others: how the child is, and what has happened.

use std::sync::Arc;

use tokio::time::Instant;

use super::{N_STDERR_LINES_TOLD, Runner};
use crate::child::link::Link;
use crate::child::state::{Sight, State};
use crate::child::status::{ChildStatus, Gate};
use crate::child::telling::{self, millis};
use crate::event::{Cause, What};

impl Runner {
    pub(super) fn tell_state(&mut self) {
        let (has_process, generation) = (self.machine.state().has_process(), self.machine.generation());
        // While the next process is being made, the run is still that of the one before.
        drop(
            self.run
                .take_if(|run| !has_process || run.link.generation != generation),
        );
        if self.run.is_none() {
            self.footprint.clear();
        }
        let is_ready = matches!(self.machine.state(), State::Ready { .. });
        let status = ChildStatus {
            state: self.machine.state().name(),
            since: self.entered,
            gate: self.gate(),
            generation: self.machine.generation(),
            pid: self.run.as_ref().map(|run| run.pid),
            handshake: self.run.as_ref().and_then(|run| run.handshake.clone()),
            finishing: self.finishing(),
            cause: match &self.stuck {
                Some(stuck) => Some(stuck.clone()),
                None => self.machine.last_cause().filter(|_| !is_ready).cloned(),
            },
            on_probation: self.machine.is_on_probation() && has_process,
            n_failures: self.machine.n_failures(),
        };
        self.publish.send_replace(status);
    }

    pub(super) fn finishing(&self) -> Option<Arc<Link>> {
        let is_draining = matches!(self.machine.state(), State::Draining { .. });
        let run = self.run.as_ref().filter(|_| is_draining)?;
        Some(Arc::clone(&run.link))
    }

    pub(super) fn gate(&self) -> Gate {
        match (self.machine.state(), &self.run) {
            (State::Ready { .. }, Some(run)) => Gate::Open(Arc::clone(&run.link)),
            (State::Idle, _) => Gate::OnDemand,
            (State::Backoff { until, .. }, _) => Gate::Soon { at: Some(*until) },
            (State::Failed { retry_at, .. }, _) => Gate::Shut {
                retry_at: Some(*retry_at),
            },
            (State::Disabled | State::Stopped | State::Unkillable { .. }, _) => Gate::Shut { retry_at: None },
            (
                State::Spawning
                | State::Handshaking { .. }
                | State::Ready { .. }
                | State::Unresponsive { .. }
                | State::Draining { .. }
                | State::Stopping { .. },
                _,
            ) => Gate::Soon { at: None },
        }
    }

    /// `now`: when it came to the present state, so that what is told is the wait that was decided.
    pub(super) fn tell_change(&self, before: &State, now: Instant) {
        match self.machine.state() {
            State::Backoff { until, .. } => self.tell(What::Backoff {
                wait_ms: millis(until.saturating_duration_since(now)),
                failures: self.machine.n_failures_in_window(),
            }),
            State::Failed { retry_at, cause } => self.tell(What::Failed {
                cause: cause.clone(),
                retry_ms: Some(millis(retry_at.saturating_duration_since(now))),
            }),
            State::Stopped | State::Disabled | State::Idle => self.tell(What::Stopped),
            State::Unresponsive { .. } => self.tell(What::Unresponsive),
            State::Unkillable { .. } if matches!(before, State::Unkillable { .. }) => {}
            State::Unkillable { .. } => {
                if let Some(cause) = self.stuck.clone() {
                    let retry_ms = None;
                    self.tell(What::Failed { cause, retry_ms });
                }
            }
            State::Ready { .. } if matches!(before, State::Unresponsive { .. }) => {
                self.tell(What::Responsive)
            }
            State::Spawning
            | State::Handshaking { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopping { .. } => {}
        }
    }

    /// The end of a process is told before the machine moves on, with the cause as it will see it.
    pub(super) fn tell_gone(&self, sight: &Sight) {
        let cause = match (self.machine.state(), sight) {
            (
                State::Stopping { why, .. } | State::Draining { why, .. } | State::Unkillable { why, .. },
                _,
            ) => why.clone(),
            (_, Sight::StartOver { .. }) => Cause::OtherEra,
            (State::Handshaking { .. }, Sight::Exited(exit)) => Cause::ExitedInHandshake { exit: *exit },
            (_, Sight::Exited(exit)) => Cause::Exited { exit: *exit },
            _other => Cause::Asked,
        };
        // That it does not shake hands was asked, and is no fault.
        let cause = if self.is_refusal(&cause) {
            Cause::OtherEra
        } else {
            cause
        };
        let expected = matches!(
            cause,
            Cause::Asked | Cause::OtherEra | Cause::Idle | Cause::ShuttingDown
        );
        let stderr = if expected {
            Vec::new()
        } else {
            self.tail.last_of_process(N_STDERR_LINES_TOLD)
        };
        self.tell(What::Gone { cause, stderr });
    }

    pub(super) fn tell(&self, what: What) {
        telling::tell(
            &self.surroundings.events,
            &self.name,
            self.machine.generation(),
            what,
        );
    }
}
