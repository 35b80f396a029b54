//! Who is there: an immutable snapshot that the router reads without waiting.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::instances::Instances;
use crate::child::Child;
use crate::config::spec::ServerSpec;
use crate::ids::{Generation, Instance, ServerName};

/// One declared server and its child.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As it runs: as it is declared, or, while there is a successor, as it was.
    pub spec: Arc<ServerSpec>,
    /// As it lives: the process that clients share, and from which lists come.
    pub child: Child,
    /// The processes beside it: those that clients do not share, and those that are spoken to in the older era.
    pub instances: Instances,
    /// As it is declared now, while that is not known to work.
    pub successor: Option<Successor>,
    /// Processes whose place another definition's have taken: they may still finish what is in flight.
    pub finishing: Vec<Child>,
}

/// A changed definition on trial.
#[derive(Debug, Clone)]
pub struct Successor {
    /// The definition.
    pub spec: Arc<ServerSpec>,
    /// Its process, beside the one that serves.
    pub child: Child,
    /// Set by whoever has its lists: it may take the place now.
    pub proven: CancellationToken,
}

impl Entry {
    /// One line of processes, if it is there.
    pub fn of_line(&self, instance: &Instance) -> Option<Child> {
        if instance.is_first() {
            return Some(self.child.clone());
        }
        self.instances.get(instance)
    }

    /// The process with this number, of those that clients share or of an owner's: the one that serves, or one that
    /// finishes what is in flight.
    pub fn of_number(&self, instance: &Instance, generation: Generation) -> Option<Child> {
        let present = self.of_line(instance);
        let mut all = present.into_iter().chain(
            self.finishing
                .iter()
                .filter(|child| child.instance() == instance)
                .cloned(),
        );
        all.find(|child| child.status().generation == generation)
    }

    /// The successor, if this is the number of its process.
    pub fn successor_of_number(&self, generation: Generation) -> Option<&Successor> {
        let successor = self.successor.as_ref()?;
        (successor.child.status().generation == generation).then_some(successor)
    }
}

/// All declared servers, in the order of their declaration.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    entries: Vec<Entry>,
    places: HashMap<ServerName, usize>,
}

impl Directory {
    /// A directory of these, in this order.
    pub fn new(entries: Vec<Entry>) -> Self {
        let places = entries
            .iter()
            .enumerate()
            .map(|(at, entry)| (entry.spec.name.clone(), at))
            .collect();
        Self { entries, places }
    }

    /// One of them.
    pub fn get(&self, server: &str) -> Option<&Entry> {
        self.entries.get(*self.places.get(server)?)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}
