//! Where a child's own messages go: everything that is neither an answer nor progress.
//!
//! Whoever takes them lies in a higher layer. They are taken where they are read, so that they keep their order among
//! the answers; so taking never waits.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::ghosts::Candidates;
use super::link::Link;
use crate::ids::{Generation, Instance};
use crate::rpc::{Notification, Request};

/// Something a child said by itself.
#[derive(Debug)]
pub enum FromChild {
    /// A notification.
    Notification {
        /// Which process said it.
        generation: Generation,
        /// Whose it may be.
        candidates: Candidates,
        /// What it said.
        notification: Notification,
    },
    /// A request that wants an answer on `link`.
    Request {
        /// Where the answer goes.
        link: Arc<Link>,
        /// Whose it may be.
        candidates: Candidates,
        /// What it asks.
        request: Request,
    },
    /// A new process has done its handshake.
    Ready {
        /// Which.
        generation: Generation,
    },
    /// A process that was made ready beside another has taken its place. The other may still finish what is in flight.
    TookOver,
    /// No process with a lower number is left.
    Alone {
        /// The number.
        generation: Generation,
    },
}

/// Who takes what children say by themselves.
pub trait Upward: Send + Sync + fmt::Debug {
    /// Takes it. Never waits. `false` when there is no room for it.
    fn take(&self, instance: &Instance, said: FromChild) -> bool;
}

/// The place for whoever takes: it is built after the children's surroundings, and before the first child.
#[derive(Debug, Clone, Default)]
pub struct Outlet(Arc<OnceLock<Arc<dyn Upward>>>);

impl Outlet {
    /// From now on this one takes. The first stays.
    pub fn connect(&self, upward: Arc<dyn Upward>) {
        if self.0.set(upward).is_err() {
            tracing::error!("what children say is taken by somebody already; this is a bug in mcp-wrapper");
        }
    }
}

/// One line of processes' way out.
#[derive(Debug, Clone)]
pub struct Hub {
    instance: Instance,
    outlet: Outlet,
}

impl Hub {
    /// The way of one line of processes.
    pub fn new(instance: Instance, outlet: Outlet) -> Self {
        Self { instance, outlet }
    }

    /// Passes on what was said; `false` when nobody has room for it.
    pub fn take(&self, said: FromChild) -> bool {
        self.outlet
            .0
            .get()
            .is_some_and(|upward| upward.take(&self.instance, said))
    }
}

/// A queue that a test empties.
#[cfg(test)]
impl Upward for tokio::sync::mpsc::Sender<(Instance, FromChild)> {
    fn take(&self, instance: &Instance, said: FromChild) -> bool {
        self.try_send((instance.clone(), said)).is_ok()
    }
}

#[cfg(test)]
impl Outlet {
    /// An outlet into a queue.
    pub(super) fn into_queue(queue: tokio::sync::mpsc::Sender<(Instance, FromChild)>) -> Self {
        let outlet = Self::default();
        outlet.connect(Arc::new(queue));
        outlet
    }
}
