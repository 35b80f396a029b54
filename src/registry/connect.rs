//! Opening the file: private, checked before anything is written, and with the same settings each time.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::RegistryError;
use super::schema;
use crate::retry::DatabaseRetry;

/// How long SQLite itself waits for a lock within one try; with the tries of the retry policy about 5 s in all.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(950);
/// Reading connections at most.
const N_READERS_MAX: u32 = 4;
/// Patience for a free reading connection; they are held for milliseconds.
const READER_WAIT: Duration = Duration::from_secs(2);
/// The write-ahead log is cut back to this after a checkpoint.
const JOURNAL_BYTES_MAX: i64 = 64 << 20;
/// What one connection keeps of the file in memory, KiB. SQLite's own 2,000 would be filled by the journal, a page with
/// every few dozen events, for days. The connections of a process share what all of them may keep: some 400 KiB.
const CACHE_KIB_MAX: i64 = 64;
/// First version without the WAL-reset bug, which damages files that two connections write.
///
/// Source: <https://www.sqlite.org/wal.html#walresetbug>.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

const DOING: &str = "opening it";

/// The one writing connection, its file made or brought up to date.
///
/// # Errors
/// Every kind that says why a file cannot be used; it is then unchanged.
pub(super) fn writer(file: &Path, migrations: &[&str]) -> Result<Connection, RegistryError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(RegistryError::OldSqlite {
            found: rusqlite::version(),
        });
    }
    make_private(file).map_err(|error| RegistryError::CannotOpen {
        file: file.to_owned(),
        why: error.to_string(),
    })?;
    let try_once = || {
        let failed = |source| RegistryError::of(file, DOING, source);
        let mut connection = Connection::open_with_flags(file, flags()).map_err(failed)?;
        settings_of_all(&connection).map_err(failed)?;
        // Reads only, so that a file that is damaged or from the future keeps its bytes; closing it must not
        // bring in what stands in its write-ahead log either.
        let keep_on_close = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(keep_on_close, true).map_err(failed)?;
        schema::known_version(&connection, file, migrations)?;
        check_health(&connection, file)?;
        connection.set_db_config(keep_on_close, false).map_err(failed)?;
        settings_of_writer(&connection).map_err(failed)?;
        schema::migrate(&mut connection, file, migrations)?;
        Ok(connection)
    };
    DatabaseRetry::default().run(try_once, RegistryError::is_lock_conflict)
}

/// The reading connections. None is opened before it is needed.
///
/// # Errors
/// `CannotOpen`.
pub(super) fn readers(file: &Path) -> Result<Pool<SqliteConnectionManager>, RegistryError> {
    let manager = SqliteConnectionManager::file(file)
        .with_flags(flags())
        .with_init(|connection| {
            settings_of_all(connection)?;
            connection.pragma_update(None, "query_only", true)
        });
    Pool::builder()
        .max_size(N_READERS_MAX)
        .min_idle(Some(0))
        .connection_timeout(READER_WAIT)
        .build(manager)
        .map_err(|error| RegistryError::CannotOpen {
            file: file.to_owned(),
            why: error.to_string(),
        })
}

/// Not `CREATE`: the file was made with its permissions before, and one that vanished must be noticed.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
}

fn settings_of_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A negative number counts KiB, a positive one pages.
    connection.pragma_update(None, "cache_size", -CACHE_KIB_MAX)?;
    connection.pragma_update(None, "trusted_schema", false)
}

fn settings_of_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // FULL, because there are few writes and each one is something a person asked for.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row(
        &format!("PRAGMA journal_size_limit = {JOURNAL_BYTES_MAX}"),
        [],
        |_| Ok(()),
    )
}

fn check_health(connection: &Connection, file: &Path) -> Result<(), RegistryError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| RegistryError::of(file, DOING, source))?;
    if found == "ok" {
        return Ok(());
    }
    Err(RegistryError::Corrupt {
        file: file.to_owned(),
        why: found,
    })
}

/// The folder for us alone, and the file in it; SQLite gives its `-wal` and `-shm` the file's permissions.
fn make_private(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        narrow(folder, 0o700);
    }
    make_private_file(file)?;
    narrow(file, 0o600);
    Ok(())
}

/// Makes an empty file for us alone; one that is there stays as it is, and is not even opened.
///
/// Opening it here would drop, on closing, the locks that SQLite holds on it in this process.
pub(super) fn make_private_file(file: &Path) -> io::Result<()> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // On a read-only disk the error is this one even for a file that is there.
        Err(_) if file.is_file() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes permissions away from others, gives none. What somebody else owns is worth a line in the log, no refusal.
fn narrow(path: &Path, mask: u32) {
    let Ok(found) = fs::metadata(path) else { return };
    let mode = found.permissions().mode() & 0o7777;
    if mode & mask == mode {
        return;
    }
    if let Err(error) = fs::set_permissions(path, Permissions::from_mode(mode & mask)) {
        tracing::warn!(path = %path.display(), %error, "others may read the registry: its permissions cannot be narrowed");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::registry) fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_sqlite_we_are_built_with_is_new_enough() {
        assert!(
            rusqlite::version_number() >= SQLITE_VERSION_MIN,
            "{}",
            rusqlite::version()
        );
    }

    #[test]
    fn the_folder_the_file_and_its_journals_are_for_us_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        let file = data.join("registry.db");
        let connection = writer(&file, schema::MIGRATIONS).unwrap();
        connection.execute("UPDATE revision SET number = 7", []).unwrap();
        assert_eq!(mode_of(&data), 0o700);
        for name in ["registry.db", "registry.db-wal", "registry.db-shm"] {
            assert_eq!(mode_of(&data.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_folder_that_was_open_to_all_is_narrowed() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("registry.db");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        writer(&file, schema::MIGRATIONS).unwrap();
        assert_eq!((mode_of(folder.path()), mode_of(&file)), (0o700, 0o600));
    }

    #[test]
    fn every_connection_has_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("registry.db");
        let connection = writer(&file, schema::MIGRATIONS).unwrap();
        let readers = readers(&file).unwrap();
        let reader = readers.get().unwrap();
        let number = |of: &Connection, name: &str| -> i64 {
            of.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
                .unwrap()
        };
        for of in [&connection, &*reader] {
            assert_eq!((number(of, "foreign_keys"), number(of, "trusted_schema")), (1, 0));
            assert_eq!(number(of, "busy_timeout"), 950);
            assert_eq!(number(of, "cache_size"), -CACHE_KIB_MAX);
        }
        let mode: String = connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .unwrap();
        assert_eq!((mode.as_str(), number(&connection, "synchronous")), ("wal", 2));
        assert_eq!(number(&connection, "journal_size_limit"), JOURNAL_BYTES_MAX);
        assert!(reader.execute("UPDATE revision SET number = 7", []).is_err());
    }
}
