//! Calls of different clients that a server may ask something in are kept in different processes of it, so that it is
//! never in doubt whose a question is (`interactive_policy = "pool"`).
//!
//! It begins when a server with a handshake was seen asking within a call. From then on a call of a client that can be
//! asked shares its process with calls of the same client only: it goes to the process that the client had last, to the
//! one that all share, to one that nobody needs any more, to a new one, or, where there are as many as allowed, waits.
//! A call of a client that cannot be asked gives way too, but rather makes a question doubtful than that it waits.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::context::CallContext;
use super::error::RouteError;
use super::router::Router;
use crate::child::{CallError, Child};
use crate::config::spec::{Interactive, Replace};
use crate::ids::{Instance, ServerName, SessionId};
use crate::supervise::Entry;

/// Who has calls in which process.
#[derive(Debug, Default)]
pub(super) struct Pool {
    rooms: Mutex<Rooms>,
    /// Rung when a call has left.
    left: Notify,
}

#[derive(Debug, Default)]
struct Rooms {
    /// Servers that were seen asking.
    asking: HashSet<ServerName>,
    all: HashMap<Instance, Room>,
}

/// One process as the pool sees it.
#[derive(Debug, Default, Clone)]
struct Room {
    /// Whose calls are in it, and whether these clients can be asked.
    calls: Vec<(SessionId, bool)>,
    /// Who came last.
    last: Option<SessionId>,
}

/// A call's stay in a process. It ends with this.
#[derive(Debug)]
pub(super) struct Stay {
    pool: Arc<Pool>,
    instance: Instance,
    guest: (SessionId, bool),
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut rooms = self.pool.rooms();
        if let Some(room) = rooms.all.get_mut(&self.instance)
            && let Some(at) = room.calls.iter().position(|guest| *guest == self.guest)
        {
            room.calls.swap_remove(at);
        }
        drop(rooms);
        self.pool.left.notify_waiters();
    }
}

impl Room {
    /// Whether nothing that is asked in it would be in doubt with this guest.
    fn takes(&self, (who, can_be_asked): &(SessionId, bool)) -> bool {
        let mut calls = self.calls.iter();
        calls.all(|(other, other_can)| other == who || !(*can_be_asked || *other_can))
    }
}

/// Which of these processes, the shared one first, a guest goes to; `None` for another than these.
///
/// `is_there`: whether a client is still there. Whoever is keeps the process that it had last.
fn choose(
    rooms: &[(&Instance, Room)],
    guest: &(SessionId, bool),
    may_be_more: bool,
    is_there: impl Fn(&SessionId) -> bool,
) -> Option<Instance> {
    let takes = |room: &&(&Instance, Room)| room.1.takes(guest);
    let is_its = |room: &&(&Instance, Room)| room.0.spare > 0 && room.1.last.as_ref() == Some(&guest.0);
    let is_nobodys = |room: &&(&Instance, Room)| room.1.last.as_ref().is_none_or(|last| !is_there(last));
    let free = || rooms.iter().filter(takes);
    let its_own = free().find(is_its);
    let shared = || free().find(|(instance, _)| instance.spare == 0);
    let nobodys = || free().find(is_nobodys);
    let any = || free().next().filter(|_| !may_be_more);
    let found = its_own.or_else(shared).or_else(nobodys).or_else(any);
    found.map(|(instance, _)| (*instance).clone())
}

