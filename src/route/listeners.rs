//! Who wants to hear what: outboxes, log levels and resource subscriptions of all sessions.
//!
//! A subscription is counted: the child is asked once for the first session, and told when the last one leaves.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::client::ClientSide;
use crate::child::hold::Hold;
use crate::child::link::Link;
use crate::ids::{Instance, OwnerKey, SessionId};
use crate::rpc::mcp::LogLevel;

/// Before a client has set a level it hears this and worse.
pub(super) const LEVEL_UNTIL_SET: LogLevel = LogLevel::Warning;
/// Resources that one session may subscribe to.
pub const N_SUBSCRIPTIONS_MAX: usize = 10_000;

/// A resource of one line of processes, in the child's own name.
pub type Resource = (Instance, String);

/// What all sessions want to hear.
#[derive(Debug, Default)]
pub struct Listeners(Mutex<Wants>);

/// A client without a session: known to the children's side until this is dropped.
#[derive(Debug)]
pub struct Known {
    listeners: Arc<Listeners>,
    id: SessionId,
}

impl Known {
    /// It has come, under this id; what lasts longer belongs to `home`.
    pub fn new(listeners: &Arc<Listeners>, id: SessionId, home: SessionId, client: Arc<ClientSide>) -> Self {
        listeners.add_at(id.clone(), home, client);
        Self {
            listeners: Arc::clone(listeners),
            id,
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.listeners.remove(&self.id);
    }
}

#[derive(Debug, Default)]
struct Wants {
    /// The lowest level that children were told of.
    told: Option<LogLevel>,
    sessions: HashMap<SessionId, Session>,
    resources: HashMap<Resource, Subscribed>,
}

/// One resource that somebody wants to hear of.
#[derive(Debug, Default)]
struct Subscribed {
    /// Who hears of it, under which exposed URI.
    sessions: HashMap<SessionId, String>,
    /// The process that has agreed to tell of it: the pipes to it, which no other process has.
    agreed: Option<Agreed>,
}

/// The agreement of a process to tell of a resource.
#[derive(Debug, Default)]
struct Agreed {
    link: Weak<Link>,
    /// A process that somebody listens to is in use.
    _hold: Option<Hold>,
}

#[derive(Debug)]
struct Session {
    client: Arc<ClientSide>,
    /// See [`crate::child::Lane`].
    home: SessionId,
    level: Option<LogLevel>,
    subscribed: HashSet<Resource>,
}

impl Listeners {
    /// A session has come.
    pub fn add(&self, session: SessionId, client: Arc<ClientSide>) {
        let home = session.clone();
        self.add_at(session, home, client);
    }

    /// A client without a session has come, for as long as one request of it.
    pub fn add_at(&self, session: SessionId, home: SessionId, client: Arc<ClientSide>) {
        let level = client.profile().and_then(|profile| profile.log_level);
        let fresh = Session {
            client,
            home,
            level,
            subscribed: HashSet::new(),
        };
        self.wants().sessions.insert(session, fresh);
    }

    /// A session has gone. Returns the resources that nobody wants to hear of any more.
    pub fn remove(&self, session: &SessionId) -> Vec<Resource> {
        let mut wants = self.wants();
        let Some(gone) = wants.sessions.remove(session) else {
            return Vec::new();
        };
        gone.subscribed
            .into_iter()
            .filter(|resource| wants.leave(session, resource))
            .collect()
    }

    /// A session wants log messages from this level on.
    pub fn set_level(&self, session: &SessionId, level: LogLevel) {
        if let Some(session) = self.wants().sessions.get_mut(session) {
            session.level = Some(level);
        }
    }

    /// A client without a session wants log messages from this level on, or none: each of its requests says so anew.
    pub fn set_level_of_request(&self, session: &SessionId, level: Option<LogLevel>) {
        if let Some(session) = self.wants().sessions.get_mut(session) {
            session.level = level;
        }
    }

    /// The level that a session has set, and what it subscribes to, with the exposed URI.
    pub fn state_of(&self, session: &SessionId) -> (Option<LogLevel>, Vec<(Resource, String)>) {
        let wants = self.wants();
        let Some(known) = wants.sessions.get(session) else {
            return (None, Vec::new());
        };
        let exposed = |resource: &Resource| wants.resources.get(resource)?.sessions.get(session).cloned();
        let subscribed = known
            .subscribed
            .iter()
            .filter_map(|resource| Some((resource.clone(), exposed(resource)?)))
            .collect();
        (known.level, subscribed)
    }

