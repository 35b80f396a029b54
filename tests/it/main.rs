//! All integration tests, in one binary.

mod ctl_api;
mod ctl_offline;
mod mcpctl;
