//! The keys that seal what clients keep for us between two requests: in the data folder, so that after a restart what
//! was sealed before is known for what it is.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::bridge::seal::Keys;

const NAME: &str = "seal.key";

/// The keys of this data folder; made when there are none, or none that can be read.
///
/// # Errors
/// The system has no random numbers. A folder that cannot be written to is no error: then the keys live as long as the
/// daemon.
pub(super) fn of(data_dir: &Path) -> Result<Keys, String> {
    let path = data_dir.join(NAME);
    match std::fs::read(&path) {
        Ok(bytes) => match Keys::from_bytes(&bytes) {
            Some(keys) => return Ok(keys),
            None => tracing::warn!(file = %path.display(), "these are no keys; new ones take their place"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(file = %path.display(), %error, "the keys cannot be read"),
    }
    let keys = Keys::random().map_err(|error| error.to_string())?;
    if let Err(error) = write(&path, &keys.to_bytes()) {
        tracing::warn!(file = %path.display(), %error, "the keys are not kept: a restart ends what clients are in the middle of");
    }
    Ok(keys)
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("key.new");
    // One that a crash left behind.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _gone => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_stay_and_are_nobody_elses_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let first = of(folder.path()).unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(of(folder.path()).unwrap().to_bytes(), first.to_bytes());
        std::fs::write(&path, "no keys").unwrap();
        let second = of(folder.path()).unwrap();
        assert_ne!(second.to_bytes(), first.to_bytes());
        assert_eq!(of(folder.path()).unwrap().to_bytes(), second.to_bytes());
    }
}
