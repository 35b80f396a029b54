//! Who is there: an immutable snapshot that the router reads without waiting.

use std::collections::HashMap;
use std::sync::Arc;

use super::instances::Instances;
use crate::child::Child;
use crate::config::spec::ServerSpec;
use crate::ids::ServerName;

/// One declared server and its child.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As it is declared.
    pub spec: Arc<ServerSpec>,
    /// As it lives: the process that clients share, and from which lists come.
    pub child: Child,
    /// The processes that clients do not share, where the definition wants such.
    pub instances: Option<Instances>,
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
