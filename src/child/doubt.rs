//! Whether a silent server still lives: doubts grow from pings without an answer, and are confirmed by other means
//! before it costs a process its life. Pure.
//!
//! A server is pinged when nothing is heard from it and nobody waits for it. Too many pings in a row without an
//! answer make it suspect, and then, silent through one more ping of twice the patience, hung. What spares it:
//! - a call in flight, which has a deadline of its own;
//! - work: its processes have used the processor meanwhile. Not for longer than a call may take (`call_max`);
//! - that it does not know pings (-32601), or has never answered one: silence is no sign then. Except that it is
//!   stopped by a signal, which can be seen from outside;
//! - that we have slept ourselves: a ping that was waited for much longer than meant says nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::usage::Usage;
use crate::config::spec::Policy;

/// Who uses less of a processor than this many hundredths does nothing that it was asked for.
const WORK_HUNDREDTHS: u32 = 5;
/// A timer may come so late on a busy machine; later, and we have slept.
const LATENESS: Duration = Duration::from_secs(5);

/// What a server makes of pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pings {
    /// It has not answered one yet: it is pinged, and not judged by it.
    Untried,
    /// It has answered one.
    Answered,
    /// It does not know them.
    Off,
}

/// What to do when it is time to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It was heard.
    Alive,
    /// Nothing: somebody waits for it.
    Rest,
    /// Look at it, after a ping (or without one) and so much patience.
    Look { ping: bool, patience: Duration },
}

/// What came of a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pong {
    /// An answer.
    Answered,
    /// It does not know the method.
    NotKnown,
    /// No answer, but something else was heard.
    Heard,
    /// Nothing.
    Silent,
}

/// One look at a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// When it began.
    pub(super) began: Instant,
    /// What the ping gave.
    pub(super) pong: Pong,
    /// What the tree used when it began; `None` where that cannot be seen.
    pub(super) before: Option<Usage>,
    /// What it used when it ended.
    pub(super) after: Option<Usage>,
    /// Whether somebody waits for it now.
    pub(super) is_called: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It lives.
    Alive,
    /// Nothing yet.
    Nothing,
    /// From now on its silence is no sign.
    Unpinged,
    /// It does not answer. Look again at once.
    Suspect,
    /// It does not live.
    Hung,
}

/// What is held against one process.
#[derive(Debug)]
pub(super) struct Doubt {
    timeout: Duration,
    threshold: u32,
    work_max: Duration,
    pings: Pings,
    /// It was told that it is not judged by pings.
    is_unpinged: bool,
    n_missed: u32,
    /// Of the tree when the present watch for work began, and when that was.
    work: Option<(Duration, Instant)>,
    silent_since: Instant,
    is_suspect: bool,
}

impl Doubt {
    /// Nothing yet.
    pub(super) fn new(policy: &Policy, now: Instant) -> Self {
        Self {
            timeout: policy.probe_timeout,
            threshold: policy.probe_threshold.max(1),
            work_max: policy.call_max,
            pings: Pings::Untried,
            is_unpinged: false,
            n_missed: 0,
            work: None,
            silent_since: now,
            is_suspect: false,
        }
    }

    /// It is time to look. `was_heard`: since that was asked last.
    pub(super) fn tick(&mut self, now: Instant, was_heard: bool, is_called: bool) -> Step {
        // Until it has answered one, also a busy server is pinged: only then its silence will be a sign.
        let is_untried = self.pings == Pings::Untried;
        if was_heard {
            let was_suspect = self.is_suspect;
            self.calm(now);
            if was_suspect || !is_untried {
                return Step::Alive;
            }
        }
        if is_called && !is_untried {
            return Step::Rest;
        }
        Step::Look {
            ping: self.pings != Pings::Off,
            patience: if self.is_suspect {
                2 * self.timeout
            } else {
                self.timeout
            },
        }
    }

    /// It was looked at.
    pub(super) fn looked(&mut self, now: Instant, patience: Duration, look: Look) -> Finding {
        match look.pong {
            Pong::Answered => self.pings = Pings::Answered,
            Pong::NotKnown => {
                let was_suspect = self.is_suspect;
                self.calm(now);
                self.pings = Pings::Off;
                return if was_suspect {
                    Finding::Alive
                } else {
                    self.unpinged()
                };
            }
            Pong::Heard => {}
            Pong::Silent => return self.silent(now, patience, look),
        }
        self.calm(now);
        Finding::Alive
    }

    fn silent(&mut self, now: Instant, patience: Duration, look: Look) -> Finding {
        let has_slept = now.saturating_duration_since(look.began) > 2 * patience + LATENESS;
        if has_slept || look.is_called {
            return Finding::Nothing;
        }
        self.n_missed = self.n_missed.saturating_add(1);
        if self.work.is_none() {
            self.work = look.before.map(|usage| (usage.cpu, look.began));
        }
        if self.n_missed < self.threshold {
            return Finding::Nothing;
        }
        let is_stopped = look.after.is_some_and(|usage| usage.is_stopped);
        if self.pings != Pings::Answered && !is_stopped {
            return self.unjudged();
        }
        let is_at_work = look.after.is_some_and(|usage| self.works(now, &usage));
        self.work = look.after.map(|usage| (usage.cpu, now));
        if is_at_work && now.saturating_duration_since(self.silent_since) < self.work_max {
            self.n_missed = self.threshold - 1;
            let was_suspect = std::mem::take(&mut self.is_suspect);
            return if was_suspect {
                Finding::Alive
            } else {
                Finding::Nothing
            };
        }
        if std::mem::replace(&mut self.is_suspect, true) {
            Finding::Hung
        } else {
            Finding::Suspect
        }
    }

    /// Whether its processes have worked since we began to watch for it.
    fn works(&self, now: Instant, usage: &Usage) -> bool {
        let has_worked = self.work.is_some_and(|(before, since)| {
            let worked = usage.cpu.saturating_sub(before);
            worked * 100 >= now.saturating_duration_since(since) * WORK_HUNDREDTHS
        });
        // On a machine without a free processor it may only wait for its turn.
        has_worked || usage.is_running
    }

    /// It is silent, and that is no sign.
    fn unjudged(&mut self) -> Finding {
        self.n_missed = 0;
        self.work = None;
        let was_suspect = std::mem::take(&mut self.is_suspect);
        if was_suspect {
            return Finding::Alive;
        }
        self.unpinged()
    }

    fn unpinged(&mut self) -> Finding {
        if std::mem::replace(&mut self.is_unpinged, true) {
            Finding::Nothing
        } else {
            Finding::Unpinged
        }
    }

    fn calm(&mut self, now: Instant) {
        self.n_missed = 0;
        self.work = None;
        self.silent_since = now;
        self.is_suspect = false;
    }
}

#[cfg(test)]
#[path = "doubt_tests.rs"]
mod tests;
