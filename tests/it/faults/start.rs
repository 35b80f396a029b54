//! Start: programs that cannot be started, that end, hang or lie before they are ready (S).

use super::Case;

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[];
