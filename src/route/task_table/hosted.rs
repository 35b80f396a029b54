//! Tasks that are kept here, because client and child know tasks of different kinds.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::{KEPT_AFTER_TTL, Known, N_TASKS_MAX, TaskTable};
use crate::child::Lane;
use crate::ids::{ServerName, SessionId};
use crate::route::client::ClientSide;
use crate::route::error::RouteError;
use crate::route::task_words::{POLL, Status, for_extension};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw};

/// The longest time for which a task is hosted, from its beginning.
pub const HOSTED_MAX: Duration = Duration::from_secs(3600);
/// Bytes of results that are kept for one client; beyond it the oldest tasks that are over go.
const RESULT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A task before it has an id.
#[derive(Debug, Clone)]
pub struct Hosting {
    /// Whose it is.
    pub owner: SessionId,
    /// The server that works on it.
    pub server: ServerName,
    /// What is called on its behalf.
    pub lane: Arc<Lane>,
    /// The client that is asked in the task itself; one with a handshake is asked on its own streams.
    pub client: Option<Arc<ClientSide>>,
    /// The time to live that its client wants, where it says so.
    pub ttl: Option<Duration>,
}

/// A task that is kept here.
#[derive(Debug)]
pub struct Hosted {
    number: u64,
    about: Hosting,
    /// What its server says of it, in the words of the extension.
    heard: Raw,
    is_asking: bool,
    end: Option<End>,
    /// The client's open `tasks/result`.
    pub(super) waits: Weak<Lane>,
    forget_at: Instant,
    version: u64,
}

/// What has become of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// This.
    Came(Result<Outcome, RouteError>),
    /// Nobody wants it any more.
    Cancelled,
}

/// How a hosted task stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Our id.
    pub ours: String,
    /// In the order in which they were made.
    pub number: u64,
    /// Another one where it stands differently.
    pub version: u64,
    /// What its server says of it, in the words of the extension, and when it was made and heard of.
    pub heard: Raw,
    /// Whether a client that is asked on its own streams is asked something.
    pub is_asking: bool,
    /// What has become of it.
    pub end: Option<End>,
    /// The client that is asked in the task itself.
    pub client: Option<Arc<ClientSide>>,
    /// The server that works on it.
    pub server: ServerName,
}

impl TaskTable {
    /// Hosts a task of which its server has said this, in the words of the extension. Returns our id.
    pub fn host(&self, about: Hosting, said: &Raw) -> String {
        let mut known = self.known();
        let ours = known.host(about, said);
        self.count(&known);
        ours
    }

    /// Hosts a task of 2025-11-25 that its child has made for us: what the child says of it is heard from now on.
    pub fn host_driven(&self, about: Hosting, driven: &str) -> Option<String> {
        let mut known = self.known();
        let said = for_extension(&known.tasks.get(driven)?.shown);
        let ours = known.host(about, &said);
        if let Some(task) = known.tasks.get_mut(driven) {
            task.hosted = Some(ours.clone());
        }
        self.count(&known);
        Some(ours)
    }

    /// Hosted tasks that still run on a server.
    pub fn n_hosted_on(&self, server: &ServerName) -> usize {
        let known = self.known();
        let all = known.hosted.values();
        all.filter(|task| task.about.server == *server && task.is_running())
            .count()
    }

    /// Whether this is the id of a hosted task.
    pub fn is_hosted(&self, ours: &str) -> bool {
        self.known().hosted.contains_key(ours)
    }

    /// How an owner's task stands.
    pub fn standing(&self, owner: &SessionId, ours: &str) -> Option<Standing> {
        let known = self.known();
        let task = known.hosted.get(ours).filter(|task| task.is_of(owner))?;
        Some(task.standing(ours))
    }

    /// All hosted tasks of an owner.
    pub fn standings(&self, owner: &SessionId, now: Instant) -> Vec<Standing> {
        let mut known = self.known();
        known.forget_old(now);
        self.count(&known);
        let all = known.hosted_of(owner);
        all.map(|(ours, task)| task.standing(ours)).collect()
    }

    /// Its server says this of it, in the words of the extension.
    pub fn heard(&self, ours: &str, said: &Raw) {
        self.change(ours, |task| task.hears(said));
    }

