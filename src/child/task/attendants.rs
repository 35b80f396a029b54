//! The tasks around one process: who keeps it, measures it, reads it, writes to it. None of them decides anything.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Runner;
use crate::child::around::{Report, report, report_unless_over};
use crate::child::limits::{self, Limits, Verdict};
use crate::child::link::Link;
use crate::child::outgoing::OutLine;
use crate::child::reader::{Ended, Reader};
use crate::child::state::Sight;
use crate::child::stderr;
use crate::child::usage::Tree;
use crate::child::writer;
use crate::event::{Cause, What};
use crate::ids::Generation;
use crate::tasks::unless_panicked;

/// A process whose keeper broke is caught by the net below within this.
const NET_PATIENCE: Duration = Duration::from_secs(10);
const NET_POLL: Duration = Duration::from_millis(50);

impl Runner {
    pub(super) fn spawn_keeper(&self, tree: Tree, keeping: impl Future<Output = ()> + Send + 'static) {
        let kept = kept_or_caught(keeping, tree, self.machine.generation(), self.reports_in.clone());
        self.surroundings
            .tasks
            .spawn("child process", kept.in_current_span());
    }

    pub(super) fn spawn_log(
        &self,
        stderr: tokio::process::ChildStderr,
        over: CancellationToken,
        words_read: CancellationToken,
    ) {
        let log = self.log();
        let (reports, generation) = (self.reports_in.clone(), self.machine.generation());
        let on_flood = move || {
            let bytes_per_second = u64::try_from(stderr::BYTES_PER_SECOND_MAX).unwrap_or(u64::MAX);
            // With a full queue it is not missed: the log says it too.
            drop(reports.try_send((generation, Report::Told(What::Flood { bytes_per_second }))));
        };
        self.task("child stderr", async move {
            tokio::select! {
                () = stderr::drain(stderr, log, on_flood) => {}
                // Something outside the tree holds it open.
                () = over.cancelled() => {}
            }
            words_read.cancel();
        });
    }

    pub(super) fn spawn_limits(&self, tree: Tree, over: CancellationToken) {
        let (reports, generation) = (self.reports_in.clone(), self.machine.generation());
        let say = move |verdict| {
            let told = match verdict {
                Verdict::Over { cause, grossly } => Report::Sight(Sight::OverLimit { cause, grossly }),
                Verdict::Told(what) => Report::Told(what),
            };
            // What is over its limit is so at the next look too.
            drop(reports.try_send((generation, told)));
        };
        let (census, footprint) = (Arc::clone(&self.surroundings.census), Arc::clone(&self.footprint));
        let watch = limits::watch(tree, Limits::from(&self.policy), census, footprint, say);
        self.task("child limits", async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = watch => {}
            }
        });
    }

    pub(super) fn spawn_reader(
        &self,
        link: Arc<Link>,
        stdout: tokio::process::ChildStdout,
        over: CancellationToken,
        read_to_end: CancellationToken,
    ) {
        let (reports, generation) = (self.reports_in.clone(), link.generation);
        let reader = Reader {
            link,
            hub: self.hub.clone(),
            noise: Arc::clone(&self.noise),
            message_bytes_max: self.policy.message_bytes_max,
            discard_bytes_max: self.policy.discard_bytes_max,
        };
        self.task("child stdout", async move {
            let noise = reports.clone();
            let on_noise = move |line| {
                // Told for the handshake's sake only; with a full queue it is not missed.
                drop(noise.try_send((generation, Report::Sight(Sight::Noise(line)))));
            };
            let ended = reader.run(stdout, over.clone(), on_noise).await;
            read_to_end.cancel();
            let sight = match ended {
                Ended::Closed => Sight::StdoutClosed,
                Ended::Broken(cause) => Sight::Broken(cause),
                Ended::Cancelled => return,
            };
            report_unless_over(&reports, generation, sight, &over).await;
        });
    }

    pub(super) fn spawn_writer(
        &self,
        link: Arc<Link>,
        queue: mpsc::Receiver<OutLine>,
        stdin: tokio::process::ChildStdin,
        close: CancellationToken,
        over: CancellationToken,
    ) {
        let (reports, generation, stall) =
            (self.reports_in.clone(), link.generation, self.policy.write_stall);
        self.task("child stdin", async move {
            let writing = writer::run(link, queue, stdin, stall, close);
            let ended = tokio::select! {
                ended = writing => ended,
                () = over.cancelled() => None,
            };
            if let Some(cause) = ended {
                report_unless_over(&reports, generation, Sight::Broken(cause), &over).await;
            }
        });
    }
}

/// Keeps a process, and should that break, waits until the net below has caught it: a leash sees its socket close,
/// elsewhere what is dropped is killed.
pub(super) async fn kept_or_caught(
    keeping: impl Future<Output = ()>,
    tree: Tree,
    generation: Generation,
    reports: mpsc::Sender<(Generation, Report)>,
) {
    let Err(what) = unless_panicked(keeping).await else {
        return;
    };
    report(&reports, generation, broken("child process", &what)).await;
    let begun = Instant::now();
    while begun.elapsed() < NET_PATIENCE && tree.is_there() {
        tokio::time::sleep(NET_POLL).await;
    }
    report(&reports, generation, Report::Sight(Sight::TreeGone)).await;
}

pub(super) fn broken(task: &'static str, what: &str) -> Report {
    tracing::error!(task, what, "a task panicked; this is a bug in mcp-wrapper");
    let what = format!("{task}: {what}");
    Report::Sight(Sight::Broken(Cause::Panicked { what }))
}
