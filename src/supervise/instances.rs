//! The processes of a server that clients do not share: one per session or per client program, started by the
//! first call, bounded in number, ended with their owner or when nobody has used them for long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::child::handshake::Persona;
use crate::child::inputs::Numbers;
use crate::child::task::{self, Birth, Surroundings};
use crate::child::{Child, Control};
use crate::config::spec::{Autostart, ServerSpec};
use crate::ids::{Instance, OwnerKey};

/// The processes of one server that clients do not share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Instances(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spec: ServerSpec,
    surroundings: Surroundings,
    /// One count for all owners: an owner that comes again gets no number twice.
    numbers: Numbers,
    all: Mutex<HashMap<OwnerKey, Owned>>,
}

#[derive(Debug)]
struct Owned {
    child: Child,
    used: Instant,
}

/// There are as many processes as allowed, and all are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// The bound: `instances_max`.
    pub n_max: usize,
}

impl Instances {
    /// None yet; `before` are those of another definition of the server.
    pub fn new(spec: &ServerSpec, surroundings: &Surroundings, before: Option<&Self>) -> Self {
        let mut spec = spec.clone();
        // Somebody calls it, or it would not be made.
        spec.policy.autostart = Autostart::Eager;
        Self(Arc::new(Shared {
            spec,
            surroundings: surroundings.clone(),
            numbers: before.map(|before| before.0.numbers.clone()).unwrap_or_default(),
            all: Mutex::default(),
        }))
    }

    /// The process of an owner; made if there is none.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn of(
        &self,
        persona: impl FnOnce() -> Persona,
        owner: &OwnerKey,
        now: Instant,
    ) -> Result<Child, TooMany> {
        let mut all = self.all();
        if let Some(owned) = all.get_mut(owner) {
            owned.used = now;
            return Ok(owned.child.clone());
        }
        let n_max = self.0.spec.policy.instances_max;
        if all.len() >= n_max {
            return Err(TooMany { n_max });
        }
        // Whoever calls it has it already.
        let listed = CancellationToken::new();
        listed.cancel();
        let birth = Birth {
            numbers: self.0.numbers.clone(),
            persona: Some(persona()),
            listed,
            ..Birth::default()
        };
        let child = task::start(&self.0.spec, &self.0.surroundings, birth);
        all.insert(
            owner.clone(),
            Owned {
                child: child.clone(),
                used: now,
            },
        );
        Ok(child)
    }

    /// The process of an owner, if there is one.
    pub fn get(&self, owner: &OwnerKey) -> Option<Child> {
        self.all().get(owner).map(|owned| owned.child.clone())
    }

    /// All there are now.
    pub fn children(&self) -> Vec<Child> {
        self.all().values().map(|owned| owned.child.clone()).collect()
    }

    /// The owner is gone, and its process goes.
    pub async fn release(&self, owner: &OwnerKey) {
        let gone = self.all().remove(owner);
        if let Some(owned) = gone {
            owned.child.tell(Control::Retire).await;
        }
    }

    /// Ends what nobody has used for `instance_idle`, but for what is held by other means than calls.
    pub async fn reap(&self, now: Instant, is_held: impl Fn(&Instance) -> bool) {
        let idle = self.0.spec.policy.instance_idle;
        let is_idle = |owned: &Owned| {
            owned.child.n_inflight() == 0
                && now.saturating_duration_since(owned.used) >= idle
                && !owned.child.is_held()
                && !is_held(owned.child.instance())
        };
        let gone: Vec<(OwnerKey, Owned)> = self.all().extract_if(|_, owned| is_idle(owned)).collect();
        for (owner, owned) in gone {
            tracing::info!(server = %self.0.spec.name, owner = owner.short(), "not used for long: stopped");
            owned.child.tell(Control::Retire).await;
        }
    }

    /// Takes all of them out, for whoever ends them.
    pub fn take_all(&self) -> Vec<Child> {
        self.all().drain().map(|(_, owned)| owned.child).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn all(&self) -> MutexGuard<'_, HashMap<OwnerKey, Owned>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
