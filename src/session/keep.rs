//! Sessions that outlive the daemon: written down behind their changes, and taken in again at the next start.
//!
//! Only sessions of Streamable HTTP are kept: elsewhere a session is as long as its connection.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sessions::{N_SESSIONS_MAX, Sessions};
use crate::access::{Principal, holder};
use crate::ids::{Instance, OwnerKey, ServerName, SessionId};
use crate::registry::sessions::{KeptSession, SessionChange, SessionStore};
use crate::route::client::Profile;
use crate::route::listeners::Resource;
use crate::rpc::Raw;
use crate::rpc::mcp::{LogLevel, Revision};

/// How long an answer waits until what it promises is written down. A slow disk must not stop clients.
const PATIENCE: Duration = Duration::from_millis(250);

/// From a failed attempt to the next, unless something changes before.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Changes that wait for the next attempt; more are forgotten, and the log says so.
const N_WAITING_MAX: usize = 4 * N_SESSIONS_MAX;

/// Which sessions have changed since they were written down.
#[derive(Debug)]
pub struct Keeper {
    changed: Mutex<Changed>,
    bell: Notify,
    n_written: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Changed {
    ids: HashSet<SessionId>,
    n_changes: u64,
    /// The daemon goes down: from now on sessions end in memory only.
    closed: bool,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            changed: Mutex::default(),
            bell: Notify::new(),
            n_written: watch::Sender::new(0),
        }
    }
}

impl Keeper {
    /// A session has changed, or ended. Gives the number that [`Self::written`] waits for.
    pub fn changed(&self, id: &SessionId) -> u64 {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if !changed.closed {
            changed.ids.insert(id.clone());
            changed.n_changes += 1;
            self.bell.notify_one();
        }
        changed.n_changes
    }

    /// Waits until the change is written down, or could not be; but not long.
    pub async fn written(&self, number: u64) {
        let mut n_written = self.n_written.subscribe();
        drop(tokio::time::timeout(PATIENCE, n_written.wait_for(|n| *n >= number)).await);
    }

    fn take(&self) -> (HashSet<SessionId>, u64) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut changed.ids), changed.n_changes)
    }

    /// These could not be written down: the next attempt does it.
    fn put_back(&self, ids: HashSet<SessionId>) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let n_free = N_WAITING_MAX.saturating_sub(changed.ids.len());
        if ids.len() > n_free {
            tracing::warn!(
                n = ids.len() - n_free,
                "too many sessions wait to be written down"
            );
        }
        changed.ids.extend(ids.into_iter().take(n_free));
    }

    /// From now on nothing is written down.
    pub fn close(&self) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