    /// Whether a session wants a message of this level.
    pub fn wants_level(&self, session: &SessionId, level: LogLevel) -> bool {
        let wants = self.wants();
        let Some(known) = wants.sessions.get(session) else {
            return false;
        };
        // A request that names no level gets no messages (MCP 2026-07-28, logging).
        let until_set = (!known.client.is_of_one_request()).then_some(LEVEL_UNTIL_SET);
        known.level.or(until_set).is_some_and(|wanted| wanted <= level)
    }

    /// Whether children have to be told of a level because they were told of none as low; noted as told.
    pub fn is_lower_than_told(&self, level: Option<LogLevel>) -> bool {
        let mut wants = self.wants();
        let is_lower = level.is_some_and(|level| wants.told.is_none_or(|told| level < told));
        if is_lower {
            wants.told = level;
        }
        is_lower
    }

    /// Children are told of the lowest level of now.
    pub fn note_told(&self) {
        let lowest = self.lowest_level();
        self.wants().told = lowest;
    }

    /// The lowest level that any session has asked for: what children have to be set to.
    pub fn lowest_level(&self) -> Option<LogLevel> {
        self.wants()
            .sessions
            .values()
            .filter_map(|session| session.level)
            .min()
    }

    /// The lowest level that a session of this owner has asked for: what its own process has to be set to.
    pub fn lowest_level_of(&self, owner: &OwnerKey) -> Option<LogLevel> {
        let wants = self.wants();
        let owners = wants.sessions.iter().filter(|(_, session)| session.is(owner));
        owners.filter_map(|(_, session)| session.level).min()
    }

    /// Notes a subscription. Says whether the child still has to be asked: no process of it has agreed yet.
    ///
    /// # Errors
    /// The session has too many already.
    pub fn subscribe(
        &self,
        session: &SessionId,
        resource: &Resource,
        exposed: &str,
    ) -> Result<bool, TooMany> {
        let mut wants = self.wants();
        let Some(known) = wants.sessions.get_mut(session) else {
            return Ok(false);
        };
        if known.subscribed.len() >= N_SUBSCRIPTIONS_MAX {
            return Err(TooMany);
        }
        known.subscribed.insert(resource.clone());
        let subscribed = wants.resources.entry(resource.clone()).or_default();
        subscribed.sessions.insert(session.clone(), exposed.to_owned());
        Ok(subscribed.agreed.is_none())
    }

    /// Notes a subscription of before the daemon's restart: a process that is gone had agreed to it, so the next one
    /// is asked.
    ///
    /// # Errors
    /// The session has too many already.
    pub fn resume(&self, session: &SessionId, resource: &Resource, exposed: &str) -> Result<(), TooMany> {
        self.subscribe(session, resource, exposed)?;
        if let Some(subscribed) = self.wants().resources.get_mut(resource) {
            subscribed.agreed.get_or_insert_default();
        }
        Ok(())
    }

    /// The process behind `link` has agreed to tell of a resource.
    pub fn agreed(&self, resource: &Resource, link: &Arc<Link>) {
        if let Some(subscribed) = self.wants().resources.get_mut(resource) {
            subscribed.agreed = Some(Agreed {
                link: Arc::downgrade(link),
                _hold: Some(link.hold()),
            });
        }
    }

    /// The resource to which a session has subscribed under an exposed URI, if it has.
    pub fn subscribed_as(&self, session: &SessionId, exposed: &str) -> Option<Resource> {
        let wants = self.wants();
        let mut subscribed = wants.sessions.get(session)?.subscribed.iter();
        let is_it = |resource: &&Resource| {
            let known = wants.resources.get(*resource);
            known
                .and_then(|known| known.sessions.get(session))
                .map(String::as_str)
                == Some(exposed)
        };
        subscribed.find(is_it).cloned()
    }

    /// Forgets a subscription. Says whether it was the last to this resource.
    pub fn unsubscribe(&self, session: &SessionId, resource: &Resource) -> bool {
        let mut wants = self.wants();
        if let Some(known) = wants.sessions.get_mut(session) {
            known.subscribed.remove(resource);
        }
        wants.leave(session, resource)
    }

