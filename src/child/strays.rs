//! Dead processes that have become the daemon's children without being made by it: a subreaper gets those whose
//! leash was killed, and the first process of a container gets every orphan. They are reaped, and never a child
//! that somebody waits for.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

use tokio::process::Child;

use super::tree;

/// The number of the first process of a machine or container.
const FIRST: i32 = 1;
/// The leashes that are waited for.
static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child that is waited for, as long as this lives.
#[derive(Debug)]
pub(super) struct Awaited(i32);

impl Awaited {
    /// Makes a child that is never taken for a stray: nobody can look between its beginning and its entry.
    pub(super) fn make(spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<(Child, Self)> {
        let mut all = awaited();
        let child = spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        all.insert(pid);
        Ok((child, Self(pid)))
    }

    pub(super) fn pid(&self) -> i32 {
        self.0
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
        |seen: &&tree::Seen| seen.parent == ourselves && seen.start >= start && !awaited.contains(&seen.pid);
    seen.iter().filter(is_orphan).copied().collect()
}

impl Drop for Awaited {
    fn drop(&mut self) {
        awaited().remove(&self.0);
    }
}

fn awaited() -> std::sync::MutexGuard<'static, BTreeSet<i32>> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn strays_among(&self, dead: &[tree::Seen], awaited: &BTreeSet<i32>) -> Vec<tree::Seen> {
        let is_stray = |seen: &&tree::Seen| self.last.contains(seen) && !awaited.contains(&seen.pid);
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
        assert_eq!(strays.strays_among(&now, &BTreeSet::from([7])), [dead(5, 1)]);
    }
}
