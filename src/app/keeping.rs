//! How this daemon keeps its processes together, and that nobody else's are left over.

use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::Arc;

#[cfg(target_os = "linux")]
use crate::child::process::Cgroups;
use crate::child::process::Keeping;
#[cfg(target_os = "linux")]
use crate::child::strays::{self, Strays};
use crate::tasks::Tasks;

#[cfg(target_os = "linux")]
use super::leftovers::Note;

/// From the start, before any process is made, to the end, when none is left.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) keeping: Keeping,
    #[cfg(target_os = "linux")]
    note: Option<Note>,
    #[cfg(target_os = "linux")]
    cgroups: Option<Arc<Cgroups>>,
}

impl Kept {
    /// Ends what the last daemon has left. The lock must be held.
    #[cfg(target_os = "linux")]
    pub(super) async fn begin(data_dir: &Path) -> Result<Self, String> {
        strays::adopt();
        let cgroups = Cgroups::take().map(Arc::new);
        if cgroups.is_some() {
            tracing::info!("each server gets a cgroup of its own");
        }
        let note = Note::take_over(data_dir).await?;
        let keeping = match &note {
            Some(note) => Keeping::leashed(note.daemon(), cgroups.clone()),
            None => {
                tracing::warn!("without /proc, processes that leave their group will not be found");
                Keeping::Grouped
            }
        };
        Ok(Self {
            keeping,
            note,
            cgroups,
        })
    }

    /// Here nothing is known of other processes than those of our groups.
    #[cfg(not(target_os = "linux"))]
    pub(super) async fn begin(_data_dir: &Path) -> Result<Self, String> {
        Ok(Self {
            keeping: Keeping::Grouped,
        })
    }

    /// Looks after dead processes that come to us from elsewhere.
    pub(super) fn look_after_strays(&self, tasks: &Tasks) {
        #[cfg(target_os = "linux")]
        if self.note.is_some() {
            let stop = tasks.token();
            tasks.spawn("reap strays", async move {
                let mut strays = Strays::default();
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(STRAYS_EVERY) => strays.look(),
                    }
                }
            });
        }
        #[cfg(not(target_os = "linux"))]
        let _none = tasks;
    }

    /// Nothing should be left.
    pub(super) fn end(self) {
        #[cfg(target_os = "linux")]
        {
            if let Some(note) = self.note {
                note.tear_up();
            }
            if let Some(cgroups) = self.cgroups {
                cgroups.give_back();
            }
        }
    }
}

#[cfg(target_os = "linux")]
const STRAYS_EVERY: std::time::Duration = std::time::Duration::from_secs(5);
