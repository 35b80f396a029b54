//! A child as it is now, for whoever wants to call it or to look at it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::handshake::Handshake;
use super::link::Link;
use crate::event::Cause;
use crate::ids::Generation;

/// A child as it is now. Published at every change of state.
#[derive(Debug, Clone)]
pub struct ChildStatus {
    /// The state's name.
    pub state: &'static str,
    /// Since when.
    pub since: Instant,
    /// What becomes of a call that comes now.
    pub gate: Gate,
    /// The number of the present or last process.
    pub generation: Generation,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// What the present process said of itself, once it has.
    pub handshake: Option<Arc<Handshake>>,
    /// The pipes to the present process while it finishes what is in flight and takes nothing new.
    pub finishing: Option<Arc<Link>>,
    /// Why the last process is gone, or none could be made.
    pub cause: Option<Cause>,
    /// Processes that ended by themselves.
    pub n_failures: u64,
    /// There had been too many of these, and the present process is the one attempt until it has proven itself.
    pub on_probation: bool,
}

/// What becomes of a call that comes now, in numbers and words; see [`Gate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes out at once.
    GoesOut,
    /// It starts a process, and waits for it.
    Starts,
    /// It waits for a process.
    Waits,
    /// It is refused at once, and told when to come again, if that is known.
    Refused {
        /// From now on.
        again_in: Option<Duration>,
    },
}

impl ChildStatus {
    /// What becomes of a call that comes now, where calls wait for a process as long as `queue_wait`.
    pub fn fate(&self, now: Instant, queue_wait: Duration) -> Fate {
        let until = |at: Instant| at.saturating_duration_since(now);
        match &self.gate {
            Gate::Open(_) => Fate::GoesOut,
            Gate::OnDemand => Fate::Starts,
            Gate::Soon { at: Some(at) } if until(*at) > queue_wait => Fate::Refused {
                again_in: Some(until(*at)),
            },
            Gate::Soon { .. } => Fate::Waits,
            Gate::Shut { retry_at } => Fate::Refused {
                again_in: retry_at.map(until),
            },
        }
    }

    /// Whether the kernel holds its process, so that no order is carried out until that is gone.
    pub fn is_stuck(&self) -> bool {
        matches!(self.cause, Some(Cause::Unkillable { .. })) && self.state == "failed"
    }
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub enum Gate {
    /// It goes out at once.
    Open(Arc<Link>),
    /// It waits: the child will take calls soon, at `at` the earliest where that is known.
    Soon {
        /// When the next process is started.
        at: Option<Instant>,
    },
    /// It waits, and somebody has to say that it does: nobody needed the child until now.
    OnDemand,
    /// It is refused.
    Shut {
        /// When there is one more attempt.
        retry_at: Option<Instant>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(gate: Gate) -> ChildStatus {
        ChildStatus {
            state: "backoff",
            since: Instant::now(),
            gate,
            generation: Generation(1),
            pid: None,
            handshake: None,
            finishing: None,
            cause: None,
            n_failures: 1,
            on_probation: false,
        }
    }

    #[test]
    fn a_call_waits_for_a_process_that_comes_in_time_and_no_longer() {
        let (now, queue_wait) = (Instant::now(), Duration::from_secs(10));
        let fate = |gate| status(gate).fate(now, queue_wait);
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        assert_eq!(fate(Gate::Open(Link::new(Generation(1), 1).0)), Fate::GoesOut);
        assert_eq!(fate(Gate::OnDemand), Fate::Starts);
        assert_eq!(fate(Gate::Soon { at: None }), Fate::Waits);
        assert_eq!(fate(Gate::Soon { at: at(10) }), Fate::Waits);
        let again_in = Some(Duration::from_secs(11));
        assert_eq!(fate(Gate::Soon { at: at(11) }), Fate::Refused { again_in });
        assert_eq!(fate(Gate::Shut { retry_at: at(11) }), Fate::Refused { again_in });
        let never = Fate::Refused { again_in: None };
        assert_eq!(fate(Gate::Shut { retry_at: None }), never);
    }
}