    /// Whether its client is asked something on its own streams.
    pub fn asks(&self, ours: &str, is_asking: bool) -> Option<Standing> {
        self.change(ours, |task| task.is_asking = is_asking)
    }

    /// It stands differently now, which only those know who ask it.
    pub fn touched(&self, ours: &str) {
        self.change(ours, |_| {});
    }

    /// It is over. What has been said of its end before stands.
    pub fn ended(&self, ours: &str, end: End) -> Option<Standing> {
        let standing = self.change(ours, |task| task.ends(end));
        if let Some(standing) = &standing {
            let mut known = self.known();
            known.make_room_for_results(ours);
            self.count(&known);
            drop(known);
            return Some(standing.clone());
        }
        standing
    }

    /// Its owner does not want it any more. `None`: there is no such task; `Err`: it was over before.
    pub fn cancel(&self, owner: &SessionId, ours: &str) -> Option<Result<Standing, Standing>> {
        let mut known = self.known();
        let task = known.hosted.get_mut(ours).filter(|task| task.is_of(owner))?;
        if task.end.is_some() {
            return Some(Err(task.standing(ours)));
        }
        task.ends(End::Cancelled);
        // Whoever follows it tells its server.
        task.about.lane.cancel();
        let standing = task.standing(ours);
        drop(known);
        self.tell_changed();
        Some(Ok(standing))
    }

    /// The exchange on which its client waits for its end.
    pub fn waiter(&self, ours: &str) -> Option<Arc<Lane>> {
        self.known().hosted.get(ours)?.waits.upgrade()
    }

    /// Changes of hosted tasks: whoever waits for one looks again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn tell_changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn change(&self, ours: &str, change: impl FnOnce(&mut Hosted)) -> Option<Standing> {
        let mut known = self.known();
        let task = known.hosted.get_mut(ours)?;
        change(task);
        task.version += 1;
        let standing = task.standing(ours);
        drop(known);
        self.tell_changed();
        Some(standing)
    }
}

impl Known {
    fn host(&mut self, about: Hosting, said: &Raw) -> String {
        let ours = Uuid::new_v4().to_string();
        self.make_room_for_hosted(&about.owner);
        self.n_made += 1;
        let task = Hosted::new(self.n_made, about, said, Instant::now());
        self.hosted.insert(ours.clone(), task);
        ours
    }

    fn make_room_for_hosted(&mut self, owner: &SessionId) {
        if self.hosted_of(owner).count() >= N_TASKS_MAX {
            self.forget_oldest(owner, "");
        }
    }

    /// The oldest results of the same client go where there are too many bytes of them.
    fn make_room_for_results(&mut self, ours: &str) {
        let Some(owner) = self.hosted.get(ours).map(|task| task.about.owner.clone()) else {
            return;
        };
        let n_bytes =
            |known: &Self| -> usize { known.hosted_of(&owner).map(|(_, task)| task.n_bytes()).sum() };
        while n_bytes(self) > RESULT_BYTES_MAX && self.forget_oldest(&owner, ours) {}
    }

    fn forget_oldest(&mut self, owner: &SessionId, but: &str) -> bool {
        let over = self
            .hosted_of(owner)
            .filter(|(ours, task)| !task.is_running() && *ours != but);
        let oldest = over
            .min_by_key(|(_, task)| task.number)
            .map(|(ours, _)| ours.clone());
        oldest.is_some_and(|oldest| self.hosted.remove(&oldest).is_some())
    }
}

impl Hosted {
    fn new(number: u64, about: Hosting, said: &Raw, now: Instant) -> Self {
        let ttl = about.ttl.unwrap_or(HOSTED_MAX).min(HOSTED_MAX);
        let ttl = ttl_of(said).map_or(ttl, |its| its.min(ttl));
        let about = Hosting {
            ttl: Some(ttl),
            ..about
        };
        let mut task = Self {
            number,
            forget_at: now + ttl + KEPT_AFTER_TTL,
            about,
            heard: Raw::empty_object(),
            is_asking: false,
            end: None,
            waits: Weak::new(),
            version: 1,
        };
        task.hears(said);
        task
    }

