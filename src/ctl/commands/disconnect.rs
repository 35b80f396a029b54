//! `mcpctl disconnect ID`.

use std::time::Duration;

use crate::api::SessionStatus;
use crate::ctl::client::Patience;
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ctl::text::escaped;

/// Patience until it has ended: its own processes may have to be told.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends a client's session.
pub(super) async fn run(id: &str, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let path = format!("/api/sessions/{id}/disconnect");
    let ended: SessionStatus = context.client.tell(&path, Patience::Limited(PATIENCE)).await?;
    let client = ended.client.as_deref().unwrap_or("a client without a name");
    let text = format!("{}: disconnected ({}, {})", ended.id, escaped(client), ended.door);
    Ok(out.either(&ended, &text)?)
}
