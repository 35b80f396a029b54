//! Applies declared servers to living children: only what changed is touched.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::directory::{Directory, Entry, Successor};
use super::instances::Instances;
use super::plan::{Plan, plan};
use super::succession::{all_of, still_there};
use crate::child::task::{self, Birth, Surroundings};
use crate::child::{Child, Control};
use crate::config::spec::{ServerSpec, SpecChange, diff};
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
pub(super) struct Applied {
    specs: Vec<ServerSpec>,
    pub(super) leaving: Leaving,
    pub(super) shutting_down: bool,
}

/// Told to go, but perhaps not gone yet: the next child of the name may have to wait for these.
type Leaving = HashMap<ServerName, Vec<Child>>;

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
        let mut applied = self.applied().await;
        if applied.shutting_down || applied.specs == specs {
            return Vec::new();
        }
        let changes = diff(&applied.specs, &specs);
        let before = Arc::clone(&self.0.directory.borrow());
        let mut told = Vec::new();
        applied.forget_the_ended();
        for change in &changes {
            if let SpecChange::Removed(name) = change
                && let Some(entry) = before.get(name.as_str())
            {
                retire(entry, &mut applied.leaving).await;
                told.push(format!("{name}: removed"));
            }
        }
        let listed = CancellationToken::new();
        let (mut entries, mut trials) = (Vec::new(), Vec::new());
        for spec in &specs {
            let Some(old) = before.get(spec.name.as_str()) else {
                told.push(format!("{}: added", spec.name));
                entries.push(self.fresh(spec, None, &applied.leaving, &listed));
                continue;
            };
            if !changes.iter().any(|change| change.is_of(&spec.name)) {
                entries.push(old.clone());
                continue;
            }
            let (entry, what) = self.changed(old, spec, &mut applied.leaving, &listed).await;
            told.push(format!("{}: {what}", spec.name));
            let new_trial = entry.successor.clone().filter(|now| !is_same_trial(old, now));
            trials.extend(new_trial.map(|trial| (spec.name.clone(), trial)));
            entries.push(entry);
        }
        self.publish(Directory::new(entries));
        listed.cancel();
        for (server, trial) in trials {
            let following = self.clone().follow(server, trial);
            self.0.surroundings.tasks.spawn("trial", following);
        }
        applied.specs = specs;
        told
    }

    /// A server under a changed definition, and what that is for it, for people.
    async fn changed(
        &self,
        old: &Entry,
        spec: &ServerSpec,
        leaving: &mut Leaving,
        listed: &CancellationToken,
    ) -> (Entry, &'static str) {
        let on_trial = old.successor.as_ref();
        let serves = old.child.present().is_some();
        let new_spec = || Arc::new(spec.clone());
        match plan(&old.spec, on_trial.map(|trial| &*trial.spec), spec, serves) {
            Plan::Keep => {
                retire_trial(old, leaving).await;
                let what = adjust(old, spec, leaving).await;
                let entry = Entry {
                    spec: new_spec(),
                    successor: None,
                    ..old.clone()
                };
                (entry, what)
            }
            Plan::KeepTrial => {
                let successor = on_trial.map(|trial| Successor {
                    spec: new_spec(),
                    ..trial.clone()
                });
                let entry = Entry {
                    successor,
                    ..old.clone()
                };
                (entry, "has other names, once its new process is ready")
            }
            Plan::Try => {
                retire_trial(old, leaving).await;
                let birth = Birth {
                    // Two lines of processes at a time: what has to go goes first.
                    after: shared_of(leaving, &spec.name),
                    numbers: old.child.numbers().clone(),
                    listed: listed.clone(),
                    is_trial: true,
                    ..Birth::default()
                };
                let successor = Successor {
                    spec: new_spec(),
                    child: task::start(spec, &self.0.surroundings, birth),
                    proven: CancellationToken::new(),
                };
                let entry = Entry {
                    successor: Some(successor),
                    ..old.clone()
                };
                (entry, "changed, gets a fresh process once that is ready")
            }
            Plan::Replace => {
                retire(old, leaving).await;
                let entry = self.fresh(spec, Some(old), leaving, listed);
                let what = if spec.enabled || !old.spec.enabled {
                    "changed, gets a fresh process"
                } else {
                    "changed, and disabled"
                };
                (entry, what)
            }
        }
    }

    /// A server whose process is made when none of before is left.
    fn fresh(
        &self,
        spec: &ServerSpec,
        old: Option<&Entry>,
        leaving: &Leaving,
        listed: &CancellationToken,
    ) -> Entry {
        let after = shared_of(leaving, &spec.name);
        let is_first = |child: &&Child| child.instance().is_first();
        let before = old.map(|old| &old.child).or(after.iter().find(is_first));
        let numbers = before.map(|before| before.numbers().clone()).unwrap_or_default();
        let birth = Birth {
            after,
            numbers,
            listed: listed.clone(),
            ..Birth::default()
        };
        Entry {
            spec: Arc::new(spec.clone()),
            child: task::start(spec, &self.0.surroundings, birth),
            instances: self.instances_of(spec, old.map(|old| &old.instances)),
            successor: None,
            finishing: old.map(|old| old.finishing.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn instances_of(&self, spec: &ServerSpec, before: Option<&Instances>) -> Instances {
        Instances::new(spec, &self.0.surroundings, before)
    }

    pub(super) async fn applied(&self) -> MutexGuard<'_, Applied> {
        self.0.applied.lock().await
    }

    pub(super) fn publish(&self, directory: Directory) {
        self.0.directory.send_replace(Arc::new(directory));
    }

    /// Waits until no process is left of servers that were removed or disabled.
    pub async fn removed_are_gone(&self) {
        let leaving: Vec<Child> = self.applied().await.leaving.values().flatten().cloned().collect();
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

    /// Ends processes beside the first that nobody has used for long, but for those that are held.
    pub async fn reap_instances(&self, is_held: impl Fn(&Instance) -> bool) {
        let directory = Arc::clone(&self.0.directory.borrow());
        for instances in directory.iter().map(|entry| &entry.instances) {
            instances.reap(Instant::now(), &is_held).await;
        }
    }

    /// Takes every child down, all at once, and waits until no process is left.
    pub async fn shut_down(&self) {
        let mut applied = self.0.applied.lock().await;
        applied.shutting_down = true;
        let directory = Arc::clone(&self.0.directory.borrow());
        let trials = directory.iter().filter_map(|entry| entry.successor.as_ref());
        let present = directory
            .iter()
            .flat_map(all_of)
            .chain(trials.map(|trial| trial.child.clone()));
        let children: Vec<Child> = present
            .chain(applied.leaving.drain().flat_map(|(_, children)| children))
            .collect();
        for child in &children {
            child.tell(Control::Shutdown).await;
        }
        for child in children {
            child.ended().await;
        }
    }
}

/// Whether this is the trial that was under way already.
fn is_same_trial(old: &Entry, now: &Successor) -> bool {
    let was = old.successor.as_ref();
    was.is_some_and(|was| was.child.is(&now.child))
}

/// Under this definition everything goes.
async fn retire(entry: &Entry, leaving: &mut Leaving) {
    retire_trial(entry, leaving).await;
    for child in all_of(entry) {
        retire_one(entry, child, leaving).await;
    }
}

async fn retire_trial(entry: &Entry, leaving: &mut Leaving) {
    if let Some(trial) = &entry.successor {
        retire_one(entry, trial.child.clone(), leaving).await;
    }
}

async fn retire_one(entry: &Entry, child: Child, leaving: &mut Leaving) {
    child.tell(Control::Retire).await;
    leaving.entry(entry.spec.name.clone()).or_default().push(child);
}

/// The process stays: it may be wanted or not. Processes that clients do not share never outlive that.
async fn adjust(old: &Entry, spec: &ServerSpec, leaving: &mut Leaving) -> &'static str {
    let control = if spec.enabled {
        Control::Enable
    } else {
        Control::Disable
    };
    if !spec.enabled {
        for owned in old.instances.take_all() {
            retire_one(old, owned, leaving).await;
        }
    }
    old.child.tell(control).await;
    match (old.spec.enabled == spec.enabled, spec.enabled) {
        (true, _) if old.successor.is_some() => "has the earlier definition again, keeps its process",
        (true, _) => "has other names, keeps its process",
        (false, true) => "enabled",
        (false, false) => "disabled",
    }
}

/// Processes of a server that clients share and that have to go.
fn shared_of(leaving: &Leaving, server: &ServerName) -> Vec<Child> {
    let all = leaving.get(server).map_or(&[][..], Vec::as_slice);
    let is_shared = |child: &Child| child.instance().owner.is_none();
    still_there(all).filter(is_shared).collect()
}

impl Applied {
    fn forget_the_ended(&mut self) {
        for children in self.leaving.values_mut() {
            children.retain(|child| !child.has_ended());
        }
        self.leaving.retain(|_, children| !children.is_empty());
    }
}
