//! The daemon: its end, its twin, its own faults (D).

use super::Case;

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[];
