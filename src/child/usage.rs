//! What a process and all that it has started use: read from `/proc` now and then, never while anybody waits.
//!
//! Where there is no `/proc`, nothing is known, and nothing is decided from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a tree of processes used when it was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is its own: not that of files, which the kernel takes back; with what was swapped out. Bytes.
    pub memory: u64,
    /// How many processes, without zombies.
    pub n_processes: u32,
    /// Open files of the one process that has most.
    pub n_files: u64,
    /// Processor time of all its processes since each began.
    pub cpu: Duration,
    /// The server itself is stopped by a signal.
    pub is_stopped: bool,
    /// One of its processes has the processor, or waits for its turn.
    pub is_running: bool,
}

/// The processes that belong to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    /// The server itself.
    pub leader: i32,
    /// What holds the tree together, and is none of it.
    pub leash: Option<i32>,
}

impl Tree {
    /// One of its processes that is still there, and its state as `ps` shows it: the server itself, if it is that.
    /// Where nothing can be seen, the server itself. Reads `/proc`.
    pub(super) fn survivor(self) -> (u32, Option<char>) {
        let found = self.look_for_a_survivor();
        found.unwrap_or((u32::try_from(self.leader).unwrap_or_default(), None))
    }

    /// Whether something of it is there, as far as can be seen. Reads `/proc`.
    pub(super) fn is_there(self) -> bool {
        self.look_for_a_survivor().is_some()
    }

    #[cfg(not(target_os = "linux"))]
    fn look_for_a_survivor(self) -> Option<(u32, Option<char>)> {
        None
    }

    #[cfg(target_os = "linux")]
    fn look_for_a_survivor(self) -> Option<(u32, Option<char>)> {
        use super::tree;
        let all = tree::all();
        let members = match self.leash {
            Some(leash) => tree::below(&all, leash),
            None => tree::with_descendants(&all, |seen| seen.pid == self.leader),
        };
        // Among the dead are those that somebody's debugger keeps.
        let order = |seen: &&tree::Seen| (seen.is_dead, seen.pid != self.leader);
        let survivor = members.iter().min_by_key(order)?;
        let pid = u32::try_from(survivor.pid).ok()?;
        Some((pid, tree::state_of(survivor.pid)))
    }
}

/// What was seen last, for status.
#[derive(Debug, Default)]
pub struct Footprint {
    memory: AtomicU64,
    n_processes: AtomicU64,
}

impl Footprint {
    /// Bytes and processes; `None` when nothing was seen yet.
    pub fn last(&self) -> Option<(u64, u64)> {
        let n_processes = self.n_processes.load(Ordering::Relaxed);
        (n_processes > 0).then(|| (self.memory.load(Ordering::Relaxed), n_processes))
    }

    pub(super) fn note(&self, usage: &Usage) {
        self.memory.store(usage.memory, Ordering::Relaxed);
        self.n_processes
            .store(u64::from(usage.n_processes), Ordering::Relaxed);
    }

    /// The process is gone.
    pub(super) fn clear(&self) {
        self.note(&Usage::default());
    }
}

#[cfg(target_os = "linux")]
pub use linux::Census;

/// Nothing is known of processes here.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Default)]
pub struct Census;

#[cfg(not(target_os = "linux"))]
impl Census {
    /// Nothing.
    pub fn usage(&self, _tree: Tree, _memory_max: Option<u64>) -> Option<Usage> {
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Tree, Usage};
    use crate::child::tree::{self, Seen};

    /// One look at all processes serves everybody who wants one within this time.
    const FRESH: Duration = Duration::from_secs(1);
    /// Of one tick of processor time, in `/proc` always this (man 5 `proc_pid_stat`, `USER_HZ`).
    const TICK: Duration = Duration::from_millis(10);

    type Look = (Instant, Arc<[Seen]>);

    /// Who is whose child, looked at once for all servers.
    #[derive(Debug, Default)]
    pub struct Census(Mutex<Option<Look>>);

    impl Census {
        /// What a tree uses now; `None` when nothing of it lives. Reads files: not for a task.
        ///
        /// The memory is summed as the kernel counts it for each process. That counts twice what processes share,
        /// so beyond `memory_max` it is counted again, exactly, which costs the kernel more.
        pub fn usage(&self, tree: Tree, memory_max: Option<u64>) -> Option<Usage> {
            let all = self.look();
            let members = match tree.leash {
                Some(leash) => tree::below(&all, leash),
                None => tree::with_descendants(&all, |seen| seen.pid == tree.leader),
            };
            let living: Vec<i32> = members
                .iter()
                .filter(|seen| !seen.is_dead)
                .map(|seen| seen.pid)
                .collect();
            let mut usage = Usage::default();
            for pid in &living {
                add(&mut usage, *pid, tree.leader);
            }
            if memory_max.is_some_and(|max| usage.memory > max) {
                usage.memory = living.iter().map(|pid| memory_exactly(*pid)).sum();
            }
            (usage.n_processes > 0).then_some(usage)
        }

