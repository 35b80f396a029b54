//! Ends sessions whose client has not shown itself for long.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sessions::Sessions;

/// A session without a stream, a call or a request for this long is ended.
pub const IDLE_MAX: Duration = Duration::from_secs(3600);
const EVERY: Duration = Duration::from_secs(60);

/// Sweeps until told to stop.
pub async fn run(sessions: Sessions, stop: CancellationToken) {
    let idle_ms = u64::try_from(IDLE_MAX.as_millis()).unwrap_or(u64::MAX);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        sessions.expire(Instant::now());
        sessions.keep_used(Instant::now(), EVERY);
        for session in sessions.idle_since(Instant::now(), idle_ms) {
            tracing::info!(session = %session.id, "session ended: not used for {} s", IDLE_MAX.as_secs());
            sessions.end(&session).await;
        }
    }
}
