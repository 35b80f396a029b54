//! Tasks that servers of 2026-07-28 have made for clients that know the extension too, and of which those want to be
//! told: the server tells of them on the one stream on which it is listened to, and each goes to who listens to it.
//!
//! What is told of a task is how it stands, so that of two messages that nobody has read yet the later is enough.
//! Source: extension `io.modelcontextprotocol/tasks` (SEP-2663), "Task Status Notifications".

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::context::CallContext;
use super::router::Router;
use crate::child::hold::Hold;
use crate::ids::{Instance, ServerName};
use crate::rpc::Raw;
use crate::rpc::object::Object;

/// A task as its server knows it, and the line of processes that runs it.
type Own = (Instance, String);

/// Who wants to be told of each task, and by which id.
type Watchers = HashMap<Own, Vec<(Arc<Told>, String)>>;

/// Who wants to be told of which tasks.
#[derive(Debug, Default)]
pub(super) struct Watched(Mutex<Watchers>);

/// What one listener was told and has not read.
#[derive(Debug, Default)]
struct Told {
    /// By the id that the listener knows.
    latest: Mutex<BTreeMap<String, Raw>>,
    bell: Notify,
}

/// One listener. It is told until this is dropped.
#[derive(Debug)]
pub struct Watching {
    router: Router,
    told: Arc<Told>,
    own: Vec<Own>,
    /// The processes that run the tasks do not rest while somebody waits for them.
    _holds: Vec<Hold>,
}

/// A task that a client names.
#[derive(Debug, Clone)]
pub struct Named {
    /// The id that the client knows.
    pub id: String,
    /// The server that has made it.
    pub server: ServerName,
    /// What that calls it.
    pub own: String,
}

impl Watched {
    fn add(&self, own: &Own, told: &Arc<Told>, id: &str) {
        let mut all = self.all();
        all.entry(own.clone())
            .or_default()
            .push((Arc::clone(told), id.to_owned()));
    }

    fn remove(&self, own: &Own, told: &Arc<Told>) {
        let mut all = self.all();
        if let Some(watchers) = all.get_mut(own) {
            watchers.retain(|(known, _)| !Arc::ptr_eq(known, told));
            if watchers.is_empty() {
                all.remove(own);
            }
        }
    }

    /// The tasks of these processes of which somebody wants to be told.
    pub(super) fn wanted(&self, instance: &Instance) -> BTreeSet<String> {
        let all = self.all();
        let its = all.keys().filter(|(running, _)| running == instance);
        its.map(|(_, own)| own.clone()).collect()
    }

    /// A server has told how one of its tasks stands.
    pub(super) fn tell(&self, instance: &Instance, params: &Raw) {
        let named = Object::of(params).and_then(|params| params.get_string("taskId"));
        let Some(own) = named else { return };
        let all = self.all();
        for (told, id) in all.get(&(instance.clone(), own)).into_iter().flatten() {
            told.latest().insert(id.clone(), params.compact());
            told.bell.notify_one();
        }
    }

    fn all(&self) -> MutexGuard<'_, Watchers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn latest(&self) -> MutexGuard<'_, BTreeMap<String, Raw>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Router {
    /// Begins to listen to these tasks. Those of which their servers have agreed to tell by `until` come back by their
    /// ids, and no others are told of.
    pub async fn watch_tasks(
        &self,
        context: &CallContext,
        named: Vec<Named>,
        until: Instant,
    ) -> (Watching, Vec<String>) {
        let mut watching = Watching {
            router: self.clone(),
            told: Arc::default(),
            own: Vec::new(),
            _holds: Vec::new(),
        };
        let mut agreed = Vec::new();
        // All are asked for at once, and then each is waited for.
        let mut asked = Vec::new();
        for task in named {
            let child = self.entry(&task.server);
            let child = child.and_then(|entry| self.child_for(&entry, context).ok());
            let Some((child, link)) = child.and_then(|child| {
                let link = child.present().filter(|link| link.is_modern())?;
                Some((child, link))
            }) else {
                continue;
            };
            let own = (child.instance().clone(), task.own);
            self.watched().add(&own, &watching.told, &task.id);
            watching.own.push(own.clone());
            asked.push((task.id, own, link));
        }
        for (id, own, link) in asked {
            if self.is_in_stream(&own, &link, until).await {
                watching._holds.push(link.hold());
                agreed.push(id);
            } else {
                watching.give_up(&own);
            }
        }
        (watching, agreed)
    }
}

impl Watching {
    /// The next task that stands differently: how, under the id that its client knows.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&self) -> (String, Raw) {
        loop {
            let heard = self.told.bell.notified();
            if let Some(next) = self.told.latest().pop_first() {
                return next;
            }
            heard.await;
        }
    }

    fn give_up(&mut self, own: &Own) {
        self.own.retain(|known| known != own);
        self.forget(own);
    }

    fn forget(&self, own: &Own) {
        self.router.watched().remove(own, &self.told);
        self.router.listening().changed(&own.0);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        for own in &self.own {
            self.forget(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str) -> Instance {
        Instance::first(ServerName::parse(name).unwrap())
    }

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    #[test]
    fn a_task_is_told_to_who_listens_to_it_under_the_id_that_it_knows() {
        let watched = Watched::default();
        let (one, two): (Arc<Told>, Arc<Told>) = (Arc::default(), Arc::default());
        let own = (instance("a"), "t-1".to_owned());
        watched.add(&own, &one, "ours-1");
        watched.add(&own, &two, "ours-2");
        assert_eq!(watched.wanted(&own.0), BTreeSet::from(["t-1".to_owned()]));
        watched.tell(&instance("b"), &raw(r#"{"taskId":"t-1"}"#));
        watched.tell(&own.0, &raw(r#"{"taskId":"t-2"}"#));
        watched.tell(&own.0, &raw("{}"));
        assert!(one.latest().is_empty());
        for n in 1..=2 {
            watched.tell(&own.0, &raw(&format!(r#"{{"taskId":"t-1","n":{n}}}"#)));
        }
        let last = raw(r#"{"taskId":"t-1","n":2}"#);
        assert_eq!(
            *one.latest(),
            BTreeMap::from([("ours-1".to_owned(), last.clone())])
        );
        assert_eq!(*two.latest(), BTreeMap::from([("ours-2".to_owned(), last)]));
        watched.remove(&own, &one);
        assert!(!watched.wanted(&own.0).is_empty());
        watched.remove(&own, &two);
        assert!(watched.wanted(&own.0).is_empty());
    }
}
