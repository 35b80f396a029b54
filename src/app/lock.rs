//! One daemon per data folder: a lock that ends with its process, however that ends.
//!
//! It is on the folder itself, so that no file in it can be deleted to get around it. `daemon.pid` only tells who
//! holds it, and is written again when it is gone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio_util::sync::CancellationToken;

use crate::place::FileId;

/// How often is looked whether the note of our process id is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Held while the daemon lives.
pub(super) struct Lock {
    note: Note,
    _held: Flock<File>,
}

/// Where it stands who holds the lock.
#[derive(Debug, Clone)]
pub(super) struct Note {
    folder: PathBuf,
    /// The folder that is locked; another one under its name is not ours to write to.
    home: FileId,
}

/// Takes the lock of a data folder, and notes our process id in it.
pub(super) fn take(data_dir: &Path) -> Result<Lock, String> {
    let shown = data_dir.display();
    let cannot = |error: std::io::Error| format!("{shown}: {error}; MCP_DATA_DIR chooses another folder");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(cannot)?;
    let open = File::open(data_dir).map_err(cannot)?;
    let held =
        Flock::lock(open, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| refusal(data_dir, errno))?;
    let note = Note {
        folder: data_dir.to_owned(),
        home: FileId::of(data_dir).map_err(cannot)?,
    };
    note.write().map_err(|error| {
        format!(
            "{}: {error}; MCP_DATA_DIR chooses another folder",
            note.file().display()
        )
    })?;
    Ok(Lock { note, _held: held })
}

fn refusal(data_dir: &Path, errno: Errno) -> String {
    let shown = data_dir.display();
    if errno != Errno::EWOULDBLOCK {
        return format!("{shown} cannot be locked: {errno}; MCP_DATA_DIR chooses another folder");
    }
    let pid = std::fs::read_to_string(data_dir.join("daemon.pid")).unwrap_or_default();
    let who = match pid.trim() {
        "" => String::new(),
        pid => format!(" (process {pid})"),
    };
    format!(
        "another mcp-wrapper{who} runs on {shown}; stop it first (`mcpctl shutdown` in its project folder), or choose another folder with MCP_DATA_DIR"
    )
}

impl Lock {
    /// Where it stands who holds it.
    pub(super) fn note(&self) -> Note {
        self.note.clone()
    }
}

impl Note {
    /// Writes the note again whenever it is gone, until told to stop.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut is_home = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let was_home = std::mem::replace(&mut is_home, self.home.is_at(&self.folder));
            if was_home && !is_home {
                tracing::error!(
                    folder = %self.folder.display(),
                    "the data folder was taken away: nobody finds this daemon there any more, and nothing is kept; \
                     put it back, or start mcp-wrapper again"
                );
            }
            if is_home && !self.file().exists() && self.write().is_ok() {
                tracing::warn!("daemon.pid was taken away; it was written again");
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("daemon.pid")
    }

    fn write(&self) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.file())?;
        writeln!(file, "{}", std::process::id())
    }
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

    #[tokio::test(start_paused = true)]
    async fn without_its_note_the_lock_still_holds_and_the_note_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path()).unwrap();
        std::fs::remove_file(first.note.file()).unwrap();
        let told = take(folder.path()).err().unwrap();
        assert!(told.contains("another mcp-wrapper runs on"), "{told}");

        let stop = CancellationToken::new();
        let looking = async {
            while !first.note.file().exists() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            stop.cancel();
        };
        let both = async { tokio::join!(first.note().keep(stop.clone()), looking) };
        tokio::time::timeout(LOOK_EVERY * 10, both).await.unwrap();
        let told = take(folder.path()).err().unwrap();
        assert!(told.contains("(process "), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_folder_under_the_name_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let (folder, elsewhere) = (scratch.path().join("data"), scratch.path().join("moved"));
        let first = take(&folder).unwrap();
        std::fs::rename(&folder, elsewhere).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let keeping = first.note().keep(CancellationToken::new());
        tokio::time::timeout(LOOK_EVERY * 5, keeping).await.unwrap_err();
        assert!(!first.note.file().exists());
    }
}
