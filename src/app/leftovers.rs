//! What a daemon that was killed may have left: a note in the data folder says who it was, and its successor ends
//! what still bears its name. Usually that is nothing: a killed daemon's leashes do the same by themselves, but a
//! successor does not wait for them, and they may have been killed too.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::child::tree::{self, Seen, Token};

const FILE: &str = "run.json";
/// From SIGTERM to SIGKILL: these have lost their clients already, and a start should not take long.
const TERM_GRACE: Duration = Duration::from_secs(1);
/// What SIGKILL does not end in this time is told and left.
const KILL_GRACE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

/// Who a daemon is, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Its name in the tokens of its processes.
    daemon: String,
    pid: i32,
    /// When it began, see [`Seen::start`].
    start: u64,
    /// Which start of the machine that was.
    boot: String,
}

/// The note of the running daemon.
#[derive(Debug)]
pub(super) struct Note {
    file: PathBuf,
    run: Run,
}

impl Note {
    /// Ends what the last daemon on this folder has left, and notes who we are. The lock must be held.
    ///
    /// # Errors
    /// A sentence, when the note cannot be written: without it our successor could not do the same.
    /// `None` where `/proc` cannot be read.
    pub(super) async fn take_over(data_dir: &Path) -> Result<Option<Self>, String> {
        let file = data_dir.join(FILE);
        let Some(run) = Run::of_this_process() else {
            return Ok(None);
        };
        match fs::read(&file).map(|text| serde_json::from_slice::<Run>(&text)) {
            Ok(Ok(last)) => last.clear_away(&run).await,
            Ok(Err(error)) => {
                tracing::warn!(%error, file = %file.display(), "not a note of a daemon; put aside")
            }
            Err(_ended_well_or_first) => {}
        }
        write(&file, &run).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(Some(Self { file, run }))
    }

    /// Our name in the tokens of our processes.
    pub(super) fn daemon(&self) -> &str {
        &self.run.daemon
    }

    /// There is nothing to note when nothing is left.
    pub(super) fn tear_up(self) {
        let left = self.run.left();
        if !left.is_empty() {
            let pids: Vec<i32> = left.iter().map(|seen| seen.pid).collect();
            tracing::error!(?pids, "these could not be ended; the next start tries again");
            return;
        }
        if let Err(error) = fs::remove_file(&self.file) {
            tracing::warn!(%error, file = %self.file.display(), "cannot be removed; nothing is lost");
        }
    }
}

impl Run {
    fn of_this_process() -> Option<Self> {
        let pid = i32::try_from(std::process::id()).ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self {
            daemon: Uuid::new_v4().simple().to_string(),
            pid,
            start: tree::one(pid)?.start,
            boot: boot.trim().to_owned(),
        })
    }

    /// Whether the daemon of this note lives, seen from a process of now.
    fn lives(&self, now: &Self, there: Option<Seen>) -> bool {
        self.boot == now.boot && there.is_some_and(|seen| seen.start == self.start && !seen.is_dead)
    }

    async fn clear_away(&self, now: &Self) {
        if self.boot != now.boot {
            return;
        }
        if self.lives(now, tree::one(self.pid)) {
            // Whoever removed the lock file while it ran has two daemons now; its servers are not ours to end.
            tracing::warn!(
                pid = self.pid,
                "the last daemon on this folder still runs; its servers are left alone"
            );
            return;
        }
        let left = self.left();
        if left.is_empty() {
            return;
        }
        tracing::warn!(
            n = left.len(),
            pid = self.pid,
            "ending processes that a killed daemon has left"
        );
        tree::terminate(&left);
        let asked = Instant::now();
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            let waited = asked.elapsed();
            if waited >= TERM_GRACE + KILL_GRACE {
                let pids: Vec<i32> = left.iter().map(|seen| seen.pid).collect();
                tracing::error!(
                    ?pids,
                    "processes of a killed daemon cannot be ended; end them by hand"
                );
                return;
            }
            if waited >= TERM_GRACE {
                tree::kill(&left);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Living processes of that daemon: those that bear its name and those below them. Not its leashes: they end
    /// with their trees.
    fn left(&self) -> Vec<Seen> {
        let all = tree::all();
        let prefix = format!("{}/", self.daemon);
        let (mut leashes, mut children) = (Vec::new(), Vec::new());
        for seen in &all {
            match tree::token_of(seen.pid) {
                Some(Token::Leash(token)) if token.starts_with(&prefix) => leashes.push(seen.pid),
                Some(Token::Child(token)) if token.starts_with(&prefix) => children.push(seen.pid),
                Some(_of_another) => {}
                None => {}
            }
        }
        let mut found = tree::with_descendants(&all, |seen| {
            leashes.contains(&seen.pid) || children.contains(&seen.pid)
        });
        found.retain(|seen| !seen.is_dead && !leashes.contains(&seen.pid));
        found
    }
}

/// Beside, then in its place: a note is whole or not there.
fn write(file: &Path, run: &Run) -> std::io::Result<()> {
    let beside = file.with_extension("json.new");
    let mut open = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    open.write_all(&serde_json::to_vec(run)?)?;
    fs::rename(beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep_of(token: &str) -> std::process::Child {
        let mut sleep = std::process::Command::new("sleep");
        sleep.arg("1000").env(tree::CHILD, token).spawn().unwrap()
    }

    fn killed() -> Run {
        // A number and a start that no process of now has.
        Run {
            pid: i32::MAX,
            ..Run::of_this_process().unwrap()
        }
    }

    #[tokio::test]
    async fn what_bears_the_name_of_a_dead_daemon_is_ended_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let dead = killed();
        let mut ours = sleep_of(&format!("{}/a/1/0", dead.daemon));
        let mut other = sleep_of(&format!("{}x/a/1/0", dead.daemon));
        write(&folder.path().join(FILE), &dead).unwrap();
        let note = Note::take_over(folder.path()).await.unwrap().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&ours.wait().unwrap());
        assert_eq!(signal, Some(15));
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        assert_ne!(note.daemon(), dead.daemon);
        note.tear_up();
        assert!(!folder.path().join(FILE).exists());
    }

    #[tokio::test]
    async fn servers_of_a_daemon_that_lives_or_of_another_boot_are_left_alone() {
        let now = Run::of_this_process().unwrap();
        let mut sleep = sleep_of(&format!("{}/a/1/0", now.daemon));
        now.clear_away(&Run::of_this_process().unwrap()).await;
        let other_boot = Run {
            boot: "another".to_owned(),
            pid: i32::MAX,
            ..now.clone()
        };
        other_boot.clear_away(&now).await;
        assert!(sleep.try_wait().unwrap().is_none());
        // The same number, but begun at another time: a successor.
        let successor = Run {
            start: now.start + 1,
            ..now.clone()
        };
        successor.clear_away(&now).await;
        sleep.wait().unwrap();
    }
}