    /// A child's resource changed, or something below it: tells everybody who wants to hear of it.
    ///
    /// Returns who was told of a URI that it has not subscribed to, but to one above it.
    pub fn resource_updated(&self, instance: &Instance, own: &str) -> Vec<SessionId> {
        let wants = self.wants();
        let mut told_of_another = Vec::new();
        for ((owner, subscribed), known) in &wants.resources {
            let concerns = owner == instance && is_or_is_below(own, subscribed);
            for (id, exposed) in known.sessions.iter().filter(|_| concerns) {
                let Some(session) = wants.sessions.get(id) else {
                    continue;
                };
                let uri = if own == subscribed {
                    exposed
                } else {
                    told_of_another.push(id.clone());
                    own
                };
                session.client.outbox.resource_updated(uri);
            }
        }
        told_of_another
    }

    /// Sessions that subscribe to something, with the process whose it is.
    pub fn subscribed(&self) -> HashSet<(SessionId, Instance)> {
        let wants = self.wants();
        let all = wants.resources.iter();
        all.flat_map(|((instance, _), known)| {
            known
                .sessions
                .keys()
                .map(|session| (session.clone(), instance.clone()))
        })
        .collect()
    }

    /// A child's resources of which another process than this has agreed to tell: this one knows nothing of it.
    pub fn agreed_by_others(&self, instance: &Instance, link: &Arc<Link>) -> Vec<String> {
        let this = Arc::downgrade(link);
        let wants = self.wants();
        let is_others = |known: &Subscribed| {
            known
                .agreed
                .as_ref()
                .is_some_and(|agreed| !agreed.link.ptr_eq(&this))
        };
        let others = wants.resources.iter().filter(|(_, known)| is_others(known));
        others
            .filter(|((owner, _), _)| owner == instance)
            .map(|((_, own), _)| own.clone())
            .collect()
    }

    /// A child's resources of which somebody wants to hear, by its own names.
    pub fn wanted(&self, instance: &Instance) -> BTreeSet<String> {
        let wants = self.wants();
        let all = wants.resources.keys().filter(|(owner, _)| owner == instance);
        all.map(|(_, own)| own.clone()).collect()
    }

    /// Whether somebody wants to hear of a child's resources.
    pub fn is_listened_to(&self, instance: &Instance) -> bool {
        self.wants().resources.keys().any(|(owner, _)| owner == instance)
    }

    /// One client.
    pub fn client(&self, session: &SessionId) -> Option<Arc<ClientSide>> {
        self.wants()
            .sessions
            .get(session)
            .map(|session| Arc::clone(&session.client))
    }

    /// The clients of an owner: one session's, or all those of a client program.
    pub fn clients_of(&self, owner: &OwnerKey) -> Vec<(SessionId, Arc<ClientSide>)> {
        let wants = self.wants();
        let owners = wants.sessions.iter().filter(|(_, session)| session.is(owner));
        owners
            .map(|(id, session)| (id.clone(), Arc::clone(&session.client)))
            .collect()
    }

    /// The client, if there is just one that has done its handshake.
    pub fn only_client(&self) -> Option<(SessionId, Arc<ClientSide>)> {
        let wants = self.wants();
        let mut greeted = wants
            .sessions
            .iter()
            .filter(|(_, session)| session.client.profile().is_some() && !session.client.is_of_one_request());
        let (Some((id, session)), None) = (greeted.next(), greeted.next()) else {
            return None;
        };
        Some((id.clone(), Arc::clone(&session.client)))
    }

    /// Requests of clients without a session that are being worked on, or tell of changes.
    pub fn n_requests(&self) -> usize {
        let wants = self.wants();
        let all = wants.sessions.values();
        all.filter(|session| session.client.has_request()).count()
    }

    /// All clients.
    pub fn clients(&self) -> Vec<Arc<ClientSide>> {
        self.wants()
            .sessions
            .values()
            .map(|session| Arc::clone(&session.client))
            .collect()
    }

    /// All clients that are asked in results.
    pub fn clients_of_requests(&self) -> Vec<Arc<ClientSide>> {
        let wants = self.wants();
        let all = wants.sessions.values().map(|session| &session.client);
        all.filter(|client| client.questions.are_collected())
            .cloned()
            .collect()
    }

