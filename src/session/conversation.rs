//! One client's conversation in the handshake era.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::replay::Streams;
use crate::access::{Principal, holder};
use crate::child::Lane;
use crate::ids::SessionId;
use crate::route::ClientSide;
use crate::route::client::Profile;
use crate::rpc::RequestId;
use crate::rpc::mcp::Revision;

/// One client's conversation.
#[derive(Debug)]
pub struct Session {
    /// Whose it is: nobody else may use it.
    pub principal: Arc<Principal>,
    /// Its id: what a client of Streamable HTTP sends along.
    pub id: SessionId,
    /// The client as children see it.
    pub client: Arc<ClientSide>,
    /// What was sent on its event streams.
    pub streams: Streams,
    /// Whether it outlives the daemon.
    pub is_kept: bool,
    /// Through which door its client came.
    pub door: Door,
    /// Cancelled when the session ends; its streams end with it.
    pub over: CancellationToken,
    initialized: AtomicBool,
    inflight: Mutex<HashMap<RequestId, Vec<Arc<Lane>>>>,
    n_streams: AtomicUsize,
    born: Instant,
    last_used_ms: AtomicU64,
    /// What the last request said that came without a handshake.
    said: Mutex<Option<Arc<Profile>>>,
}

/// Doors through which clients with a session come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE.
    Sse,
    /// Lines over one connection: the stdio shim.
    Lines,
    /// `mcpctl call`.
    Control,
}

impl Door {
    /// As it is shown to people.
    pub fn told(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Lines => "stdio",
            Self::Control => "mcpctl",
        }
    }
}

impl Session {
    /// A session that waits for its handshake.
    pub fn new(principal: Arc<Principal>, door: Door, now: Instant) -> Self {
        Self::with_id(SessionId::random(), principal, door, now)
    }

    /// The same under an id of before.
    pub fn with_id(id: SessionId, principal: Arc<Principal>, door: Door, now: Instant) -> Self {
        let client = ClientSide::default().within(principal.scope.clone(), holder(&principal.id));
        Self {
            principal,
            id,
            is_kept: false,
            door,
            client: Arc::new(client),
            streams: Streams::default(),
            over: CancellationToken::new(),
            initialized: AtomicBool::new(false),
            inflight: Mutex::default(),
            n_streams: AtomicUsize::new(0),
            born: now,
            last_used_ms: AtomicU64::new(0),
            said: Mutex::default(),
        }
    }

    /// A request came that needs no handshake: its client said this of itself.
    pub fn note_said(&self, profile: Arc<Profile>) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(profile);
    }

    /// What is known of the client: from its handshake, or from the last request that needed none.
    pub fn known(&self) -> Option<Arc<Profile>> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.client.profile().or(said)
    }

    /// Streams to the client that are open.
    pub fn n_streams(&self) -> usize {
        self.n_streams.load(Ordering::Acquire)
    }

    /// Whether the handshake is done.
    pub fn is_greeted(&self) -> bool {
        self.client.profile().is_some()
    }

    /// The revision agreed on; before that the newest.
    pub fn revision(&self) -> Revision {
        self.client
            .profile()
            .map_or(Revision::NEWEST_LEGACY, |profile| profile.revision)
    }

    /// The client has said `notifications/initialized`.
    pub fn set_initialized(&self) {
        self.initialized.store(true, Ordering::Release);
    }

    /// Whether the client wants to hear anything yet.
    pub fn is_initialized(&self) -> bool {
        self.initialized.load(Ordering::Acquire)
    }

    /// Notes a request in flight, until the guard is dropped. One that comes after the end is cancelled at once.
    pub fn begin(self: &Arc<Self>, lane: Arc<Lane>) -> InFlight {
        self.begin_as(lane.request.clone(), lane, false)
    }

    /// The same under an id that is not the lane's own, or for a lane that lives on when the guard is dropped.
    pub fn begin_as(self: &Arc<Self>, id: RequestId, lane: Arc<Lane>, lives_on: bool) -> InFlight {
        self.inflight()
            .entry(id.clone())
            .or_default()
            .push(Arc::clone(&lane));
        // It has ended meanwhile: whoever ends it says so first, and then looks who is in flight.
        if self.over.is_cancelled() {
            lane.cancel();
        }
        InFlight {
            session: Arc::clone(self),
            id,
            lane,
            lives_on,
        }
    }

    /// Whether a request with this id is in flight.
    pub fn is_in_flight(&self, id: &RequestId) -> bool {
        self.inflight().contains_key(id)
    }

    /// The client no longer wants the answer to this request. Of two with one id the newer is meant.
    pub fn cancel(&self, id: &RequestId) {
        if let Some(lane) = self.inflight().get(id).and_then(|lanes| lanes.last()) {
            lane.cancel();
        }
    }

    /// Ends it: its calls are cancelled, its streams end.
    pub fn end(&self) {
        self.over.cancel();
        for lane in self.inflight().values().flatten() {
            lane.cancel();
        }
    }

    /// Requests in flight.
    pub fn n_inflight(&self) -> usize {
        self.inflight().values().map(Vec::len).sum()
    }

    /// The client has shown itself.
    pub fn touch(&self, now: Instant) {
        self.last_used_ms.store(self.age_ms(now), Ordering::Relaxed);
    }

    /// A stream to the client is open, until the guard is dropped.
    pub fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.n_streams.fetch_add(1, Ordering::AcqRel);
        OpenStream(Arc::clone(self))
    }

    /// How long the client has not shown itself, in milliseconds; 0 while it has a stream or a call open.
    pub fn idle_ms(&self, now: Instant) -> u64 {
        if self.n_streams.load(Ordering::Acquire) > 0 || self.n_inflight() > 0 {
            return 0;
        }
        self.age_ms(now)
            .saturating_sub(self.last_used_ms.load(Ordering::Relaxed))
    }

    /// How long it has been open, in milliseconds; of one that is older than the daemon, since its client had last shown
    /// itself before.
    pub fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    fn inflight(&self) -> MutexGuard<'_, HashMap<RequestId, Vec<Arc<Lane>>>> {
        self.inflight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight. Forgotten when dropped.