impl Pool {
    /// This server asks within calls.
    pub(super) fn note_asking(&self, server: &ServerName) {
        let mut rooms = self.rooms();
        if !rooms.asking.contains(server) {
            rooms.asking.insert(server.clone());
        }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Router {
    /// The child that works for the caller, where calls that may be asked something in have to be kept apart, and the
    /// call's stay there.
    ///
    /// # Errors
    /// All processes are in use, and stay so for `queue_wait`.
    pub(super) async fn seated(
        &self,
        entry: &Entry,
        context: &CallContext,
    ) -> Result<(Child, Option<Stay>), RouteError> {
        let shared = self.instance_for(entry, context);
        let policy = &entry.spec.policy;
        let is_pool = policy.interactive_policy == Interactive::Pool && policy.replace == Replace::WhenReady;
        if shared.owner.is_some() || !is_pool {
            return Ok((self.child_for(entry, context)?, None));
        }
        let can_be_asked = self.caller(context).is_some_and(|caller| caller.can_be_asked());
        let guest = (context.lane.peer.clone(), can_be_asked);
        let deadline = Instant::now() + policy.queue_wait;
        loop {
            let left = self.pool().left.notified();
            let mut left = std::pin::pin!(left);
            left.as_mut().enable();
            if let Some(seat) = self.seat(entry, context, &shared, &guest)? {
                return Ok(seat);
            }
            tokio::select! {
                () = left => {}
                () = context.lane.cancelled() => return Err(RouteError::Child {
                    server: entry.spec.name.clone(),
                    error: CallError::Cancelled,
                }),
                () = tokio::time::sleep_until(deadline) => return Err(RouteError::NoInstance {
                    server: entry.spec.name.clone(),
                    n_max: policy.instances_max,
                }),
            }
        }
    }

    /// One attempt; `None` when all are in use.
    fn seat(
        &self,
        entry: &Entry,
        context: &CallContext,
        shared: &Instance,
        guest: &(SessionId, bool),
    ) -> Result<Option<(Child, Option<Stay>)>, RouteError> {
        let there = entry.instances.children();
        let is_of_pool = |child: &&Child| {
            let instance = child.instance();
            instance.owner.is_none() && instance.older == shared.older && !child.is_retired()
        };
        let spares: Vec<&Instance> = there
            .iter()
            .filter(is_of_pool)
            .map(Child::instance)
            .filter(|instance| instance.spare > 0)
            .collect();
        let mut rooms = self.pool().rooms();
        // Nobody remembers who came last to a process that is gone.
        let is_kept = |instance: &Instance| {
            instance.server != shared.server || instance.spare == 0 || spares.contains(&instance)
        };
        rooms
            .all
            .retain(|instance, room| !room.calls.is_empty() || is_kept(instance));
        // Whoever keeps nothing of its clients asks in its answers, and is never in doubt.
        let first = entry.child.status().handshake;
        let names_its_calls = !shared.older && first.is_none_or(|first| first.is_modern());
        let chosen = if names_its_calls || !rooms.asking.contains(&shared.server) {
            Some(shared.clone())
        } else {
            let room_of = |instance| (instance, rooms.all.get(instance).cloned().unwrap_or_default());
            let all: Vec<_> = std::iter::once(shared)
                .chain(spares.iter().copied())
                .map(room_of)
                .collect();
            let may_be_more = there.len() < entry.spec.policy.instances_max;
            let is_there = |who: &SessionId| self.listeners().client(who).is_some();
            let another = || (1..).find(|n| spares.iter().all(|spare| spare.spare != *n));
            let another = || {
                let spare = another().filter(|_| may_be_more)?;
                Some(Instance {
                    spare,
                    ..shared.clone()
                })
            };
            let chosen = choose(&all, guest, may_be_more, is_there).or_else(another);
            chosen.or_else(|| (!guest.1).then(|| shared.clone()))
        };
        let Some(instance) = chosen else { return Ok(None) };
        let child = if instance.spare == 0 {
            self.child_for(entry, context)?
        } else {
            match entry.instances.of(|| None, &instance, Instant::now()) {
                Ok(child) => child,
                Err(_too_many) => return Ok(None),
            }
        };
        let room = rooms.all.entry(instance.clone()).or_default();
        room.calls.push(guest.clone());
        room.last = Some(guest.0.clone());
        drop(rooms);
        let stay = Stay {
            pool: Arc::clone(self.pool()),
            instance,
            guest: guest.clone(),
        };
        Ok(Some((child, Some(stay))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(spare: u32) -> Instance {
        Instance {
            spare,
            ..Instance::first(ServerName::parse("a").unwrap())
        }
    }

    fn room(calls: &[(&SessionId, bool)], last: Option<&SessionId>) -> Room {
        Room {
            calls: calls.iter().map(|(who, can)| ((*who).clone(), *can)).collect(),
            last: last.cloned(),
        }
    }

    fn chosen(
        rooms: &[Room],
        who: &SessionId,
        can: bool,
        may_be_more: bool,
        gone: Option<&SessionId>,
    ) -> Option<u32> {
        let instances: Vec<Instance> = (0..).take(rooms.len()).map(instance).collect();
        let rooms: Vec<_> = instances.iter().zip(rooms.iter().cloned()).collect();
        let is_there = |who: &SessionId| Some(who) != gone;
        choose(&rooms, &(who.clone(), can), may_be_more, is_there).map(|instance| instance.spare)
    }

    #[test]
    fn no_two_clients_share_a_process_of_whom_one_can_be_asked() {
        let (one, two) = (SessionId::random(), SessionId::random());
        let busy = |can| room(&[(&one, can)], Some(&one));
        assert_eq!(
            chosen(&[busy(true)], &one, true, true, None),
            Some(0),
            "its own calls"
        );
        assert_eq!(chosen(&[busy(true)], &two, true, true, None), None);
        assert_eq!(
            chosen(&[busy(true)], &two, false, true, None),
            None,
            "it would be in doubt"
        );
        assert_eq!(chosen(&[busy(false)], &two, true, true, None), None);
        assert_eq!(chosen(&[busy(false)], &two, false, true, None), Some(0));
        assert_eq!(chosen(&[room(&[], Some(&one))], &two, true, true, None), Some(0));
    }

    #[test]
    fn a_client_keeps_its_process_and_takes_that_of_another_only_where_there_is_no_more() {
        let (one, two, three) = (SessionId::random(), SessionId::random(), SessionId::random());
        let busy = room(&[(&three, true)], Some(&three));
        let rooms = [room(&[], None), room(&[], Some(&one))];
        assert_eq!(chosen(&rooms, &one, true, true, None), Some(1));
        assert_eq!(chosen(&rooms, &two, true, true, None), Some(0));
        let rooms = [busy, room(&[], Some(&one))];
        assert_eq!(
            chosen(&rooms, &two, true, true, None),
            None,
            "another one is made"
        );
        assert_eq!(chosen(&rooms, &two, true, false, None), Some(1));
        assert_eq!(
            chosen(&rooms, &two, true, true, Some(&one)),
            Some(1),
            "nobody needs it"
        );
    }
}
