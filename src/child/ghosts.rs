//! Calls that nobody waits for any more, while the child may still work on them. Pure: no IO, no clock.
//!
//! A cancelled or expired call may go on in the child, which hears of it late, or does not mind: what it then asks or
//! logs belongs to that call, and not to whoever happens to be alone in flight. A ghost goes with the child's late
//! answer, or when a child that heeds cancellation has long stopped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lane::Lane;
use super::pending::N_TOMBSTONES_MAX;
use crate::ids::{SessionId, WireId};

/// So long a child may go on with a call that was given up. Meanwhile it may ask no other client: longer would refuse
/// more of what others are asked, shorter would guess more.
pub const GHOST_KEPT: Duration = Duration::from_secs(30);

/// Whose a message of the child's own may be.
#[derive(Debug, Default)]
pub struct Candidates {
    /// The lanes of the calls in flight, newest last.
    pub live: Vec<Arc<Lane>>,
    /// The sessions of calls that were given up, and on which the child may still work.
    pub given_up: Vec<SessionId>,
}

impl Candidates {
    /// Whether no call that was given up is of another session than this.
    pub fn may_all_be_of(&self, session: &SessionId) -> bool {
        self.given_up.iter().all(|other| other == session)
    }
}

/// The given-up calls of one process: at most [`N_TOMBSTONES_MAX`], each for [`GHOST_KEPT`].
#[derive(Debug, Default)]
pub(super) struct Ghosts(VecDeque<(WireId, Instant, SessionId)>);

impl Ghosts {
    /// A call of this session was given up.
    pub(super) fn add(&mut self, id: WireId, session: SessionId, now: Instant) {
        if self.0.len() >= N_TOMBSTONES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, now, session));
    }

    /// The child has answered it after all: it no longer works on it.
    pub(super) fn answered(&mut self, id: WireId) {
        self.0.retain(|(ghost, ..)| *ghost != id);
    }

    /// Whose calls they were.
    pub(super) fn sessions(&mut self, now: Instant) -> Vec<SessionId> {
        self.0
            .retain(|(_, since, _)| now.saturating_duration_since(*since) < GHOST_KEPT);
        self.0.iter().map(|(.., session)| session.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ghost_goes_with_its_answer_or_with_time_and_there_are_not_too_many() {
        let (mut ghosts, now, session) = (Ghosts::default(), Instant::now(), SessionId::random());
        ghosts.add(WireId(1), session.clone(), now);
        ghosts.add(WireId(2), session.clone(), now);
        ghosts.answered(WireId(1));
        ghosts.answered(WireId(7));
        assert_eq!(ghosts.sessions(now).len(), 1);
        assert!(ghosts.sessions(now + GHOST_KEPT).is_empty());
        for id in 0..2000 {
            ghosts.add(WireId(id), session.clone(), now);
        }
        assert_eq!(ghosts.sessions(now).len(), N_TOMBSTONES_MAX);
    }
}
