//! Whether a path still leads to the file that was there: what was taken away and made anew is another file.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Which file a path leads to. True for as long as somebody holds the file open: then its number is not given away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    /// The file, folder or socket that a path leads to now.
    ///
    /// # Errors
    /// What the system says; `NotFound` when it leads nowhere.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self {
            device: found.dev(),
            number: found.ino(),
        })
    }

    /// Whether a path leads to this file.
    pub fn is_at(self, path: &Path) -> bool {
        Self::of(path).is_ok_and(|found| found == self)
    }
}

/// Whether somebody holds a folder for itself alone, as a daemon holds its data folder.
pub fn is_held(folder: &Path) -> bool {
    let Ok(open) = File::open(folder) else {
        return false;
    };
    // Shared, and let go of at once: it only looks.
    let looked = Flock::lock(open, FlockArg::LockSharedNonblock);
    looked.is_err_and(|(_, errno)| errno == Errno::EWOULDBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_made_anew_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("a"), folder.path().join("b"));
        let _held = File::create(&here).unwrap();
        let id = FileId::of(&here).unwrap();
        std::fs::rename(&here, &there).unwrap();
        assert!(!id.is_at(&here) && id.is_at(&there));
        std::fs::write(&here, "").unwrap();
        assert!(!id.is_at(&here));
    }
}
