//! Unanswered calls: our wire ids, and who waits. Pure: no IO, no clock.
//!
//! Each waiter comes out exactly once: answered, cancelled, expired or drained. A cancelled or expired id stays
//! for a while as a tombstone, so that a late answer is known for what it is and swallowed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::WireId;

/// How long a late answer to a cancelled or expired call is recognised.
pub const TOMBSTONE_KEPT: Duration = Duration::from_secs(60);
/// Tombstones kept at once; the oldest goes first.
pub const N_TOMBSTONES_MAX: usize = 1024;

/// One call that waits for its answer.
#[derive(Debug)]
pub struct Waiter<R> {
    /// When it is given up, unless progress is seen before.
    pub deadline: Instant,
    /// Patience that progress starts anew.
    pub patience: Duration,
    /// When it is given up in any case.
    pub hard_deadline: Instant,
    /// The way back.
    pub reply: R,
}

/// What an id in an answer turned out to be.
#[derive(Debug)]
pub enum Found<R> {
    /// Somebody waits for it.
    Waiter(Waiter<R>),
    /// Nobody waits for it any more.
    Late,
    /// It was never ours, or is answered already.
    Unknown,
}

/// The unanswered calls of one process.
#[derive(Debug)]
pub struct Pending<R> {
    next: u64,
    waiting: HashMap<WireId, Waiter<R>>,
    tombstones: VecDeque<(WireId, Instant)>,
}

impl<R> Default for Pending<R> {
    fn default() -> Self {
        Self {
            next: 1,
            waiting: HashMap::new(),
            tombstones: VecDeque::new(),
        }
    }
}

