//! Routing: answers and messages that must reach nobody but their own (R).

use super::Case;

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[];