        fn look(&self) -> Arc<[Seen]> {
            // Whoever comes meanwhile waits for the same look instead of taking another.
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            if let Some((at, all)) = last.as_ref()
                && now.saturating_duration_since(*at) < FRESH
            {
                return Arc::clone(all);
            }
            let all: Arc<[Seen]> = tree::all().into();
            *last = Some((now, Arc::clone(&all)));
            all
        }
    }

    /// Adds one process, if it is still there.
    fn add(usage: &mut Usage, pid: i32, leader: i32) {
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else {
            return;
        };
        let Some(stat) = Stat::parse(&String::from_utf8_lossy(&stat)) else {
            return;
        };
        usage.n_processes += 1;
        usage.cpu += stat.cpu;
        usage.is_running |= stat.state == 'R';
        // Not `t`: whoever is at it with a debugger wants to find it again.
        usage.is_stopped |= pid == leader && stat.state == 'T';
        usage.memory += memory(pid);
        usage.n_files = usage.n_files.max(n_files(pid));
    }

    struct Stat {
        state: char,
        /// Its own, and that of its children whose end it has seen.
        cpu: Duration,
    }

    impl Stat {
        /// Reads one line of `/proc/PID/stat` (man 5 `proc_pid_stat`): the state is the first field after the name
        /// in parentheses, the four times are the 12th to 15th.
        fn parse(stat: &str) -> Option<Self> {
            let (_, after_name) = stat.rsplit_once(") ")?;
            let mut fields = after_name.split(' ');
            let state = fields.next()?.chars().next()?;
            let times = fields.skip(10).take(4);
            let ticks: u32 = times.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
            Some(Self {
                state,
                cpu: TICK * ticks,
            })
        }
    }

    /// What the kernel has counted, bytes: cheap, some pages off.
    fn memory(pid: i32) -> u64 {
        sum_of(
            &format!("/proc/{pid}/status"),
            &["RssAnon:", "RssShmem:", "VmSwap:"],
        )
    }

    /// What is its own, and its share of what it shares, bytes. Where we may not look: what the kernel has counted.
    fn memory_exactly(pid: i32) -> u64 {
        let fields = ["Pss_Anon:", "Pss_Shmem:", "SwapPss:"];
        match sum_of(&format!("/proc/{pid}/smaps_rollup"), &fields) {
            0 => memory(pid),
            bytes => bytes,
        }
    }

    /// The sum of these fields of a file whose lines are like `RssAnon:  12 kB`.
    fn sum_of(file: &str, fields: &[&str]) -> u64 {
        // Empty when it has ended meanwhile, or belongs to somebody else now.
        let text = fs::read_to_string(file).unwrap_or_default();
        let kibibytes = text.lines().filter_map(|line| {
            let rest = fields.iter().find_map(|field| line.strip_prefix(field))?;
            rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        });
        kibibytes.sum::<u64>() << 10
    }

    /// How many files are open. Newer kernels tell it as the size of the folder.
    fn n_files(pid: i32) -> u64 {
        let folder = format!("/proc/{pid}/fd");
        match fs::metadata(&folder).map(|meta| meta.len()) {
            Ok(0) => {
                fs::read_dir(&folder).map_or(0, |entries| u64::try_from(entries.count()).unwrap_or(u64::MAX))
            }
            Ok(n) => n,
            Err(_gone_or_not_ours) => 0,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_stat_line_tells_state_and_times() {
            let stat = Stat::parse("7 (a) b) T 3 4 5 0 -1 4194560 1 2 3 4 100 20 3 7 20 0 1 0 8812").unwrap();
            assert_eq!((stat.state, stat.cpu), ('T', Duration::from_millis(1300)));
        }

        #[test]
        fn our_own_use_is_seen_and_grows_with_what_we_take() {
            let ourselves = Tree {
                leader: i32::try_from(std::process::id()).unwrap(),
                leash: None,
            };
            let before = Census::default().usage(ourselves, None).unwrap();
            assert!(before.n_processes >= 1 && before.n_files >= 3, "{before:?}");
            let taken = vec![1_u8; 64 << 20];
            for max in [None, Some(0)] {
                let after = Census::default().usage(ourselves, max).unwrap();
                let grown = after.memory.saturating_sub(before.memory);
                assert!(grown > 32 << 20, "{before:?} {after:?} {max:?}");
            }
            assert_eq!(taken.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 64 << 20);
        }

        #[test]
        fn nothing_is_told_of_who_is_not_there() {
            let nobody = Tree {
                leader: 0,
                leash: Some(i32::MAX),
            };
            assert_eq!(Census::default().usage(nobody, None), None);
        }
    }
}
