//! The chain while the server runs: events happen, and who subscribed to a resource is told that it changed.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::department::Department;
use super::event::{Event, What};
use super::feed::{Feed, Standing};
use super::settings::Settings;
use crate::demo::outlet::{Outlet, lock};
use crate::demo::server::{Client, LogLevel};
use crate::demo::words::Word;

/// The resource with all departments on one page.
pub(super) const SUMMARY: &str = "analytics://summary";
/// What the URI of a department's events begins with.
pub(super) const EVENTS_PREFIX: &str = "analytics://events/";

/// A resource that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Events(Department),
    Summary,
}

impl Topic {
    pub(super) fn uri(self) -> String {
        match self {
            Self::Events(department) => format!("{EVENTS_PREFIX}{}", department.as_str()),
            Self::Summary => SUMMARY.to_owned(),
        }
    }
}

/// The chain, shared by the wire, the running tools and the ticker. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held while subscribers are told, which takes for ever when nobody reads.
    state: Mutex<State>,
    /// Never held for long; taken after `state` where both are needed.
    followed: Mutex<Followed>,
    /// Somebody subscribed, or it is over.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Followed {
    topics: BTreeSet<Topic>,
    over: bool,
}

#[derive(Debug)]
struct State {
    feed: Feed,
    /// Where changes are told. None before the conversation begins.
    outlet: Option<Outlet>,
}

impl Chain {
    pub(super) fn new(settings: &Settings) -> Self {
        let state = State {
            feed: Feed::new(settings.seed, &settings.departments, Instant::now()),
            outlet: None,
        };
        let shared = Shared {
            state: Mutex::new(state),
            followed: Mutex::default(),
            changed: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// From now on, what is subscribed changes once per interval, until [`Self::end`].
    pub(super) fn start(&self, outlet: &Outlet, settings: &Settings) {
        lock(&self.shared.state).outlet = Some(outlet.clone());
        let (chain, settings) = (self.clone(), settings.clone());
        let ticker = thread::Builder::new().name("ticker".to_owned());
        // It is told to end, not waited for: it may be stuck in a write that nobody reads. Without a thread,
        // resources change only when a tool reads them.
        drop(ticker.spawn(move || chain.tick(&settings)));
    }

    /// The conversation is over. Waits for nobody.
    pub(super) fn end(&self) {
        lock(&self.shared.followed).over = true;
        self.shared.changed.notify_all();
    }

    pub(super) fn subscribe(&self, topic: Topic) {
        lock(&self.shared.followed).topics.insert(topic);
        self.shared.changed.notify_all();
    }

    /// Waits until nobody is being told, so that none hears of a change after the answer to this request.
    pub(super) fn unsubscribe(&self, topic: Topic) {
        let _nobody_is_told = lock(&self.shared.state);
        lock(&self.shared.followed).topics.remove(&topic);
    }

    /// Reads the source of a department once; `None` when it is not on offer.
    pub(super) fn take(&self, department: Department) -> Option<Event> {
        self.happen(&mut lock(&self.shared.state), &[department]).pop()
    }

    /// Lets a source fail, and reads it once.
    pub(super) fn fail(&self, department: Department, time: Duration, why: &str) -> Option<Event> {
        let mut state = lock(&self.shared.state);
        state.feed.fail(department, time, why, Instant::now());
        self.happen(&mut state, &[department]).pop()
    }

    pub(super) fn recent(&self, department: Department) -> Vec<Event> {
        lock(&self.shared.state).feed.recent(department)
    }

    pub(super) fn standing(&self, department: Department) -> Option<Standing> {
        lock(&self.shared.state).feed.standing(department, Instant::now())
    }

    fn tick(&self, settings: &Settings) {
        while self.wait_for_next(settings.interval) {
            let mut state = lock(&self.shared.state);
            let concerned: Vec<Department> = settings
                .departments
                .iter()
                .copied()
                .filter(|department| self.is_followed(*department))
                .collect();
            let events = self.happen(&mut state, &concerned);
            let outlet = state.outlet.clone();
            drop(state);
            if let Some(mut outlet) = outlet {
                events
                    .iter()
                    .filter(|event| matches!(event.what, What::Failed(_)))
                    .for_each(|event| log(event, &mut outlet));
            }
        }
    }

    /// Waits for a subscriber, and then for one interval. `false` when it is over.
    fn wait_for_next(&self, interval: Duration) -> bool {
        let changed = &self.shared.changed;
        let followed = lock(&self.shared.followed);
        let waited = changed.wait_while(followed, |now| now.topics.is_empty() && !now.over);
        let followed = waited.unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(followed, interval, |now| !now.over);
        let (followed, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !followed.over
    }

    fn is_followed(&self, department: Department) -> bool {
        let topics = &lock(&self.shared.followed).topics;
        topics.contains(&Topic::Summary) || topics.contains(&Topic::Events(department))
    }

    fn is_subscribed(&self, topic: Topic) -> bool {
        lock(&self.shared.followed).topics.contains(&topic)
    }

    /// One event in each of these departments, told to the subscribers while the state is held.
    fn happen(&self, state: &mut State, departments: &[Department]) -> Vec<Event> {
        let now = Instant::now();
        let events: Vec<Event> = departments
            .iter()
            .filter_map(|department| state.feed.take(*department, now))
            .collect();
        let changed = events.iter().map(|event| Topic::Events(event.department));
        let summary = (!events.is_empty()).then_some(Topic::Summary);
        for topic in changed.chain(summary) {
            if let (true, Some(outlet)) = (self.is_subscribed(topic), &mut state.outlet) {
                outlet.notify("notifications/resources/updated", json!({ "uri": topic.uri() }));
            }
        }
        events
    }
}

/// Tells an event as a log message of its department.
pub(super) fn log(event: &Event, client: &mut dyn Client) {
    let level = match event.what {
        What::Live(_) => LogLevel::Info,
        What::Cached(..) | What::Estimated(_) => LogLevel::Warning,
        What::Failed(_) => LogLevel::Error,
    };
    let logger = format!("analytics.{}", event.department.as_str());
    client.log(level, &logger, &event.to_json());
}
