//! A process that is to show whether its server answers a handshake, which it does not need: the first that does shows
//! it for good; the first that does not come up is the last, and the calls that wait for it go where calls went before.

use tokio::time::Instant;

use super::Runner;
use crate::child::state::{Input, State};
use crate::child::verdict::Older;
use crate::event::Cause;

impl Runner {
    /// It has shaken hands.
    pub(super) fn prove(&mut self) {
        if self.is_older {
            self.has_shaken_hands = true;
            self.try_out(Older::Spoken);
        }
    }

    /// Looks whether the process has failed that was to show it. Nothing comes after it then.
    pub(super) fn give_up_unproven(&mut self) {
        if !self.is_older || self.retired.is_cancelled() || self.is_proven() {
            return;
        }
        let Some(cause) = failure(self.machine.state()).cloned() else {
            return;
        };
        let older = if matches!(cause, Cause::BadHandshake { .. }) {
            Older::Refused
        } else {
            Older::Failed
        };
        tracing::info!(%cause, "no process for clients with a handshake: the one for all serves them too");
        self.try_out(older);
        // Whoever waits looks for another now, and finds what was just noted.
        self.retired.cancel();
        self.ending = true;
        let actions = self.step(|machine| machine.step(Instant::now(), Input::Shutdown));
        self.carry_out(actions);
    }

    /// Whether this is the answer to whether it shakes hands.
    pub(super) fn is_refusal(&self, cause: &Cause) -> bool {
        self.is_older && matches!(cause, Cause::BadHandshake { .. }) && !self.is_proven()
    }

    fn is_proven(&self) -> bool {
        let verdict = self.surroundings.verdicts.of(&self.name);
        self.has_shaken_hands || verdict.is_some_and(|verdict| verdict.older == Older::Spoken)
    }

    fn try_out(&self, older: Older) {
        let fingerprint = self.run.as_ref().map(|run| run.fingerprint.as_str());
        self.surroundings.verdicts.tried(&self.name, fingerprint, older);
    }
}

/// Why it does not come up, if it is seen by now.
fn failure(state: &State) -> Option<&Cause> {
    let cause = match state {
        State::Stopping { why: cause, .. }
        | State::Unkillable { why: cause, .. }
        | State::Backoff { cause, .. }
        | State::Failed { cause, .. } => cause,
        State::Disabled
        | State::Stopped
        | State::Idle
        | State::Spawning
        | State::Handshaking { .. }
        | State::Ready { .. }
        | State::Unresponsive { .. }
        | State::Draining { .. } => return None,
    };
    // It was not its turn, or not its fault.
    let is_its_own = !matches!(
        cause,
        Cause::Asked | Cause::OtherEra | Cause::Idle | Cause::ShuttingDown | Cause::NoResources { .. }
    );
    is_its_own.then_some(cause)
}
