//! Calls: children that die, hang or answer late in the middle of one (C).

use super::Case;

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[];
