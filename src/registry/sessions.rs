//! `sessions.db`: what has to be known of a client's session so that it outlives the daemon.
//!
//! A file of its own, so that sessions that come and go do not slow the registry. Written through to the system at each
//! change, so that it survives the daemon's death, and not synced: after a power cut clients begin anew.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{RegistryError, connect, now_ms, on_blocking_thread};
use crate::retry::DatabaseRetry;

const MIGRATIONS: &[&str] = &["
    CREATE TABLE sessions (
        id TEXT NOT NULL PRIMARY KEY,
        state TEXT NOT NULL,
        seen_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
"];

/// One session that is kept. What it consists of is opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSession {
    /// Its id, in full: who has it has the session.
    pub id: String,
    /// All else, as JSON.
    pub state: String,
    /// For how long its client had not shown itself, milliseconds.
    pub idle_ms: i64,
}

/// A change of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionChange {
    /// It is so now.
    Put(KeptSession),
    /// It has ended.
    Forget(String),
}

/// The handle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionStore {
    file: Arc<Path>,
    connection: Arc<Mutex<Connection>>,
}

impl SessionStore {
    /// Opens `sessions.db` in a folder, or makes it.
    ///
    /// # Errors
    /// Any kind; a file that cannot be used is left as it is.
    pub async fn open(dir: &Path) -> Result<Self, RegistryError> {
        let file: Arc<Path> = dir.join("sessions.db").into();
        on_blocking_thread("opening it", move || {
            let connection = connect::writer(&file, MIGRATIONS)?;
            connection
                .pragma_update(None, "synchronous", "NORMAL")
                .map_err(|source| RegistryError::of(&file, "opening it", source))?;
            let connection = Arc::new(Mutex::new(connection));
            Ok(Self { file, connection })
        })
        .await
    }

    /// Applies changes, all or none.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn apply(&self, changes: Vec<SessionChange>) -> Result<(), RegistryError> {
        let work = move |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for change in &changes {
                match change {
                    SessionChange::Put(session) => transaction
                        .prepare_cached(
                            "INSERT INTO sessions (id, state, seen_ms) VALUES (?1, ?2, ?3)
                             ON CONFLICT (id) DO UPDATE SET state = excluded.state, seen_ms = excluded.seen_ms",
                        )?
                        .execute(params![session.id, session.state, now_ms() - session.idle_ms])?,
                    SessionChange::Forget(id) => transaction
                        .prepare_cached("DELETE FROM sessions WHERE id = ?1")?
                        .execute(params![id])?,
                };
            }
            transaction.commit()
        };
        self.with("keeping sessions", work).await
    }

    /// Those whose clients have shown themselves within `idle_ms_max`; older ones are forgotten.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn recall(&self, idle_ms_max: i64) -> Result<Vec<KeptSession>, RegistryError> {
        let work = move |connection: &mut Connection| {
            let now = now_ms();
            connection.execute(
                "DELETE FROM sessions WHERE seen_ms < ?1",
                params![now - idle_ms_max],
            )?;
            let mut query = connection.prepare("SELECT id, state, seen_ms FROM sessions ORDER BY seen_ms")?;
            let rows = query.query_map([], |row| {
                Ok(KeptSession {
                    id: row.get(0)?,
                    state: row.get(1)?,
                    // A clock that was set back makes nobody younger than now.
                    idle_ms: (now - row.get::<_, i64>(2)?).max(0),
                })
            })?;
            rows.collect()
        };
        self.with("recalling sessions", work).await
    }

    /// Breaks the file for tests, so that no change can be applied, or mends it.
    #[cfg(test)]
    pub(crate) async fn set_broken(&self, is_broken: bool) {
        let (from, to) = if is_broken {
            ("sessions", "away")
        } else {
            ("away", "sessions")
        };
        let work = move |connection: &mut Connection| {
            connection.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}"))
        };
        self.with("breaking it", work).await.unwrap();
    }

    async fn with<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let this = self.clone();
        on_blocking_thread(doing, move || {
            let mut connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let mut once =
                || work(&mut connection).map_err(|source| RegistryError::of(&this.file, doing, source));
            DatabaseRetry::default().run(&mut once, RegistryError::is_lock_conflict)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &str, state: &str, idle_ms: i64) -> KeptSession {
        KeptSession {
            id: id.to_owned(),
            state: state.to_owned(),
            idle_ms,
        }
    }

    #[tokio::test]
    async fn what_was_kept_is_there_after_a_new_start_and_what_is_old_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = SessionStore::open(folder.path()).await.unwrap();
        let put = |id: &str, state: &str, idle| SessionChange::Put(kept(id, state, idle));
        store
            .apply(vec![
                put("a", "1", 0),
                put("b", "{}", 0),
                put("old", "{}", 100_000),
            ])
            .await
            .unwrap();
        store
            .apply(vec![put("a", "2", 0), SessionChange::Forget("b".to_owned())])
            .await
            .unwrap();
        drop(store);
        let store = SessionStore::open(folder.path()).await.unwrap();
        let found = store.recall(50_000).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].state.as_str()), ("a", "2"));
        assert!(
            store.recall(i64::MAX / 2).await.unwrap().len() == 1,
            "the old one is gone for good"
        );
    }
}
