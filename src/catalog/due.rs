//! When the next list of each kind is no longer good: one look for each client that reads one.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::snapshot::Kind;

const NEVER: u64 = u64::MAX;

/// When lists have to be fetched again.
#[derive(Debug)]
pub(super) struct Due {
    since: Instant,
    /// Milliseconds from then on, of each kind.
    at_ms: [AtomicU64; 4],
}

impl Default for Due {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            at_ms: std::array::from_fn(|_| AtomicU64::new(NEVER)),
        }
    }
}

impl Due {
    /// The next of this kind.
    pub(super) fn set(&self, kind: Kind, at: Option<Instant>) {
        let at_ms = at.map_or(NEVER, |at| self.millis(at));
        if let Some(slot) = self.at_ms.get(kind.at()) {
            slot.store(at_ms, Ordering::Release);
        }
    }

    /// Whether one is due, for the first who asks: it is seen to then, and the next is set by whoever has done so.
    pub(super) fn take(&self, kind: Kind, now: Instant) -> bool {
        let Some(slot) = self.at_ms.get(kind.at()) else {
            return false;
        };
        let at_ms = slot.load(Ordering::Acquire);
        at_ms != NEVER
            && at_ms <= self.millis(now)
            && slot
                .compare_exchange(at_ms, NEVER, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.since).as_millis()).unwrap_or(NEVER)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_is_taken_once() {
        let due = Due::default();
        let now = Instant::now() + Duration::from_secs(1);
        assert!(!due.take(Kind::Tools, now));
        due.set(Kind::Tools, Some(now));
        assert!(!due.take(Kind::Prompts, now) && !due.take(Kind::Tools, now - Duration::from_millis(2)));
        assert!(due.take(Kind::Tools, now));
        assert!(!due.take(Kind::Tools, now));
        due.set(Kind::Tools, None);
        assert!(!due.take(Kind::Tools, now));
    }
}
