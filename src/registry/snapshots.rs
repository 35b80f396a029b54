//! The last known capabilities and lists of each server, opaque here, for the time until it is up again.

use rusqlite::params;

use super::{Registry, RegistryError, now_ms};
use crate::ids::ServerName;

impl Registry {
    /// Keeps the lists of a declared server under the fingerprint of its definition, instead of earlier ones.
    ///
    /// A server that was removed meanwhile is not brought back by this.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn save_snapshot(
        &self,
        server: &ServerName,
        fingerprint: &str,
        json: &str,
    ) -> Result<(), RegistryError> {
        let (server, fingerprint, json) = (server.clone(), fingerprint.to_owned(), json.to_owned());
        self.write("saving the lists of a server", move |transaction| {
            transaction.execute(
                "INSERT INTO snapshots (server, fingerprint, lists, saved_ms)
                 SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM definitions WHERE name = ?1)
                 ON CONFLICT (server) DO UPDATE SET
                     fingerprint = excluded.fingerprint, lists = excluded.lists, saved_ms = excluded.saved_ms",
                params![server.as_str(), fingerprint, json, now_ms()],
            )?;
            Ok(())
        })
        .await
    }

    /// All of them: server, fingerprint, JSON.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn snapshots(&self) -> Result<Vec<(ServerName, String, String)>, RegistryError> {
        self.read("reading the saved lists", |connection| {
            let mut query = connection
                .prepare_cached("SELECT server, fingerprint, lists FROM snapshots ORDER BY server")?;
            let rows = query.query_map([], |row| {
                let server: String = row.get(0)?;
                Ok((server, row.get(1)?, row.get(2)?))
            })?;
            // A name that is no name has no server: its lists are of no use.
            rows.filter_map(|row| {
                row.map(|(server, fingerprint, json)| {
                    ServerName::parse(&server)
                        .ok()
                        .map(|server| (server, fingerprint, json))
                })
                .transpose()
            })
            .collect()
        })
        .await
    }
}
