//! The tables, as numbered migrations. `PRAGMA user_version` says how many a file has had.
//!
//! A released migration is never edited: old files have already had it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::connect;
use super::error::RegistryError;

/// The migrations, oldest first; the number of a version is its place, counted from 1.
pub(super) const MIGRATIONS: &[&str] = &[V1, V2, V3, V4];

const V1: &str = "
    -- A file's definition shadows a user's one of the same name without losing it.
    CREATE TABLE definitions (
        name TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('file', 'user')),
        origin TEXT NOT NULL CHECK (origin IN ('file', 'cli', 'import')),
        definition TEXT NOT NULL,
        position INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        PRIMARY KEY (name, source)
    ) STRICT;

    -- What `mcpctl enable` and `disable` said; wins over `enabled` in the definition.
    CREATE TABLE overrides (
        name TEXT NOT NULL PRIMARY KEY,
        enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
        updated_ms INTEGER NOT NULL
    ) STRICT;

    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        server TEXT NOT NULL,
        event TEXT NOT NULL
    ) STRICT;
    CREATE INDEX journal_by_server ON journal (server, seq);

    CREATE TABLE snapshots (
        server TEXT NOT NULL PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        lists TEXT NOT NULL,
        saved_ms INTEGER NOT NULL
    ) STRICT;

    -- Grows with every change of what should run, whoever makes it; hence triggers and not code.
    CREATE TABLE revision (
        only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
        number INTEGER NOT NULL
    ) STRICT;
    INSERT INTO revision (only, number) VALUES (1, 0);
    CREATE TRIGGER definitions_added AFTER INSERT ON definitions
        BEGIN UPDATE revision SET number = number + 1; END;
    CREATE TRIGGER definitions_changed AFTER UPDATE ON definitions
        BEGIN UPDATE revision SET number = number + 1; END;
    CREATE TRIGGER definitions_removed AFTER DELETE ON definitions
        BEGIN UPDATE revision SET number = number + 1; END;
    CREATE TRIGGER overrides_added AFTER INSERT ON overrides
        BEGIN UPDATE revision SET number = number + 1; END;
    CREATE TRIGGER overrides_changed AFTER UPDATE ON overrides
        BEGIN UPDATE revision SET number = number + 1; END;
    CREATE TRIGGER overrides_removed AFTER DELETE ON overrides
        BEGIN UPDATE revision SET number = number + 1; END;
";

const V2: &str = "
    -- What each server turned out to speak, so that it is asked only once.
    CREATE TABLE verdicts (
        server TEXT NOT NULL PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        era TEXT NOT NULL,
        revision TEXT NOT NULL,
        certainty TEXT NOT NULL,
        crashes_on_probe INTEGER NOT NULL CHECK (crashes_on_probe IN (0, 1)),
        how TEXT NOT NULL,
        at_ms INTEGER NOT NULL
    ) STRICT;
";

const V3: &str = "
    -- Whether a server that needs no handshake answers one; empty where nobody has tried.
    ALTER TABLE verdicts ADD COLUMN older TEXT NOT NULL DEFAULT '';
";

const V4: &str = "
    -- Of a key only the hash is kept. Lists are JSON; NULL is no limit.
    CREATE TABLE keys (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        servers TEXT,
        tools TEXT,
        admin INTEGER NOT NULL CHECK (admin IN (0, 1)),
        rate TEXT,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER,
        used_ms INTEGER
    ) STRICT;

    -- Grows with every change of who may come in; that a key was used is none.
    CREATE TABLE keys_revision (
        only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
        number INTEGER NOT NULL
    ) STRICT;
    INSERT INTO keys_revision (only, number) VALUES (1, 0);
    CREATE TRIGGER keys_added AFTER INSERT ON keys
        BEGIN UPDATE keys_revision SET number = number + 1; END;
    CREATE TRIGGER keys_changed AFTER UPDATE OF id, name, hash, servers, tools, admin, rate, expires_ms ON keys
        BEGIN UPDATE keys_revision SET number = number + 1; END;
    CREATE TRIGGER keys_removed AFTER DELETE ON keys
        BEGIN UPDATE keys_revision SET number = number + 1; END;
";

const DOING: &str = "bringing its tables up to date";