/// Writes sessions down behind their changes, until told to stop; then the last ones, and no more.
pub async fn run(sessions: Sessions, store: SessionStore, stop: CancellationToken) {
    let mut again_at = None;
    loop {
        let is_last = tokio::select! {
            biased;
            () = sessions.keeper().bell.notified() => false,
            () = stop.cancelled() => true,
            () = sleep_until(again_at) => false,
        };
        again_at = None;
        if is_last {
            sessions.keeper().close();
        }
        let (ids, number) = sessions.keeper().take();
        let changes: Vec<SessionChange> = ids.iter().map(|id| change(&sessions, id)).collect();
        if !changes.is_empty()
            && let Err(error) = store.apply(changes).await
        {
            tracing::warn!(%error, "sessions could not be written down; until they are, a restart ends them");
            sessions.keeper().put_back(ids);
            again_at = Some(Instant::now() + AGAIN_AFTER);
        }
        sessions.keeper().n_written.send_replace(number);
        if is_last {
            return;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn change(sessions: &Sessions, id: &SessionId) -> SessionChange {
    let forget = || SessionChange::Forget(id.as_str().to_owned());
    let Some(session) = sessions.peek(id) else {
        return forget();
    };
    let Some(profile) = session.client.profile() else {
        return forget();
    };
    let (level, subscribed) = sessions.listeners().state_of(id);
    let state = State {
        revision: profile.revision.as_str().to_owned(),
        principal: Some(session.principal.id.to_string()),
        client_info: profile.client_info.as_ref().and_then(boxed),
        capabilities: boxed(&profile.capabilities),
        initialized: session.is_initialized(),
        level,
        subscribed: subscribed.into_iter().map(|of| Subscribed::of(id, of)).collect(),
    };
    let Ok(state) = serde_json::to_string(&state) else {
        return forget();
    };
    SessionChange::Put(KeptSession {
        id: id.as_str().to_owned(),
        state,
        idle_ms: i64::try_from(session.idle_ms(Instant::now())).unwrap_or(i64::MAX),
    })
}

/// What a session consists of, as it is written down.
#[derive(Serialize, Deserialize)]
struct State {
    revision: String,
    /// Whose it is; of those that were written down before there were keys nothing is said.
    #[serde(default)]
    principal: Option<String>,
    client_info: Option<Box<RawValue>>,
    capabilities: Option<Box<RawValue>>,
    initialized: bool,
    level: Option<LogLevel>,
    subscribed: Vec<Subscribed>,
}

/// One subscription, as it is written down.
#[derive(Serialize, Deserialize)]
struct Subscribed {
    server: ServerName,
    owner: Whose,
    #[serde(default)]
    older: bool,
    own: String,
    exposed: String,
}

/// Whose process a subscription is with.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Whose {
    Shared,
    Session,
    Client,
}

impl Subscribed {
    fn of(session: &SessionId, ((instance, own), exposed): (Resource, String)) -> Self {
        let owner = match &instance.owner {
            None => Whose::Shared,
            Some(owner) if *owner == OwnerKey::session(session) => Whose::Session,
            Some(_client) => Whose::Client,
        };
        Self {
            server: instance.server,
            owner,
            older: instance.older,
            own,
            exposed,
        }
    }

    fn resource(self, session: &SessionId, holder: Option<&str>, profile: &Profile) -> (Resource, String) {
        let owner = match self.owner {
            Whose::Shared => None,
            Whose::Session => Some(OwnerKey::session(session)),
            Whose::Client => Some(OwnerKey::client(holder, &profile.client_name())),
        };
        let instance = Instance {
            server: self.server,
            owner,
            older: self.older,
            // Subscriptions are with the one that clients share.
            spare: 0,
        };
        ((instance, self.own), self.exposed)
    }
}

/// A session as it was when it was written down.
#[derive(Debug)]
pub struct Recalled {
    /// Its id.
    pub id: SessionId,
    /// Whose it is, where that was written down: see [`crate::access::Principal::id`].
    pub principal: Option<String>,
    /// What its client has said of itself.
    pub profile: Profile,
    /// Whether the client wants to hear anything yet.
    pub initialized: bool,
    /// The level it has set.
    pub level: Option<LogLevel>,
    /// What it subscribes to, and under which exposed URI.
    pub subscribed: Vec<(Resource, String)>,
    /// For how long its client had not shown itself, milliseconds.
    pub idle_ms: u64,
}

impl Recalled {
    /// Reads what was written down; `None` for what another version may have written.
    pub fn read(kept: &KeptSession) -> Option<Self> {
        let id = SessionId::parse(&kept.id)?;
        let state: State = serde_json::from_str(&kept.state).ok()?;
        let profile = Profile {
            revision: Revision::of_handshake(&state.revision)?,
            client_info: state.client_info.as_deref().map(unboxed),
            capabilities: state
                .capabilities
                .as_deref()
                .map_or_else(Raw::empty_object, unboxed),
            log_level: None,
        };
        let principal: Option<Arc<str>> = state.principal.as_deref().map(Arc::from);
        let holder = principal.as_ref().and_then(holder);
        let subscribed = state
            .subscribed
            .into_iter()
            .map(|of| of.resource(&id, holder.as_deref(), &profile))
            .collect();
        Some(Self {
            principal: state.principal,
            profile,
            initialized: state.initialized,
            level: state.level,
            subscribed,
            idle_ms: kept.idle_ms.unsigned_abs(),
            id,
        })
    }
}

fn boxed(raw: &Raw) -> Option<Box<RawValue>> {
    RawValue::from_string(raw.as_str().to_owned()).ok()
}

fn unboxed(value: &RawValue) -> Raw {
    Raw::trusted(value.get().to_owned())
}

/// Takes in the sessions that were written down before, as far as `whose` knows whose they are.
pub async fn recall(
    sessions: &Sessions,
    store: &SessionStore,
    whose: impl Fn(Option<&str>) -> Option<Arc<Principal>>,
) {
    let idle_ms_max = i64::try_from(super::sweep::IDLE_MAX.as_millis()).unwrap_or(i64::MAX);
    match store.recall(idle_ms_max).await {
        Ok(kept) => {
            let n_recalled = kept
                .iter()
                .filter_map(Recalled::read)
                .filter_map(|one| Some((whose(one.principal.as_deref())?, one)))
                .map(|(principal, one)| sessions.take_in(one, principal))
                .count();
            if n_recalled > 0 {
                tracing::info!(n_recalled, "sessions of before the restart go on");
            }
        }
        Err(error) => tracing::warn!(%error, "sessions could not be recalled; their clients begin anew"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    fn sessions() -> Sessions {
        Sessions::for_tests()
    }

    fn anybody() -> Arc<Principal> {
        Arc::new(Principal::anybody())
    }

    fn greeted(sessions: &Sessions) -> Arc<Session> {
        let session = sessions.open_kept(&anybody()).unwrap();
        session.client.introduce(Profile {
            revision: Revision::V2025_06_18,
            client_info: Some(raw(r#"{"name":"c","x":1.0}"#)),
            capabilities: raw(r#"{"roots":{},"z":1e400}"#),
            log_level: None,
        });
        session.set_initialized();
        session
    }

    #[tokio::test]
    async fn a_session_comes_back_with_everything_that_was_agreed_on() {
        let before = sessions();
        let session = greeted(&before);
        let id = &session.id;
        let server = ServerName::parse("a").unwrap();
        let (own, of_all) = (Some(OwnerKey::session(id)), Some(OwnerKey::client(None, "c")));
        let lines = [(None, false), (None, true), (own, false), (of_all, true)];
        let resources: Vec<Resource> = lines
            .into_iter()
            .map(|(owner, older)| {
                (
                    Instance {
                        server: server.clone(),
                        owner,
                        older,
                        spare: 0,
                    },
                    "x://1".to_owned(),
                )
            })
            .collect();
        for resource in &resources {
            before.listeners().subscribe(id, resource, "x://exposed").unwrap();
        }
        before.listeners().set_level(id, LogLevel::Debug);
        let SessionChange::Put(kept) = change(&before, id) else {
            panic!()
        };
        let after = sessions();
        let recalled = Recalled::read(&kept).unwrap();
        assert_eq!(recalled.principal.as_deref(), Some("http"));
        after.take_in(recalled, anybody());
        let another = Principal::token();
        assert!(
            after.find(id.as_str(), &another).is_none(),
            "another's is not there"
        );
        let found = after.find(id.as_str(), &anybody()).unwrap();
        let profile = found.client.profile().unwrap();
        assert_eq!(profile.capabilities, raw(r#"{"roots":{},"z":1e400}"#));
        assert_eq!(profile.client_info, Some(raw(r#"{"name":"c","x":1.0}"#)));
        assert_eq!(
            (found.revision(), found.is_initialized()),
            (Revision::V2025_06_18, true)
        );
        let (level, subscribed) = after.listeners().state_of(id);
        assert_eq!((level, subscribed.len()), (Some(LogLevel::Debug), 4));
        assert!(
            resources
                .iter()
                .all(|resource| subscribed.contains(&(resource.clone(), "x://exposed".to_owned())))
        );
    }

    #[tokio::test]
    async fn a_session_that_has_ended_is_forgotten_and_one_that_goes_down_with_the_daemon_is_not() {
        let sessions = sessions();
        let (ended, kept) = (greeted(&sessions), greeted(&sessions));
        sessions.end(&ended).await;
        assert!(matches!(change(&sessions, &ended.id), SessionChange::Forget(_)));
        let folder = tempfile::tempdir().unwrap();
        let store = SessionStore::open(folder.path()).await.unwrap();
        sessions.keep(&kept);
        let stop = CancellationToken::new();
        stop.cancel();
        run(sessions.clone(), store.clone(), stop).await;
        sessions.end_all();
        sessions.keep(&kept);
        let recalled = store.recall(1_000_000).await.unwrap();
        assert_eq!(recalled.len(), 1);
        assert_eq!(recalled[0].id, kept.id.as_str());
    }

    #[tokio::test]
    async fn what_could_not_be_written_down_is_so_with_the_next_change_and_without_one_soon() {
        let sessions = sessions();
        let folder = tempfile::tempdir().unwrap();
        let store = SessionStore::open(folder.path()).await.unwrap();
        let stop = CancellationToken::new();
        let running = run(sessions.clone(), store.clone(), stop.clone());
        let changing = async {
            for with_a_change in [true, false] {
                let [one, two] = [greeted(&sessions), greeted(&sessions)];
                store.set_broken(true).await;
                let number = sessions.keeper().changed(&one.id);
                let mut n_written = sessions.keeper().n_written.subscribe();
                n_written.wait_for(|n| *n >= number).await.unwrap();
                store.set_broken(false).await;
                if with_a_change {
                    sessions.keep(&two);
                }
                let is_there = async || {
                    let recalled = store.recall(1_000_000).await.unwrap();
                    recalled.iter().any(|kept| kept.id == one.id.as_str())
                };
                while !is_there().await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            stop.cancel();
        };
        let both = async { tokio::join!(running, changing) };
        let patience = 6 * AGAIN_AFTER;
        tokio::time::timeout(patience, both)
            .await
            .expect("never written down");
    }

    #[test]
    fn what_another_version_wrote_is_left_out() {
        for (id, state) in [("x", "{}"), ("bad id\n", "{}"), (&"a".repeat(64), "nonsense")] {
            let kept = KeptSession {
                id: id.to_owned(),
                state: state.to_owned(),
                idle_ms: 0,
            };
            assert!(Recalled::read(&kept).is_none(), "{id}");
        }
    }
}
