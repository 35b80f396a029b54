//! The events in the order in which they happen, and what is remembered of them. Pure: the time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::department::{BRANCHES, Department, Figures};
use super::event::{Event, What, branch_of, live_figures, outage_at};

/// How many events of a department are remembered.
pub(super) const RECENT: usize = 20;

/// While a source fails, it is tried again with every so manieth reading.
const TRIED_EVERY: u64 = 5;

/// All departments on offer.
#[derive(Debug)]
pub(super) struct Feed {
    seed: u64,
    sources: BTreeMap<Department, Source>,
}

#[derive(Debug, Default)]
struct Source {
    next: u64,
    recent: VecDeque<Event>,
    /// The figures last read live, by branch, with the number of their event.
    cache: BTreeMap<&'static str, (Figures, u64)>,
    outage: Option<Outage>,
}

/// An outage that somebody asked for.
#[derive(Debug)]
struct Outage {
    until: Instant,
    why: String,
    readings: u64,
}

/// How a department stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    pub(super) source: &'static str,
    /// Events so far.
    pub(super) events: u64,
    /// Of the remembered events.
    pub(super) errors: usize,
    /// The last reading of every branch.
    pub(super) branches: Vec<Event>,
}

impl Feed {
    /// The chain has been open for a while: there is something to read at once.
    pub(super) fn new(seed: u64, departments: &[Department], now: Instant) -> Self {
        let sources = departments
            .iter()
            .map(|department| (*department, Source::default()));
        let mut feed = Self {
            seed,
            sources: sources.collect(),
        };
        for department in departments {
            for _ in 0..RECENT {
                feed.take(*department, now);
            }
        }
        feed
    }

    /// The next event of a department; `None` when it is not on offer.
    pub(super) fn take(&mut self, department: Department, now: Instant) -> Option<Event> {
        let source = self.sources.get_mut(&department)?;
        let sequence = source.next;
        source.next += 1;
        let event = Event {
            sequence,
            department,
            branch: branch_of(sequence),
            what: source.read(self.seed, department, sequence, now),
        };
        source.remember(&event);
        Some(event)
    }

    /// Lets the source of a department fail for a while. The first failure is the next event.
    pub(super) fn fail(&mut self, department: Department, time: Duration, why: &str, now: Instant) {
        if let Some(source) = self.sources.get_mut(&department) {
            source.outage = Some(Outage {
                until: now + time,
                why: why.to_owned(),
                readings: 0,
            });
        }
    }

    /// The remembered events of a department, the oldest first.
    pub(super) fn recent(&self, department: Department) -> Vec<Event> {
        let source = self.sources.get(&department);
        source.map_or_else(Vec::new, |source| source.recent.iter().cloned().collect())
    }

    /// How a department stands; `None` when it is not on offer.
    pub(super) fn standing(&self, department: Department, now: Instant) -> Option<Standing> {
        let source = self.sources.get(&department)?;
        let fails = source.outage.as_ref().is_some_and(|outage| now < outage.until)
            || source
                .recent
                .back()
                .is_some_and(|event| !matches!(event.what, What::Live(_)));
        let last = |branch: &&str| {
            let mut readings = source
                .recent
                .iter()
                .rev()
                .filter(|event| event.figures().is_some());
            readings.find(|event| event.branch == *branch).cloned()
        };
        Some(Standing {
            source: if fails { "fallback" } else { "live" },
            events: source.next,
            errors: source
                .recent
                .iter()
                .filter(|event| matches!(event.what, What::Failed(_)))
                .count(),
            branches: BRANCHES.iter().filter_map(last).collect(),
        })
    }
}

impl Source {
    fn read(&mut self, seed: u64, department: Department, sequence: u64, now: Instant) -> What {
        let branch = branch_of(sequence);
        match self.failing(seed, department, sequence, now) {
            None => What::Live(live_figures(seed, department, sequence)),
            Some((into, why)) if into % TRIED_EVERY == 0 => What::Failed(why),
            Some(_) => match self.cache.get(branch) {
                Some((figures, from)) => What::Cached(*figures, *from),
                None => What::Estimated(department.usual()),
            },
        }
    }

