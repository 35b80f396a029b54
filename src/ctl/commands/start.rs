//! `mcpctl start NAME…`.

use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ids::ServerName;

/// Starts servers, and waits until they are ready or have failed.
pub(super) async fn run(names: &[ServerName], context: &Context, out: &mut Out) -> Result<(), Failure> {
    context.act("start", names, out).await
}
