//! `mcpctl shutdown`: ends the daemon with all its servers, and says so once it is gone.

use std::time::Duration;

use serde::Serialize;

use crate::api::Stopping;
use crate::ctl::client::Patience;
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;

/// Patience for the daemon to say that it goes.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
/// Patience until it is gone: calls in flight finish first, and then every server has its time to end.
const GONE_PATIENCE: Duration = Duration::from_secs(90);
/// How often is looked whether it is gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize)]
struct Ended {
    pid: u32,
    ended: bool,
}

/// Tells the daemon to go down, and waits until it is gone.
pub(super) async fn run(context: &Context, out: &mut Out) -> Result<(), Failure> {
    let told = context
        .client
        .tell::<Stopping>("/api/shutdown", Patience::Limited(ANSWER_PATIENCE))
        .await?;
    let pid = told.pid;
    let gone = async {
        while context.is_held_by(pid) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let ended = tokio::time::timeout(GONE_PATIENCE, gone).await.is_ok();
    if ended {
        out.say(&format!(
            "The daemon has ended, and its servers with it (process {pid})."
        ))?;
    } else {
        out.remark(&format!(
            "mcpctl: the daemon (process {pid}) was told to end and has not yet; its log tells what it waits for"
        ));
    }
    out.json(&Ended { pid, ended })?;
    if ended { Ok(()) } else { Err(Failure::Told) }
}
