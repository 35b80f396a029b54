//! Keeps the view true: fetches a child's lists when it is ready or says that they changed.
//!
//! One refresh per child at a time; what becomes dirty meanwhile is fetched again afterwards. The lists are
//! fetched before anybody is told that they changed, so that nobody reads the old ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, broadcast, mpsc, watch};
use tokio::time::Instant;

use super::arriving::N_WAITING_MAX;
use super::changes::changes;
use super::due::Due;
use super::listing::{handshake_of, listed};
use super::merger::Merger;
use super::names::{self, Naming};
use super::part::Part;
use super::scoped::Scoped;
use super::snapshot::{Kind, Snapshot};
use super::standing::{Sight, Standing, Told, own_ttl};
use super::view::View;
use crate::access::Scope;
use crate::child::{Child, telling};
use crate::event::SupervisionEvent;
use crate::ids::{Generation, ServerName};
use crate::supervise::{Directory, Entry};
use crate::tasks::Tasks;

/// A storm of "it changed" becomes one refresh.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// The least time between two refreshes of one child.
const REST: Duration = Duration::from_millis(250);

/// A snapshot to be saved: whose, of which definition, and its text.
pub type Saved = (ServerName, String, String);

/// The owner of all snapshots and of the view. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: watch::Receiver<Arc<Directory>>,
    tasks: Tasks,
    save: mpsc::Sender<Saved>,
    events: broadcast::Sender<SupervisionEvent>,
    held: Mutex<Held>,
    merger: Merger,
    due: Due,
    /// Held while a view is made.
    merged: Mutex<Merged>,
    view: watch::Sender<Arc<View>>,
    scoped: Scoped,
    refreshed: Notify,
    /// Places for requests that wait for lists.
    waiting: Semaphore,
}

#[derive(Debug, Default)]
struct Held {
    /// Fingerprint of the definition, and what it offers.
    snapshots: HashMap<ServerName, (String, Arc<Snapshot>)>,
    refreshers: HashMap<ServerName, Arc<Refresher>>,
    /// What definitions on trial offer: it counts from when they take over.
    on_trial: HashMap<ServerName, Trial>,
    /// What was told of the lists, and by which process.
    told: HashMap<ServerName, Told>,
}

/// What a definition on trial offers.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) child: Child,
    pub(super) fingerprint: String,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) told: Told,
}

/// What the present view was made of.
#[derive(Debug, Default)]
struct Merged(Vec<Part>);

impl Merged {
    /// The parts of what is on offer: the present ones, as far as they are of the same.
    fn parts(&self, offered: Vec<(&Entry, Arc<Snapshot>)>) -> Vec<Part> {
        let present: HashMap<_, _> = self.0.iter().map(|part| (&part.server, part)).collect();
        let part = |(entry, snapshot): (&Entry, Arc<Snapshot>)| {
            let (server, naming) = (&entry.spec.name, Naming::of(&entry.spec));
            let same = present
                .get(server)
                .filter(|part| part.is_of(server, &naming, &snapshot));
            same.map_or_else(
                || Part::new(server.clone(), naming.clone(), Arc::clone(&snapshot)),
                |part| Part::clone(part),
            )
        };
        offered.into_iter().map(part).collect()
    }

    fn is_of(&self, parts: &[Part]) -> bool {
        let mut both = parts.iter().zip(&self.0);
        parts.len() == self.0.len() && both.all(|(a, b)| a.is_of(&b.server, &b.naming, &b.snapshot))
    }
}

/// What has to be fetched for one server.
#[derive(Debug, Default)]
struct Refresher {
    dirty: AtomicU8,
    /// Something is dirty, or being fetched.
    is_busy: AtomicBool,
    bell: Notify,
}

impl Catalog {
    /// A catalogue without snapshots. Snapshots worth keeping go to `save`, changes of lists to `events`.
    pub fn new(
        directory: watch::Receiver<Arc<Directory>>,
        tasks: Tasks,
        save: mpsc::Sender<Saved>,
        events: broadcast::Sender<SupervisionEvent>,
    ) -> Self {
        let (view, _) = watch::channel(Arc::new(View::merge(Vec::new())));
        Self(Arc::new(Shared {
            directory,
            tasks,
            save,
            events,
            held: Mutex::default(),
            merger: Merger::default(),
            due: Due::default(),
            merged: Mutex::default(),
            view,
            scoped: Scoped::default(),
            refreshed: Notify::new(),
            waiting: Semaphore::new(N_WAITING_MAX),
        }))
    }

