//! Framing: bytes on stdout that are no good lines (F).

use super::Case;

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[];