    /// What its server says of it, completed with what every task has to say.
    pub(super) fn hears(&mut self, said: &Raw) {
        let now = Raw::of(&humantime::format_rfc3339_millis(SystemTime::now()).to_string());
        let before = Object::of(&self.heard);
        let created = before.as_ref().and_then(|before| before.get("createdAt"));
        let is_text = |value: &Raw| value.as_string().is_some();
        let mut task = said.clone();
        let mut or = |key: &str, is_good: &dyn Fn(&Raw) -> bool, default: &Raw| {
            let Some(object) = Object::of(&task) else { return };
            if !object.get(key).is_some_and(|value| is_good(&value)) {
                task = object.with(key, default);
            }
        };
        or("createdAt", &is_text, created.as_ref().unwrap_or(&now));
        or("lastUpdatedAt", &is_text, &now);
        let is_pause = |value: &Raw| value.read::<u64>().is_ok_and(|ms| ms > 0);
        or("pollIntervalMs", &is_pause, &Raw::of(&millis(POLL)));
        let ttl = Raw::of(&millis(self.about.ttl.unwrap_or(HOSTED_MAX)));
        or("ttlMs", &|_| false, &ttl);
        self.heard = task.compact();
        self.version += 1;
    }

    fn ends(&mut self, end: End) {
        if self.end.is_none() {
            // The error of a task that its server has cancelled says no more than that.
            let is_error = matches!(end, End::Came(Ok(Err(_))));
            let is_cancelled = is_error && Status::of(&self.heard) == Some(Status::Cancelled);
            self.end = Some(if is_cancelled { End::Cancelled } else { end });
            self.is_asking = false;
            self.version += 1;
            let now = Raw::of(&humantime::format_rfc3339_millis(SystemTime::now()).to_string());
            let heard = Object::of(&self.heard).map(|heard| heard.with("lastUpdatedAt", &now));
            self.heard = heard.unwrap_or_else(|| self.heard.clone());
        }
    }

    fn standing(&self, ours: &str) -> Standing {
        Standing {
            ours: ours.to_owned(),
            number: self.number,
            version: self.version,
            heard: self.heard.clone(),
            is_asking: self.is_asking,
            end: self.end.clone(),
            client: self.about.client.clone(),
            server: self.about.server.clone(),
        }
    }

    pub(super) fn is_of(&self, owner: &SessionId) -> bool {
        self.about.owner == *owner
    }

    pub(super) fn is_running(&self) -> bool {
        self.end.is_none()
    }

    /// Whether it stays when this owner goes. One that does not is not worked on any more.
    pub(super) fn is_kept_without(&self, owner: &SessionId) -> bool {
        let is_kept = !self.is_of(owner);
        if !is_kept {
            self.about.lane.cancel();
        }
        is_kept
    }

    /// Whether its time is not over yet. One whose is, is not worked on any more.
    pub(super) fn is_kept_at(&self, now: Instant) -> bool {
        let is_kept = now < self.forget_at;
        if !is_kept {
            self.about.lane.cancel();
        }
        is_kept
    }

    fn n_bytes(&self) -> usize {
        match &self.end {
            Some(End::Came(Ok(Ok(outcome) | Err(outcome)))) => outcome.as_bytes().len(),
            Some(End::Came(Err(_)) | End::Cancelled) | None => 0,
        }
    }
}

