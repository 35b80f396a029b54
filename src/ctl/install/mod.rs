//! Our one entry in the settings of a client: `entry` is what stands there, `edit` puts it in and takes things out without
//! touching the rest, `backup` keeps what was there before.

pub(super) mod backup;
pub(super) mod edit;
pub(super) mod entry;

/// The name of our entry.
pub(super) const NAME: &str = "mcp-wrapper";
