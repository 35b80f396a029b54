//! One server's part in the view, its items prepared once for all merges to come. Pure.

use std::sync::Arc;

use super::eras;
use super::names::{self, Naming};
use super::snapshot::{Item, Kind, Snapshot};
use crate::ids::ServerName;
use crate::rpc::Raw;
use crate::rpc::object::Object;

/// One server's part in the view. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Part {
    /// Whose.
    pub server: ServerName,
    /// How its names are exposed.
    pub naming: Naming,
    /// What it offers.
    pub snapshot: Arc<Snapshot>,
    /// Its tools and its prompts under their names with the prefix: nearly all items of nearly all views.
    prepared: Arc<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    tools: Vec<Offered>,
    prompts: Vec<Offered>,
}

/// One item as clients see it.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    /// Its exposed name or URI.
    pub(super) key: String,
    /// The whole item.
    pub(super) raw: Raw,
    /// The same for clients of revisions before tasks, where that differs.
    pub(super) before_tasks: Option<Raw>,
    /// The same for clients of 2026-07-28, where that differs.
    pub(super) modern: Option<Raw>,
    pub(super) tasks: TaskSupport,
}

/// What a tool says of tasks, as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskSupport {
    /// Nothing.
    Unsaid,
    /// It runs as a plain call too, or as one only.
    Said,
    /// It runs as a task only.
    Required,
}

impl Part {
    /// What a server offers, with its names exposed so.
    pub fn new(server: ServerName, naming: Naming, snapshot: Arc<Snapshot>) -> Self {
        let traits = Traits::of(&snapshot);
        let all = |kind| {
            let items = snapshot.items(kind).iter();
            let prepared = items.map(|item| {
                let key = names::exposed(server.as_str(), &naming.prefix, &item.key);
                offered(kind, item, key, traits)
            });
            prepared.collect()
        };
        let prepared = Arc::new(Prepared {
            tools: all(Kind::Tools),
            prompts: all(Kind::Prompts),
        });
        Self {
            server,
            naming,
            snapshot,
            prepared,
        }
    }

    /// Whether it is made of the same.
    pub fn is_of(&self, server: &ServerName, naming: &Naming, snapshot: &Arc<Snapshot>) -> bool {
        self.server == *server && self.naming == *naming && Arc::ptr_eq(&self.snapshot, snapshot)
    }

    /// An item under its name with the prefix; `None` for kinds whose keys stay as they are.
    pub(super) fn prepared(&self, kind: Kind, at: usize) -> Option<&Offered> {
        match kind {
            Kind::Tools => self.prepared.tools.get(at),
            Kind::Prompts => self.prepared.prompts.get(at),
            Kind::Resources | Kind::Templates => None,
        }
    }

    /// An item of this server under another key.
    pub(super) fn offered(&self, kind: Kind, item: &Item, key: String) -> Offered {
        offered(kind, item, key, Traits::of(&self.snapshot))
    }
}

/// What a server is like, as far as its items are shown differently for it.
#[derive(Debug, Clone, Copy)]
struct Traits {
    is_modern: bool,
    makes_tasks: bool,
    extends_tasks: bool,
}

impl Traits {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            is_modern: snapshot.is_modern,
            makes_tasks: snapshot.makes_tasks(),
            extends_tasks: snapshot.extends_tasks(),
        }
    }
}

fn offered(kind: Kind, item: &Item, key: String, traits: Traits) -> Offered {
    let raw = if key == item.key {
        item.raw.clone()
    } else {
        renamed(kind, item, &key)
    };
    let (tasks, raw) = task_support(kind, traits.makes_tasks, raw);
    let may_be_task = traits.extends_tasks && kind == Kind::Tools;
    let is_wrapped = traits.is_modern && kind == Kind::Tools && eras::is_wrapped(&raw);
    let (raw, modern) = if is_wrapped || may_be_task {
        // Whichever of its calls becomes a task the server decides, so any may.
        let support = may_be_task.then_some("optional");
        (eras::tool_for_legacy(&raw, support), Some(raw))
    } else {
        (raw, None)
    };
    let tasks = if may_be_task { TaskSupport::Said } else { tasks };
    let before_tasks = (tasks != TaskSupport::Unsaid).then(|| without_execution(&raw));
    Offered {
        key,
        raw,
        before_tasks,
        modern,
        tasks,
    }
}

/// What a tool says of tasks, and the tool. We declare tasks for all servers, so a tool of one that makes none must not
/// say that it supports them.
fn task_support(kind: Kind, makes_tasks: bool, raw: Raw) -> (TaskSupport, Raw) {
    let said = || {
        let execution = Object::of(&raw)?.get("execution")?;
        Object::of(&execution)?.get_string("taskSupport")
    };
    let Some(said) = (if kind == Kind::Tools { said() } else { None }) else {
        return (TaskSupport::Unsaid, raw);
    };
    if !makes_tasks {
        return (TaskSupport::Unsaid, without_execution(&raw));
    }
    let support = if said == "required" {
        TaskSupport::Required
    } else {
        TaskSupport::Said
    };
    (support, raw)
}

/// A tool as revisions before tasks know it.
pub(super) fn without_execution(tool: &Raw) -> Raw {
    let Some(object) = Object::of(tool) else {
        return tool.clone();
    };
    let Some(execution) = object.get("execution").filter(Raw::is_object) else {
        return tool.clone();
    };
    let rest = Object::of(&execution).map(|execution| execution.without(&["taskSupport"]));
    match rest {
        Some(rest) if Object::of(&rest).is_some_and(|rest| !rest.is_empty()) => {
            object.with("execution", &rest)
        }
        _empty => object.without(&["execution"]),
    }
}

fn renamed(kind: Kind, item: &Item, key: &str) -> Raw {
    let object = Object::of(&item.raw);
    object.map_or_else(
        || item.raw.clone(),
        |object| object.with(kind.key(), &Raw::of(&key)),
    )
}
