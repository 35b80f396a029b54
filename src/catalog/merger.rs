//! One piece of work for all who want it done: however many ask at once, it is done once for all of them.
//!
//! A view of many servers takes milliseconds to make. When they all come at once, each wants a view with itself in it;
//! made for each alone, on the threads that answer clients, they would keep those waiting.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Does one thing at a time, off the threads that answer clients.
#[derive(Debug, Default)]
pub(super) struct Merger {
    /// How often it was asked for.
    n_asked: AtomicU64,
    /// The last of those for which it is done.
    done_for: Mutex<u64>,
}

impl Merger {
    /// Waits until the work is done once from beginning to end, by whomever.
    ///
    /// # Cancel safety
    /// Safe: work that was begun is brought to its end.
    pub(super) async fn run(&self, work: impl FnOnce() + Send + 'static) {
        let number = self.n_asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut done_for = self.done_for.lock().await;
        if *done_for >= number {
            return;
        }
        // Whoever has asked until now is served by what begins now.
        let asked = self.n_asked.load(Ordering::Acquire);
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "the view of all servers could not be made");
            return;
        }
        *done_for = asked;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_asks_meanwhile_is_served_by_one_more_time() {
        let (merger, n_done) = (Arc::new(Merger::default()), Arc::new(AtomicUsize::new(0)));
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
        let mut all = JoinSet::new();
        all.spawn({
            let (merger, n_done) = (Arc::clone(&merger), Arc::clone(&n_done));
            async move {
                let work = move || {
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    n_done.fetch_add(1, Ordering::SeqCst);
                };
                merger.run(work).await;
            }
        });
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
            .await
            .unwrap();
        for _ in 0..50 {
            let (merger, n_done) = (Arc::clone(&merger), Arc::clone(&n_done));
            all.spawn(async move {
                let counts = Arc::clone(&n_done);
                let work = move || {
                    counts.fetch_add(1, Ordering::SeqCst);
                };
                merger.run(work).await;
                assert_eq!(
                    n_done.load(Ordering::SeqCst),
                    2,
                    "what began before is not enough"
                );
            });
        }
        while merger.n_asked.load(Ordering::Acquire) < 51 {
            tokio::task::yield_now().await;
        }
        go_on.send(()).unwrap();
        while let Some(served) = all.join_next().await {
            served.unwrap();
        }
        merger.run(|| ()).await;
        assert_eq!(n_done.load(Ordering::SeqCst), 2);
    }
}