/// The version of a file, refused when this program is too old for it. Reads only.
///
/// # Errors
/// `Newer`, or what SQLite says.
pub(super) fn known_version(
    connection: &Connection,
    file: &Path,
    migrations: &[&str],
) -> Result<usize, RegistryError> {
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|source| RegistryError::of(file, DOING, source))?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    match usize::try_from(found) {
        Ok(version) if found <= known => Ok(version),
        Ok(_) | Err(_) => Err(RegistryError::Newer {
            file: file.to_owned(),
            found,
            known,
        }),
    }
}

/// Brings a file up to date, each step in a transaction of its own, after a copy of the old file was made.
///
/// # Errors
/// `CannotOpen` when the copy cannot be made, `Newer`, or what SQLite says. Steps before the failed one stay done.
pub(super) fn migrate(
    connection: &mut Connection,
    file: &Path,
    migrations: &[&str],
) -> Result<(), RegistryError> {
    let before = known_version(connection, file, migrations)?;
    if before > 0 && before < migrations.len() {
        copy(connection, file, before)?;
    }
    for (step, target) in migrations.iter().zip(1_u32..).skip(before) {
        apply(connection, file, migrations, step, target)?;
    }
    Ok(())
}

fn apply(
    connection: &mut Connection,
    file: &Path,
    migrations: &[&str],
    step: &str,
    target: u32,
) -> Result<(), RegistryError> {
    let failed = |source| RegistryError::of(file, DOING, source);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    // Asked again under the lock: another process may have done this step meanwhile.
    if u32::try_from(known_version(&transaction, file, migrations)?).is_ok_and(|version| version >= target) {
        return Ok(());
    }
    transaction.execute_batch(step).map_err(failed)?;
    transaction
        .pragma_update(None, "user_version", target)
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Writes `registry.db.v1.bak` beside the file, whole or not at all.
fn copy(connection: &Connection, file: &Path, version: usize) -> Result<(), RegistryError> {
    let backup = beside(file, &format!(".v{version}.bak"));
    let half_done = beside(file, &format!(".v{version}.bak.{}", std::process::id()));
    let cannot = |error: std::io::Error| RegistryError::CannotOpen {
        file: half_done.clone(),
        why: format!("the copy that is made before an update failed: {error}"),
    };
    // `VACUUM INTO` takes an empty file, and keeps its narrow permissions.
    connect::make_private_file(&half_done).map_err(cannot)?;
    connection
        .execute("VACUUM INTO ?1", [half_done.to_string_lossy()])
        .map_err(|source| RegistryError::of(file, "copying it before an update", source))?;
    std::fs::rename(&half_done, &backup).map_err(cannot)
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: &str = "ALTER TABLE snapshots ADD COLUMN extra TEXT;";

    fn old_file(folder: &Path) -> PathBuf {
        let file = folder.join("registry.db");
        std::fs::copy(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/registry_v1.db"),
            &file,
        )
        .unwrap();
        file
    }

    #[test]
    fn an_older_file_is_copied_and_then_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let file = old_file(folder.path());
        let connection = connect::writer(&file, &[V1, NEXT]).unwrap();
        assert_eq!(known_version(&connection, &file, &[V1, NEXT]).unwrap(), 2);
        connection
            .execute("UPDATE snapshots SET extra = 'x'", [])
            .unwrap();

        let copy = beside(&file, ".v1.bak");
        let kept = Connection::open(&copy).unwrap();
        assert_eq!(known_version(&kept, &copy, &[V1]).unwrap(), 1);
        let n: i64 = kept
            .query_row("SELECT count(*) FROM definitions", [], |row| row.get(0))
            .unwrap();
        assert!(n > 0);
        assert_eq!(connect::tests::mode_of(&copy), 0o600);
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = old_file(folder.path());
        connect::writer(&file, &[V1, "CREATE TABLE half (a) STRICT; nonsense"]).unwrap_err();
        let connection = connect::writer(&file, &[V1]).unwrap();
        let n: i64 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name = 'half'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(n, 0);
    }

    #[test]
    fn a_newer_file_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let file = old_file(folder.path());
        drop(connect::writer(&file, &[V1, NEXT]).unwrap());
        let before = std::fs::read(&file).unwrap();
        let told = connect::writer(&file, &[V1]).unwrap_err();
        assert!(
            matches!(
                told,
                RegistryError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{told}"
        );
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }
}