    /// How many readings into an outage we are, and what is wrong.
    fn failing(
        &mut self,
        seed: u64,
        department: Department,
        sequence: u64,
        now: Instant,
    ) -> Option<(u64, String)> {
        self.outage.take_if(|outage| now >= outage.until);
        if let Some(outage) = &mut self.outage {
            outage.readings += 1;
            return Some((outage.readings - 1, outage.why.clone()));
        }
        let into = outage_at(seed, department, sequence)?;
        Some((into, format!("{} does not answer", department.source())))
    }

    fn remember(&mut self, event: &Event) {
        if let What::Live(figures) = event.what {
            self.cache.insert(event.branch, (figures, event.sequence));
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::words::Word;

    fn story(seed: u64, n: usize) -> Vec<Event> {
        let now = Instant::now();
        let mut feed = Feed::new(seed, Department::ALL, now);
        (0..n)
            .flat_map(|_| {
                Department::ALL
                    .iter()
                    .map(|d| feed.take(*d, now).unwrap())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn equal_seeds_tell_equal_stories_and_others_do_not() {
        assert_eq!(story(7, 100), story(7, 100));
        assert_ne!(story(7, 100), story(8, 100));
    }

    #[test]
    fn an_outage_begins_with_an_error_and_goes_on_with_what_was_read_before() {
        let sales: Vec<Event> = story(7, 400)
            .into_iter()
            .filter(|event| event.department == Department::Sales)
            .collect();
        let mut outages = 0;
        for at in 1..sales.len() {
            let (before, event) = (&sales[at - 1], &sales[at]);
            match &event.what {
                What::Failed(why) => assert_eq!(why, "the till system does not answer"),
                What::Live(_) => {}
                What::Estimated(_) => panic!("after twenty events every branch was read once"),
                What::Cached(figures, from) => {
                    assert!(!matches!(before.what, What::Live(_)), "an error comes first");
                    if let Some(read) = sales.iter().find(|event| event.sequence == *from) {
                        assert_eq!((read.branch, &read.what), (event.branch, &What::Live(*figures)));
                    }
                    outages += 1;
                }
            }
        }
        assert!(outages > 10);
    }

    #[test]
    fn a_simulated_outage_ends_when_its_time_is_over() {
        let now = Instant::now();
        let mut feed = Feed::new(7, &[Department::Shifts], now);
        let second = Duration::from_secs(1);
        feed.fail(Department::Shifts, second, "coffee in the clock", now);
        assert_eq!(feed.standing(Department::Shifts, now).unwrap().source, "fallback");
        let during: Vec<What> = (0..6)
            .map(|_| feed.take(Department::Shifts, now).unwrap().what)
            .collect();
        let failed = What::Failed("coffee in the clock".to_owned());
        assert_eq!((&during[0], &during[5]), (&failed, &failed));
        assert!(
            during[1..5].iter().all(|what| matches!(what, What::Cached(..))),
            "{during:?}"
        );
        let told: Vec<What> = (0..20)
            .map(|_| feed.take(Department::Shifts, now + second).unwrap().what)
            .collect();
        assert!(told.iter().any(|what| matches!(what, What::Live(_))));
        assert!(!told.contains(&failed));
    }

    #[test]
    fn the_last_events_are_remembered_and_every_branch_stands_somewhere() {
        let now = Instant::now();
        let mut feed = Feed::new(7, &[Department::Sales], now);
        let last = feed.take(Department::Sales, now).unwrap();
        let recent = feed.recent(Department::Sales);
        assert_eq!(
            (recent.len(), recent.last(), recent[0].sequence),
            (RECENT, Some(&last), 1)
        );
        let standing = feed.standing(Department::Sales, now).unwrap();
        assert_eq!(standing.branches.len(), BRANCHES.len());
        assert_eq!(standing.events, 21);
        assert_eq!(feed.take(Department::Shifts, now), None);
        assert_eq!(feed.standing(Department::Shifts, now), None);
    }
}
