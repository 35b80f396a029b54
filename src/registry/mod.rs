//! The SQLite file `registry.db`: what should run, what happened, and what was last on offer.
//!
//! The only code that knows SQL. Every call runs on a blocking thread, none is on the path of a request.
//! One connection writes, under `BEGIN IMMEDIATE`; a few read. Several processes may share the file.
//!
//! `definitions` holds the servers, `journal` the events, `snapshots` the lists, `verdicts` what servers speak, `keys` who may come in; `connect` opens, `schema` migrates.
//! `sessions` is a file of its own.

mod connect;
mod definitions;
mod error;
mod journal;
mod keys;
mod schema;
pub mod sessions;
mod snapshots;
pub mod verdicts;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use definitions::{Declared, Put, Removed};
pub use error::RegistryError;
pub use journal::{JOURNAL_BYTES_MAX, JOURNAL_ROWS_MAX};
pub use keys::{KeyRow, MadeKey};

use crate::place::FileId;
use crate::retry::DatabaseRetry;

/// The name of the file in the data folder.
const FILE: &str = "registry.db";

/// The handle. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    /// The file that was opened: its path may lead to another one later.
    id: FileId,
    writer: Mutex<Connection>,
    readers: Pool<SqliteConnectionManager>,
}

impl Registry {
    /// Opens `registry.db` in a folder; makes both, or brings the tables up to date.
    ///
    /// # Errors
    /// Any kind; a file that cannot be used is left as it is.
    pub async fn open(dir: &Path) -> Result<Self, RegistryError> {
        let file = dir.join(FILE);
        let open = move || {
            let writer = Mutex::new(connect::writer(&file, schema::MIGRATIONS)?);
            let readers = connect::readers(&file)?;
            let id = FileId::of(&file).map_err(|error| RegistryError::CannotOpen {
                file: file.clone(),
                why: error.to_string(),
            })?;
            Ok(Self {
                inner: Arc::new(Inner {
                    file,
                    id,
                    writer,
                    readers,
                }),
            })
        };
        on_blocking_thread("opening it", open).await
    }

    /// Whether there is a registry in a folder.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(FILE).exists()
    }

    /// The error for a registry that is gone from this folder while a daemon uses it.
    pub fn moved_from(dir: &Path) -> RegistryError {
        RegistryError::Moved { file: dir.join(FILE) }
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.inner.file
    }

    /// A number that grows with every change of what should run, by any process. Cheap enough to poll.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn revision(&self) -> Result<u64, RegistryError> {
        let number: i64 = self
            .read("reading its revision", |connection| {
                connection.query_row("SELECT number FROM revision", [], |row| row.get(0))
            })
            .await?;
        // It counts up from 0, so that it is never negative.
        Ok(number.unsigned_abs())
    }

    /// The revision, when the registry can be read and is still where it was.
    ///
    /// # Errors
    /// `Moved` when the file was taken away, were it replaced by another; or what SQLite says.
    pub async fn check(&self) -> Result<u64, RegistryError> {
        let inner = Arc::clone(&self.inner);
        // An open connection goes on with a file that was deleted, and everything it writes is lost.
        let there = move || {
            let file = inner.file.clone();
            inner
                .id
                .is_at(&file)
                .then_some(())
                .ok_or(RegistryError::Moved { file })
        };
        on_blocking_thread("looking for it", there).await?;
        self.revision().await
    }

    /// Brings what stands in the write-ahead log into the file. The handle still works afterwards.
    ///
    /// # Errors
    /// What SQLite says. That somebody reads meanwhile is no error: the log then stays, and is good.
    pub async fn close(&self) -> Result<(), RegistryError> {
        let inner = Arc::clone(&self.inner);
        let checkpoint = move || {
            let writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .map_err(|source| RegistryError::of(&inner.file, "checkpointing it", source))
        };
        match on_blocking_thread("checkpointing it", checkpoint).await {
            Err(error) if error.is_lock_conflict() => Ok(()),
            done => done,
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        query: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let inner = Arc::clone(&self.inner);
        let try_once = move || {
            let file = &inner.file;
            let connection = inner.readers.get().map_err(|error| RegistryError::CannotOpen {
                file: file.clone(),
                why: error.to_string(),
            })?;
            query(&connection).map_err(|source| RegistryError::of(file, doing, source))
        };
        on_blocking_thread(doing, move || {
            DatabaseRetry::default().run(try_once, RegistryError::is_lock_conflict)
        })
        .await
    }

    /// Runs one transaction, from its beginning again when another process was in the way.
    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        change: impl Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let inner = Arc::clone(&self.inner);
        let write = move || {
            // A transaction that panicked was rolled back when it was dropped: the connection is good.
            let mut writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let mut try_once = || {
                let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let done = change(&transaction)?;
                transaction.commit()?;
                Ok(done)
            };
            let told = || try_once().map_err(|source| RegistryError::of(&inner.file, doing, source));
            DatabaseRetry::default().run(told, RegistryError::is_lock_conflict)
        };
        on_blocking_thread(doing, write).await
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(RegistryError::Interrupted { doing }))
}

/// The wall clock, for people: milliseconds since 1970.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
