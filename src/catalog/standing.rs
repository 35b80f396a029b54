//! How good the lists are: for how long a client may take them for true, and whose are missing or old. Pure.
//!
//! Source: MCP 2026-07-28, caching.

use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{Kind, Snapshot};
use crate::ids::{Generation, ServerName};
use crate::rpc::Raw;
use crate::rpc::object::Object;

/// No client takes a list for true longer than this without asking: it hears of changes when it listens.
pub const TTL_MAX: Duration = Duration::from_secs(60);
/// The same where a server says nothing of when its list changes.
const TTL_UNTOLD: Duration = Duration::from_secs(15);
/// The same while lists are on their way, or are missing.
const TTL_UNSETTLED: Duration = Duration::from_secs(2);

/// How good the lists are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    lists: [List; 4],
}

/// How good the lists of one kind are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct List {
    ttl: Duration,
    lacking: Vec<Lacking>,
}

/// A server whose list is missing, or may be old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Whose.
    pub server: ServerName,
    /// Why: `starting`, `listing`, `unlisted` (it was asked and did not tell), `idle`, `backoff` or `failed`.
    pub state: &'static str,
}

/// What one process has told of its lists.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    /// The process that has told all of them last.
    pub(super) generation: Option<Generation>,
    lists: [Once; 4],
}

#[derive(Debug, Clone, Copy, Default)]
struct Once {
    /// From when on it is asked again.
    until: Option<Instant>,
    is_missing: bool,
}

/// What counts of one server.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    pub(super) server: &'a ServerName,
    /// The name of its state.
    pub(super) state: &'static str,
    /// The number of its process.
    pub(super) generation: Generation,
    /// Its lists, as they are on offer.
    pub(super) snapshot: Option<&'a Snapshot>,
    pub(super) told: Told,
    /// Lists of it are being fetched.
    pub(super) is_busy: bool,
}

impl Told {
    /// A list was fetched, or could not be. `ttl` is how long it is good in its server's own words.
    pub(super) fn note(&mut self, kind: Kind, now: Instant, ttl: Option<Duration>, is_missing: bool) {
        if let Some(list) = self.lists.get_mut(kind.at()) {
            let until = ttl.and_then(|ttl| now.checked_add(ttl));
            *list = Once { until, is_missing };
        }
    }

    /// From when on a list is asked for again.
    pub(super) fn until(&self, kind: Kind) -> Option<Instant> {
        self.lists.get(kind.at()).and_then(|list| list.until)
    }

    fn is_missing(&self, kind: Kind) -> bool {
        self.lists.get(kind.at()).is_some_and(|list| list.is_missing)
    }
}

impl Standing {
    /// How good all these servers' lists are together.
    pub(super) fn of<'a>(sights: impl Iterator<Item = Sight<'a>>, now: Instant) -> Self {
        let fine = || List {
            ttl: TTL_MAX,
            lacking: Vec::new(),
        };
        let mut lists = std::array::from_fn(|_| fine());
        for sight in sights {
            for (list, kind) in lists.iter_mut().zip(Kind::ALL) {
                if let Some(state) = sight.lacks(kind) {
                    let server = sight.server.clone();
                    list.lacking.push(Lacking { server, state });
                }
                list.ttl = list.ttl.min(sight.ttl(kind, now));
            }
        }
        Self { lists }
    }

    /// How long a list of this kind may be taken for true. Unit: milliseconds, in whole seconds.
    pub fn ttl_ms(&self, kind: Kind) -> u64 {
        self.lists
            .get(kind.at())
            .map_or(0, |list| list.ttl.as_secs() * 1000)
    }

    /// How long all that is on offer may be taken for true. Unit: milliseconds, in whole seconds.
    pub fn least_ttl_ms(&self) -> u64 {
        Kind::ALL
            .into_iter()
            .map(|kind| self.ttl_ms(kind))
            .min()
            .unwrap_or_default()
    }

    /// The servers whose lists of this kind are missing, or may be old.
    pub fn lacking(&self, kind: Kind) -> &[Lacking] {
        self.lists.get(kind.at()).map_or(&[], |list| &list.lacking)
    }
}

