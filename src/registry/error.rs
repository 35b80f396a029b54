//! What can be wrong with the registry, as sentences that an operator can act on.

use std::path::{Path, PathBuf};

use rusqlite::ffi;
use thiserror::Error;

/// Why the registry did not do what it was asked. Nothing of the request has been written.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// Another process holds the write lock and kept it for all our tries.
    #[error(
        "the registry {} is locked: {doing} was tried several times while another process was writing; \
         try again, and if it stays so, look for another mcp-wrapper or an open database tool",
        file.display()
    )]
    Locked {
        /// The registry file.
        file: PathBuf,
        /// What was asked.
        doing: &'static str,
    },
    /// No room on the disk.
    #[error(
        "the registry {} cannot grow: {doing} was not done because the disk is full; \
         nothing is lost; make room on it and try again",
        file.display()
    )]
    Full {
        /// The registry file.
        file: PathBuf,
        /// What was asked.
        doing: &'static str,
    },
    /// The disk refused to read or write.
    #[error(
        "the registry {} could not be read or written: {doing} was not done ({why}); nothing is lost; \
         look at the disk (is it there, is it healthy, is there room?) and try again",
        file.display()
    )]
    Disk {
        /// The registry file.
        file: PathBuf,
        /// What was asked.
        doing: &'static str,
        /// What SQLite said.
        why: String,
    },
    /// The file or its folder must not be written.
    #[error(
        "the registry {} is read-only: {doing} was not done; make the file and its folder writable \
         for the user that runs mcp-wrapper, or set MCP_DATA_DIR to another folder",
        file.display()
    )]
    ReadOnly {
        /// The registry file.
        file: PathBuf,
        /// What was asked.
        doing: &'static str,
    },
    /// The file cannot be opened or made.
    #[error(
        "the registry {} cannot be opened: {why}; correct the folder or its permissions, \
         or set MCP_DATA_DIR to another folder",
        file.display()
    )]
    CannotOpen {
        /// The registry file.
        file: PathBuf,
        /// What the operating system or SQLite said.
        why: String,
    },
    /// The file was taken away under a running program, or another one has taken its place.
    #[error(
        "the registry {} was taken away, or replaced, while mcp-wrapper runs; what runs goes on as it is; \
         put it back, or start mcp-wrapper again to go on with what is there",
        file.display()
    )]
    Moved {
        /// Where it was.
        file: PathBuf,
    },
    /// The bytes are no healthy database. They are left as they are.
    #[error(
        "the registry {} is damaged ({why}); it was left as it is; move it away and start again for an empty \
         one, then add the servers that are not in servers.toml, or put back a copy ({}.v*.bak)",
        file.display(),
        file.display()
    )]
    Corrupt {
        /// The registry file.
        file: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// A newer mcp-wrapper wrote it. It is left as it is.
    #[error(
        "the registry {} was written by a newer mcp-wrapper (format {found}, this one knows up to {known}); \
         it was left as it is; run the newer version, or set MCP_DATA_DIR to another folder",
        file.display()
    )]
    Newer {
        /// The registry file.
        file: PathBuf,
        /// The version of its tables.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The SQLite that this program was built with can damage a file that two processes write.
    #[error(
        "this mcp-wrapper was built with SQLite {found}, which can lose data; build it with 3.51.3 or later"
    )]
    OldSqlite {
        /// Its version.
        found: &'static str,
    },
    /// A definition cannot be written as JSON.
    #[error("the definition of `{server}` cannot be stored: {source}; this is a bug in mcp-wrapper")]
    Unstorable {
        /// Whose.
        server: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The work was cut off: the runtime is going down, or it panicked.
    #[error("the registry was interrupted: {doing} may not have been done; try again")]
    Interrupted {
        /// What was asked.
        doing: &'static str,
    },
    /// Anything else that SQLite says.
    #[error("the registry {} failed at {doing}: {source}; nothing was written", file.display())]
    Sqlite {
        /// The registry file.
        file: PathBuf,
        /// What was asked.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// With less room than this on the disk, an error of it means that it is full, bytes.
const ROOM_BYTES_MIN: u64 = 1 << 20;

/// The room on the disk of a file, for users without privileges; `None` when the system does not say.
#[allow(
    clippy::useless_conversion,
    reason = "the numbers are shorter on other systems"
)]
fn free_bytes(file: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(file.parent()?).ok()?;
    u64::from(disk.blocks_available()).checked_mul(u64::from(disk.fragment_size()))
}

