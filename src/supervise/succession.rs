//! A changed definition on trial: what is told of it, and how it takes the place of the one that serves.

use std::sync::Arc;

use super::directory::{Directory, Entry, Successor};
use super::manager::ProcessManager;
use crate::child::hub::{FromChild, Hub};
use crate::child::status::ChildStatus;
use crate::child::{Child, Control, telling};
use crate::event::{Cause, What};
use crate::ids::ServerName;

/// Why a process on trial does not come up, as far as that is known.
pub fn why_not(status: &ChildStatus) -> Option<&Cause> {
    let is_fault = |cause: &&Cause| !matches!(cause, Cause::Asked | Cause::Idle | Cause::ShuttingDown);
    status.cause.as_ref().filter(is_fault)
}

impl ProcessManager {
    /// Follows a trial to its end: it takes over when it is proven, and tells why it does not come up.
    pub(super) async fn follow(self, server: ServerName, trial: Successor) {
        let mut states = trial.child.watch();
        let mut told = None;
        loop {
            let status = states.borrow_and_update().clone();
            let why = why_not(&status).cloned();
            if let Some(cause) = why.clone().filter(|_| why != told) {
                self.tell_of(&server, &trial.child, What::Kept { cause });
                told = why;
            }
            tokio::select! {
                biased;
                () = trial.proven.cancelled() => return self.succeed(&server, &trial).await,
                changed = states.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// The trial takes the place of what serves, which finishes what is in flight and goes.
    async fn succeed(&self, server: &ServerName, trial: &Successor) {
        let mut applied = self.applied().await;
        let before = Arc::clone(&self.directory().borrow());
        let Some(entry) = before.get(server.as_str()).filter(|_| !applied.shutting_down) else {
            return;
        };
        let Some(successor) = entry.successor.as_ref().filter(|now| now.child.is(&trial.child)) else {
            return;
        };
        let going = all_of(entry);
        let after = Entry {
            spec: Arc::clone(&successor.spec),
            child: successor.child.clone(),
            instances: self.instances_of(&successor.spec, Some(&entry.instances)),
            successor: None,
            finishing: still_there(&entry.finishing)
                .chain(going.iter().cloned())
                .collect(),
        };
        let entries = before
            .iter()
            .map(|one| if one.spec.name == *server { &after } else { one });
        self.publish(Directory::new(entries.cloned().collect()));
        self.tell_of(server, &after.child, What::TookOver);
        self.hub_of(&after.child).take(FromChild::TookOver);
        for child in &going {
            child.tell(Control::Yield).await;
            self.tell_when_alone(child);
        }
        applied.leaving.entry(server.clone()).or_default().extend(going);
    }

    /// What the ended process had asked of clients can be answered to nobody.
    fn tell_when_alone(&self, child: &Child) {
        let (child, hub) = (child.clone(), self.hub_of(child));
        self.surroundings()
            .tasks
            .spawn("end of a predecessor", async move {
                child.ended().await;
                let generation = child.status().generation.next();
                hub.take(FromChild::Alone { generation });
            });
    }

    fn hub_of(&self, child: &Child) -> Hub {
        Hub::new(child.instance().clone(), self.surroundings().hub.clone())
    }

    fn tell_of(&self, server: &ServerName, child: &Child, what: What) {
        let _span = tracing::info_span!("child", server = %server).entered();
        telling::tell(
            &self.surroundings().events,
            server,
            child.status().generation,
            what,
        );
    }
}

/// The first process, and those beside it; these are in nobody's hands afterwards.
pub(super) fn all_of(entry: &Entry) -> Vec<Child> {
    let others = entry.instances.take_all();
    std::iter::once(entry.child.clone()).chain(others).collect()
}

/// Those of which a process may be left.
pub(super) fn still_there(children: &[Child]) -> impl Iterator<Item = Child> {
    children.iter().filter(|child| !child.has_ended()).cloned()
}
