//! What is kept of the children's lives: the journal, their lists, and the view that follows from both.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::catalog::refresh::Saved;
use crate::event::SupervisionEvent;
use crate::registry::Registry;
use crate::route::Listeners;
use crate::supervise::{Directory, ProcessManager};

/// Events written at once.
const N_EVENTS_AT_ONCE: usize = 256;

/// Writes every event into the journal. What cannot be written is in the log file.
pub(super) async fn journal(
    registry: Registry,
    mut events: broadcast::Receiver<SupervisionEvent>,
    stop: CancellationToken,
) {
    let mut ending = false;
    while !ending {
        let first = tokio::select! {
            // Events that are there are written before the end.
            biased;
            event = events.recv() => event,
            () = stop.cancelled() => {
                ending = true;
                Err(RecvError::Closed)
            }
        };
        let mut batch = Vec::new();
        match first {
            Ok(event) => batch.push(event),
            Err(RecvError::Lagged(n)) => tracing::warn!(n, "events are missing in the journal"),
            Err(RecvError::Closed) => return,
        }
        while batch.len() < N_EVENTS_AT_ONCE {
            let Ok(event) = events.try_recv() else { break };
            batch.push(event);
        }
        if let Err(error) = registry.append(&batch).await {
            tracing::error!(%error, "events could not be written into the journal");
        }
    }
}

/// Saves every child's lists, so that they are there at the next start before the child is.
pub(super) async fn snapshots(registry: Registry, mut saved: mpsc::Receiver<Saved>, stop: CancellationToken) {
    loop {
        let snapshot = tokio::select! {
            biased;
            snapshot = saved.recv() => snapshot,
            () = stop.cancelled() => None,
        };
        let Some((server, fingerprint, text)) = snapshot else {
            return;
        };
        if let Err(error) = registry.save_snapshot(&server, &fingerprint, &text).await {
            tracing::error!(%server, %error, "lists could not be saved");
        }
    }
}

/// Makes the view anew whenever servers come, go, fail or recover.
pub(super) async fn rebuild(
    catalog: Catalog,
    mut directory: watch::Receiver<Arc<Directory>>,
    mut events: broadcast::Receiver<SupervisionEvent>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = directory.changed() => if changed.is_err() {
                return;
            },
            event = events.recv() => if matches!(event, Err(RecvError::Closed)) {
                return;
            },
        }
        // One view for all that has happened meanwhile.
        while !matches!(events.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        tokio::select! {
            () = stop.cancelled() => return,
            () = catalog.rebuild() => {}
        }
    }
}

/// Ends processes that clients do not share and nobody has used for long.
///
/// A process is used as well when its client listens to one of its resources.
pub(super) async fn reap(manager: ProcessManager, listeners: Arc<Listeners>, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(5);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {
                manager.reap_instances(|instance| listeners.is_listened_to(instance)).await;
            }
        }
    }
}
