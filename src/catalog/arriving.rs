//! Lists that are on their way: a server has been started and has not said yet what it offers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::refresh::Catalog;
use super::view::View;
use crate::child::status::{ChildStatus, Fate};
use crate::supervise::Entry;

/// Requests that may wait for lists at once; one more is answered by what is known.
pub(super) const N_WAITING_MAX: usize = 1024;

impl Catalog {
    /// The view in which `is_there` holds, if one comes: waits for the lists of servers that `may_own` what is sought and
    /// are on their way, each as long as calls wait for its process (`queue_wait`). Any other view says that it is
    /// not there.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn view_when(
        &self,
        is_there: impl Fn(&Arc<View>) -> bool,
        may_own: impl Fn(&Entry) -> bool,
    ) -> Arc<View> {
        let began = Instant::now();
        let mut views = self.watch();
        let place = self.waiting().try_acquire();
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            let next = self.arriving(&view, began, &may_own).filter(|_| place.is_ok());
            let (false, Some((mut status, deadline))) = (is_there(&view), next) else {
                return view;
            };
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return view },
                changed = status.changed() => if changed.is_err() { return view },
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// The first server whose lists are worth waiting for, and until when.
    fn arriving(
        &self,
        view: &View,
        began: Instant,
        may_own: impl Fn(&Entry) -> bool,
    ) -> Option<(watch::Receiver<ChildStatus>, Instant)> {
        let now = Instant::now();
        self.directory().iter().find_map(|entry| {
            let patience = entry.spec.policy.queue_wait;
            let deadline = began + patience;
            if now >= deadline || view.part(&entry.spec.name).is_some() || !may_own(entry) {
                return None;
            }
            let mut status = entry.child.watch();
            let is_coming = is_coming(&status.borrow_and_update(), now, patience);
            is_coming.then_some((status, deadline))
        })
    }
}

fn is_coming(status: &ChildStatus, now: Instant, patience: Duration) -> bool {
    match status.fate(now, patience) {
        Fate::GoesOut | Fate::Waits => true,
        // Nobody starts it for a name that may be another's.
        Fate::Starts | Fate::Refused { .. } => false,
    }
}
