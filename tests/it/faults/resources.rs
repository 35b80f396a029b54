//! Resources: memory, disk, clocks, connections (Q).

use super::Case;

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[];
