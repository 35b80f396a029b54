//! The keys that open: read from the registry, whoever has changed it. What is open with one that was taken back ends.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Front;
use super::http::guard::now_ms;
use crate::access::Principal;
use crate::registry::RegistryError;

/// How often is looked whether a key was made, changed or taken back by another process, or has expired.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How many looks it takes until it is written down which keys were used: about half a minute.
const N_LOOKS_TO_NOTE: u32 = 75;

impl Front {
    /// Reads the keys again. When this returns, those that were taken back open no more and their sessions are over.
    /// Gives how many those are.
    ///
    /// # Errors
    /// What the registry says; then the keys of before go on.
    pub async fn reload_keys(&self) -> Result<usize, RegistryError> {
        let turn = self.reading_keys.lock().await;
        let rows = self.declarations.registry().keys().await?;
        let grants = rows.into_iter().map(|row| row.grant).collect();
        let gone = self.guard.keyring().replace(grants, now_ms());
        drop(turn);
        self.turn_out(&gone);
        Ok(gone.len())
    }

    /// Ends at once what is open with these; servers, which may be slow, are told behind that.
    fn turn_out(&self, gone: &[Arc<Principal>]) {
        for principal in gone {
            tracing::info!(key = %principal.name, "a key opens no more");
            let of_it = self.sessions.of(principal);
            for session in of_it.into_iter().filter(|session| self.sessions.cut(session)) {
                let sessions = self.sessions.clone();
                self.tasks
                    .spawn("end of a session", async move { sessions.forget(&session).await });
            }
        }
    }

    /// Looks after the keys until told to stop.
    pub async fn look_after_keys(&self, stop: CancellationToken) {
        let registry = self.declarations.registry();
        let mut seen = None;
        let mut n_looks = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            n_looks += 1;
            if n_looks % N_LOOKS_TO_NOTE == 0 {
                self.note_uses().await;
            }
            let expired = self.guard.keyring().take_expired(now_ms());
            self.turn_out(&expired);
            // A registry that cannot be read takes nobody's key away.
            let Ok(revision) = registry.keys_revision().await else {
                continue;
            };
            if seen != Some(revision) && self.reload_keys().await.is_ok() {
                seen = Some(revision);
            }
        }
        self.note_uses().await;
    }

    async fn note_uses(&self) {
        let used = self.guard.keyring().take_used();
        if used.is_empty() {
            return;
        }
        if let Err(error) = self.declarations.registry().keys_used(used).await {
            tracing::warn!(%error, "it could not be written down that keys were used");
        }
    }
}