fn ttl_of(said: &Raw) -> Option<Duration> {
    let ttl = Object::of(said)?.get("ttlMs")?.as_str().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(ttl / 1000.0).ok()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::RequestId;

    fn about(owner: &SessionId) -> Hosting {
        Hosting {
            owner: owner.clone(),
            server: ServerName::parse("a").unwrap(),
            lane: Arc::new(Lane::new(owner.clone(), RequestId::number(1), None)),
            client: None,
            ttl: None,
        }
    }

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    fn came(text: &str) -> End {
        End::Came(Ok(Ok(raw(text))))
    }

    #[test]
    fn a_hosted_task_is_its_owners_alone_and_ends_once() {
        let table = TaskTable::default();
        let (one, two) = (SessionId::random(), SessionId::random());
        let of_one = about(&one);
        let ours = table.host(of_one.clone(), &raw(r#"{"taskId":"own","ttlMs":5000,"x":1.0}"#));
        assert!(table.standing(&two, &ours).is_none() && table.standing(&one, "own").is_none());
        assert!(table.cancel(&two, &ours).is_none() && !of_one.lane.is_cancelled());
        let mut changes = table.changes();
        assert!(table.cancel(&one, &ours).unwrap().is_ok());
        assert!(of_one.lane.is_cancelled() && changes.has_changed().unwrap());
        changes.mark_unchanged();
        table.ended(&ours, came("{}"));
        assert_eq!(table.standing(&one, &ours).unwrap().end, Some(End::Cancelled));
        assert!(table.cancel(&one, &ours).unwrap().is_err());
        let heard: serde_json::Value = table.standing(&one, &ours).unwrap().heard.read().unwrap();
        assert_eq!(
            (&heard["ttlMs"], &heard["pollIntervalMs"], &heard["x"]),
            (&5000.into(), &1000.into(), &1.0.into())
        );
        assert!(heard["createdAt"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_task_that_its_server_has_cancelled_is_cancelled() {
        let table = TaskTable::default();
        let owner = SessionId::random();
        let ours = table.host(about(&owner), &raw(r#"{"status":"working"}"#));
        table.heard(&ours, &raw(r#"{"status":"cancelled"}"#));
        table.ended(&ours, End::Came(Ok(Err(raw(r#"{"code":-32603}"#)))));
        assert_eq!(table.standing(&owner, &ours).unwrap().end, Some(End::Cancelled));
    }

    #[test]
    fn what_is_heard_of_a_driven_task_is_heard_of_the_hosted_one() {
        let table = TaskTable::default();
        let owner = SessionId::random();
        assert!(table.host_driven(about(&owner), "unknown").is_none());
        let ours = table.host(about(&owner), &raw("{}"));
        let before = table.standing(&owner, &ours).unwrap();
        table.heard(&ours, &raw(r#"{"statusMessage":"half","pollIntervalMs":7}"#));
        let after = table.standing(&owner, &ours).unwrap();
        assert!(after.version > before.version);
        let heard: serde_json::Value = after.heard.read().unwrap();
        assert_eq!(
            (&heard["statusMessage"], &heard["pollIntervalMs"]),
            (&"half".into(), &7.into())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn hosted_tasks_are_bounded_in_time_and_number_and_end_with_their_owner() {
        let table = TaskTable::default();
        let (one, two) = (SessionId::random(), SessionId::random());
        let short = about(&one);
        let ours = table.host(
            Hosting {
                ttl: Some(Duration::from_secs(1)),
                ..short.clone()
            },
            &raw(r#"{"ttlMs":null}"#),
        );
        for _ in 1..N_TASKS_MAX {
            table.host(about(&one), &raw("{}"));
        }
        assert!(!table.has_room(&one, Instant::now()) && table.has_room(&two, Instant::now()));
        tokio::time::advance(Duration::from_secs(1) + KEPT_AFTER_TTL).await;
        assert!(table.has_room(&one, Instant::now()) && table.standing(&one, &ours).is_none());
        assert!(short.lane.is_cancelled());
        let last = about(&two);
        table.host(last.clone(), &raw("{}"));
        table.remove_session(&two);
        assert!(last.lane.is_cancelled() && table.standings(&two, Instant::now()).is_empty());
        tokio::time::advance(HOSTED_MAX).await;
        table.sweep(Instant::now());
        assert!(table.is_empty());
    }

    #[test]
    fn finished_ones_make_room_for_others_and_for_results() {
        let table = TaskTable::default();
        let owner = SessionId::random();
        let first = table.host(about(&owner), &raw("{}"));
        table.ended(&first, came("{}"));
        for _ in 0..N_TASKS_MAX {
            table.host(about(&owner), &raw("{}"));
        }
        assert!(table.standing(&owner, &first).is_none());
        let other = SessionId::random();
        let large = format!(r#""{}""#, "x".repeat(RESULT_BYTES_MAX / 2));
        let all: Vec<String> = (0..3).map(|_| table.host(about(&other), &raw("{}"))).collect();
        for ours in &all {
            table.ended(ours, came(&large));
        }
        let left = table.standings(&other, Instant::now()).len();
        assert_eq!(left, 1, "two halves and their quotes are too much");
        assert!(table.standing(&other, &all[2]).is_some());
    }
}
