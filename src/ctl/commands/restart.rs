//! `mcpctl restart NAME…`.

use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ids::ServerName;

/// Replaces the processes of servers by fresh ones, and waits until they are ready or have failed.
pub(super) async fn run(names: &[ServerName], context: &Context, out: &mut Out) -> Result<(), Failure> {
    context.act("restart", names, out).await
}
