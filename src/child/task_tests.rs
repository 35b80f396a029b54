//! A child's task with real processes: what must not be left over, and what must be told.

use std::collections::BTreeMap;

use tempfile::TempDir;

use tokio::sync::broadcast;

use super::*;
use crate::child::hub::Outlet;
use crate::child::process::Keeping;
use crate::config::spec::Command;
use crate::event::SupervisionEvent;
use crate::tasks::Tasks;

const PATIENCE: Duration = Duration::from_secs(20);

/// What children share, and who listens.
struct Fixture {
    surroundings: Surroundings,
    events: broadcast::Receiver<SupervisionEvent>,
    _hub: mpsc::Receiver<(Instance, FromChild)>,
    _logs: TempDir,
}

fn fixture(n_starts: usize) -> Fixture {
    let logs = tempfile::tempdir().unwrap();
    let (hub, hub_out) = mpsc::channel(64);
    let (events, told) = broadcast::channel(64);
    let surroundings = Surroundings {
        tasks: Tasks::new(),
        hub: Outlet::into_queue(hub),
        events,
        starts: Arc::new(Semaphore::new(n_starts)),
        path: Arc::from("/usr/bin:/bin"),
        log_dir: logs.path().to_owned(),
        keeping: Keeping::Grouped,
        census: Arc::default(),
        verdicts: verdict::Verdicts::default(),
    };
    Fixture {
        surroundings,
        events: told,
        _hub: hub_out,
        _logs: logs,
    }
}

impl Fixture {
    fn start(&self, script: &str) -> Child {
        let spec = ServerSpec {
            aliases: Arc::default(),
            roots: Vec::new(),
            name: ServerName::parse("a").unwrap(),
            enabled: true,
            prefix: None,
            launch: Launch::Command(Command {
                program: "sh".to_owned(),
                args: vec!["-c".to_owned(), script.to_owned()],
                env: BTreeMap::new(),
                cwd: None,
                shown: Vec::new(),
            }),
            policy: Policy {
                era: crate::config::spec::EraPolicy::Legacy,
                ..Policy::default()
            },
            fingerprint: String::new(),
        };
        let listed = CancellationToken::new();
        listed.cancel();
        let birth = Birth {
            listed,
            ..Birth::default()
        };
        start(&spec, &self.surroundings, birth)
    }

    async fn told(&mut self, wanted: impl Fn(&What) -> bool) -> What {
        let told = async {
            loop {
                let what = self.events.recv().await.unwrap().what;
                if wanted(&what) {
                    return what;
                }
            }
        };
        tokio::time::timeout(PATIENCE, told)
            .await
            .expect("it was never told")
    }
}

async fn reach(child: &Child, state: &str) -> ChildStatus {
    let mut status = child.watch();
    let reached = status.wait_for(|status| status.state == state);
    tokio::time::timeout(PATIENCE, reached)
        .await
        .expect("it never came there")
        .expect("its task ended")
        .clone()
}

const ANSWERS: &str = r#"read -r line
echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}'
while read -r line; do :; done"#;

#[tokio::test]
async fn a_child_that_waits_for_its_turn_is_stopped_at_once_and_never_made() {
    let mut all = fixture(0);
    let child = all.start(ANSWERS);
    reach(&child, "spawning").await;
    child.tell(Control::Stop).await;
    reach(&child, "stopped").await;
    // Its turn comes too late; whoever comes next gets it.
    all.surroundings.starts.add_permits(1);
    child.tell(Control::Start).await;
    assert_eq!(reach(&child, "ready").await.generation, Generation(2));
    let What::Spawned { .. } = all.told(|what| matches!(what, What::Spawned { .. })).await else {
        panic!("no process")
    };
    child.tell(Control::Shutdown).await;
    child.ended().await;
    let more = std::iter::from_fn(|| all.events.try_recv().ok());
    assert_eq!(
        more.filter(|event| matches!(event.what, What::Spawned { .. }))
            .count(),
        0
    );
    assert_eq!(all.surroundings.tasks.drain(PATIENCE).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_of_a_process_are_told_with_its_end() {
    for _ in 0..20 {
        let mut all = fixture(1);
        let child = all.start("echo 'no licence' >&2; exit 3");
        let What::Gone { stderr, .. } = all.told(|what| matches!(what, What::Gone { .. })).await else {
            panic!("not gone")
        };
        assert_eq!(stderr, ["no licence"]);
        child.tell(Control::Shutdown).await;
        child.ended().await;
    }
}

#[tokio::test]
async fn a_process_outside_the_group_that_holds_stderr_leaves_no_task_behind() {
    let all = fixture(1);
    let child = all.start(&format!("setsid sleep 5 > /dev/null < /dev/null &\n{ANSWERS}"));
    reach(&child, "ready").await;
    child.tell(Control::Shutdown).await;
    child.ended().await;
    let left = all.surroundings.tasks.drain(Duration::from_secs(2)).await;
    assert_eq!(left, Ok(()));
}

#[tokio::test]
async fn between_two_processes_no_process_is_shown() {
    let all = fixture(1);
    let child = all.start(ANSWERS);
    assert!(reach(&child, "ready").await.pid.is_some());
    // No start is free: the next process has to wait.
    let taken = Arc::clone(&all.surroundings.starts)
        .acquire_owned()
        .await
        .unwrap();
    child.tell(Control::Restart).await;
    let status = reach(&child, "spawning").await;
    assert!(status.pid.is_none() && status.handshake.is_none(), "{status:?}");
    drop(taken);
    assert!(reach(&child, "ready").await.pid.is_some());
    child.tell(Control::Shutdown).await;
    child.ended().await;
}

#[tokio::test]
async fn a_process_whose_task_has_ended_in_a_panic_does_not_survive() {
    let command = Command {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), "trap '' TERM; sleep 1000 & wait".to_owned()],
        env: BTreeMap::new(),
        cwd: None,
        shown: Vec::new(),
    };
    let tag = Tag {
        server: "a",
        generation: 1,
        eof_grace: Duration::ZERO,
        term_grace: Duration::ZERO,
        #[cfg(target_os = "linux")]
        bounds: super::super::process::Bounds {
            files_max: 1024,
            core_dumps: false,
            nice: 0,
        },
    };
    let spawned = Process::spawn(&command, "/usr/bin:/bin", &Keeping::Grouped, tag);
    let (process, _pipes) = spawned.await.unwrap();
    let (rungs, asked) = mpsc::channel(1);
    let (reports, mut told) = mpsc::channel(1);
    let over = CancellationToken::new();
    let read = [CancellationToken::new(), CancellationToken::new()];
    drop(rungs);
    let kept = keep(process, asked, read, over.clone(), Generation(1), reports);
    tokio::time::timeout(PATIENCE, kept).await.expect("it lives on");
    assert!(over.is_cancelled());
    assert!(matches!(
        told.recv().await,
        Some((_, Report::Sight(Sight::TreeGone)))
    ));
}
