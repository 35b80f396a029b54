//! Calls that nobody waits for any more, while the child may still work on them. Pure: no IO, no clock.
//!
//! A cancelled or expired call may go on in the child until that has heard of it: what it asks or logs meanwhile
//! belongs to that call, and not to whoever happens to be alone in flight. So such a call stays, as a ghost, until the
//! child has answered something that was sent after the cancellation, and a moment longer; or until its late answer. A
//! child that was seen to go on in spite of a cancellation gets no such trust any more: its ghosts stay for long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::lane::Lane;
use super::pending::N_TOMBSTONES_MAX;
use crate::ids::{SessionId, WireId};

/// So long a child may go on with a call that was given up, where it has not shown that it heard of it, or has shown
/// that it does not mind. Meanwhile it may ask no other client.
pub const GHOST_KEPT: Duration = Duration::from_secs(30);
/// A child that has heard of a cancellation may still need this long to stop: its threads hear one after the other.
pub const GHOST_KEPT_HEARD: Duration = Duration::from_secs(1);

/// Whose a message of the child's own may be.
#[derive(Debug, Default, Clone)]
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

/// The given-up calls of one process: at most [`N_TOMBSTONES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    all: VecDeque<Ghost>,
    /// The child has answered a call although it had heard that this was given up.
    goes_on: bool,
}

#[derive(Debug)]
struct Ghost {
    id: WireId,
    session: SessionId,
    /// The newest call when it was given up: the answer to a later one proves that the child has heard of it. `None`:
    /// it was not told, and whether it goes on says nothing about it.
    newest: Option<WireId>,
    until: Instant,
}

impl Ghosts {
    /// A call of this session was given up, when `newest` was the newest call; `None` where the child is not told.
    pub(super) fn add(&mut self, id: WireId, session: SessionId, newest: Option<WireId>, now: Instant) {
        if self.all.len() >= N_TOMBSTONES_MAX {
            self.all.pop_front();
        }
        let until = now + GHOST_KEPT;
        self.all.push_back(Ghost {
            id,
            session,
            newest,
            until,
        });
    }

    /// The child has answered `id`, which was sent after the cancellations of all calls that were given up before it.
    pub(super) fn heard(&mut self, id: WireId, now: Instant) {
        if self.goes_on {
            return;
        }
        for ghost in self
            .all
            .iter_mut()
            .filter(|ghost| ghost.newest.is_some_and(|newest| newest < id))
        {
            ghost.until = ghost.until.min(now + GHOST_KEPT_HEARD);
        }
    }

    /// The child has answered it after all: it no longer works on it. `is_late`: it is certain that it was given up.
    pub(super) fn answered(&mut self, id: WireId, is_late: bool, now: Instant) {
        match self.all.iter().position(|ghost| ghost.id == id) {
            Some(at) => {
                let ghost = self.all.remove(at);
                // It had heard of the end when its time was cut short.
                self.goes_on |= ghost
                    .is_some_and(|ghost| ghost.newest.is_some() && ghost.until <= now + GHOST_KEPT_HEARD);
            }
            None => self.goes_on |= is_late,
        }
    }

    /// Whose calls they were.
    pub(super) fn sessions(&mut self, now: Instant) -> Vec<SessionId> {
        self.all.retain(|ghost| now < ghost.until);
        self.all.iter().map(|ghost| ghost.session.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The newest call is given up.
    fn ghost(ghosts: &mut Ghosts, id: u64, now: Instant) {
        ghosts.add(WireId(id), SessionId::random(), Some(WireId(id)), now);
    }

    #[test]
    fn a_ghost_goes_with_its_answer_or_with_time_and_there_are_not_too_many() {
        let (mut ghosts, now) = (Ghosts::default(), Instant::now());
        ghost(&mut ghosts, 1, now);
        ghost(&mut ghosts, 2, now);
        ghosts.answered(WireId(1), true, now);
        assert_eq!(ghosts.sessions(now).len(), 1);
        assert!(ghosts.sessions(now + GHOST_KEPT).is_empty());
        for id in 0..2000 {
            ghost(&mut ghosts, id, now);
        }
        assert_eq!(ghosts.sessions(now).len(), N_TOMBSTONES_MAX);
    }

    #[test]
    fn a_child_that_has_heard_of_the_end_is_soon_trusted_again() {
        let (mut ghosts, now) = (Ghosts::default(), Instant::now());
        ghost(&mut ghosts, 2, now);
        ghosts.add(WireId(1), SessionId::random(), Some(WireId(3)), now);
        ghosts.heard(WireId(3), now);
        assert_eq!(ghosts.sessions(now).len(), 2);
        assert_eq!(
            ghosts.sessions(now + GHOST_KEPT_HEARD).len(),
            1,
            "1 was cancelled after 3 was sent"
        );
    }

    #[test]
    fn a_child_that_goes_on_although_it_has_heard_is_not() {
        for is_early in [true, false] {
            let (mut ghosts, now) = (Ghosts::default(), Instant::now());
            ghost(&mut ghosts, 1, now);
            ghosts.heard(WireId(2), now);
            let later = if is_early { now } else { now + GHOST_KEPT_HEARD };
            ghosts.sessions(later);
            ghosts.answered(WireId(1), true, later);
            ghost(&mut ghosts, 3, later);
            ghosts.heard(WireId(4), later);
            assert_eq!(ghosts.sessions(later + GHOST_KEPT_HEARD).len(), 1, "{is_early}");
        }
    }

    #[test]
    fn an_answer_that_crossed_the_cancellation_is_no_fault() {
        let (mut ghosts, now) = (Ghosts::default(), Instant::now());
        ghost(&mut ghosts, 1, now);
        ghosts.answered(WireId(1), true, now);
        ghost(&mut ghosts, 2, now);
        ghosts.heard(WireId(3), now);
        assert!(ghosts.sessions(now + GHOST_KEPT_HEARD).is_empty());
    }

    #[test]
    fn a_child_that_was_not_told_is_not_blamed_for_going_on() {
        let (mut ghosts, now) = (Ghosts::default(), Instant::now());
        ghosts.add(WireId(1), SessionId::random(), None, now);
        ghosts.heard(WireId(2), now);
        let soon = now + GHOST_KEPT_HEARD;
        assert_eq!(ghosts.sessions(soon).len(), 1, "it may go on until its answer");
        ghosts.answered(WireId(1), false, now + GHOST_KEPT - GHOST_KEPT_HEARD);
        ghost(&mut ghosts, 3, now);
        ghosts.heard(WireId(4), now);
        assert!(ghosts.sessions(soon).is_empty());
    }
}
