//! Where a child's own messages go: everything that is neither an answer nor progress.
//!
//! One bounded queue for all children; whoever empties it (the way back to the clients) lies in a higher layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::lane::Lane;
use super::link::Link;
use crate::ids::{Generation, Instance};
use crate::rpc::{Notification, Request};

/// Messages of all children that may wait to be passed on. Beyond it notifications are dropped and counted.
pub const HUB_MESSAGES_MAX: usize = 4096;

/// Something a child said by itself.
#[derive(Debug)]
pub enum FromChild {
    /// A notification.
    Notification {
        /// Which process said it.
        generation: Generation,
        /// The calls it may belong to, newest last.
        candidates: Vec<Arc<Lane>>,
        /// What it said.
        notification: Notification,
    },
    /// A request that wants an answer on `link`.
    Request {
        /// Where the answer goes.
        link: Arc<Link>,
        /// The calls it may belong to, newest last.
        candidates: Vec<Arc<Lane>>,
        /// What it asks.
        request: Request,
    },
    /// A new process has done its handshake.
    Ready {
        /// Which.
        generation: Generation,
    },
}

/// One child's way into the queue.
#[derive(Debug, Clone)]
pub struct Hub {
    instance: Instance,
    queue: mpsc::Sender<(Instance, FromChild)>,
    n_dropped: Arc<AtomicU64>,
}

impl Hub {
    /// The way of one line of processes.
    pub fn new(instance: Instance, queue: mpsc::Sender<(Instance, FromChild)>) -> Self {
        Self {
            instance,
            queue,
            n_dropped: Arc::default(),
        }
    }

    /// Passes a notification on, or drops and counts it.
    pub fn notification(
        &self,
        generation: Generation,
        candidates: Vec<Arc<Lane>>,
        notification: Notification,
    ) {
        if !self.put(FromChild::Notification {
            generation,
            candidates,
            notification,
        }) {
            let n = self.n_dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if n.is_power_of_two() {
                tracing::warn!(server = %self.instance, n, "notifications dropped: nobody keeps up with this child");
            }
        }
    }

    /// Passes a request on; `false` when there is no room.
    #[must_use]
    pub fn request(&self, request: FromChild) -> bool {
        self.put(request)
    }

    /// Says that a process is ready; waits for room, because this must not be lost.
    pub async fn ready(&self, generation: Generation) {
        if self
            .queue
            .send((self.instance.clone(), FromChild::Ready { generation }))
            .await
            .is_err()
        {
            tracing::debug!(server = %self.instance, "nobody listens any more");
        }
    }

    fn put(&self, item: FromChild) -> bool {
        self.queue.try_send((self.instance.clone(), item)).is_ok()
    }
}
