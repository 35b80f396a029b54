//! Streams and processes: stderr, pipes, relatives of a child (P).

use super::Case;

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[];
