//! Calls that nobody waits for any more, but whose answers say what there is to end. Pure: no IO, no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::sending::Witness;
use crate::ids::WireId;

/// Orphans of one process; the oldest goes first.
const N_MAX: usize = 256;

/// The orphans of one process: until their answers, or its end.
#[derive(Debug, Default)]
pub(super) struct Orphans(VecDeque<(WireId, Arc<dyn Witness>)>);

impl Orphans {
    /// Nobody waits for this call any more.
    pub(super) fn add(&mut self, id: WireId, witness: Arc<dyn Witness>) {
        if self.0.len() >= N_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, witness));
    }

    /// It was answered.
    pub(super) fn take(&mut self, id: WireId) -> Option<Arc<dyn Witness>> {
        let at = self.0.iter().position(|(orphan, _)| *orphan == id)?;
        self.0.remove(at).map(|(_, witness)| witness)
    }
}
