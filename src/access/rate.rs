//! How often: a rate, and the window that slides over what has happened. Pure: the time is an argument.

use std::str::FromStr;
use std::time::Duration;

use tokio::time::Instant;

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many. At least 1.
    pub n: u32,
    /// In how long.
    pub per: Duration,
}

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate: write it as 10/s, 60/min or 1000/h, at least 1")]
pub struct BadRate(String);

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let bad = || BadRate(text.to_owned());
        let (n, unit) = text.split_once('/').ok_or_else(bad)?;
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3_600,
            _unknown => return Err(bad()),
        };
        let n = n.trim().parse().ok().filter(|n| *n > 0).ok_or_else(bad)?;
        Ok(Self {
            n,
            per: Duration::from_secs(seconds),
        })
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "min",
            _hour => "h",
        };
        write!(f, "{}/{unit}", self.n)
    }
}

/// What has happened lately: this span of time and the one before. The one before counts for as much of it as the
/// window that ends now still covers, as if its events were spread evenly.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    began: Option<Instant>,
    n_before: u32,
    n_now: u32,
}

impl Window {
    /// Takes one more in.
    ///
    /// # Errors
    /// There were too many: how long it takes until there is room for one, if no other comes meanwhile.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let per = rate.per;
        let mut began = self.began.unwrap_or(now);
        let gone = now.saturating_duration_since(began);
        if gone >= per * 2 {
            (began, self.n_before, self.n_now) = (now, 0, 0);
        } else if gone >= per {
            (began, self.n_before, self.n_now) = (began + per, self.n_now, 0);
        }
        self.began = Some(began);
        let gone = now.saturating_duration_since(began);
        let left = per.saturating_sub(gone);
        // In events times nanoseconds, so that nothing is rounded.
        let room = u128::from(rate.n) * per.as_nanos();
        let used = u128::from(self.n_before) * left.as_nanos() + u128::from(self.n_now) * per.as_nanos();
        if used + per.as_nanos() <= room {
            self.n_now += 1;
            return Ok(());
        }
        Err(self.wait(rate, left, room))
    }

    /// How long until one more fits.
    fn wait(&self, rate: Rate, left: Duration, room: u128) -> Duration {
        let per = rate.per.as_nanos();
        let nanos = |n: u128| Duration::from_nanos(u64::try_from(n).unwrap_or(u64::MAX));
        let for_earlier = room.saturating_sub(per * (u128::from(self.n_now) + 1));
        if self.n_now < rate.n && self.n_before > 0 {
            // Within this span: until the one before counts little enough.
            let may_be_left = for_earlier / u128::from(self.n_before);
            return nanos(left.as_nanos().saturating_sub(may_be_left));
        }
        // In the next span what is now counts as before.
        let for_earlier = room.saturating_sub(per);
        let may_be_left = for_earlier / u128::from(self.n_now.max(1));
        left + nanos(per.saturating_sub(may_be_left))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for (text, n, seconds, shown) in [
            ("60/min", 60, 60, "60/min"),
            ("1/s", 1, 1, "1/s"),
            ("1000/hour", 1000, 3600, "1000/h"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.n, rate.per.as_secs()), (n, seconds));
            assert_eq!(rate.to_string(), shown);
        }
        for bad in ["", "60", "0/min", "-1/s", "1/day", "x/s", "1.5/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever the pauses: never more than twice the rate in any span, and who waits as told gets in.
        #[test]
        fn a_window_holds_and_tells_how_long(n in 1_u32..20, pauses in prop::collection::vec(0_u64..3_000, 1..200)) {
            let rate = Rate { n, per: Duration::from_secs(1) };
            let mut now = Instant::now();
            let mut window = Window::default();
            let mut taken: Vec<Instant> = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause / 10);
                match window.take(rate, now) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        prop_assert!(wait <= rate.per * 2, "{wait:?}");
                        prop_assert!(wait > Duration::ZERO);
                        let mut later = window;
                        prop_assert!(later.take(rate, now + wait).is_ok(), "{wait:?}");
                    }
                }
                let lately = taken.iter().filter(|at| now.saturating_duration_since(**at) < rate.per).count();
                prop_assert!(lately <= 2 * usize::try_from(n).unwrap(), "{lately}");
            }
        }
    }

    #[test]
    fn a_burst_is_let_in_up_to_the_rate_and_then_as_time_goes_by() {
        let rate = Rate {
            n: 4,
            per: Duration::from_secs(60),
        };
        let begin = Instant::now();
        let mut window = Window::default();
        for _ in 0..4 {
            window.take(rate, begin).unwrap();
        }
        let wait = window.take(rate, begin).unwrap_err();
        assert_eq!(wait, Duration::from_secs(75));
        assert!(window.take(rate, begin + Duration::from_secs(74)).is_err());
        window.take(rate, begin + Duration::from_secs(75)).unwrap();
        let much_later = begin + Duration::from_secs(1_000);
        for _ in 0..4 {
            window.take(rate, much_later).unwrap();
        }
    }
}
