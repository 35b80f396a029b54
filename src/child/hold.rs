//! What makes a process be in use although no call is in flight.

use std::sync::Arc;

use tokio::sync::Notify;

/// As long as it is there, the process is in use, though no call may be in flight.
#[derive(Debug, Clone)]
pub struct Hold(#[allow(dead_code, reason = "it is there to be dropped")] Arc<()>);

/// A [`Hold`] for something that the process has yet to finish: where it can, a process that has to go is given time
/// for it, as for calls in flight.
#[derive(Debug)]
pub struct Work {
    count: Option<Arc<()>>,
    idle: Arc<Notify>,
}

impl Hold {
    pub(super) fn new(count: &Arc<()>) -> Self {
        Self(Arc::clone(count))
    }
}

impl Work {
    pub(super) fn new(count: &Arc<()>, idle: &Arc<Notify>) -> Self {
        Self {
            count: Some(Arc::clone(count)),
            idle: Arc::clone(idle),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Counted down first: who is rung for looks at once.
        drop(self.count.take());
        self.idle.notify_one();
    }
}
