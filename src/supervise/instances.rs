//! The processes of a server beside the first: one per session or per client program where clients do not share them,
//! one for clients with a handshake where the server speaks both eras. Started by the first call, bounded in number,
//! ended with their owner or when nobody has used them for long.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::child::handshake::Persona;
use crate::child::inputs::Numbers;
use crate::child::task::{self, Birth, Surroundings};
use crate::child::verdict::Older;
use crate::child::{Child, Control};
use crate::config::spec::{Autostart, EraPolicy, Replace, ServerSpec, Sharing};
use crate::ids::{Instance, OwnerKey};

/// The processes of one server beside the first. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Instances(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spec: ServerSpec,
    surroundings: Surroundings,
    /// One count for all: an owner that comes again gets no number twice.
    numbers: Numbers,
    all: Mutex<HashMap<Instance, Line>>,
}

#[derive(Debug)]
struct Line {
    child: Child,
    begun: Instant,
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

    /// The process of a line; made if there is none, for its owner's `persona` where it has an owner.
    ///
    /// # Errors
    /// `TooMany`.
    pub fn of(
        &self,
        persona: impl FnOnce() -> Option<Persona>,
        instance: &Instance,
        now: Instant,
    ) -> Result<Child, TooMany> {
        let mut all = self.all();
        all.retain(|_, line| !line.child.has_ended());
        if let Some(line) = all.get_mut(instance).filter(|line| !line.child.is_retired()) {
            line.used = now;
            return Ok(line.child.clone());
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
            persona: persona(),
            older: instance.older,
            spare: instance.spare,
            listed,
            ..Birth::default()
        };
        let mut spec = Cow::Borrowed(&self.0.spec);
        if instance.older {
            spec.to_mut().policy.era = EraPolicy::Legacy;
        }
        let child = task::start(&spec, &self.0.surroundings, birth);
        all.insert(
            instance.clone(),
            Line {
                child: child.clone(),
                begun: now,
                used: now,
            },
        );
        Ok(child)
    }

    /// The process of a line, if there is one.
    pub fn get(&self, instance: &Instance) -> Option<Child> {
        self.all().get(instance).map(|line| line.child.clone())
    }

    /// All there are now.
    pub fn children(&self) -> Vec<Child> {
        let all = self.all();
        let all = all.values().filter(|line| !line.child.has_ended());
        all.map(|line| line.child.clone()).collect()
    }

    /// Whether clients with a handshake may have processes that are spoken to so, beside those that need none: the
    /// server answers both, as far as is known. Clients may share such a process only where there may be two.
    pub fn may_shake_hands(&self) -> bool {
        let spec = &self.0.spec;
        let is_allowed = spec.policy.sharing != Sharing::Shared || spec.policy.replace == Replace::WhenReady;
        spec.policy.era == EraPolicy::Auto
            && is_allowed
            && self.0.surroundings.verdicts.may_shake_hands(&spec.name)
    }

    /// Whether a line that is to show whether the server shakes hands takes longer than a call waits for a process.
    /// Meanwhile calls go where they go without it.
    pub fn is_late(&self, instance: &Instance, now: Instant) -> bool {
        let all = self.all();
        let queue_wait = self.0.spec.policy.queue_wait;
        let is_late = |line: &&Line| now.saturating_duration_since(line.begun) >= queue_wait;
        let Some(line) = all.get(instance).filter(is_late) else {
            return false;
        };
        let verdict = self.0.surroundings.verdicts.of(&self.0.spec.name);
        line.child.present().is_none() && verdict.is_none_or(|verdict| verdict.older != Older::Spoken)
    }

    /// The owner is gone, and its processes go.
    pub async fn release(&self, owner: &OwnerKey) {
        let is_its = |instance: &Instance| instance.owner.as_ref() == Some(owner);
        let gone: Vec<Line> = self
            .all()
            .extract_if(|instance, _| is_its(instance))
            .map(|(_, line)| line)
            .collect();
        for line in gone {
            line.child.tell(Control::Retire).await;
        }
    }

    /// Ends what nobody has used for `instance_idle`, but for what is held by other means than calls.
    pub async fn reap(&self, now: Instant, is_held: impl Fn(&Instance) -> bool) {
        let idle = self.0.spec.policy.instance_idle;
        let is_idle = |line: &Line| {
            line.child.n_inflight() == 0
                && now.saturating_duration_since(line.used) >= idle
                && !line.child.is_held()
                && !is_held(line.child.instance())
        };
        // What has ended by itself for good was told of then.
        self.all().retain(|_, line| !line.child.has_ended());
        let gone: Vec<(Instance, Line)> = self.all().extract_if(|_, line| is_idle(line)).collect();
        for (instance, line) in gone {
            tracing::info!(server = %instance, "not used for long: stopped");
            line.child.tell(Control::Retire).await;
        }
    }

    /// Takes all of them out, for whoever ends them.
    pub fn take_all(&self) -> Vec<Child> {
        self.all().drain().map(|(_, line)| line.child).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Instance, Line>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
