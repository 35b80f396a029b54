//! What happened to the children: appended, read from the end, bounded.

use rusqlite::params;

use super::{Registry, RegistryError};
use crate::event::SupervisionEvent;
use crate::ids::ServerName;

/// Rows that are kept; the oldest go first.
pub const JOURNAL_ROWS_MAX: u32 = 10_000;
/// Bytes that are kept: a row has some hundred, unless children write much before they end.
pub const JOURNAL_BYTES_MAX: u32 = 16 << 20;
/// The bytes are counted once for so many rows.
const ROWS_BETWEEN_COUNTS: i64 = 100;

impl Registry {
    /// Writes events down, all or none.
    ///
    /// # Errors
    /// `Unstorable`, or what SQLite says.
    pub async fn append(&self, events: &[SupervisionEvent]) -> Result<(), RegistryError> {
        if events.is_empty() {
            return Ok(());
        }
        let rows: Vec<(ServerName, String)> = events
            .iter()
            .map(|event| match serde_json::to_string(&event.clone().bounded()) {
                Ok(text) => Ok((event.server.clone(), text)),
                Err(source) => Err(RegistryError::Unstorable {
                    server: event.server.to_string(),
                    source,
                }),
            })
            .collect::<Result<_, _>>()?;
        self.write("writing the journal", move |transaction| {
            let mut insert =
                transaction.prepare_cached("INSERT INTO journal (server, event) VALUES (?1, ?2)")?;
            for (server, event) in &rows {
                insert.execute([server.as_str(), event])?;
            }
            // A range of the primary key without gaps: as many rows are deleted as were too many, no scan.
            transaction.execute(
                "DELETE FROM journal WHERE seq <= (SELECT max(seq) FROM journal) - ?1",
                [JOURNAL_ROWS_MAX],
            )?;
            let newest: i64 = transaction.query_row("SELECT max(seq) FROM journal", [], |row| row.get(0))?;
            let n_new = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            if newest / ROWS_BETWEEN_COUNTS != newest.saturating_sub(n_new) / ROWS_BETWEEN_COUNTS {
                // Counted first without a table of all sums, which would take memory that is never given back.
                let n_bytes: i64 =
                    transaction.query_row("SELECT coalesce(sum(length(event)), 0) FROM journal", [], |row| row.get(0))?;
                if n_bytes > i64::from(JOURNAL_BYTES_MAX) {
                    transaction.execute(
                        "DELETE FROM journal WHERE seq <= (SELECT max(seq) FROM (\
                         SELECT seq, sum(length(event)) OVER (ORDER BY seq DESC) AS n FROM journal) WHERE n > ?1)",
                        [JOURNAL_BYTES_MAX],
                    )?;
                }
                // Counting has read all of it. SQLite would keep what it has read, and one page more with every few
                // dozen events: the bound of the cache of one connection is not kept where others share it.
                transaction.execute_batch("PRAGMA shrink_memory")?;
            }
            Ok(())
        })
        .await
    }

    /// The last `n` events, of one server or of all, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn events(
        &self,
        server: Option<&ServerName>,
        n: usize,
    ) -> Result<Vec<SupervisionEvent>, RegistryError> {
        let server = server.cloned();
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        self.read("reading the journal", move |connection| {
            let texts: Vec<String> = match &server {
                Some(server) => connection
                    .prepare_cached("SELECT event FROM journal WHERE server = ?1 ORDER BY seq DESC LIMIT ?2")?
                    .query_map(params![server.as_str(), n], |row| row.get(0))?
                    .collect::<Result<_, _>>()?,
                None => connection
                    .prepare_cached("SELECT event FROM journal ORDER BY seq DESC LIMIT ?1")?
                    .query_map([n], |row| row.get(0))?
                    .collect::<Result<_, _>>()?,
            };
            Ok(texts.iter().rev().filter_map(|text| event_of(text)).collect())
        })
        .await
    }
}

/// `None` for an event in words that this version does not know.
fn event_of(text: &str) -> Option<SupervisionEvent> {
    serde_json::from_str(text)
        .inspect_err(|error| tracing::debug!(%error, "an event in the journal is left out"))
        .ok()
}
