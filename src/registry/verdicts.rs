//! What servers turned out to speak, in words: opaque here, so that each is asked only once.

use rusqlite::params;

use super::{Registry, RegistryError};
use crate::ids::ServerName;

/// What one server turned out to be, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictRow {
    /// Of the program as it was.
    pub fingerprint: String,
    /// `legacy` or `modern`.
    pub era: String,
    /// The revision it spoke last.
    pub revision: String,
    /// `definitive` or `tentative`.
    pub certainty: String,
    /// Whether it ends when it is asked.
    pub crashes_on_probe: bool,
    /// Whether it also answers a handshake, where it needs none: `spoken`, `refused`, or empty where nobody has tried.
    pub older: String,
    /// By what it was found, for people.
    pub how: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

impl Registry {
    /// Writes down what a declared server is, or (`None`) that it is not known any more.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn save_verdict(
        &self,
        server: &ServerName,
        row: Option<VerdictRow>,
    ) -> Result<(), RegistryError> {
        let server = server.clone();
        self.write("saving what a server speaks", move |transaction| {
            let Some(row) = &row else {
                transaction.execute("DELETE FROM verdicts WHERE server = ?1", [server.as_str()])?;
                return Ok(());
            };
            let at_ms = i64::try_from(row.at_ms).unwrap_or(i64::MAX);
            transaction.execute(
                "INSERT INTO verdicts (server, fingerprint, era, revision, certainty, crashes_on_probe, how, at_ms, older)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 WHERE EXISTS (SELECT 1 FROM definitions WHERE name = ?1)
                 ON CONFLICT (server) DO UPDATE SET
                     fingerprint = excluded.fingerprint, era = excluded.era, revision = excluded.revision,
                     certainty = excluded.certainty, crashes_on_probe = excluded.crashes_on_probe,
                     how = excluded.how, at_ms = excluded.at_ms, older = excluded.older",
                params![
                    server.as_str(),
                    row.fingerprint,
                    row.era,
                    row.revision,
                    row.certainty,
                    row.crashes_on_probe,
                    row.how,
                    at_ms,
                    row.older
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// All of them.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn verdicts(&self) -> Result<Vec<(ServerName, VerdictRow)>, RegistryError> {
        self.read("reading what servers speak", |connection| {
            let mut query = connection.prepare_cached(
                "SELECT server, fingerprint, era, revision, certainty, crashes_on_probe, how, at_ms, older
                 FROM verdicts ORDER BY server",
            )?;
            let rows = query.query_map([], |row| {
                let server: String = row.get(0)?;
                let at_ms: i64 = row.get(7)?;
                let verdict = VerdictRow {
                    fingerprint: row.get(1)?,
                    era: row.get(2)?,
                    revision: row.get(3)?,
                    certainty: row.get(4)?,
                    crashes_on_probe: row.get(5)?,
                    how: row.get(6)?,
                    at_ms: at_ms.unsigned_abs(),
                    older: row.get(8)?,
                };
                Ok((server, verdict))
            })?;
            // A name that is no name has no server.
            rows.filter_map(|row| {
                row.map(|(server, verdict)| ServerName::parse(&server).ok().map(|server| (server, verdict)))
                    .transpose()
            })
            .collect()
        })
        .await
    }
}
