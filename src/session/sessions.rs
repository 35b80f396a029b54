//! All conversations: opened, found, ended; and told when a list has changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

use super::conversation::{Door, Session};
use super::keep::{Keeper, Recalled};
use crate::access::{Principal, Scope};
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
    keeper: Keeper,
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
            keeper: Keeper::default(),
        }))
    }

    /// Opens one. It waits for its handshake.
    ///
    /// # Errors
    /// `TooManySessions`.
    pub fn open(&self, principal: &Arc<Principal>, door: Door) -> Result<Arc<Session>, TooManySessions> {
        self.add(Session::new(Arc::clone(principal), door, Instant::now()))
    }

    /// Opens one that outlives the daemon. It waits for its handshake.
    ///
    /// # Errors
    /// `TooManySessions`.
    pub fn open_kept(&self, principal: &Arc<Principal>) -> Result<Arc<Session>, TooManySessions> {
        let mut session = Session::new(Arc::clone(principal), Door::Http, Instant::now());
        session.is_kept = true;
        self.add(session)
    }

    /// Takes in a session of before the daemon's restart.
    pub fn take_in(&self, recalled: Recalled, principal: Arc<Principal>) {
        let now = Instant::now();
        let born = now
            .checked_sub(Duration::from_millis(recalled.idle_ms))
            .unwrap_or(now);
        let mut session = Session::with_id(recalled.id, principal, Door::Http, born);
        session.is_kept = true;
        let Ok(session) = self.add(session) else { return };
        session.client.introduce(recalled.profile);
        session.client.questions.begin_after(first_question_id());
        if recalled.initialized {
            session.set_initialized();
        }
        let listeners = &self.0.listeners;
        if let Some(level) = recalled.level {
            listeners.set_level(&session.id, level);
        }
        for (resource, exposed) in &recalled.subscribed {
            if listeners.resume(&session.id, resource, exposed).is_err() {
                tracing::warn!(session = %session.id, "too many subscriptions were written down");
            }
        }
    }

    fn add(&self, session: Session) -> Result<Arc<Session>, TooManySessions> {
        let session = Arc::new(session);
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

    /// Finds one that may have ended meanwhile, unnoticed by its client.
    pub fn peek(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.all().get(id).cloned()
    }

    /// What sessions want to hear.
    pub fn listeners(&self) -> &Arc<Listeners> {
        &self.0.listeners
    }

    /// Which sessions have changed since they were written down.
    pub fn keeper(&self) -> &Keeper {
        &self.0.keeper
    }

    /// A session has changed: it is written down soon, if it outlives the daemon.
    pub fn keep(&self, session: &Session) {
        if session.is_kept {
            self.0.keeper.changed(&session.id);
        }
    }

    /// The same, and waits until it is done, but not long.
    pub async fn kept(&self, session: &Session) {
        if session.is_kept {
            let number = self.0.keeper.changed(&session.id);
            self.0.keeper.written(number).await;
        }
    }

    /// Those whose clients have shown themselves lately are written down, so that a restart does not take them for
    /// abandoned.
    pub fn keep_used(&self, now: Instant, within: Duration) {
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        for session in self
            .all()
            .values()
            .filter(|session| session.idle_ms(now) <= within)
        {
            self.keep(session);
        }
    }

    /// Finds one of this principal, and notes that its client has shown itself. Another's is not there.
    pub fn find(&self, id: &str, principal: &Principal) -> Option<Arc<Session>> {
        let session = self.all().get(id).cloned()?;
        if session.principal.id != principal.id {
            tracing::warn!(session = %session.id, asked_by = %principal.name, "a session is used by another than whose it is");
            return None;
        }
        session.touch(Instant::now());
        Some(session)
    }

    /// Ends one.
    pub async fn end(&self, session: &Session) {
        if self.cut(session) {
            self.forget(session).await;
        }
    }

    /// Ends one for its client, at once; the registry and the servers are still to be told ([`Self::forget`]). Whether it
    /// was there.
    pub fn cut(&self, session: &Session) -> bool {
        let was_there = self.all_mut().remove(&session.id).is_some();
        if was_there {
            session.end();
            session.client.questions.end_all();
            tracing::info!(session = %session.id, "session ended");
        }
        was_there
    }

    /// Tells the registry and the servers that one is over; waits for them, but not long.
    pub async fn forget(&self, session: &Session) {
        self.kept(session).await;
        self.0.router.forget(&session.id).await;
    }

    /// Ends all: the daemon goes down.
    pub fn end_all(&self) {
        for (_, session) in self.all_mut().drain() {
            session.end();
            session.client.questions.end_all();
        }
    }

    /// All of a principal.
    pub fn of(&self, principal: &Principal) -> Vec<Arc<Session>> {
        let all = self.all();
        let its = all
            .values()
            .filter(|session| session.principal.id == principal.id);
        its.cloned().collect()
    }

    /// All there are, the oldest first.
    pub fn list(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.all().values().cloned().collect();
        let now = Instant::now();
        all.sort_by_key(|session| std::cmp::Reverse(session.age_ms(now)));
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Requests in flight, of all together.
    pub fn n_inflight(&self) -> usize {
        let with_session: usize = self.all().values().map(|session| session.n_inflight()).sum();
        with_session + self.0.listeners.n_requests()
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
            self.tell_changed(&before, &after);
            before = after;
        }
    }

    /// Each session hears of what it can see, and of nothing else.
    fn tell_changed(&self, before: &Arc<View>, after: &Arc<View>) {
        let catalog = self.0.router.catalog();
        let of_all = changed(before, after);
        let mut of_scopes: HashMap<Arc<Scope>, Vec<&'static str>> = HashMap::new();
        let told: Vec<_> = self
            .all()
            .values()
            .filter(|session| session.is_initialized())
            .cloned()
            .collect();
        for session in told {
            let methods = match &session.principal.scope {
                None => &of_all,
                Some(scope) => of_scopes.entry(Arc::clone(scope)).or_insert_with(|| {
                    let within = |view| catalog.within(view, Some(scope));
                    changed(&within(before), &within(after))
                }),
            };
            for method in methods {
                session.client.outbox.list_changed(method);
            }
        }
    }

    fn all(&self) -> RwLockReadGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.0.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_mut(&self) -> RwLockWriteGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.0.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Higher than any question's id of the runs before: clients may still have those open.
///
/// Seconds since 1970, each with room for a million questions; it stays below 2^53 for thousands of years.
pub fn first_question_id() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().saturating_mul(1 << 20)
}

#[cfg(test)]
impl Sessions {
    /// Over no children at all.
    pub(super) fn for_tests() -> Self {
        let (_keep, directory) = watch::channel(Arc::default());
        let (save, _saved) = tokio::sync::mpsc::channel(1);
        let (events, _nobody_listens) = tokio::sync::broadcast::channel(1);
        let tasks = crate::tasks::Tasks::new();
        let catalog = crate::catalog::Catalog::new(directory.clone(), tasks.clone(), save, events);
        let listeners = Arc::new(Listeners::default());
        Self::new(Router::new(directory, catalog, listeners, tasks))
    }
}

/// The notifications due from one view to the next.
pub fn changed(before: &View, after: &View) -> Vec<&'static str> {
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
