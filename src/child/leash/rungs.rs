//! How hard a leash asks its tree to go, and when: as the daemon says, or, when that is gone, by itself.
//! No IO, no clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::event::Rung;

/// Without the daemon nobody waits longer for a tree that its stdin has ended, whatever was declared: a daemon that
/// was killed leaves nothing for longer than 8 s.
const EOF_GRACE_MAX: Duration = Duration::from_secs(2);
/// Nor after SIGTERM.
const TERM_GRACE_MAX: Duration = Duration::from_secs(5);
/// What SIGKILL does not end in this time (the kernel holds it, or it is another user's) nobody ends.
const KILL_GRACE: Duration = Duration::from_secs(60);

/// Where a leash stands.
#[derive(Debug)]
pub(super) struct Rungs {
    eof_grace: Duration,
    term_grace: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The daemon decides, and wants nothing now.
    Holding,
    /// SIGTERM was wanted: to be sent.
    Terminating,
    /// The tree is to be killed, again and again until nothing is left.
    Killing { next: Instant },
    /// The daemon is gone.
    Alone { step: Step, at: Instant },
}

/// What comes next for a leash that is alone.
#[derive(Debug, Clone, Copy)]
enum Step {
    Terminate,
    Kill,
    KillAgain { give_up_at: Instant },
}

impl Rungs {
    pub(super) fn new(eof_grace: Duration, term_grace: Duration) -> Self {
        Self {
            eof_grace: eof_grace.min(EOF_GRACE_MAX),
            term_grace: term_grace.min(TERM_GRACE_MAX),
            state: State::Holding,
        }
    }

    /// The daemon says how hard. It never says less than before.
    pub(super) fn told(&mut self, rung: Rung, now: Instant) {
        match (self.state, rung) {
            (State::Holding, Rung::Terminated) => self.state = State::Terminating,
            (State::Holding | State::Terminating, Rung::Killed) => self.state = State::Killing { next: now },
            (_, Rung::StdinClosed)
            | (State::Terminating | State::Killing { .. } | State::Alone { .. }, _) => {}
        }
    }

    /// The daemon is gone, and the stdin of the server with it.
    pub(super) fn left_alone(&mut self, now: Instant) {
        let (step, at) = match self.state {
            State::Holding => (Step::Terminate, now + self.eof_grace),
            State::Terminating => (Step::Terminate, now),
            State::Killing { .. } => (Step::Kill, now),
            State::Alone { step, at } => (step, at),
        };
        self.state = State::Alone { step, at };
    }

    /// What is to be done now, if anything; it is taken for done.
    pub(super) fn due(&mut self, now: Instant) -> Option<Rung> {
        match self.state {
            State::Terminating => {
                self.state = State::Holding;
                Some(Rung::Terminated)
            }
            State::Killing { next } if next <= now => Some(Rung::Killed),
            State::Alone { step, at } if at <= now => Some(self.climb(step, now)),
            State::Holding | State::Killing { .. } | State::Alone { .. } => None,
        }
    }

    fn climb(&mut self, step: Step, now: Instant) -> Rung {
        let (step, at, rung) = match step {
            Step::Terminate => (Step::Kill, now + self.term_grace, Rung::Terminated),
            Step::Kill => (
                Step::KillAgain {
                    give_up_at: now + KILL_GRACE,
                },
                now,
                Rung::Killed,
            ),
            Step::KillAgain { give_up_at } => (Step::KillAgain { give_up_at }, now, Rung::Killed),
        };
        self.state = State::Alone { step, at };
        rung
    }

    /// Those that were killed may have forked meanwhile: when to look again.
    pub(super) fn look_again_at(&mut self, then: Instant) {
        match &mut self.state {
            State::Killing { next: at } | State::Alone { at, .. } => *at = then,
            State::Holding | State::Terminating => {}
        }
    }

    /// Whether there is nobody left who would tell.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.state, State::Alone { .. })
    }

    /// Whether nothing more can be done. With a daemon that is for it to say.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        match self.state {
            State::Alone {
                step: Step::KillAgain { give_up_at },
                ..
            } => give_up_at <= now,
            State::Holding | State::Terminating | State::Killing { .. } | State::Alone { .. } => false,
        }
    }

    /// When there is something to do, if nothing else happens.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        match self.state {
            State::Holding | State::Terminating => None,
            State::Killing { next: at } | State::Alone { at, .. } => Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn alone_it_climbs_all_rungs_within_eight_seconds_whatever_was_declared() {
        let begun = Instant::now();
        let mut rungs = Rungs::new(LONG, LONG);
        assert!(rungs.wake_at().is_none());
        rungs.left_alone(begun);
        let mut told = Vec::new();
        for _ in 0..2 {
            let at = rungs.wake_at().unwrap();
            assert_eq!(rungs.due(at - Duration::from_millis(1)), None);
            told.push((rungs.due(at).unwrap(), at - begun));
        }
        let seconds = Duration::from_secs;
        assert_eq!(told, [(Rung::Terminated, seconds(2)), (Rung::Killed, seconds(7))]);
    }

    #[test]
    fn alone_it_kills_again_until_it_gives_up() {
        let begun = Instant::now();
        let mut rungs = Rungs::new(Duration::ZERO, Duration::ZERO);
        rungs.left_alone(begun);
        assert_eq!(rungs.due(begun), Some(Rung::Terminated));
        assert_eq!(rungs.due(begun), Some(Rung::Killed));
        let later = begun + Duration::from_secs(1);
        rungs.look_again_at(later);
        assert_eq!(rungs.due(begun), None);
        assert_eq!(rungs.due(later), Some(Rung::Killed));
        assert!(!rungs.is_over(later));
        assert!(rungs.is_over(begun + KILL_GRACE));
    }

    #[test]
    fn the_daemon_decides_and_what_it_said_last_counts_when_it_is_gone() {
        let now = Instant::now();
        let mut rungs = Rungs::new(LONG, LONG);
        rungs.told(Rung::StdinClosed, now);
        assert_eq!(rungs.due(now), None);
        rungs.told(Rung::Terminated, now);
        assert_eq!(rungs.due(now), Some(Rung::Terminated));
        assert_eq!(rungs.due(now), None, "SIGTERM is sent once");
        rungs.told(Rung::Killed, now);
        assert_eq!(rungs.due(now), Some(Rung::Killed));
        rungs.told(Rung::Terminated, now);
        rungs.look_again_at(now + LONG);
        rungs.left_alone(now);
        assert_eq!(rungs.due(now), Some(Rung::Killed), "never back");
    }
}
