//! Resources: memory, disk, clocks, connections (Q).

use super::Case;

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[Case {
    id: "Q01",
    provoked: "a server, or what it has started, takes more memory than `memory_max`",
    promised: "seen within 2 s; its calls may finish, then it is replaced; `mcpctl why` says \"over its memory limit\"; it counts as a failure",
    test: "limits::q01_a_server_over_its_memory_is_replaced_and_one_that_does_so_again_and_again_has_failed",
}];
