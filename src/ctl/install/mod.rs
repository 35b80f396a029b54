//! Our one entry in the settings of a client: `entry` is what stands there, `edit` puts it in and takes things out without
//! touching the rest, `backup` keeps what was there before and what we did, `undo` says what of it is to be taken back,
//! `partial` which entries are ours only in part, `target` the file.

pub(super) mod backup;
pub(super) mod edit;
pub(super) mod entry;
pub(super) mod partial;
pub(super) mod target;
pub(super) mod undo;

/// The name of our entry.
pub(super) const NAME: &str = "mcp-wrapper";
