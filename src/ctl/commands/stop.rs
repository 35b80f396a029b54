//! `mcpctl stop NAME…`.

use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ids::ServerName;

/// Stops servers until somebody starts them, and waits until they are gone.
pub(super) async fn run(names: &[ServerName], context: &Context, out: &mut Out) -> Result<(), Failure> {
    context.act("stop", names, out).await
}
