//! What happens in the chain: every event is a pure function of the seed, the department and its number.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::department::{BRANCHES, Department, Figures};
use crate::demo::words::Word;

/// One event of one department.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// Counts up without gaps within its department.
    pub(super) sequence: u64,
    pub(super) department: Department,
    pub(super) branch: &'static str,
    pub(super) what: What,
}

/// What the event tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// The source was read.
    Live(Figures),
    /// The source fails: these figures are the last ones it gave for this branch, with the number of their event.
    Cached(Figures, u64),
    /// The source fails, and nothing is cached: these are usual figures.
    Estimated(Figures),
    /// The source was tried, and failed with this sentence.
    Failed(String),
}

impl Event {
    pub(super) fn figures(&self) -> Option<&Figures> {
        match &self.what {
            What::Live(figures) | What::Cached(figures, _) | What::Estimated(figures) => Some(figures),
            What::Failed(_) => None,
        }
    }

    /// Where what it tells comes from, as clients read it.
    pub(super) fn source(&self) -> &'static str {
        match self.what {
            What::Live(_) | What::Failed(_) => "live",
            What::Cached(..) | What::Estimated(_) => "fallback",
        }
    }

    /// The event on one line.
    pub(super) fn line(&self) -> String {
        let told = match &self.what {
            What::Live(figures) => self.department.tell(figures),
            What::Cached(figures, from) => {
                let told = self.department.tell(figures);
                format!("{told} (fallback: cached from event {from})")
            }
            What::Estimated(figures) => format!("{} (fallback: estimated)", self.department.tell(figures)),
            What::Failed(why) => format!("ERROR: {why}"),
        };
        let (at, department) = (time_of(self.sequence), self.department.as_str());
        format!("{at} {department} {}: {told}", self.branch)
    }

    pub(super) fn to_json(&self) -> Value {
        let mut members = Map::from_iter([
            ("sequence".to_owned(), json!(self.sequence)),
            ("at".to_owned(), json!(time_of(self.sequence))),
            ("department".to_owned(), json!(self.department)),
            ("branch".to_owned(), json!(self.branch)),
            ("source".to_owned(), json!(self.source())),
            ("text".to_owned(), json!(self.line())),
        ]);
        let (kind, more) = match &self.what {
            What::Failed(why) => ("error", ("error", json!(why))),
            What::Live(figures) | What::Cached(figures, _) | What::Estimated(figures) => {
                ("reading", ("figures", figures_json(figures)))
            }
        };
        members.insert("kind".to_owned(), json!(kind));
        members.insert(more.0.to_owned(), more.1);
        Value::Object(members)
    }
}

/// Figures by name.
pub(super) fn figures_json(figures: &Figures) -> Value {
    figures
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect::<Map<_, _>>()
        .into()
}

/// The branch an event is about: they take turns.
pub(super) fn branch_of(sequence: u64) -> &'static str {
    let turn = usize::try_from(sequence % 4).unwrap_or(0);
    BRANCHES.get(turn).copied().unwrap_or_default()
}

/// Readings of one day: a quarter of an hour each, from eleven to eleven.
pub(super) const READINGS_PER_DAY: u64 = 48;

/// The day of the first events, 2025-11-03, as seconds since 1970.
const FIRST_DAY: u64 = 1_762_128_000;

/// The chain's own clock, so that equal seeds tell equal stories whenever they are told.
fn time_of(sequence: u64) -> String {
    let (day, slot) = (sequence / READINGS_PER_DAY, sequence % READINGS_PER_DAY);
    let seconds = day
        .saturating_mul(24 * 3600)
        .saturating_add(FIRST_DAY + 11 * 3600 + slot * 15 * 60);
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    humantime::format_rfc3339_seconds(at.unwrap_or(SystemTime::UNIX_EPOCH)).to_string()
}

/// What the source would tell.
pub(super) fn live_figures(seed: u64, department: Department, sequence: u64) -> Figures {
    let mut dice = Dice::new(seed, department, "figures", sequence);
    let [first, second] = department.measures();
    let (one, two) = match department {
        Department::Sales => {
            let orders = dice.between(5, 40);
            (orders, orders * dice.between(14, 31))
        }
        Department::Bookings => {
            let tables = dice.between(2, 12);
            (tables, tables * 2 + dice.between(0, tables * 2))
        }
        Department::Occupancy => {
            let seats = dice.between(6, 60);
            (seats, seats * 100 / 60)
        }
        Department::Shifts => {
            let planned = dice.between(4, 12);
            (planned - dice.between(0, 2), planned)
        }
    };
    [(first, one), (second, two)]
}

/// In so many readings there is at most one outage of the source.
const OUTAGE_EVERY: u64 = 16;

/// How far into an outage of its own making the source is; `None` while it works.
pub(super) fn outage_at(seed: u64, department: Department, sequence: u64) -> Option<u64> {
    let mut dice = Dice::new(seed, department, "outage", sequence / OUTAGE_EVERY);
    let (happens, from, length) = (dice.between(0, 2) == 0, dice.between(4, 10), dice.between(3, 5));
    let into = (sequence % OUTAGE_EVERY).checked_sub(from)?;
    (happens && into < length).then_some(into)
}

/// Equal throws for equal beginnings. The generator is SplitMix64, by Sebastiano Vigna, in the public domain.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, department: Department, purpose: &str, number: u64) -> Self {
        let mut dice = Self(seed);
        for byte in department.as_str().bytes().chain(purpose.bytes()) {
            dice.0 = dice.throw() ^ u64::from(byte);
        }
        dice.0 = dice.throw() ^ number;
        dice
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.throw() % (most - least + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut dice = Dice(1_234_567);
        assert_eq!(
            [dice.throw(), dice.throw()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn an_event_is_told_in_words_and_in_json() {
        let mut event = Event {
            sequence: 49,
            department: Department::Sales,
            branch: "Harbour",
            what: What::Cached([("orders", 3), ("revenue_eur", 60)], 45),
        };
        assert_eq!(
            event.line(),
            "2025-11-04T11:15:00Z sales Harbour: 3 orders, 60 EUR (fallback: cached from event 45)"
        );
        assert_eq!(
            event.to_json(),
            json!({ "sequence": 49, "at": "2025-11-04T11:15:00Z", "department": "sales", "branch": "Harbour",
                "kind": "reading", "source": "fallback", "figures": { "orders": 3, "revenue_eur": 60 },
                "text": event.line() })
        );
        event.what = What::Failed("it broke".to_owned());
        let told = event.to_json();
        assert_eq!(
            (&told["kind"], &told["error"]),
            (&json!("error"), &json!("it broke"))
        );
        assert!(told.get("figures").is_none());
    }

    #[test]
    fn every_department_fails_now_and_then_and_works_most_of_the_time() {
        for department in Department::ALL {
            let failing = (0..1600)
                .filter(|n| outage_at(7, *department, *n).is_some())
                .count();
            assert!((50..300).contains(&failing), "{department:?} {failing}");
        }
    }

    #[test]
    fn figures_make_sense() {
        for department in Department::ALL {
            for n in 0..500 {
                let figures = live_figures(7, *department, n);
                let [(_, one), (_, two)] = figures;
                assert_eq!(figures.map(|(name, _)| name), department.measures());
                let sensible = match department {
                    Department::Sales | Department::Bookings => one > 0 && two > one,
                    Department::Occupancy => one <= 60 && two <= 100,
                    Department::Shifts => one >= 2 && one <= two,
                };
                assert!(sensible, "{figures:?}");
            }
        }
    }
}
