//! The keys that seal what clients keep for us between two requests: in the data folder, so that after a restart what
//! was sealed before is known for what it is.
//!
//! A new key seals from each day on. The file is as old as the key that seals; earlier keys open what they have sealed
//! for as long as the ring holds them: a week, and a client may keep what it was asked for ten minutes
//! ([`crate::bridge::parks::PARKED_MAX`]). Ids of tasks are sealed too, and live longer.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::bridge::Engine;
use crate::bridge::seal::Keys;

const NAME: &str = "seal.key";
/// So long one key seals.
const SEALS_FOR: Duration = Duration::from_secs(24 * 3600);
/// So often it is looked whether the next one is due.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Lets a new key seal whenever that is due, until the daemon goes down.
pub(super) async fn rotate(engine: Engine, data_dir: PathBuf, stop: CancellationToken) {
    loop {
        let (keys, data_dir) = (engine.parks().keys(), data_dir.clone());
        let next = tokio::task::spawn_blocking(move || next(&data_dir, &keys, SystemTime::now()));
        if let Ok(Some(keys)) = next.await {
            engine.parks().take_keys(keys);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// The ring with a new key, where that is due at `now`; it is kept before it is used. Where it cannot be kept the
/// earlier ones go on: a restart would make what it has sealed worthless.
fn next(data_dir: &Path, keys: &Keys, now: SystemTime) -> Option<Keys> {
    let path = data_dir.join(NAME);
    let made_at = std::fs::metadata(&path).and_then(|file| file.modified()).ok()?;
    if !is_due(made_at, now) {
        return None;
    }
    let next = keys
        .rotated()
        .inspect_err(|error| tracing::warn!(%error, "no new key"))
        .ok()?;
    match write(&path, &next.to_bytes()) {
        Ok(()) => Some(next),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "a new key cannot be kept; the last one goes on");
            None
        }
    }
}

/// Whether a key that was made then has sealed long enough; also where the clock was set back by so much.
fn is_due(made_at: SystemTime, now: SystemTime) -> bool {
    let apart = now
        .duration_since(made_at)
        .unwrap_or_else(|behind| behind.duration());
    apart >= SEALS_FOR
}

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
    fn a_new_key_seals_each_day_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = of(folder.path()).unwrap();
        let path = folder.path().join(NAME);
        let made_at = std::fs::metadata(&path).unwrap().modified().unwrap();
        let after = |seconds| made_at + Duration::from_secs(seconds);
        let early = next(folder.path(), &first, after(24 * 3600 - 1));
        assert!(early.is_none());
        let second = next(folder.path(), &first, after(24 * 3600)).unwrap();
        assert!(second.to_bytes().ends_with(&first.to_bytes()) && second.to_bytes() != first.to_bytes());
        assert_eq!(of(folder.path()).unwrap().to_bytes(), second.to_bytes());
        assert!(
            next(folder.path(), &second, SystemTime::now()).is_none(),
            "it is new"
        );
        // A clock that was set far back must not end it all.
        assert!(is_due(made_at + 2 * SEALS_FOR, made_at) && !is_due(made_at + SEALS_FOR / 2, made_at));
        // Nothing is sealed with what would be lost.
        std::fs::remove_file(&path).unwrap();
        assert!(next(folder.path(), &second, after(48 * 3600)).is_none());
    }

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
