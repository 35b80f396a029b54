//! Every task of the daemon has an owner who waits for it.
//!
//! A token to say "stop", a tracker to wait, and the names of those that are still running.
//! This is the only place that calls `tokio::spawn`.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Owner of tasks. Cheap to clone; all clones own the same set.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    token: CancellationToken,
    tracker: TaskTracker,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

/// The tasks that did not end in time: name and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left(pub Vec<(&'static str, usize)>);

impl Tasks {
    /// An owner without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. A panic in it is logged under its name and ends only it.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let counted = Counted::new(name, Arc::clone(&self.running));
        self.tracker.spawn(
            async move {
                // Dropped last, also by a panic, so that the count is true.
                let counted = counted;
                task.await;
                drop(counted);
            }
            .in_current_span(),
        );
    }

    /// The token that says "stop".
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Says "stop" and waits.
    ///
    /// # Errors
    /// `Left` names the tasks that are still running when `patience` runs out.
    pub async fn drain(&self, patience: Duration) -> Result<(), Left> {
        self.token.cancel();
        self.tracker.close();
        if tokio::time::timeout(patience, self.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        Err(Left(
            running
                .iter()
                .filter(|(_, n)| **n > 0)
                .map(|(name, n)| (*name, *n))
                .collect(),
        ))
    }
}

/// What a future gives, or what it said when it panicked.
///
/// Whatever it shares with others must not be left half changed by a panic: locks are not poisoned by this.
///
/// # Errors
/// The message of the panic.
pub async fn unless_panicked<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(message(&*payload))),
        }
    })
    .await
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

/// Counts one running task for as long as it lives.
struct Counted {
    name: &'static str,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Counted {
    fn new(name: &'static str, running: Arc<Mutex<BTreeMap<&'static str, usize>>>) -> Self {
        *running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name)
            .or_default() += 1;
        Self { name, running }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(task = self.name, "a task panicked; this is a bug in mcp-wrapper");
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = running.get_mut(self.name) {
            *n = n.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_in_its_own_words() {
        let n = 7;
        let panics = async {
            tokio::task::yield_now().await;
            panic!("no {n}")
        };
        let told: Result<(), String> = unless_panicked(panics).await;
        assert_eq!(told, Err("no 7".to_owned()));
        assert_eq!(unless_panicked(async { 1 }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_tasks_that_listen_and_names_those_that_do_not() {
        let tasks = Tasks::new();
        let token = tasks.token();
        tasks.spawn("good", async move { token.cancelled().await });
        assert_eq!(tasks.drain(Duration::from_secs(1)).await, Ok(()));

        let tasks = Tasks::new();
        tasks.spawn("deaf", std::future::pending());
        assert_eq!(
            tasks.drain(Duration::from_secs(1)).await,
            Err(Left(vec![("deaf", 1)]))
        );
    }
}
