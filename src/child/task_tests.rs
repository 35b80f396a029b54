//! A child's task with real processes: what must not be left over, and what must be told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use tokio::sync::broadcast;

use super::attendants::kept_or_caught;
use super::*;
use crate::child::hub::{Outlet, Upward};
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

/// Takes what children say, and panics at what is chosen, so many times.
#[derive(Debug)]
struct Bomb {
    chosen: fn(&FromChild) -> bool,
    n_left: AtomicU32,
}

impl Bomb {
    fn outlet(chosen: fn(&FromChild) -> bool, n_times: u32) -> Outlet {
        let n_left = AtomicU32::new(n_times);
        let outlet = Outlet::default();
        outlet.connect(Arc::new(Self { chosen, n_left }));
        outlet
    }
}

impl Upward for Bomb {
    fn take(&self, instance: &Instance, said: FromChild) -> bool {
        let is_due = instance.server.as_str() == "a" && (self.chosen)(&said);
        let counted = |n: u32| n.checked_sub(1);
        let goes_off = is_due
            && self
                .n_left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, counted)
                .is_ok();
        assert!(!goes_off, "the bomb went off");
        true
    }
}

impl Fixture {
    fn start(&self, script: &str) -> Child {
        self.start_named("a", Policy::default(), script)
    }

    fn start_under(&self, policy: Policy, script: &str) -> Child {
        self.start_named("a", policy, script)
    }

