//! One daemon per data folder: a lock that ends with its process, however that ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

/// Held while the daemon lives.
pub(super) struct Lock {
    _held: Flock<File>,
}

/// Takes the lock of a data folder, and writes our process id into it.
pub(super) fn take(data_dir: &Path) -> Result<Lock, String> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|error| {
            format!(
                "{}: {error}; MCP_DATA_DIR chooses another folder",
                data_dir.display()
            )
        })?;
    let file = data_dir.join("daemon.pid");
    let shown = file.display();
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&file);
    let open = open.map_err(|error| format!("{shown}: {error}; MCP_DATA_DIR chooses another folder"))?;
    let mut held = Flock::lock(open, FlockArg::LockExclusiveNonblock).map_err(|(mut other, _)| {
        let mut pid = String::new();
        drop(other.read_to_string(&mut pid));
        format!(
            "another mcp-wrapper (process {}) runs on {}; stop it first, or choose another folder with MCP_DATA_DIR",
            pid.trim(),
            data_dir.display()
        )
    })?;
    let write = |held: &mut File| {
        held.set_len(0)?;
        held.rewind()?;
        writeln!(held, "{}", std::process::id())
    };
    write(&mut held).map_err(|error| format!("{shown}: {error}"))?;
    Ok(Lock { _held: held })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path()).unwrap();
        let told = take(folder.path()).err().unwrap();
        assert!(
            told.contains(&format!("(process {})", std::process::id())),
            "{told}"
        );
        drop(first);
        assert!(take(folder.path()).is_ok());
    }
}
