//! How long to wait before trying again: the one module that knows the `backoff` crate.
//!
//! Two policies: [`DatabaseRetry`] for a registry that another process holds, [`RestartDelays`] for a child
//! that ended. The first sleeps, so it belongs on a blocking thread; the second only computes.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// Patience with a database that somebody else is writing to: 5 tries, 20 ms doubling, jittered, 5 s in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DatabaseRetry {
    /// How often it is tried at most, the first time included.
    pub n_tries_max: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub initial: Duration,
    /// No new try begins after this long.
    pub total_max: Duration,
}

impl Default for DatabaseRetry {
    fn default() -> Self {
        Self {
            n_tries_max: 5,
            initial: Duration::from_millis(20),
            total_max: Duration::from_secs(5),
        }
    }
}

impl DatabaseRetry {
    /// Part of a wait that is random, each way: two processes that collided must not meet again.
    const JITTER: f64 = 0.5;

    /// Tries until it works, or the error is not a passing one, or the patience is used up.
    ///
    /// Sleeps between tries: for blocking threads only.
    ///
    /// # Errors
    /// The last error of `attempt`.
    pub fn run<T, E>(
        &self,
        mut attempt: impl FnMut() -> Result<T, E>,
        passes: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let mut n_tries = 0;
        let tried = backoff::retry(self.waits(), || {
            n_tries += 1;
            attempt().map_err(|error| {
                if passes(&error) && n_tries < self.n_tries_max {
                    backoff::Error::transient(error)
                } else {
                    backoff::Error::permanent(error)
                }
            })
        });
        tried.map_err(|error| match error {
            backoff::Error::Permanent(error) | backoff::Error::Transient { err: error, .. } => error,
        })
    }

    fn waits(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(self.initial)
            .with_multiplier(2.0)
            .with_randomization_factor(Self::JITTER)
            .with_max_interval(self.total_max)
            .with_max_elapsed_time(Some(self.total_max))
            .build()
    }
}

/// The waits between the restarts of one child. Never gives up: that is for the failure budget to say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestartDelays {
    /// The wait after the first failure.
    pub initial: Duration,
    /// Growth per further failure; less than 1 counts as 1.
    pub factor: f64,
    /// No wait is longer, jitter included.
    pub max: Duration,
    /// Part of the wait that is random, each way, 0 to 1.
    pub jitter: f64,
}

impl RestartDelays {
    /// The wait before the start that follows the `n_failures`-th failure, with jitter.
    pub fn next_wait(&self, n_failures: u32) -> Duration {
        let base = self.base_wait(n_failures);
        let mut waits = ExponentialBackoffBuilder::new()
            .with_initial_interval(base)
            .with_max_interval(base)
            .with_randomization_factor(self.jitter.clamp(0.0, 1.0))
            // A limit on elapsed time would make the crate say "no more", which is not its decision.
            .with_max_elapsed_time(None)
            .build();
        waits.next_backoff().unwrap_or(base).min(self.max)
    }

    /// The same without jitter: `initial × factor^(n_failures − 1)`, at most `max`. 0 counts as 1.
    pub fn base_wait(&self, n_failures: u32) -> Duration {
        let growths = i32::try_from(n_failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.max(1.0).powi(growths);
        // Too large for a `Duration`, or not a number: certainly no less than the longest wait.
        Duration::try_from_secs_f64(seconds)
            .unwrap_or(self.max)
            .min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    fn quick() -> DatabaseRetry {
        DatabaseRetry {
            initial: Duration::from_micros(10),
            ..DatabaseRetry::default()
        }
    }

    #[test]
    fn a_passing_error_is_tried_five_times_and_then_told() {
        let n = Cell::new(0);
        let told = quick().run(
            || -> Result<(), _> {
                n.set(n.get() + 1);
                Err("locked")
            },
            |_| true,
        );
        assert_eq!((told, n.get()), (Err("locked"), 5));
    }

    #[test]
    fn another_error_is_told_at_once() {
        let n = Cell::new(0);
        let told = quick().run(
            || -> Result<(), _> {
                n.set(n.get() + 1);
                Err("full")
            },
            |error| *error == "locked",
        );
        assert_eq!((told, n.get()), (Err("full"), 1));
    }

    #[test]
    fn success_after_failures_is_success() {
        let n = Cell::new(0);
        let attempt = || {
            n.set(n.get() + 1);
            if n.get() < 4 { Err("locked") } else { Ok(n.get()) }
        };
        assert_eq!(quick().run(attempt, |_| true), Ok(4));
    }

    fn delays() -> impl Strategy<Value = RestartDelays> {
        (1u64..10_000, 1.0f64..10.0, 1u64..600_000, 0.0f64..=1.0).prop_map(
            |(initial, factor, max, jitter)| RestartDelays {
                initial: Duration::from_millis(initial),
                factor,
                max: Duration::from_millis(max),
                jitter,
            },
        )
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_its_jitter_and_the_limit(delays in delays(), n: u32) {
            let base = delays.base_wait(n).as_secs_f64();
            let wait = delays.next_wait(n);
            prop_assert!(wait <= delays.max);
            // A microsecond for the rounding of nanoseconds through floating point.
            prop_assert!(wait.as_secs_f64() >= base * (1.0 - delays.jitter) - 1e-6);
            prop_assert!(wait.as_secs_f64() <= base * (1.0 + delays.jitter) + 1e-6);
        }

        #[test]
        fn waits_without_jitter_never_shrink(delays in delays(), n in 0u32..1_000_000) {
            prop_assert!(delays.base_wait(n) <= delays.base_wait(n + 1));
        }
    }

    #[test]
    fn the_default_waits_are_those_of_the_book() {
        let delays = RestartDelays {
            initial: Duration::from_millis(250),
            factor: 2.0,
            max: Duration::from_secs(60),
            jitter: 0.2,
        };
        let ms: Vec<_> = [0, 1, 2, 3, 9, u32::MAX]
            .map(|n| delays.base_wait(n).as_millis())
            .to_vec();
        assert_eq!(ms, [250, 250, 500, 1000, 60_000, 60_000]);
    }
}
