//! The tasks around one process: keeping it until nothing of it is left, and the reports that they
//! send to the child's task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handshake::Handshake;
use super::process::Process;
use super::secrets::Filled;
use super::state::Sight;
use super::stop::Stop;
use crate::event::{Rung, What};
use crate::ids::Generation;

/// What a dead process has written is read for so long before its callers are told.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// A pipe that ends is usually the first sign of a process that ends: so long its exit may take to be seen.
const PIPE_BEFORE_EXIT: Duration = Duration::from_secs(1);

/// What the tasks around a process report.
#[derive(Debug)]
pub(super) enum Report {
    Sight(Sight),
    /// There is room among the starts, and what the command needs is there, where it is known.
    MayStart(OwnedSemaphorePermit, Option<Box<Filled>>),
    Agreed(Arc<Handshake>),
    IdleTooLong,
    /// Something for people to know.
    Told(What),
}

/// Keeps one process until nothing of it is left, and says so.
pub(super) async fn keep(
    mut process: Process,
    mut rungs: mpsc::Receiver<Rung>,
    mut stop: Stop,
    read: [CancellationToken; 2],
    over: CancellationToken,
    generation: Generation,
    reports: mpsc::Sender<(Generation, Report)>,
) {
    let mut asked = false;
    loop {
        tokio::select! {
            () = process.ended() => break,
            rung = rungs.recv() => {
                asked = true;
                stop.begin();
                let Some(rung) = rung else {
                    // Nobody supervises it any more.
                    process.ask(Rung::Killed);
                    process.ended().await;
                    break;
                };
                process.ask(rung);
            }
        }
    }
    stop.begin();
    if !asked {
        // Its children have lost their server.
        process.ask(Rung::Killed);
    }
    loop {
        tokio::select! {
            () = process.tree_gone() => break,
            rung = rungs.recv() => {
                let Some(rung) = rung else {
                    process.ask(Rung::Killed);
                    process.tree_gone().await;
                    break;
                };
                process.ask(rung);
            }
        }
    }
    // An answer that was written before the end must be delivered, and its last words told with its end.
    let [stdout, stderr] = &read;
    let all_read = async { tokio::join!(stdout.cancelled(), stderr.cancelled()) };
    if tokio::time::timeout(LAST_WORDS, all_read).await.is_err() {
        tracing::debug!("something outside the tree holds the pipes of a dead process");
    }
    over.cancel();
    let exit = process.reap().await;
    let sight = if asked {
        Sight::TreeGone
    } else {
        Sight::Exited(exit)
    };
    report(&reports, generation, Report::Sight(sight)).await;
}

pub(super) async fn report(
    reports: &mpsc::Sender<(Generation, Report)>,
    generation: Generation,
    told: Report,
) {
    if reports.send((generation, told)).await.is_err() {
        tracing::debug!("a report came after the child's task had ended");
    }
}

/// Reports a broken pipe, unless it turns out that the process itself has ended.
pub(super) async fn report_unless_over(
    reports: &mpsc::Sender<(Generation, Report)>,
    generation: Generation,
    sight: Sight,
    over: &CancellationToken,
) {
    tokio::select! {
        () = over.cancelled() => {}
        () = tokio::time::sleep(PIPE_BEFORE_EXIT) => report(reports, generation, Report::Sight(sight)).await,
    }
}

/// Without a moment: for ever.
pub(super) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