impl RegistryError {
    /// Gives an error of SQLite its sentence.
    ///
    /// Source: <https://www.sqlite.org/rescode.html>.
    pub(super) fn of(file: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let file = file.to_owned();
        if is_lock_conflict(&source) {
            return Self::Locked { file, doing };
        }
        let why = source.to_string();
        match source.sqlite_error().map(|error| error.extended_code & 0xff) {
            Some(ffi::SQLITE_FULL) => Self::Full { file, doing },
            Some(ffi::SQLITE_IOERR) => {
                let free = free_bytes(&file);
                Self::of_disk(file, doing, why, free)
            }
            Some(ffi::SQLITE_READONLY) => Self::ReadOnly { file, doing },
            Some(ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM | ffi::SQLITE_AUTH) => {
                Self::CannotOpen { file, why }
            }
            Some(ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB) => Self::Corrupt { file, why },
            Some(_) | None => Self::Sqlite { file, doing, source },
        }
    }

    /// SQLite calls it an input or output error, too, when there is no room for its helper files.
    fn of_disk(file: PathBuf, doing: &'static str, why: String, free_bytes: Option<u64>) -> Self {
        match free_bytes {
            Some(free) if free < ROOM_BYTES_MIN => Self::Full { file, doing },
            Some(_) | None => Self::Disk { file, doing, why },
        }
    }

    /// Whether this passes by itself when the other process is done.
    pub(super) fn is_lock_conflict(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }
}

/// BUSY, BUSY_RECOVERY, BUSY_SNAPSHOT, BUSY_TIMEOUT. Not LOCKED: that is a conflict with ourselves, a bug.
fn is_lock_conflict(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code & 0xff == ffi::SQLITE_BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: i32) -> RegistryError {
        let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        RegistryError::of(Path::new("/d/registry.db"), "adding a server", source)
    }

    #[test]
    fn only_lock_conflicts_pass_by_themselves() {
        for code in [
            ffi::SQLITE_BUSY,
            ffi::SQLITE_BUSY_RECOVERY,
            ffi::SQLITE_BUSY_SNAPSHOT,
        ] {
            assert!(told(code).is_lock_conflict(), "{code}");
        }
        for code in [
            ffi::SQLITE_LOCKED,
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_CONSTRAINT,
        ] {
            assert!(!told(code).is_lock_conflict(), "{code}");
        }
    }

    #[test]
    fn an_error_of_a_disk_without_room_says_that_it_is_full() {
        let of = |free| {
            RegistryError::of_disk(
                "/d/registry.db".into(),
                "opening it",
                "disk I/O error".to_owned(),
                free,
            )
        };
        assert!(matches!(of(Some(ROOM_BYTES_MIN - 1)), RegistryError::Full { .. }));
        assert!(matches!(of(Some(ROOM_BYTES_MIN)), RegistryError::Disk { .. }));
        assert!(matches!(of(None), RegistryError::Disk { .. }));
        assert!(free_bytes(&std::env::temp_dir().join("x")).is_some());
    }

    #[test]
    fn a_sentence_names_the_file_what_was_asked_and_what_to_do() {
        for (code, part) in [
            (ffi::SQLITE_BUSY, "try again"),
            (ffi::SQLITE_FULL, "make room"),
            (ffi::SQLITE_READONLY_DIRECTORY, "writable"),
            (ffi::SQLITE_CANTOPEN, "MCP_DATA_DIR"),
            (ffi::SQLITE_CORRUPT, "left as it is"),
            (ffi::SQLITE_IOERR_FSYNC, "adding a server"),
            (ffi::SQLITE_IOERR_FSYNC, "look at the disk"),
        ] {
            let sentence = told(code).to_string();
            assert!(
                sentence.contains("/d/registry.db") && sentence.contains(part),
                "{sentence}"
            );
        }
    }
}
