//! `mcpctl enable NAME…`: works without a daemon.

use crate::ctl::context::Context;
use crate::ctl::declared;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ids::ServerName;

/// Wants servers again that were disabled.
pub(super) async fn run(names: &[ServerName], context: &Context, out: &mut Out) -> Result<(), Failure> {
    declared::set_enabled(names, true, context, out).await
}
