//! All conversations: opened, found, ended; and told when a list has changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;
use tokio::time::Instant;

use super::conversation::Session;
use crate::catalog::{Kind, View};
use crate::ids::SessionId;
use crate::route::{Listeners, Router};
use crate::rpc::mcp::method;

/// Conversations at once; one more is refused.
pub const N_SESSIONS_MAX: usize = 20_000;

/// All conversations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: RwLock<HashMap<SessionId, Arc<Session>>>,
    listeners: Arc<Listeners>,
    router: Router,
}

/// There are too many sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{N_SESSIONS_MAX} sessions are open already; try again later")]
pub struct TooManySessions;

impl Sessions {
    /// No conversations yet.
    pub fn new(router: Router) -> Self {
        let listeners = Arc::clone(router.listeners());
        Self(Arc::new(Shared {
            all: RwLock::default(),
            listeners,
            router,
        }))
    }

    /// Opens one. It waits for its handshake.
    ///
    /// # Errors
    /// `TooManySessions`.
    pub fn open(&self) -> Result<Arc<Session>, TooManySessions> {
        let session = Arc::new(Session::new(Instant::now()));
        let mut all = self.all_mut();
        if all.len() >= N_SESSIONS_MAX {
            return Err(TooManySessions);
        }
        all.insert(session.id.clone(), Arc::clone(&session));
        drop(all);
        self.0
            .listeners
            .add(session.id.clone(), Arc::clone(&session.client));
        Ok(session)
    }

    /// Finds one, and notes that its client has shown itself.
    pub fn find(&self, id: &str) -> Option<Arc<Session>> {
        let session = self.all().get(id).cloned()?;
        session.touch(Instant::now());
        Some(session)
    }

    /// Ends one.
    pub async fn end(&self, session: &Session) {
        if self.all_mut().remove(&session.id).is_some() {
            session.end();
            session.client.questions.end_all();
            tracing::info!(session = %session.id, "session ended");
            self.0.router.forget(&session.id).await;
        }
    }

    /// Ends all: the daemon goes down.
    pub fn end_all(&self) {
        for (_, session) in self.all_mut().drain() {
            session.end();
            session.client.questions.end_all();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Requests in flight, of all together.
    pub fn n_inflight(&self) -> usize {
        self.all().values().map(|session| session.n_inflight()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that have not shown themselves for so long.
    pub fn idle_since(&self, now: Instant, idle_ms: u64) -> Vec<Arc<Session>> {
        self.all()
            .values()
            .filter(|session| session.idle_ms(now) >= idle_ms)
            .cloned()
            .collect()
    }

    /// Ends questions that nobody has answered for too long, and tasks whose time is over.
    pub fn expire(&self, now: Instant) {
        self.0.router.task_table().sweep(now);
        for session in self.all().values() {
            session.client.questions.expire(now, &session.client.outbox);
        }
    }

    /// Tells every session of lists that read differently from now on.
    pub async fn tell_of_changes(&self, mut views: watch::Receiver<Arc<View>>) {
        let mut before = Arc::clone(&views.borrow_and_update());
        while views.changed().await.is_ok() {
            let after = Arc::clone(&views.borrow_and_update());
            let methods = changed(&before, &after);
            for session in self.all().values().filter(|session| session.is_initialized()) {
                for method in &methods {
                    session.client.outbox.list_changed(method);
                }
            }
            before = after;
        }
    }

    fn all(&self) -> RwLockReadGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.0.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_mut(&self) -> RwLockWriteGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.0.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The notifications due from one view to the next.
fn changed(before: &View, after: &View) -> Vec<&'static str> {
    let differs = |kind: Kind| !before.list(kind).reads_like(after.list(kind));
    let mut methods = Vec::new();
    if differs(Kind::Tools) {
        methods.push(method::TOOLS_CHANGED);
    }
    if differs(Kind::Prompts) {
        methods.push(method::PROMPTS_CHANGED);
    }
    if differs(Kind::Resources) || differs(Kind::Templates) {
        methods.push(method::RESOURCES_CHANGED);
    }
    methods
}
