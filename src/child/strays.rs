//! Dead processes that have become the daemon's children without being made by it: a subreaper gets those whose
//! leash was killed, and the first process of a container gets every orphan. They are reaped, and never a child
//! that somebody waits for.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

use tokio::process::Child;

use super::tree;

/// The number of the first process of a machine or container.
const FIRST: i32 = 1;
/// The leashes that are waited for. Locked for as long as it takes to make one, which is milliseconds when the machine
/// is busy: never by whoever serves clients.
static AWAITED: Mutex<Awaiteds> = Mutex::new(Awaiteds {
    pids: BTreeMap::new(),
    n_made: 0,
});
/// Those of them that nobody waits for any more, by their keys, until the next look. Locked for a moment only.
static OVER: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Process numbers by a key that is never used twice, as the numbers are.
#[derive(Debug)]
struct Awaiteds {
    pids: BTreeMap<u64, i32>,
    n_made: u64,
}

/// A child that is waited for, as long as this lives.
#[derive(Debug)]
pub(super) struct Awaited {
    key: u64,
    pid: i32,
}

impl Awaited {
    /// Makes a child that is never taken for a stray: nobody can look between its beginning and its entry. Blocks.
    pub(super) fn make(spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<(Child, Self)> {
        let mut all = awaited();
        let child = spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        all.n_made += 1;
        let key = all.n_made;
        all.pids.insert(key, pid);
        Ok((child, Self { key, pid }))
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }
}

/// Which of these came to us from a leash that was killed and began at `start`: they live, are our children, and
/// nobody waits for them. What had been our child before, it cannot be.
///
/// Look first, then ask: a child made meanwhile is not among `seen`.
pub(super) fn orphans(seen: &[tree::Seen], start: u64) -> Vec<tree::Seen> {
    let ourselves = rustix::process::getpid().as_raw_nonzero().get();
    if ourselves == FIRST {
        // The first process gets everybody's orphans.
        return Vec::new();
    }
    let awaited = awaited();
    let is_orphan =
        |seen: &&tree::Seen| seen.parent == ourselves && seen.start >= start && !awaited.has(seen.pid);
    seen.iter().filter(is_orphan).copied().collect()
}

impl Drop for Awaited {
    fn drop(&mut self) {
        over().push(self.key);
    }
}

impl Awaiteds {
    fn has(&self, pid: i32) -> bool {
        self.pids.values().any(|&awaited| awaited == pid)
    }
}

fn awaited() -> MutexGuard<'static, Awaiteds> {
    let mut all = AWAITED.lock().unwrap_or_else(PoisonError::into_inner);
    for key in over().drain(..) {
        all.pids.remove(&key);
    }
    all
}

fn over() -> MutexGuard<'static, Vec<u64>> {
    OVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes in the orphans of the processes below: from now on they come to us and not to the first process.
pub fn adopt() {
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "what leaves a killed leash will be found by its token only");
    }
}

/// Looks for strays now and then.
#[derive(Debug, Default)]
pub struct Strays {
    /// The dead children that were seen when we looked last.
    last: Vec<tree::Seen>,
}

impl Strays {
    /// Reaps what was there, dead, at the last look already: the few children that are no leashes (a login shell
    /// that is asked for its PATH) are reaped sooner by those who made them.
    ///
    /// One system call when there is nothing to do.
    pub fn look(&mut self) {
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::All, peek), Ok(Some(_dead))) {
            self.last.clear();
            return;
        }
        // The call takes nobody and does not say who; that is read where everybody is.
        let ourselves = rustix::process::getpid().as_raw_nonzero().get();
        let mut dead = tree::all();
        dead.retain(|seen| seen.is_dead && seen.parent == ourselves);
        for stray in self.strays_among(&dead, &awaited()) {
            if let Some(pid) = Pid::from_raw(stray.pid) {
                waitpid(Some(pid), WaitOptions::NOHANG).ok();
                tracing::debug!(pid = stray.pid, "reaped a stray process");
            }
        }
        self.last = dead;
    }

    fn strays_among(&self, dead: &[tree::Seen], awaited: &Awaiteds) -> Vec<tree::Seen> {
        let is_stray = |seen: &&tree::Seen| self.last.contains(seen) && !awaited.has(seen.pid);
        dead.iter().filter(is_stray).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_dead_before_and_nobody_waits_for_is_a_stray() {
        let dead = |pid, start| tree::Seen {
            pid,
            parent: 1,
            session: 1,
            start,
            is_dead: true,
        };
        let strays = Strays {
            last: vec![dead(5, 1), dead(6, 1), dead(7, 1)],
        };
        let now = [dead(4, 1), dead(5, 1), dead(6, 2), dead(7, 1)];
        let awaited = Awaiteds {
            pids: BTreeMap::from([(1, 7)]),
            n_made: 1,
        };
        assert_eq!(strays.strays_among(&now, &awaited), [dead(5, 1)]);
    }
}
