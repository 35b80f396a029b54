//! How much a server may use, and what is done when it uses more: a pure judgement, and the task that asks for it.
//!
//! Open files, core dumps and the share of the processor are limits of the kernel's own, set by the leash before the
//! server starts. Memory and processes are measured: the kernel counts processes per account and memory per
//! process, and what a server may use goes for its whole tree.

use std::sync::Arc;
use std::time::Duration;

use super::usage::{Census, Footprint, Tree, Usage};
use crate::config::spec::Policy;
use crate::event::{Cause, What};

/// How often a tree is measured.
pub const MEASURED_EVERY: Duration = Duration::from_secs(2);
/// One and a half times a limit: whoever is there is not waited for.
const GROSS_TENTHS: u64 = 15;
/// So many tenths of the open files, and it is told.
const FEW_FILES_TENTHS: u64 = 9;

/// How much a server may use. See the fields of [`Policy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    memory_max: Option<u64>,
    processes_max: u32,
    files_max: u64,
}

/// What follows from what a server uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has to go. `grossly`: at once, calls in flight or not.
    Over { cause: Cause, grossly: bool },
    /// It is well to know.
    Told(What),
}

impl From<&Policy> for Limits {
    fn from(policy: &Policy) -> Self {
        Self {
            memory_max: policy.memory_max,
            processes_max: policy.processes_max,
            files_max: policy.files_max.min(files_allowed()),
        }
    }
}

/// How many files the daemon itself may let a server open.
fn files_allowed() -> u64 {
    #[cfg(target_os = "linux")]
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    #[cfg(not(target_os = "linux"))]
    let most = None;
    most.unwrap_or(u64::MAX)
}

impl Limits {
    /// What is over its limit, memory first.
    pub(super) fn judge(&self, usage: &Usage) -> Option<Verdict> {
        let is_gross = |used: u64, limit: u64| used.saturating_mul(10) >= limit.saturating_mul(GROSS_TENTHS);
        if let Some(limit) = self.memory_max.filter(|limit| usage.memory > *limit) {
            let cause = Cause::Memory {
                used: usage.memory,
                limit,
                n_processes: usage.n_processes,
            };
            let grossly = is_gross(usage.memory, limit);
            return Some(Verdict::Over { cause, grossly });
        }
        let (n_processes, limit) = (usage.n_processes, self.processes_max);
        if n_processes > limit {
            let cause = Cause::TooManyProcesses { n_processes, limit };
            let grossly = is_gross(n_processes.into(), limit.into());
            return Some(Verdict::Over { cause, grossly });
        }
        let (n_files, limit) = (usage.n_files, self.files_max);
        let are_few_left = n_files.saturating_mul(10) >= limit.saturating_mul(FEW_FILES_TENTHS);
        are_few_left.then_some(Verdict::Told(What::FewFilesLeft { n_files, limit }))
    }
}

/// Measures a tree as long as it is there. Never ends where nothing can be measured.
pub(super) async fn watch(
    tree: Tree,
    limits: Limits,
    census: Arc<Census>,
    footprint: Arc<Footprint>,
    mut say: impl FnMut(Verdict),
) {
    let mut were_few_left = false;
    loop {
        tokio::time::sleep(MEASURED_EVERY).await;
        let Some(usage) = measure(&census, tree, limits.memory_max).await else {
            continue;
        };
        footprint.note(&usage);
        match limits.judge(&usage) {
            Some(Verdict::Told(what)) => {
                // Once, until it is better.
                if !std::mem::replace(&mut were_few_left, true) {
                    say(Verdict::Told(what));
                }
            }
            Some(over @ Verdict::Over { .. }) => say(over),
            None => were_few_left = false,
        }
    }
}

/// What a tree uses now.
pub(super) async fn measure(census: &Arc<Census>, tree: Tree, memory_max: Option<u64>) -> Option<Usage> {
    let census = Arc::clone(census);
    let measured = tokio::task::spawn_blocking(move || census.usage(tree, memory_max));
    measured.await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> Limits {
        Limits {
            memory_max: Some(1000),
            processes_max: 10,
            files_max: 100,
        }
    }

    #[test]
    fn up_to_its_limits_nothing_is_said() {
        let usage = Usage {
            memory: 1000,
            n_processes: 10,
            n_files: 89,
            ..Usage::default()
        };
        assert_eq!(limits().judge(&usage), None);
        let none = Limits {
            memory_max: None,
            ..limits()
        };
        let usage = Usage {
            memory: u64::MAX,
            ..usage
        };
        assert_eq!(none.judge(&usage), None);
    }

    #[test]
    fn what_is_over_goes_and_far_over_at_once() {
        for (memory, gross) in [(1001, false), (1499, false), (1500, true), (u64::MAX, true)] {
            let usage = Usage {
                memory,
                n_processes: 3,
                ..Usage::default()
            };
            let cause = Cause::Memory {
                used: memory,
                limit: 1000,
                n_processes: 3,
            };
            let grossly = gross;
            assert_eq!(limits().judge(&usage), Some(Verdict::Over { cause, grossly }));
        }
        for (n_processes, grossly) in [(11, false), (15, true)] {
            let usage = Usage {
                n_processes,
                ..Usage::default()
            };
            let cause = Cause::TooManyProcesses {
                n_processes,
                limit: 10,
            };
            assert_eq!(limits().judge(&usage), Some(Verdict::Over { cause, grossly }));
        }
    }

    #[test]
    fn nine_tenths_of_the_open_files_are_told() {
        let usage = Usage {
            n_files: 90,
            ..Usage::default()
        };
        let told = What::FewFilesLeft {
            n_files: 90,
            limit: 100,
        };
        assert_eq!(limits().judge(&usage), Some(Verdict::Told(told)));
    }

    proptest! {
        #[test]
        fn a_server_within_its_limits_never_has_to_go(memory in 0_u64..=1000, n_processes in 0_u32..=10, n_files: u64) {
            let usage = Usage { memory, n_processes, n_files, ..Usage::default() };
            let is_to_go = matches!(limits().judge(&usage), Some(Verdict::Over { .. }));
            prop_assert!(!is_to_go);
        }
    }
}