    fn start_named(&self, name: &str, policy: Policy, script: &str) -> Child {
        let spec = ServerSpec {
            aliases: Arc::default(),
            roots: Vec::new(),
            name: ServerName::parse(name).unwrap(),
            enabled: true,
            prefix: None,
            launch: Launch::Command(Command {
                program: "sh".to_owned(),
                args: vec!["-c".to_owned(), script.to_owned()],
                env: BTreeMap::new(),
                late: crate::config::spec::Late::default(),
                cwd: None,
                shown: Vec::new(),
                stop: None,
            }),
            policy: Policy {
                era: crate::config::spec::EraPolicy::Legacy,
                ..policy
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
async fn a_child_is_ready_since_it_became_so_and_not_since_its_failures_are_forgotten() {
    let all = fixture(1);
    let policy = Policy {
        stable_after: Duration::from_millis(200),
        ..Policy::default()
    };
    let child = all.start_under(policy, ANSWERS);
    let mut status = child.watch();
    let ready = status.wait_for(|status| status.state == "ready");
    let since = tokio::time::timeout(PATIENCE, ready)
        .await
        .unwrap()
        .unwrap()
        .since;
    // The next status is that of a stable child. On a machine that stood still meanwhile there is no next one.
    tokio::time::timeout(Duration::from_secs(2), status.changed())
        .await
        .ok();
    let stable = child.status();
    assert_eq!((stable.state, stable.since), ("ready", since));
    child.tell(Control::Shutdown).await;
    child.ended().await;
}

#[tokio::test]
async fn a_process_whose_task_has_ended_in_a_panic_does_not_survive() {
    let command = Command {
        program: "sh".to_owned(),
        args: vec!["-c".to_owned(), "trap '' TERM; sleep 1000 & wait".to_owned()],
        env: BTreeMap::new(),
        late: crate::config::spec::Late::default(),
        cwd: None,
        shown: Vec::new(),
        stop: None,
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
        memory_max: None,
        processes_max: 1_000,
    };
    let spawned = Process::spawn(&command, "/usr/bin:/bin", &Keeping::Grouped, tag);
    let (process, _pipes) = spawned.await.unwrap();
    let (rungs, asked) = mpsc::channel(1);
    let (reports, mut told) = mpsc::channel(1);
    let over = CancellationToken::new();
    let read = [CancellationToken::new(), CancellationToken::new()];
    drop(rungs);
    let stop = Stop::new(
        None,
        &ServerName::parse("a").unwrap(),
        Generation(1),
        &fixture(0).surroundings,
        || unreachable!(),
    );
    let kept = keep(process, asked, stop, read, over.clone(), Generation(1), reports);
    tokio::time::timeout(PATIENCE, kept).await.expect("it lives on");
    assert!(over.is_cancelled());
    assert!(matches!(
        told.recv().await,
        Some((_, Report::Sight(Sight::TreeGone)))
    ));
}

/// Whether the leader of a group, or anybody in it, is there and no zombie.
fn lives(pid: u32) -> bool {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::killpg(pid, None).is_ok()
}

fn is_panic(cause: &Cause) -> bool {
    matches!(cause, Cause::Panicked { what } if what.contains("the bomb went off"))
}

/// A child whose supervision panics once at what is chosen: it comes back, and another one does not notice.
async fn comes_back(chosen: fn(&FromChild) -> bool, script: &str) {
    let mut all = fixture(2);
    all.surroundings.hub = Bomb::outlet(chosen, 1);
    let other = all.start_named("b", Policy::default(), ANSWERS);
    let before = reach(&other, "ready").await;
    let child = all.start(script);
    let pid = loop {
        if let What::Spawned { pid } = all.told(|what| matches!(what, What::Spawned { .. })).await
            && Some(pid) != before.pid
        {
            break pid;
        }
    };
    let What::Gone { cause, .. } = all.told(|what| matches!(what, What::Gone { .. })).await else {
        panic!("not gone")
    };
    assert!(is_panic(&cause), "{cause:?}");
    assert!(!lives(pid), "told as gone, and there");
    all.told(|what| matches!(what, What::Backoff { failures: 1, .. }))
        .await;
    let status = reach(&child, "ready").await;
    assert_eq!((status.generation, status.n_failures), (Generation(2), 1));
    let (link, _) = child.greeted(None).await.unwrap();
    assert!(!link.is_closed());
    let after = other.status();
    assert_eq!((after.pid, after.state), (before.pid, "ready"));
    for child in [&child, &other] {
        child.tell(Control::Shutdown).await;
        child.ended().await;
    }
    assert_eq!(all.surroundings.tasks.drain(PATIENCE).await, Ok(()));
}

#[tokio::test]
async fn d04_a_child_whose_own_task_panics_is_started_again() {
    comes_back(|said| matches!(said, FromChild::Ready { .. }), ANSWERS).await;
}

#[tokio::test]
async fn d04_a_child_whose_reader_panics_is_started_again() {
    let speaks = ANSWERS.replacen(
        "while",
        "echo '{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}'\nwhile",
        1,
    );
    comes_back(|said| matches!(said, FromChild::Notification { .. }), &speaks).await;
}

#[tokio::test]
async fn d04_a_task_that_panics_every_time_ends_in_failed_and_obeys() {
    let mut all = fixture(1);
    all.surroundings.hub = Bomb::outlet(|said| matches!(said, FromChild::Ready { .. }), u32::MAX);
    let child = all.start(ANSWERS);
    let status = reach(&child, "failed").await;
    assert_eq!(status.generation.0, u64::from(Policy::default().fail_burst));
    assert!(status.cause.as_ref().is_some_and(is_panic), "{status:?}");
    child.tell(Control::Shutdown).await;
    child.ended().await;
    assert_eq!(all.surroundings.tasks.drain(PATIENCE).await, Ok(()));
}

#[tokio::test]
async fn d04_a_process_whose_keeper_panics_is_over_for_its_child() {
    let (reports_in, mut reports) = mpsc::channel(8);
    let nobody = Tree {
        leader: 0,
        leash: None,
    };
    let keeping = kept_or_caught(
        async { panic!("the bomb went off") },
        nobody,
        Generation(1),
        reports_in,
    );
    tokio::time::timeout(PATIENCE, keeping)
        .await
        .expect("it waits on");
    let Some((_, Report::Sight(Sight::Broken(cause)))) = reports.recv().await else {
        panic!("not told")
    };
    assert!(is_panic(&cause), "{cause:?}");
    assert!(matches!(
        reports.recv().await,
        Some((Generation(1), Report::Sight(Sight::TreeGone)))
    ));
}