    /// The view now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.0.view.borrow())
    }

    /// The view, now and from now on.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.0.view.subscribe()
    }

    /// Takes a saved snapshot, so that its lists are there before the child is.
    pub fn preload(&self, server: &ServerName, fingerprint: &str, text: &str) {
        if let Some(snapshot) = Snapshot::from_saved(text) {
            let snapshot = (fingerprint.to_owned(), Arc::new(snapshot));
            self.held().snapshots.insert(server.clone(), snapshot);
        }
    }

    /// What a server offers, as far as known.
    pub fn snapshot(&self, server: &ServerName) -> Option<Arc<Snapshot>> {
        self.held()
            .snapshots
            .get(server)
            .map(|(_, snapshot)| Arc::clone(snapshot))
    }

    /// Lists of a server may have changed.
    pub fn dirty(&self, server: &ServerName, kinds: &[Kind]) {
        let bits = kinds.iter().fold(0, |bits, kind| bits | bit(*kind));
        let mut held = self.held();
        let refresher = held.refreshers.entry(server.clone()).or_insert_with(|| {
            let refresher: Arc<Refresher> = Arc::default();
            let run = Self::refresh_again_and_again(self.clone(), server.clone(), Arc::clone(&refresher));
            self.0.tasks.spawn("catalog refresh", run);
            refresher
        });
        refresher.dirty.fetch_or(bits, Ordering::AcqRel);
        refresher.is_busy.store(true, Ordering::Release);
        refresher.bell.notify_one();
    }

    /// Makes the view anew, if what it is made of has changed. When this returns, the view is of what was there when
    /// it was called, or of something later.
    ///
    /// # Cancel safety
    /// Safe: the view is made all the same.
    pub async fn rebuild(&self) {
        let catalog = self.clone();
        self.0.merger.run(move || catalog.merge()).await;
    }

    fn merge(&self) {
        // Never by two at once, so that an older view cannot overtake a newer one.
        let mut merged = self.0.merged.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = Arc::clone(&self.0.directory.borrow());
        let offered = self.held().all_offered(&directory);
        self.note_due();
        let parts = merged.parts(offered);
        if merged.is_of(&parts) {
            return;
        }
        self.0.view.send_replace(Arc::new(View::merge(parts.clone())));
        *merged = Merged(parts);
    }

    async fn refresh_again_and_again(self, server: ServerName, refresher: Arc<Refresher>) {
        let stop = self.0.tasks.token();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = refresher.bell.notified() => {}
            }
            // All kinds at once means a new process: that is no storm, and people wait for it.
            if refresher.dirty.load(Ordering::Acquire) != ALL {
                tokio::time::sleep(DEBOUNCE).await;
            }
            let bits = refresher.dirty.swap(0, Ordering::AcqRel);
            let kinds: Vec<Kind> = Kind::ALL
                .into_iter()
                .filter(|kind| bits & bit(*kind) != 0)
                .collect();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.refresh(&server, &kinds) => {}
            }
            refresher.is_busy.store(false, Ordering::Release);
            // What became dirty just now has said so before, or finds it said here.
            if refresher.dirty.load(Ordering::Acquire) != 0 {
                refresher.is_busy.store(true, Ordering::Release);
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn refresh(&self, server: &ServerName, kinds: &[Kind]) {
        let directory = Arc::clone(&self.0.directory.borrow());
        let Some(entry) = directory.get(server.as_str()) else {
            return;
        };
        let Some(status) = handshake_of(&entry.child).await else {
            return;
        };
        let Some(handshake) = status.handshake else { return };
        let before = self.snapshot(server);
        let mut snapshot = Snapshot::of(&handshake);
        if let Some(before) = &before {
            let lists = [
                &before.tools,
                &before.prompts,
                &before.resources,
                &before.templates,
            ]
            .map(Vec::clone);
            [
                snapshot.tools,
                snapshot.prompts,
                snapshot.resources,
                snapshot.templates,
            ] = lists;
            snapshot.warnings.clone_from(&before.warnings);
        }
        let mut told = self.held().told.get(server).copied().unwrap_or_default();
        for kind in kinds {
            let (now, list) = (Instant::now(), listed(&entry.child, &handshake, *kind).await);
            let ttl = list.as_ref().ok().and_then(|list| list.ttl_ms);
            told.note(*kind, now, own_ttl(&snapshot, *kind, ttl), list.is_err());
            match list {
                Ok(list) => snapshot.take(*kind, &list.items),
                Err(why) => {
                    tracing::warn!(%server, list = kind.method(), %why, "a list could not be fetched; the last one stays");
                }
            }
        }
        for warning in &snapshot.warnings {
            tracing::warn!(%server, warning);
        }
        let is_same_definition = self.is_held_for(server, &entry.spec.fingerprint);
        if let Some(before) = before.as_ref().filter(|_| is_same_definition) {
            self.tell_changes(entry, status.generation, kinds, before, &snapshot);
        }
        // The same lists of another definition are news too: they are on offer only under the present one.
        if before.as_deref() != Some(&snapshot) || !is_same_definition {
            self.hold(entry, snapshot).await;
        }
        self.rebuild().await;
        let is_whole = kinds.len() == Kind::ALL.len();
        if is_whole {
            told.generation = Some(status.generation);
        }
        self.held().told.insert(server.clone(), told);
        self.note_due();
        if is_whole {
            self.0.refreshed.notify_waiters();
        }
    }

    /// What one definition offers has changed, since the last look or since the last run.
    fn tell_changes(
        &self,
        entry: &Entry,
        generation: Generation,
        kinds: &[Kind],
        before: &Snapshot,
        after: &Snapshot,
    ) {
        let server = &entry.spec.name;
        let changed = kinds
            .iter()
            .filter_map(|kind| changes(*kind, before.items(*kind), after.items(*kind)));
        tracing::info_span!("child", %server).in_scope(|| {
            for what in changed {
                telling::tell(&self.0.events, server, generation, what);
            }
        });
    }

    /// Waits until the lists of this process, or of a later one, are fetched.
    pub async fn fetched(&self, server: &ServerName, generation: Generation) {
        loop {
            let refreshed = self.0.refreshed.notified();
            if self
                .held()
                .told
                .get(server)
                .copied()
                .unwrap_or_default()
                .generation
                >= Some(generation)
            {
                return;
            }
            refreshed.await;
        }
    }

    /// Whose a name was when its server was still on offer: a client may have it from a list of then.
    pub fn hidden_owner(&self, kind: Kind, exposed: &str) -> Option<ServerName> {
        let directory = Arc::clone(&self.0.directory.borrow());
        let held = self.held();
        let had = |entry: &&Entry| {
            let Some((_, snapshot)) = held.snapshots.get(&entry.spec.name) else {
                return false;
            };
            let naming = Naming::of(&entry.spec);
            let name_of = |own: &str| match naming.alias(own) {
                Some(alias) => alias.to_owned(),
                None => names::exposed(entry.spec.name.as_str(), &naming.prefix, own),
            };
            let items = snapshot.items(kind).iter();
            items.into_iter().any(|item| name_of(&item.key) == exposed)
        };
        directory.iter().find(had).map(|entry| entry.spec.name.clone())
    }

    /// How good the lists are now, as far as a scope reaches.
    pub fn standing(&self, scope: Option<&Scope>) -> Standing {
        let directory = Arc::clone(&self.0.directory.borrow());
        let held = self.held();
        let is_seen = |entry: &&Entry| scope.is_none_or(|scope| scope.has_server(entry.spec.name.as_str()));
        let sights = directory.iter().filter(is_seen).map(|entry| held.sight(entry));
        Standing::of(sights, Instant::now())
    }

    /// A client reads a list: what of it is no longer good in its server's own words is fetched again, for whoever
    /// comes next.
    pub fn read(&self, kind: Kind) {
        if !self.0.due.take(kind, Instant::now()) {
            return;
        }
        let (now, directory) = (Instant::now(), Arc::clone(&self.0.directory.borrow()));
        let held = self.held();
        let until = |server: &ServerName| held.told.get(server).and_then(|told| told.until(kind));
        // No process is started for it: the next one is asked for all anyway.
        let is_due = |entry: &&Entry| {
            until(&entry.spec.name).is_some_and(|until| until <= now) && entry.child.state_of().0 == "ready"
        };
        let due: Vec<ServerName> = directory
            .iter()
            .filter(is_due)
            .map(|entry| entry.spec.name.clone())
            .collect();
        let later = held.told.keys().filter_map(until).filter(|until| *until > now);
        self.0.due.set(kind, later.min());
        drop(held);
        for server in due {
            self.dirty(&server, &[kind]);
        }
    }

    /// Notes when the next list is no longer good.
    fn note_due(&self) {
        let held = self.held();
        for kind in Kind::ALL {
            let due = held.told.values().filter_map(|told| told.until(kind)).min();
            self.0.due.set(kind, due);
        }
    }

    fn is_held_for(&self, server: &ServerName, fingerprint: &str) -> bool {
        self.held()
            .snapshots
            .get(server)
            .is_some_and(|(held_for, _)| held_for == fingerprint)
    }

    async fn hold(&self, entry: &Entry, snapshot: Snapshot) {
        let (server, fingerprint) = (&entry.spec.name, &entry.spec.fingerprint);
        let text = snapshot.to_saved();
        if self.keep(entry, snapshot) {
            self.save(server, fingerprint, text).await;
        }
    }

    /// Whether they count: another definition that has taken over meanwhile has its own.
    fn keep(&self, entry: &Entry, snapshot: Snapshot) -> bool {
        let (server, fingerprint) = (&entry.spec.name, &entry.spec.fingerprint);
        let mut held = self.held();
        let directory = Arc::clone(&self.0.directory.borrow());
        let is_present = |now: &Entry| now.child.is(&entry.child);
        if !directory.get(server.as_str()).is_some_and(is_present) {
            return false;
        }
        held.snapshots
            .insert(server.clone(), (fingerprint.clone(), Arc::new(snapshot)));
        true
    }

    pub(super) async fn save(&self, server: &ServerName, fingerprint: &str, text: Option<String>) {
        if let Some(text) = text {
            let saved = (server.clone(), fingerprint.to_owned(), text);
            // Nobody saves any more while the daemon goes down.
            drop(self.0.save.send(saved).await);
        }
    }

    pub(super) fn hold_trial(&self, server: &ServerName, trial: Trial) {
        self.held().on_trial.insert(server.clone(), trial);
    }

    pub(super) fn entry(&self, server: &ServerName) -> Option<Entry> {
        self.0.directory.borrow().get(server.as_str()).cloned()
    }

    pub(super) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.0.directory.borrow())
    }

    pub(super) fn scoped(&self) -> &Scoped {
        &self.0.scoped
    }

    pub(super) fn waiting(&self) -> &Semaphore {
        &self.0.waiting
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The lists of definitions that were on trial and serve now.
    fn take_over(&mut self, directory: &Directory) {
        let serves = |child: &Child| {
            let entry = directory.get(child.name().as_str());
            entry.is_some_and(|entry| entry.child.is(child))
        };
        for (server, trial) in self.on_trial.extract_if(|_, trial| serves(&trial.child)) {
            self.told.insert(server.clone(), trial.told);
            self.snapshots.insert(server, (trial.fingerprint, trial.snapshot));
        }
        self.on_trial.retain(|_, trial| !trial.child.has_ended());
    }

    /// What all servers have on offer now, in the order of their declaration.
    fn all_offered<'d>(&mut self, directory: &'d Directory) -> Vec<(&'d Entry, Arc<Snapshot>)> {
        self.take_over(directory);
        self.snapshots
            .retain(|server, _| directory.get(server.as_str()).is_some());
        self.told
            .retain(|server, _| directory.get(server.as_str()).is_some());
        let all = directory.iter();
        all.filter_map(|entry| Some((entry, self.offered(entry)?)))
            .collect()
    }

    fn sight<'a>(&'a self, entry: &'a Entry) -> Sight<'a> {
        let server = &entry.spec.name;
        let (state, generation) = entry.child.state_of();
        let known = self.snapshots.get(server);
        let known = known.filter(|(fingerprint, _)| *fingerprint == entry.spec.fingerprint);
        let refresher = self.refreshers.get(server);
        Sight {
            server,
            state,
            generation,
            snapshot: known.map(|(_, snapshot)| &**snapshot),
            told: self.told.get(server).copied().unwrap_or_default(),
            is_busy: refresher.is_some_and(|refresher| refresher.is_busy.load(Ordering::Acquire)),
        }
    }

    /// What a server has on offer now: its last lists, unless it is known to be of no use.
    fn offered(&self, entry: &Entry) -> Option<Arc<Snapshot>> {
        let (fingerprint, snapshot) = self.snapshots.get(&entry.spec.name)?;
        let is_out = matches!(entry.child.status().state, "failed" | "disabled" | "stopped");
        (!is_out && *fingerprint == entry.spec.fingerprint).then(|| Arc::clone(snapshot))
    }
}

const ALL: u8 = 0b1111;

fn bit(kind: Kind) -> u8 {
    match kind {
        Kind::Tools => 1,
        Kind::Prompts => 2,
        Kind::Resources => 4,
        Kind::Templates => 8,
    }
}
