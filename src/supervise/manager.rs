//! Applies declared servers to living children: only what changed is touched.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::directory::{Directory, Entry};
use super::instances::Instances;
use crate::child::task::{self, Surroundings};
use crate::child::{Child, Control};
use crate::config::spec::{ServerSpec, Sharing, SpecChange, diff};
use crate::ids::{Instance, ServerName};

/// The owner of all children. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProcessManager(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    surroundings: Surroundings,
    /// Held while changes are applied: one set of declarations at a time.
    applied: Mutex<Applied>,
    directory: watch::Sender<Arc<Directory>>,
}

#[derive(Debug, Default)]
struct Applied {
    specs: Vec<ServerSpec>,
    /// Removed, but perhaps not gone yet: should the name come back, its new child waits for these.
    leaving: HashMap<ServerName, Child>,
    shutting_down: bool,
}

impl ProcessManager {
    /// A manager without children.
    pub fn new(surroundings: Surroundings) -> Self {
        let (directory, _) = watch::channel(Arc::default());
        Self(Arc::new(Shared {
            surroundings,
            applied: Mutex::default(),
            directory,
        }))
    }

    /// Who is there, now and from now on.
    pub fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.0.directory.subscribe()
    }

    /// What children share.
    pub fn surroundings(&self) -> &Surroundings {
        &self.0.surroundings
    }

    /// Makes these the declared servers. Returns one line a change, for people.
    pub async fn apply(&self, specs: Vec<ServerSpec>) -> Vec<String> {
        let mut applied = self.0.applied.lock().await;
        if applied.shutting_down {
            return Vec::new();
        }
        let changes = diff(&applied.specs, &specs);
        let before = Arc::clone(&self.0.directory.borrow());
        if changes.is_empty() && applied.specs == specs {
            return Vec::new();
        }
        let mut told = Vec::new();
        applied.leaving.retain(|_, child| !child.has_ended());
        for change in &changes {
            told.push(self.prepare(&before, change).await);
        }
        for change in &changes {
            if let SpecChange::Removed(name) = change
                && let Some(entry) = before.get(name.as_str())
            {
                applied.leaving.insert(name.clone(), entry.child.clone());
            }
        }
        let listed = CancellationToken::new();
        let entries = specs
            .iter()
            .map(|spec| self.entry(&before, &applied.leaving, &changes, spec, &listed))
            .collect();
        self.0.directory.send_replace(Arc::new(Directory::new(entries)));
        listed.cancel();
        applied.specs = specs;
        told
    }

    /// Tells the old child what the change means for it.
    async fn prepare(&self, before: &Directory, change: &SpecChange) -> String {
        match change {
            SpecChange::Added(spec) => format!("{}: added", spec.name),
            SpecChange::Removed(name) => {
                tell(before, name.as_str(), Control::Retire).await;
                format!("{name}: removed")
            }
            SpecChange::Changed(spec) => {
                tell(before, spec.name.as_str(), Control::Retire).await;
                format!("{}: changed, gets a fresh process", spec.name)
            }
            SpecChange::Adjusted(spec) => {
                let control = if spec.enabled {
                    Control::Enable
                } else {
                    Control::Disable
                };
                tell(before, spec.name.as_str(), control).await;
                let was_enabled = before.get(spec.name.as_str()).map(|entry| entry.spec.enabled);
                let what = match (was_enabled == Some(spec.enabled), spec.enabled) {
                    (true, _) => "has other names, keeps its process",
                    (false, true) => "enabled",
                    (false, false) => "disabled",
                };
                format!("{}: {what}", spec.name)
            }
        }
    }

    fn entry(
        &self,
        before: &Directory,
        leaving: &HashMap<ServerName, Child>,
        changes: &[SpecChange],
        spec: &ServerSpec,
        listed: &CancellationToken,
    ) -> Entry {
        let old = before
            .get(spec.name.as_str())
            .map(|entry| &entry.child)
            .or_else(|| leaving.get(&spec.name))
            .cloned();
        let is_fresh = changes.iter().any(|change| match change {
            SpecChange::Added(fresh) | SpecChange::Changed(fresh) => fresh.name == spec.name,
            SpecChange::Adjusted(_) | SpecChange::Removed(_) => false,
        });
        let child = match old {
            Some(old) if !is_fresh => old,
            old => task::start(spec, &self.0.surroundings, old, None, listed.clone()),
        };
        let kept = before
            .get(spec.name.as_str())
            .filter(|_| !is_fresh)
            .and_then(|entry| entry.instances.clone());
        let instances = match spec.policy.sharing {
            Sharing::Shared => None,
            Sharing::PerSession | Sharing::PerClient => {
                Some(kept.unwrap_or_else(|| Instances::new(spec, &self.0.surroundings)))
            }
        };
        Entry {
            spec: Arc::new(spec.clone()),
            child,
            instances,
        }
    }

    /// Waits until no process is left of servers that were removed or disabled.
    pub async fn removed_are_gone(&self) {
        let leaving: Vec<Child> = self.0.applied.lock().await.leaving.values().cloned().collect();
        for child in leaving {
            child.ended().await;
        }
        let directory = Arc::clone(&self.0.directory.borrow());
        for entry in directory.iter().filter(|entry| !entry.spec.enabled) {
            let mut states = entry.child.watch();
            drop(
                states
                    .wait_for(|status| status.pid.is_none() && status.state == "disabled")
                    .await,
            );
        }
    }

    /// Ends processes that clients do not share and nobody has used for long, but for those that are held.
    pub async fn reap_instances(&self, is_held: impl Fn(&Instance) -> bool) {
        let directory = Arc::clone(&self.0.directory.borrow());
        for instances in directory.iter().filter_map(|entry| entry.instances.as_ref()) {
            instances.reap(Instant::now(), &is_held).await;
        }
    }

    /// Takes every child down, all at once, and waits until no process is left.
    pub async fn shut_down(&self) {
        let mut applied = self.0.applied.lock().await;
        applied.shutting_down = true;
        let directory = Arc::clone(&self.0.directory.borrow());
        let owned = directory
            .iter()
            .filter_map(|entry| entry.instances.as_ref())
            .flat_map(Instances::take_all);
        let present = directory.iter().map(|entry| entry.child.clone()).chain(owned);
        let children: Vec<Child> = present
            .chain(applied.leaving.drain().map(|(_, child)| child))
            .collect();
        for child in &children {
            child.tell(Control::Shutdown).await;
        }
        for child in children {
            child.ended().await;
        }
    }
}

/// Tells the shared child, and what goes with it: processes that clients do not share never outlive a change.
async fn tell(directory: &Directory, server: &str, control: Control) {
    if let Some(entry) = directory.get(server) {
        if control != Control::Enable {
            for owned in entry.instances.iter().flat_map(Instances::take_all) {
                owned.tell(Control::Retire).await;
            }
        }
        entry.child.tell(control).await;
    }
}