impl Sight<'_> {
    /// Why its list is missing or may be old, if it is.
    fn lacks(&self, kind: Kind) -> Option<&'static str> {
        match self.state {
            "spawning" | "handshaking" => Some("starting"),
            down @ ("backoff" | "failed") => Some(down),
            // The first call starts it: until then nobody knows what it offers.
            "idle" => self.snapshot.is_none().then_some("idle"),
            "ready" if self.is_busy || self.told.generation < Some(self.generation) => Some("listing"),
            "ready" if self.told.is_missing(kind) => Some("unlisted"),
            // Nobody wants it, or it is on its way to another state.
            _no_lack => None,
        }
    }

    fn ttl(&self, kind: Kind, now: Instant) -> Duration {
        match self.lacks(kind) {
            Some("idle") => return TTL_MAX,
            Some(_unsettled) => {
                let own = self
                    .told
                    .until(kind)
                    .map(|until| until.saturating_duration_since(now));
                return own
                    .filter(|own| !own.is_zero())
                    .unwrap_or(TTL_UNSETTLED)
                    .min(TTL_UNSETTLED);
            }
            None => {}
        }
        let Some(snapshot) = self.snapshot.filter(|_| self.state == "ready") else {
            return TTL_MAX;
        };
        match self.told.until(kind) {
            Some(until) => until.saturating_duration_since(now),
            None if can(snapshot, kind).is_none_or(tells_of_changes) => TTL_MAX,
            None => TTL_UNTOLD,
        }
    }
}

/// How long a list is good in the words of its server, which speaks 2026-07-28. `said` is the least `ttlMs` of its
/// pages. Who says nothing is taken for one that could not; who says "not at all" but tells of changes, at its word
/// about the changes.
pub(super) fn own_ttl(snapshot: &Snapshot, kind: Kind, said: Option<u64>) -> Option<Duration> {
    match said.filter(|_| snapshot.is_modern)? {
        0 if can(snapshot, kind).is_some_and(tells_of_changes) => None,
        0 => Some(TTL_UNSETTLED),
        millis => Some(Duration::from_millis(millis)),
    }
}

/// Its capability behind a kind of list, if it has that.
fn can(snapshot: &Snapshot, kind: Kind) -> Option<Raw> {
    Object::of(&snapshot.capabilities)?
        .get(kind.capability())
        .filter(Raw::is_object)
}

