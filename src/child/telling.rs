//! What happens to a child, told to the log and to whoever listens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use crate::event::{Cause, SupervisionEvent, What};
use crate::ids::{Generation, ServerName};

/// Tells it, with the time of day.
pub fn tell(
    events: &broadcast::Sender<SupervisionEvent>,
    server: &ServerName,
    generation: Generation,
    what: What,
) {
    let event = SupervisionEvent {
        at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
        server: server.clone(),
        generation,
        what,
    };
    log(&event);
    // Nobody may be listening.
    drop(events.send(event));
}

fn log(event: &SupervisionEvent) {
    let (generation, what) = (event.generation.0, &event.what);
    match what {
        What::Failed { .. } => tracing::error!(generation, "{what}"),
        What::Gone {
            cause: Cause::Asked | Cause::OtherEra | Cause::Idle | Cause::ShuttingDown,
            ..
        } => tracing::info!(generation, "{what}"),
        What::Gone { .. }
        | What::Backoff { .. }
        | What::NotSpawned { .. }
        | What::SecretsMissing { .. }
        | What::Unresponsive
        | What::FewFilesLeft { .. }
        | What::Flood { .. }
        | What::Refused { .. }
        | What::Kept { .. } => tracing::warn!(generation, "{what}"),
        What::Spawned { .. }
        | What::Ready { .. }
        | What::Asked { .. }
        | What::Stopped
        | What::Unpinged
        | What::ListChanged { .. }
        | What::TookOver
        | What::Responsive => tracing::info!(generation, "{what}"),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
