//! A definition on trial is proven by its lists: they are fetched before anybody is served by it.

use std::sync::Arc;

use tokio::time::Instant;

use super::listing::{Unlisted, handshake_of, listed};
use super::refresh::{Catalog, Trial};
use super::snapshot::{Kind, Snapshot};
use super::standing::{Told, own_ttl};
use crate::child::Control;
use crate::ids::ServerName;
use crate::supervise::Successor;

impl Catalog {
    /// The process on trial of a server has done its handshake: once its lists are here it may take over.
    pub fn prove(&self, server: &ServerName) {
        let Some(successor) = self.entry(server).and_then(|entry| entry.successor) else {
            return;
        };
        let (catalog, server, stop) = (self.clone(), server.clone(), self.tasks().token());
        self.tasks().spawn("lists of a trial", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = catalog.fetch_of(&server, &successor) => {}
            }
        });
    }

    async fn fetch_of(&self, server: &ServerName, successor: &Successor) {
        let child = &successor.child;
        let Some(status) = handshake_of(child).await else {
            return;
        };
        let Some(handshake) = status.handshake else { return };
        let mut snapshot = Snapshot::of(&handshake);
        let mut told = Told::default();
        told.generation = Some(status.generation);
        for kind in Kind::ALL {
            let (now, list) = (Instant::now(), listed(child, &handshake, kind).await);
            let ttl = list.as_ref().ok().and_then(|list| list.ttl_ms);
            told.note(kind, now, own_ttl(&snapshot, kind, ttl), list.is_err());
            match list {
                Ok(list) => snapshot.take(kind, &list.items),
                Err(why @ Unlisted::Late) => {
                    tracing::warn!(%server, list = kind.method(), %why, "the new definition is not taken; it is started again");
                    child.tell(Control::Restart).await;
                    return;
                }
                Err(why) => {
                    tracing::warn!(%server, list = kind.method(), %why, "a list could not be fetched")
                }
            }
        }
        // What has ended meanwhile is tried again, and proves itself then.
        if child.status().generation != status.generation || child.present().is_none() {
            return;
        }
        let fingerprint = &successor.spec.fingerprint;
        let text = snapshot.to_saved();
        let trial = Trial {
            child: child.clone(),
            fingerprint: fingerprint.clone(),
            snapshot: Arc::new(snapshot),
            told,
        };
        self.hold_trial(server, trial);
        self.save(server, fingerprint, text).await;
        successor.proven.cancel();
    }
}
