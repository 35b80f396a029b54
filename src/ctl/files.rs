//! Writing files of the person: whole or not at all, where a symlink leads, with the modes that were there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest settings file, bytes: Claude Code keeps its whole history in its own.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// For a file with secrets.
pub(super) const PRIVATE: u32 = 0o600;

/// Reads a text file; `None` when there is none.
///
/// # Errors
/// It is no plain file, too long, no UTF-8, or cannot be read.
pub(super) fn read(file: &Path) -> io::Result<Option<String>> {
    let opened = match fs::metadata(file) {
        Ok(meta) if meta.is_file() => File::open(file)?,
        Ok(_) => return Err(io::Error::other("it is no plain file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(Some(text))
}

/// Writes a file anew: beside where it is, then in its place. `mode`: `None` keeps what was there; a new file is private.
///
/// # Errors
/// What the system says; the file is then as it was.
pub(super) fn write(file: &Path, text: &str, mode: Option<u32>) -> io::Result<()> {
    let target = real_path(file)?;
    let there = fs::metadata(&target)
        .ok()
        .map(|meta| meta.permissions().mode() & 0o7777);
    let mode = mode.or(there).unwrap_or(PRIVATE);
    let folder = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = target
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_new(&beside, text, mode).and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        // What cannot be taken away either does no harm.
        fs::remove_file(&beside).ok();
    }
    written
}

fn write_new(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    // A file that an earlier run has left there is not followed, but replaced.
    if let Err(error) = fs::remove_file(file)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut open = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(file)?;
    open.write_all(text.as_bytes())?;
    open.set_permissions(Permissions::from_mode(mode))?;
    open.sync_all()
}

/// Where a path leads: a symlink stays one, and its target is written, also when that is not there yet.
fn real_path(file: &Path) -> io::Result<PathBuf> {
    match fs::symlink_metadata(file) {
        Ok(meta) if meta.file_type().is_symlink() => fs::canonicalize(file),
        Ok(_) | Err(_) => Ok(file.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn modes_and_symlinks_stay_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, "new", None).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
        assert_eq!(
            (read(&real).unwrap().as_deref(), mode(&real)),
            (Some("new"), 0o640)
        );
        write(&link, "secret", Some(PRIVATE)).unwrap();
        assert_eq!(mode(&real), 0o600);
        let fresh = folder.path().join("sub/fresh");
        write(&fresh, "x", None).unwrap();
        assert_eq!(mode(&fresh), 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert_eq!(read(&folder.path().join("absent")).unwrap(), None);
        assert!(read(folder.path()).is_err());
    }

    #[test]
    fn a_link_to_nowhere_is_told_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nowhere/x"), &link).unwrap();
        assert!(write(&link, "x", None).is_err());
        assert!(fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
    }
}