fn tells_of_changes(capability: Raw) -> bool {
    let tells = Object::of(&capability).and_then(|capability| capability.get("listChanged"));
    tells.is_some_and(|tells| tells.as_str() == "true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::handshake::Handshake;

    fn name(text: &str) -> ServerName {
        ServerName::parse(text).unwrap()
    }

    fn snapshot(is_modern: bool, capabilities: &str) -> Snapshot {
        let shake = format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{capabilities}}}"#);
        let shake = Raw::parse(&shake.into()).unwrap();
        let snapshot = Snapshot::of(&Handshake::read(&Ok(shake)).unwrap());
        Snapshot {
            is_modern,
            ..snapshot
        }
    }

    fn standing(state: &'static str, snapshot: Option<&Snapshot>, told: Told, now: Instant) -> Standing {
        let server = name("a");
        let sight = Sight {
            server: &server,
            state,
            generation: Generation(2),
            snapshot,
            told,
            is_busy: false,
        };
        Standing::of(std::iter::once(sight), now)
    }

    fn listed() -> Told {
        Told {
            generation: Some(Generation(2)),
            ..Told::default()
        }
    }

    const TELLS: &str = r#"{"tools":{"listChanged":true}}"#;

    #[test]
    fn a_server_on_its_way_or_down_makes_lists_short_lived_and_is_named() {
        let (now, tells) = (Instant::now(), snapshot(false, TELLS));
        for (state, told, wanted) in [
            ("spawning", Told::default(), Some("starting")),
            ("handshaking", listed(), Some("starting")),
            ("ready", Told::default(), Some("listing")),
            ("ready", listed(), None),
            ("backoff", listed(), Some("backoff")),
            ("failed", listed(), Some("failed")),
            ("idle", Told::default(), None),
            ("stopped", Told::default(), None),
            ("disabled", Told::default(), None),
            ("draining", listed(), None),
        ] {
            let standing = standing(state, Some(&tells), told, now);
            let found = standing.lacking(Kind::Tools).first().map(|lacking| lacking.state);
            assert_eq!(found, wanted, "{state}");
            let ttl = if wanted.is_some() { 2_000 } else { 60_000 };
            assert_eq!(
                (standing.ttl_ms(Kind::Tools), standing.least_ttl_ms()),
                (ttl, ttl),
                "{state}"
            );
        }
        let resting = standing("idle", None, Told::default(), now);
        assert_eq!(resting.lacking(Kind::Tools)[0].state, "idle");
        assert_eq!(resting.ttl_ms(Kind::Tools), 60_000, "nothing comes by itself");
    }

    #[test]
    fn who_tells_of_no_changes_is_asked_sooner_and_only_for_what_it_has() {
        let now = Instant::now();
        let silent = snapshot(false, r#"{"tools":{},"prompts":{"listChanged":true}}"#);
        let standing = standing("ready", Some(&silent), listed(), now);
        let ttls = Kind::ALL.map(|kind| standing.ttl_ms(kind));
        assert_eq!(ttls, [15_000, 60_000, 60_000, 60_000]);
    }

    #[test]
    fn what_remains_of_a_servers_own_time_counts_where_it_is_less() {
        let (now, own) = (Instant::now(), snapshot(true, TELLS));
        let ttl = |said, later_ms| {
            let mut told = listed();
            told.note(Kind::Tools, now, own_ttl(&own, Kind::Tools, said), false);
            let standing = standing("ready", Some(&own), told, now + Duration::from_millis(later_ms));
            standing.ttl_ms(Kind::Tools)
        };
        assert_eq!(ttl(Some(10_000), 0), 10_000);
        assert_eq!(
            ttl(Some(10_000), 3_500),
            6_000,
            "whole seconds, and never too long"
        );
        assert_eq!(ttl(Some(10_000), 10_000), 0);
        assert_eq!(ttl(Some(600_000), 0), 60_000);
        assert_eq!(ttl(None, 0), 60_000);
        assert_eq!(ttl(Some(0), 0), 60_000, "it tells of changes");
        assert_eq!(ttl(Some(u64::MAX), 0), 60_000, "longer than there is time");
        let silent = snapshot(true, r#"{"tools":{}}"#);
        assert_eq!(own_ttl(&silent, Kind::Tools, Some(0)), Some(TTL_UNSETTLED));
        let older = snapshot(false, TELLS);
        assert_eq!(
            own_ttl(&older, Kind::Tools, Some(5)),
            None,
            "the word means nothing there"
        );
    }

    #[test]
    fn a_list_that_was_not_told_is_named_for_its_kind_alone() {
        let (now, own) = (Instant::now(), snapshot(false, TELLS));
        let mut told = listed();
        told.note(Kind::Prompts, now, None, true);
        let standing = standing("ready", Some(&own), told, now);
        assert_eq!(standing.lacking(Kind::Prompts)[0].state, "unlisted");
        assert!(standing.lacking(Kind::Tools).is_empty());
        assert_eq!(
            (standing.ttl_ms(Kind::Prompts), standing.ttl_ms(Kind::Tools)),
            (2_000, 60_000)
        );
    }
}