#[derive(Debug)]
pub struct InFlight {
    session: Arc<Session>,
    id: RequestId,
    lane: Arc<Lane>,
    lives_on: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // Nobody carries its messages to the client any more, and an answer to what it asked concerns nobody.
        if !self.lives_on {
            drop(self.lane.finish());
        }
        let mut inflight = self.session.inflight();
        if let Some(lanes) = inflight.get_mut(&self.id) {
            lanes.retain(|lane| !Arc::ptr_eq(lane, &self.lane));
            if lanes.is_empty() {
                inflight.remove(&self.id);
            }
        }
    }
}

/// A stream to the client. Counted until dropped.
#[derive(Debug)]
pub struct OpenStream(Arc<Session>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.touch(Instant::now());
        self.0.n_streams.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Arc<Session> {
        let owner = Arc::new(Principal::owner());
        Arc::new(Session::new(owner, Door::Control, Instant::now()))
    }

    fn lane(session: &Session, id: u64) -> Arc<Lane> {
        Arc::new(Lane::new(session.id.clone(), RequestId::number(id), None))
    }

    #[test]
    fn of_two_requests_with_one_id_each_is_forgotten_by_itself() {
        let session = session();
        let (one, two) = (lane(&session, 1), lane(&session, 1));
        let first = session.begin(Arc::clone(&one));
        let second = session.begin(Arc::clone(&two));
        session.cancel(&RequestId::number(1));
        assert!(two.is_cancelled() && !one.is_cancelled());
        drop(second);
        assert!(session.is_in_flight(&RequestId::number(1)));
        drop(first);
        assert!(!session.is_in_flight(&RequestId::number(1)));
    }

    #[test]
    fn a_request_that_comes_after_the_end_is_cancelled() {
        let session = session();
        let (before, after) = (lane(&session, 1), lane(&session, 2));
        let _first = session.begin(Arc::clone(&before));
        assert!(!before.is_cancelled());
        session.end();
        let _second = session.begin(Arc::clone(&after));
        assert!(before.is_cancelled() && after.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_idle_only_without_streams_and_calls() {
        let session = session();
        let stream = session.open_stream();
        tokio::time::advance(std::time::Duration::from_secs(7200)).await;
        assert_eq!(session.idle_ms(Instant::now()), 0);
        drop(stream);
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        assert_eq!(session.idle_ms(Instant::now()), 5000);
        let call = session.begin(lane(&session, 1));
        assert_eq!(session.idle_ms(Instant::now()), 0);
        drop(call);
        assert_eq!(session.idle_ms(Instant::now()), 5000);
    }
}
