//! What a child needs to come to life: what all share, and what is its own.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::Child;
use super::handshake::Persona;
use super::hub::Outlet;
use super::inputs::Numbers;
use super::process::Keeping;
use super::usage::Census;
use super::verdict::Verdicts;
use crate::event::SupervisionEvent;
use crate::tasks::Tasks;

/// What all children share.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Who waits for the tasks.
    pub tasks: Tasks,
    /// Where children's own messages go.
    pub hub: Outlet,
    /// Where the story is told.
    pub events: broadcast::Sender<SupervisionEvent>,
    /// Starts at once: a storm of package runners brings a machine to its knees.
    pub starts: Arc<Semaphore>,
    /// The PATH in which programs are looked for.
    pub path: Arc<str>,
    /// Where stderr is kept.
    pub log_dir: PathBuf,
    /// How processes are kept together.
    pub keeping: Keeping,
    /// What servers turned out to be.
    pub verdicts: Verdicts,
    /// Looks at all processes, once for all children.
    pub census: Arc<Census>,
}

/// How a child comes to life.
#[derive(Debug, Default)]
pub struct Birth {
    /// It waits until no process of these is left.
    pub after: Vec<Child>,
    /// The numbers that its processes count on from.
    pub numbers: Numbers,
    /// Whose alone it is.
    pub persona: Option<Persona>,
    /// It is spoken to with a handshake although the server also knows the revision without one.
    pub older: bool,
    /// See [`crate::ids::Instance::spare`].
    pub spare: u32,
    /// It waits until this is set: until it is found where others look for it, as it may be ready within a
    /// millisecond.
    pub listed: CancellationToken,
    /// It is started at once, whatever `autostart` says, to see whether it works.
    pub is_trial: bool,
}