impl<R> Pending<R> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The newest id; 0 before the first.
    pub fn newest(&self) -> WireId {
        WireId(self.next - 1)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// From now on ids are above this one.
    pub fn begin_after(&mut self, id: WireId) {
        self.next = self.next.max(id.0.saturating_add(1));
    }

    /// Notes a waiter under the next id: 1, 2, 3… never reused.
    pub fn insert(&mut self, waiter: Waiter<R>) -> WireId {
        let id = WireId(self.next);
        self.next += 1;
        self.waiting.insert(id, waiter);
        id
    }

    /// Takes back the id that [`Self::insert`] has just given: the line could not be queued.
    pub fn retract(&mut self, id: WireId) -> Option<Waiter<R>> {
        self.waiting.remove(&id)
    }

    /// An answer has come.
    pub fn complete(&mut self, id: WireId) -> Found<R> {
        if let Some(waiter) = self.waiting.remove(&id) {
            return Found::Waiter(waiter);
        }
        let at = self.tombstones.iter().position(|(dead, _)| *dead == id);
        match at.and_then(|at| self.tombstones.remove(at)) {
            Some(_) => Found::Late,
            None => Found::Unknown,
        }
    }

    /// The caller no longer wants the answer.
    pub fn cancel(&mut self, id: WireId, now: Instant) -> Option<Waiter<R>> {
        let waiter = self.waiting.remove(&id)?;
        self.bury(id, now);
        Some(waiter)
    }

    /// Progress was seen: the patience starts anew. Gives the waiter's way back.
    pub fn touch(&mut self, id: WireId, now: Instant) -> Option<&mut R> {
        let waiter = self.waiting.get_mut(&id)?;
        waiter.deadline = (now + waiter.patience).min(waiter.hard_deadline);
        Some(&mut waiter.reply)
    }

    /// Takes out every waiter whose time has come. One that is `held` gets its patience again instead: it waits for
    /// a person, and that is not the child's time.
    pub fn expire(&mut self, now: Instant, held: impl Fn(&R) -> bool) -> Vec<(WireId, Waiter<R>)> {
        while self
            .tombstones
            .front()
            .is_some_and(|(_, since)| now.saturating_duration_since(*since) > TOMBSTONE_KEPT)
        {
            self.tombstones.pop_front();
        }
        let mut due = Vec::new();
        for (id, waiter) in self
            .waiting
            .iter_mut()
            .filter(|(_, waiter)| waiter.deadline <= now)
        {
            if held(&waiter.reply) {
                waiter.deadline = now + waiter.patience;
                waiter.hard_deadline = waiter.hard_deadline.max(waiter.deadline);
            } else {
                due.push(*id);
            }
        }
        due.into_iter()
            .filter_map(|id| self.cancel(id, now).map(|waiter| (id, waiter)))
            .collect()
    }

    /// Takes out every waiter, in the order of their ids.
    pub fn drain(&mut self) -> Vec<(WireId, Waiter<R>)> {
        let mut all: Vec<_> = self.waiting.drain().collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }

    /// The ways back of all that wait, in no order.
    pub fn replies(&self) -> impl Iterator<Item = (WireId, &R)> {
        self.waiting.iter().map(|(id, waiter)| (*id, &waiter.reply))
    }

    fn bury(&mut self, id: WireId, now: Instant) {
        if self.tombstones.len() >= N_TOMBSTONES_MAX {
            self.tombstones.pop_front();
        }
        self.tombstones.push_back((id, now));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waiter(now: Instant, seconds: u64, reply: u32) -> Waiter<u32> {
        let patience = Duration::from_secs(seconds);
        Waiter {
            deadline: now + patience,
            patience,
            hard_deadline: now + Duration::from_secs(100),
            reply,
        }
    }

    #[test]
    fn progress_starts_the_patience_anew_up_to_the_hard_limit() {
        let now = Instant::now();
        let mut pending = Pending::default();
        let id = pending.insert(waiter(now, 60, 1));
        assert!(pending.touch(id, now + Duration::from_secs(50)).is_some());
        assert!(
            pending
                .expire(now + Duration::from_secs(99), |_| false)
                .is_empty()
        );
        assert_eq!(pending.expire(now + Duration::from_secs(100), |_| false).len(), 1);
        assert!(matches!(pending.complete(id), Found::Late));
        assert!(matches!(pending.complete(id), Found::Unknown));
    }

    #[test]
    fn a_call_that_waits_for_a_person_is_not_given_up() {
        let now = Instant::now();
        let mut pending = Pending::default();
        pending.insert(waiter(now, 60, 1));
        let late = now + Duration::from_secs(500);
        assert!(pending.expire(late, |_| true).is_empty());
        assert!(
            pending
                .expire(late + Duration::from_secs(59), |_| false)
                .is_empty()
        );
        assert_eq!(pending.expire(late + Duration::from_secs(60), |_| false).len(), 1);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64),
        Complete(u64),
        Cancel(u64),
        Expire(u64),
        Drain,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (1_u64..50).prop_map(Op::Insert),
            3 => (0_u64..40).prop_map(Op::Complete),
            2 => (0_u64..40).prop_map(Op::Cancel),
            1 => (0_u64..60).prop_map(Op::Expire),
            1 => Just(Op::Drain),
        ]
    }

    proptest! {
        #[test]
        fn every_waiter_comes_out_exactly_once(ops in prop::collection::vec(op(), 0..80)) {
            let start = Instant::now();
            let mut pending = Pending::default();
            let (mut n_in, mut out) = (0_u32, Vec::new());
            for op in ops {
                match op {
                    Op::Insert(seconds) => {
                        n_in += 1;
                        pending.insert(waiter(start, seconds, n_in));
                    }
                    Op::Complete(id) => if let Found::Waiter(waiter) = pending.complete(WireId(id)) {
                        out.push(waiter.reply);
                    },
                    Op::Cancel(id) => out.extend(pending.cancel(WireId(id), start).map(|waiter| waiter.reply)),
                    Op::Expire(seconds) => {
                        let due = pending.expire(start + Duration::from_secs(seconds), |_| false);
                        out.extend(due.into_iter().map(|(_, waiter)| waiter.reply));
                    }
                    Op::Drain => out.extend(pending.drain().into_iter().map(|(_, waiter)| waiter.reply)),
                }
            }
            out.extend(pending.drain().into_iter().map(|(_, waiter)| waiter.reply));
            out.sort_unstable();
            prop_assert_eq!(out, (1..=n_in).collect::<Vec<_>>());
        }
    }
}