    fn wants(&self) -> MutexGuard<'_, Wants> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session subscribes to too many resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl Session {
    fn is(&self, owner: &OwnerKey) -> bool {
        let profile = self.client.profile();
        OwnerKey::session(&self.home) == *owner
            || profile.is_some_and(|profile| {
                OwnerKey::client(self.client.holder(), &profile.client_name()) == *owner
            })
    }
}

impl Wants {
    fn leave(&mut self, session: &SessionId, resource: &Resource) -> bool {
        let Some(known) = self.resources.get_mut(resource) else {
            return false;
        };
        let was_there = known.sessions.remove(session).is_some();
        let is_last = known.sessions.is_empty();
        if is_last {
            self.resources.remove(resource);
        }
        was_there && is_last
    }
}

/// "The URI may be a sub-resource of the one that the client subscribed to" (MCP 2025-11-25, schema).
fn is_or_is_below(own: &str, subscribed: &str) -> bool {
    own.strip_prefix(subscribed)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '#', '?']) || subscribed.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, ServerName};

    fn instance(server: &str) -> Instance {
        Instance::first(ServerName::parse(server).unwrap())
    }

    fn owner(uri: &str) -> Resource {
        (instance("a"), uri.to_owned())
    }

    #[test]
    fn a_child_is_asked_for_the_first_and_told_of_the_last() {
        let listeners = Listeners::default();
        let (one, two) = (SessionId::random(), SessionId::random());
        listeners.add(one.clone(), Arc::default());
        listeners.add(two.clone(), Arc::default());
        assert_eq!(listeners.subscribe(&one, &owner("x://1"), "x://1"), Ok(true));
        assert_eq!(
            listeners.subscribe(&two, &owner("x://1"), "x://1"),
            Ok(true),
            "nobody has agreed yet"
        );
        listeners.agreed(&owner("x://1"), &link());
        assert_eq!(listeners.subscribe(&two, &owner("x://1"), "x://1"), Ok(false));
        assert!(!listeners.unsubscribe(&one, &owner("x://1")));
        assert!(
            !listeners.unsubscribe(&one, &owner("x://1")),
            "twice changes nothing"
        );
        assert_eq!(listeners.remove(&two), [owner("x://1")]);
    }

    fn link() -> Arc<Link> {
        Link::new(Generation(1), 1).0
    }

    #[test]
    fn a_fresh_process_is_asked_again_for_what_another_had_agreed_to() {
        let (listeners, one) = (Listeners::default(), SessionId::random());
        listeners.add(one.clone(), Arc::default());
        for uri in ["x://1", "x://2"] {
            listeners.subscribe(&one, &owner(uri), uri).unwrap();
        }
        let (first, second) = (link(), link());
        listeners.agreed(&owner("x://1"), &first);
        let again = |link: &Arc<Link>| listeners.agreed_by_others(&instance("a"), link);
        // What no process has agreed to yet is being asked for by who subscribes.
        assert_eq!(
            (again(&first), again(&second)),
            (vec![], vec!["x://1".to_owned()])
        );
        assert!(listeners.agreed_by_others(&instance("b"), &second).is_empty());
        listeners.agreed(&owner("x://1"), &second);
        assert!(again(&second).is_empty());
        assert!(listeners.is_listened_to(&instance("a")) && !listeners.is_listened_to(&instance("b")));
    }

    #[test]
    fn an_update_goes_to_subscribers_of_the_resource_and_of_its_parents_only() {
        let listeners = Listeners::default();
        let clients: Vec<Arc<ClientSide>> = (0..3).map(|_| Arc::default()).collect();
        for (client, uri) in clients.iter().zip(["x://a", "x://a/b", "x://ab"]) {
            let session = SessionId::random();
            listeners.add(session.clone(), Arc::clone(client));
            listeners.subscribe(&session, &owner(uri), uri).unwrap();
        }
        let told_of_another = listeners.resource_updated(&instance("a"), "x://a/b");
        assert_eq!(told_of_another.len(), 1, "the one that listens to x://a");
        let heard: Vec<bool> = clients
            .iter()
            .map(|client| client.outbox.pop().is_some())
            .collect();
        assert_eq!(heard, [true, true, false]);
        listeners.resource_updated(&instance("b"), "x://a");
        assert!(
            clients.iter().all(|client| client.outbox.pop().is_none()),
            "another server's resource"
        );
    }

    #[test]
    fn levels_are_kept_per_session() {
        let listeners = Listeners::default();
        let (one, two) = (SessionId::random(), SessionId::random());
        listeners.add(one.clone(), Arc::default());
        listeners.add(two.clone(), Arc::default());
        assert_eq!(listeners.lowest_level(), None);
        listeners.set_level(&one, LogLevel::Debug);
        assert!(listeners.wants_level(&one, LogLevel::Debug) && !listeners.wants_level(&two, LogLevel::Info));
        assert!(listeners.wants_level(&two, LogLevel::Warning));
        assert_eq!(listeners.lowest_level(), Some(LogLevel::Debug));
    }
}
