//! The rows of the life of a child, one by one; its promises, for any sequence of inputs; its patience.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn policy() -> Policy {
    Policy {
        backoff_jitter: 0.0,
        ..Policy::default()
    }
}

/// A child, its process's number, and a clock that only this test moves.
struct Fixture {
    machine: Machine,
    now: Instant,
}

impl Fixture {
    fn new(policy: Policy, enabled: bool) -> Self {
        let mut machine = Machine::new(policy, enabled, Generation::default());
        machine.begin();
        let now = Instant::now();
        Self { machine, now }
    }

    fn put(&mut self, input: Input) -> Vec<Action> {
        self.machine.step(self.now, input)
    }

    fn see(&mut self, sight: Sight) -> Vec<Action> {
        self.put(Input::Seen(self.machine.generation(), sight))
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// Lets the time pass until the machine wants to be woken, and wakes it.
    fn wake(&mut self) -> Vec<Action> {
        self.now = self
            .machine
            .state()
            .wake_at()
            .expect("nothing would ever wake it");
        self.put(Input::Woke)
    }

    fn waits(&self) -> Option<Duration> {
        self.machine.state().wake_at().map(|at| at - self.now)
    }

    fn name(&self) -> &'static str {
        self.machine.state().name()
    }

    /// Through the handshake and `time` of being ready.
    fn be_ready(&mut self, time: Duration) -> &mut Self {
        self.see(Sight::Spawned);
        self.see(Sight::HandshakeDone);
        assert_eq!(self.name(), "ready");
        self.pass(time)
    }
}

/// A child in the state with this name, by the shortest way.
fn at(state: &str, policy: Policy) -> Fixture {
    let mut child = match state {
        "disabled" => Fixture::new(policy, false),
        "idle" => {
            let autostart = Autostart::OnDemand;
            Fixture::new(Policy { autostart, ..policy }, true)
        }
        _running => Fixture::new(policy, true),
    };
    let ways: &[Input] = match state {
        "stopped" => &[Input::Stop, not_spawned(cannot_start())],
        "handshaking" => &[first(Sight::Spawned)],
        "ready" => &[first(Sight::Spawned), first(Sight::HandshakeDone)],
        "unresponsive" => &[
            first(Sight::Spawned),
            first(Sight::HandshakeDone),
            first(Sight::ProbesFailed),
        ],
        "draining" => &[first(Sight::Spawned), first(Sight::HandshakeDone), Input::Stop],
        "stopping" => &[first(Sight::Spawned), Input::Stop],
        "backoff" => &[first(Sight::Spawned), first(Sight::Exited(Exit::Code(1)))],
        "failed" => &[not_spawned(cannot_start())],
        _other => &[],
    };
    for input in ways {
        child.put(input.clone());
    }
    assert_eq!(child.name(), state);
    child
}

fn first(sight: Sight) -> Input {
    Input::Seen(Generation(1), sight)
}

fn not_spawned(cause: Cause) -> Input {
    first(Sight::NotSpawned(cause))
}

fn cannot_start() -> Cause {
    Cause::CannotStart {
        why: "no file".to_owned(),
    }
}

fn no_resources() -> Cause {
    Cause::NoResources {
        why: "EAGAIN".to_owned(),
    }
}

// === The rows ===

/// One row: in this state, this input leads to that state with these actions, to be woken after so long.
struct Row(&'static str, Input, &'static str, Vec<Action>, Option<Duration>);

fn check(policy: &Policy, rows: Vec<Row>) {
    for Row(from, input, to, actions, waits) in rows {
        let mut child = at(from, policy.clone());
        let told = child.put(input.clone());
        let case = format!("{from}, {input:?}");
        assert_eq!(child.name(), to, "{case}");
        assert_eq!(told, actions, "{case}");
        assert_eq!(child.waits(), waits, "{case}");
    }
}

fn spawn(generation: u64) -> Vec<Action> {
    vec![Action::Spawn(Generation(generation))]
}

fn ask(why: Cause) -> Vec<Action> {
    vec![Action::FailPending(why), Action::Ask(Rung::StdinClosed)]
}

#[test]
fn a_process_that_has_to_be_met_anew_is_replaced_at_once_and_nothing_is_counted() {
    for gone in [false, true] {
        let mut child = Fixture::new(policy(), true);
        child.see(Sight::Spawned);
        let mut actions = child.see(Sight::StartOver { gone });
        assert_eq!(actions[0], Action::FailPending(Cause::OtherEra));
        if !gone {
            assert_eq!(actions[1], Action::Ask(Rung::StdinClosed));
            actions = child.see(Sight::TreeGone);
        }
        assert!(actions.contains(&Action::Spawn(Generation(2))), "{actions:?}");
        assert_eq!(
            (child.machine.n_failures(), child.machine.n_failures_in_window()),
            (0, 0)
        );
    }
}

#[test]
fn a_running_process_that_has_to_be_met_anew_finishes_first() {
    let mut child = Fixture::new(policy(), true);
    child.be_ready(ms(10));
    assert_eq!(child.see(Sight::StartOver { gone: false }), [Action::Drain]);
    child.see(Sight::Drained);
    assert!(child.see(Sight::TreeGone).contains(&Action::Spawn(Generation(2))));
    assert_eq!(child.machine.n_failures(), 0);
}

#[test]
fn the_operators_rows() {
    let eager = policy();
    let drain = || vec![Action::Drain];
    let patience = Some(eager.drain_timeout);
    let grace = Some(eager.eof_grace);
    let rows = vec![
        Row("disabled", Input::Enable, "spawning", spawn(1), None),
        Row("disabled", Input::Start, "disabled", vec![], None),
        Row("disabled", Input::Restart, "disabled", vec![], None),
        Row("disabled", Input::Demand, "disabled", vec![], None),
        Row("stopped", Input::Start, "spawning", spawn(2), None),
        Row("stopped", Input::Restart, "spawning", spawn(2), None),
        Row("stopped", Input::Demand, "stopped", vec![], None),
        Row("stopped", Input::Disable, "disabled", vec![], None),
        Row("idle", Input::Demand, "spawning", spawn(1), None),
        Row("idle", Input::Start, "spawning", spawn(1), None),
        Row("idle", Input::Stop, "stopped", vec![], None),
        Row("backoff", Input::Start, "spawning", spawn(2), None),
        Row("backoff", Input::Restart, "spawning", spawn(2), None),
        Row("backoff", Input::Stop, "stopped", vec![], None),
        Row("backoff", Input::Disable, "disabled", vec![], None),
        Row("failed", Input::Start, "spawning", spawn(2), None),
        Row("failed", Input::Restart, "spawning", spawn(2), None),
        Row("failed", Input::Shutdown, "stopped", vec![], None),
        Row("spawning", Input::Start, "spawning", vec![], None),
        Row("handshaking", Input::Stop, "stopping", ask(Cause::Asked), grace),
        Row(
            "handshaking",
            Input::Restart,
            "stopping",
            ask(Cause::Asked),
            grace,
        ),
        Row("ready", Input::Stop, "draining", drain(), patience),
        Row("ready", Input::Restart, "draining", drain(), patience),
        Row("ready", Input::Disable, "draining", drain(), patience),
        Row("ready", Input::Idle, "draining", drain(), patience),
        Row(
            "ready",
            Input::Shutdown,
            "stopping",
            ask(Cause::ShuttingDown),
            grace,
        ),
        Row("unresponsive", Input::Stop, "draining", drain(), patience),
        Row("unresponsive", Input::Restart, "draining", drain(), patience),
        Row("draining", Input::Stop, "draining", vec![], patience),
        Row("draining", Input::Restart, "draining", vec![], patience),
        Row("stopping", Input::Stop, "stopping", vec![], grace),
        Row("stopping", Input::Start, "stopping", vec![], grace),
    ];
    check(&eager, rows);
    let on_demand = Policy {
        autostart: Autostart::OnDemand,
        ..policy()
    };
    check(
        &on_demand,
        vec![Row("disabled", Input::Enable, "idle", vec![], None)],
    );
}

#[test]
fn the_rows_of_a_process_that_is_made_and_shakes_hands() {
    let policy = policy();
    let no_handshake = |noise| Cause::NoHandshake {
        waited_ms: 60_000,
        noise,
    };
    let exit = Exit::Code(7);
    let refused = Cause::BadHandshake {
        why: "no licence".to_owned(),
    };
    let said = Sight::HandshakeRefused("no licence".to_owned());
    let gone = vec![Action::FailPending(Cause::ExitedInHandshake { exit })];
    let (retry, grace) = (Some(policy.failed_retry), Some(policy.eof_grace));
    let wait = Some(RestartDelays::from(&policy).next_wait(0));
    let start = vec![Action::Handshake];
    let stable = Some(policy.stable_after);
    check(
        &policy,
        vec![
            Row("spawning", not_spawned(cannot_start()), "failed", vec![], retry),
            Row(
                "spawning",
                not_spawned(no_resources()),
                "backoff",
                vec![],
                Some(s(1)),
            ),
            Row(
                "spawning",
                first(Sight::Spawned),
                "handshaking",
                start,
                Some(policy.start_timeout),
            ),
            Row(
                "handshaking",
                first(Sight::HandshakeDone),
                "ready",
                vec![Action::Open],
                stable,
            ),
            Row("handshaking", first(Sight::Exited(exit)), "backoff", gone, wait),
            Row("handshaking", first(said), "stopping", ask(refused), grace),
        ],
    );
    let mut child = at("handshaking", policy);
    child.see(Sight::Noise("hello".to_owned()));
    child.see(Sight::Noise("world".to_owned()));
    assert_eq!(child.wake(), ask(no_handshake(Some("hello".to_owned()))));
    assert_eq!(
        child.see(Sight::TreeGone),
        [Action::FailPending(no_handshake(Some("hello".to_owned())))]
    );
    assert_eq!(child.name(), "backoff");
}

#[test]
fn the_rows_of_a_process_that_takes_calls() {
    let policy = policy();
    let exit = Exit::Signal(11);
    let gone = || vec![Action::FailPending(Cause::Exited { exit })];
    let wait = Some(RestartDelays::from(&policy).next_wait(0));
    let (grace, stable) = (Some(policy.eof_grace), Some(policy.stable_after));
    let patience = Some(2 * (policy.probe_interval + policy.probe_timeout));
    let broken = || first(Sight::Broken(Cause::WriteStalled));
    let asked = Cause::Asked;
    check(
        &policy,
        vec![
            Row("ready", first(Sight::Exited(exit)), "backoff", gone(), wait),
            Row(
                "ready",
                first(Sight::StdoutClosed),
                "stopping",
                ask(Cause::StdoutClosed),
                Some(s(1)),
            ),
            Row("ready", broken(), "stopping", ask(Cause::WriteStalled), grace),
            Row(
                "ready",
                first(Sight::ProbesFailed),
                "unresponsive",
                vec![],
                patience,
            ),
            Row("ready", first(Sight::Hung), "unresponsive", vec![], patience),
            Row("ready", first(Sight::Traffic), "ready", vec![], stable),
            // It takes calls as before: nothing has to be begun anew.
            Row("unresponsive", first(Sight::Traffic), "ready", vec![], stable),
            Row(
                "unresponsive",
                first(Sight::Exited(exit)),
                "backoff",
                gone(),
                wait,
            ),
            Row(
                "unresponsive",
                broken(),
                "stopping",
                ask(Cause::WriteStalled),
                grace,
            ),
            Row(
                "draining",
                first(Sight::Drained),
                "stopping",
                ask(asked.clone()),
                grace,
            ),
            Row("draining", broken(), "stopping", ask(asked.clone()), grace),
            Row(
                "draining",
                first(Sight::Exited(exit)),
                "stopped",
                vec![Action::FailPending(asked.clone())],
                None,
            ),
            Row(
                "stopping",
                first(Sight::TreeGone),
                "stopped",
                vec![Action::FailPending(asked)],
                None,
            ),
            Row("stopping", broken(), "stopping", vec![], grace),
        ],
    );
    let mut child = at("unresponsive", policy.clone());
    let told = [
        Action::FailPending(Cause::Unresponsive),
        Action::Ask(Rung::Terminated),
    ];
    assert_eq!(child.see(Sight::Hung), told);
    let mut child = at("unresponsive", policy.clone());
    assert_eq!(child.wake(), []);
    assert_eq!(child.name(), "ready", "nobody has confirmed it");
    let mut child = at("draining", policy);
    assert_eq!(child.wake(), ask(Cause::Asked));
}

#[test]
fn whoever_uses_too_much_finishes_its_calls_and_is_replaced_and_that_is_a_failure() {
    let policy = policy();
    let cause = Cause::Memory {
        used: 2,
        limit: 1,
        n_processes: 1,
    };
    let over = |grossly| {
        let cause = cause.clone();
        first(Sight::OverLimit { cause, grossly })
    };
    let at_once = || vec![Action::FailPending(cause.clone()), Action::Ask(Rung::Terminated)];
    let asked = vec![Action::FailPending(Cause::Asked), Action::Ask(Rung::Terminated)];
    let (drains, grace) = (Some(policy.drain_timeout), Some(policy.term_grace));
    check(
        &policy,
        vec![
            Row("handshaking", over(false), "stopping", at_once(), grace),
            Row("ready", over(false), "draining", vec![Action::Drain], drains),
            Row("ready", over(true), "stopping", at_once(), grace),
            Row(
                "unresponsive",
                over(false),
                "draining",
                vec![Action::Drain],
                drains,
            ),
            Row("draining", over(false), "draining", vec![], drains),
            Row("draining", over(true), "stopping", asked, grace),
            Row("stopping", over(true), "stopping", vec![], Some(policy.eof_grace)),
            Row(
                "backoff",
                over(true),
                "backoff",
                vec![],
                Some(policy.backoff_initial),
            ),
        ],
    );
    let mut child = at("ready", policy.clone());
    child.put(over(false));
    assert_eq!(child.see(Sight::Drained), ask(cause.clone()));
    assert_eq!(child.see(Sight::TreeGone), [Action::FailPending(cause.clone())]);
    assert_eq!((child.name(), child.machine.n_failures()), ("backoff", 1));
    assert_eq!(child.machine.last_cause(), Some(&cause));
    for _ in 1..policy.fail_burst {
        child.wake();
        child.be_ready(s(1));
        child.see(Sight::OverLimit {
            cause: cause.clone(),
            grossly: true,
        });
        child.see(Sight::TreeGone);
    }
    assert_eq!(child.name(), "failed", "the circuit counts it");
}

#[test]
fn each_rung_is_harder_and_what_survives_the_last_is_shown_as_failed_and_killed_again() {
    let policy = policy();
    let mut child = at("stopping", policy.clone());
    assert_eq!(child.wake(), [Action::Ask(Rung::Terminated)]);
    assert_eq!(child.waits(), Some(policy.term_grace));
    for state in ["stopping", "failed", "failed"] {
        assert_eq!(child.wake(), [Action::Ask(Rung::Killed)]);
        assert_eq!(child.waits(), Some(KILL_GRACE));
        assert_eq!(child.name(), state);
    }
    child.see(Sight::TreeGone);
    assert_eq!(child.name(), "stopped");
}

#[test]
fn beside_a_process_that_cannot_be_killed_no_other_is_made() {
    for order in [Input::Start, Input::Restart, Input::Demand, Input::Enable] {
        let mut child = at("ready", policy());
        child.see(Sight::StdoutClosed);
        for _ in 0..4 {
            child.wake();
        }
        assert!(matches!(child.machine.state(), State::Unkillable { .. }));
        assert_eq!(child.put(order.clone()), [], "{order:?}");
        assert!(child.machine.state().has_process());
        child.see(Sight::TreeGone);
        let is_asked = matches!(order, Input::Start | Input::Restart);
        assert_eq!(child.name(), if is_asked { "spawning" } else { "backoff" });
    }
}

#[test]
fn after_a_panic_of_its_task_it_is_started_again_as_after_any_failure() {
    let cause = Cause::Panicked {
        what: "oh".to_owned(),
    };
    for state in [
        "spawning",
        "handshaking",
        "ready",
        "draining",
        "backoff",
        "failed",
    ] {
        let mut child = at(state, policy());
        let wanted = child.machine.is_wanted();
        child.machine.lose(child.now, cause.clone());
        child.see(Sight::TreeGone);
        assert_eq!(
            child.name(),
            if wanted { "backoff" } else { "stopped" },
            "{state}"
        );
        assert_eq!(child.machine.last_cause(), Some(&cause));
    }
}

#[test]
fn where_it_goes_from_stopping_is_what_is_wanted_by_then() {
    let gone = |input: &[Input], policy: Policy| {
        let mut child = at("ready", policy);
        for input in input {
            child.put(input.clone());
        }
        child.see(Sight::Drained);
        child.see(Sight::TreeGone);
        child.name()
    };
    let on_demand = Policy {
        autostart: Autostart::OnDemand,
        ..policy()
    };
    assert_eq!(gone(&[Input::Stop], policy()), "stopped");
    assert_eq!(gone(&[Input::Disable], policy()), "disabled");
    assert_eq!(gone(&[Input::Idle], policy()), "idle");
    assert_eq!(gone(&[Input::Idle, Input::Stop], policy()), "stopped");
    assert_eq!(gone(&[Input::Restart], policy()), "spawning");
    assert_eq!(gone(&[Input::Restart, Input::Stop], policy()), "stopped");
    assert_eq!(gone(&[Input::Stop, Input::Start], policy()), "spawning");
    assert_eq!(gone(&[Input::Disable, Input::Enable], policy()), "spawning");
    let mut child = at("idle", on_demand);
    child.put(Input::Demand);
    child.be_ready(s(1));
    for input in [Input::Disable, Input::Enable] {
        child.put(input);
    }
    child.see(Sight::TreeGone);
    assert_eq!(child.name(), "idle", "enabled again, but nobody needs it yet");
}

#[test]
fn a_stop_before_the_process_is_there_lets_it_go_as_soon_as_it_is() {
    let mut child = at("spawning", policy());
    assert_eq!(child.put(Input::Stop), []);
    assert_eq!(child.see(Sight::Spawned), ask(Cause::Asked));
    let mut child = at("spawning", policy());
    child.put(Input::Disable);
    child.put(not_spawned(no_resources()));
    assert_eq!(child.name(), "disabled");
}

#[test]
fn a_restart_while_a_process_is_made_makes_no_second_one() {
    let mut child = at("spawning", policy());
    assert_eq!(child.put(Input::Restart), []);
    assert_eq!(child.see(Sight::Spawned), [Action::Handshake]);
}

// === Patience ===

#[test]
fn quick_failures_wait_as_the_delays_say_then_fail_and_get_one_attempt_at_a_time() {
    let policy = policy();
    let delays = RestartDelays::from(&policy);
    let mut child = at("spawning", policy.clone());
    for n_before in 0..policy.fail_burst - 1 {
        child.be_ready(ms(10)).see(Sight::Exited(Exit::Code(1)));
        assert_eq!(child.name(), "backoff", "after {n_before} failures");
        assert_eq!(child.waits(), Some(delays.next_wait(n_before + 1)));
        assert_eq!(child.wake(), spawn(u64::from(n_before) + 2));
    }
    for _ in 0..3 {
        child.be_ready(ms(10)).see(Sight::Exited(Exit::Code(1)));
        assert_eq!(
            (child.name(), child.waits()),
            ("failed", Some(policy.failed_retry))
        );
        assert_eq!(child.wake().len(), 1, "one more attempt");
        assert_eq!(child.name(), "spawning");
    }
    child.be_ready(Duration::ZERO);
    assert_eq!(child.wake(), [], "stable");
    assert_eq!(child.machine.n_failures_in_window(), 0);
    child.see(Sight::Exited(Exit::Code(1)));
    assert_eq!(
        child.name(),
        "spawning",
        "proven, and its past is forgotten: at once"
    );
}

#[test]
fn failures_that_lie_far_apart_are_no_flapping() {
    let policy = policy();
    let mut child = at("spawning", policy.clone());
    for _ in 0..20 {
        child.be_ready(ms(10)).see(Sight::Exited(Exit::Code(1)));
        assert_eq!(child.waits(), Some(RestartDelays::from(&policy).next_wait(1)));
        child.wake();
        child.pass(policy.fail_window);
    }
}

#[test]
fn a_proven_child_is_restarted_at_once_but_only_the_first_time() {
    let mut child = at("spawning", policy());
    child.be_ready(PROVEN_AFTER).see(Sight::Exited(Exit::Code(0)));
    assert_eq!(child.name(), "spawning");
    child.be_ready(PROVEN_AFTER).see(Sight::Exited(Exit::Code(0)));
    assert_eq!(child.name(), "backoff");
}

#[test]
fn three_equal_refusals_fail_it_and_different_ones_do_not() {
    let refuse = |words: &[&str]| {
        let mut child = at("spawning", policy());
        for word in words {
            child.see(Sight::Spawned);
            child.see(Sight::HandshakeRefused((*word).to_owned()));
            child.see(Sight::TreeGone);
            if child.name() == "backoff" {
                child.wake();
            }
        }
        child.name()
    };
    assert_eq!(refuse(&["a", "a"]), "spawning");
    assert_eq!(refuse(&["a", "a", "a"]), "failed");
    assert_eq!(refuse(&["a", "a", "b", "a"]), "spawning");
}

#[test]
fn shortage_of_the_machine_is_not_counted_against_the_child() {
    let policy = policy();
    let mut child = at("spawning", policy.clone());
    for _ in 0..2 * policy.fail_burst {
        child.see(Sight::NotSpawned(no_resources()));
        assert_eq!(child.name(), "backoff");
        child.wake();
    }
    assert_eq!(
        (child.machine.n_failures(), child.machine.n_failures_in_window()),
        (0, 0)
    );
}

#[test]
fn a_requested_stop_is_no_failure() {
    let mut child = at("ready", policy());
    child.put(Input::Restart);
    child.see(Sight::Drained);
    child.see(Sight::TreeGone);
    assert_eq!(child.machine.n_failures(), 0);
    assert_eq!(child.machine.last_cause(), None);
}

#[test]
fn who_is_started_again_is_the_policys_choice() {
    use RestartWhen::{Always, Never, OnFailure};
    let exited = |code| Sight::Exited(Exit::Code(code));
    let killed = || Sight::Exited(Exit::Signal(9));
    for (restart, sight, wanted) in [
        (Always, exited(0), "backoff"),
        (Always, exited(1), "backoff"),
        (Always, killed(), "backoff"),
        (OnFailure, exited(0), "stopped"),
        (OnFailure, exited(1), "backoff"),
        (OnFailure, killed(), "backoff"),
        (Never, exited(0), "stopped"),
        (Never, exited(1), "stopped"),
        (Never, killed(), "stopped"),
    ] {
        let policy = Policy { restart, ..policy() };
        let mut child = at("ready", policy.clone());
        child.see(sight.clone());
        assert_eq!(child.name(), wanted, "{restart:?}, {sight:?}");
        let mut child = at("ready", policy);
        child.see(Sight::StdoutClosed);
        child.see(Sight::TreeGone);
        let after_fault = if restart == Never { "stopped" } else { "backoff" };
        assert_eq!(child.name(), after_fault, "{restart:?}: a fault is a failure");
    }
}

// === Promises, whatever happens ===

/// What one step of the world is.
#[derive(Debug, Clone)]
enum Op {
    Operator(Input),
    /// One of the things that can be seen now.
    World(prop::sample::Index),
    /// Something that was true of an older process.
    Stale(prop::sample::Index, u64),
    /// Time passes.
    Pass(u64),
    /// Time passes until the machine wants to be woken.
    Wake,
    /// The child's task panics.
    Panic,
}

fn op() -> impl Strategy<Value = Op> {
    let operator = prop::sample::select(vec![
        Input::Enable,
        Input::Disable,
        Input::Start,
        Input::Stop,
        Input::Restart,
        Input::Demand,
        Input::Idle,
        Input::Shutdown,
    ]);
    prop_oneof![
        3 => operator.prop_map(Op::Operator),
        8 => any::<prop::sample::Index>().prop_map(Op::World),
        1 => (any::<prop::sample::Index>(), 1_u64..5).prop_map(|(sight, age)| Op::Stale(sight, age)),
        1 => (0_u64..400_000).prop_map(Op::Pass),
        3 => Just(Op::Wake),
        1 => Just(Op::Panic),
    ]
}

/// The operating system and the operator as the machine's actions leave them.
#[derive(Debug)]
struct World {
    now: Instant,
    machine: Machine,
    always: bool,
    enabled: bool,
    wanted: bool,
    newest: Generation,
    making: bool,
    alive: bool,
    asked: Option<Rung>,
    pending: bool,
}

fn sights() -> Vec<Sight> {
    vec![
        Sight::HandshakeDone,
        Sight::StartOver { gone: false },
        Sight::StartOver { gone: true },
        Sight::HandshakeRefused("no".to_owned()),
        Sight::Exited(Exit::Code(0)),
        Sight::Exited(Exit::Code(1)),
        Sight::StdoutClosed,
        Sight::Broken(Cause::WriteStalled),
        Sight::ProbesFailed,
        Sight::Hung,
        Sight::OverLimit {
            cause: Cause::TooManyProcesses {
                n_processes: 2,
                limit: 1,
            },
            grossly: false,
        },
        Sight::OverLimit {
            cause: Cause::TooManyProcesses {
                n_processes: 2,
                limit: 1,
            },
            grossly: true,
        },
        Sight::Traffic,
        Sight::Drained,
        Sight::Noise("noise".to_owned()),
        Sight::Spawned,
        Sight::NotSpawned(cannot_start()),
        Sight::TreeGone,
    ]
}

impl World {
    fn new(policy: Policy, enabled: bool) -> Self {
        let always = policy.restart == RestartWhen::Always;
        Self {
            now: Instant::now(),
            machine: Machine::new(policy, enabled, Generation(10)),
            always,
            enabled,
            wanted: true,
            newest: Generation(10),
            making: false,
            alive: false,
            asked: None,
            pending: false,
        }
    }

    /// What can be seen now.
    fn possible(&self) -> Vec<Sight> {
        if self.making {
            let shortage = Sight::NotSpawned(no_resources());
            return vec![
                Sight::Spawned,
                Sight::Spawned,
                Sight::NotSpawned(cannot_start()),
                shortage,
            ];
        }
        if !self.alive {
            return Vec::new();
        }
        let mut all = sights();
        all.truncate(15);
        if self.asked.is_some() {
            all.extend([Sight::TreeGone, Sight::TreeGone]);
        }
        all
    }

    fn run(&mut self, op: Op) -> TestCaseResult {
        match op {
            Op::Operator(input) => {
                self.operator_says(&input);
                self.step(input)
            }
            Op::World(index) => {
                let possible = self.possible();
                if possible.is_empty() {
                    return Ok(());
                }
                let sight = index.get(&possible).clone();
                self.happens(&sight);
                self.step(Input::Seen(self.newest, sight))
            }
            Op::Stale(index, age) => self.stale(index.get(&sights()).clone(), age),
            Op::Pass(n_ms) => {
                self.now += ms(n_ms);
                self.step(Input::Woke)
            }
            Op::Wake => self.wake(),
            Op::Panic => {
                let what = "oh".to_owned();
                self.machine.lose(self.now, Cause::Panicked { what });
                (self.making, self.pending) = (false, false);
                if self.alive {
                    self.asked = Some(Rung::Killed);
                    return self.check();
                }
                self.step(Input::Seen(self.newest, Sight::TreeGone))
            }
        }
    }

    fn operator_says(&mut self, input: &Input) {
        match input {
            Input::Enable => {
                self.wanted |= !self.enabled;
                self.enabled = true;
            }
            Input::Disable => self.enabled = false,
            Input::Start => self.wanted = true,
            Input::Restart => self.wanted |= self.enabled,
            Input::Stop | Input::Shutdown => self.wanted = false,
            Input::Demand | Input::Idle | Input::Seen(..) | Input::Woke => {}
        }
    }

    fn happens(&mut self, sight: &Sight) {
        match sight {
            Sight::Spawned => (self.making, self.alive, self.asked) = (false, true, None),
            Sight::NotSpawned(_) => self.making = false,
            Sight::Exited(_) | Sight::TreeGone | Sight::StartOver { gone: true } => self.alive = false,
            Sight::HandshakeDone
            | Sight::StartOver { gone: false }
            | Sight::HandshakeRefused(_)
            | Sight::StdoutClosed
            | Sight::Broken(_)
            | Sight::ProbesFailed
            | Sight::Hung
            | Sight::OverLimit { .. }
            | Sight::Traffic
            | Sight::Drained
            | Sight::Noise(_) => {}
        }
    }

    fn stale(&mut self, sight: Sight, age: u64) -> TestCaseResult {
        let before = self.machine.state().clone();
        let old = Generation(self.newest.0 - age);
        let actions = self.machine.step(self.now, Input::Seen(old, sight));
        prop_assert_eq!(actions, vec![]);
        prop_assert_eq!(self.machine.state(), &before);
        Ok(())
    }

    fn wake(&mut self) -> TestCaseResult {
        let before = self.machine.state().clone();
        let Some(at) = before.wake_at() else {
            return Ok(());
        };
        self.now = self.now.max(at);
        self.step(Input::Woke)?;
        prop_assert_ne!(self.machine.state(), &before, "woken for nothing");
        if let State::Stopping { rung, .. } = before {
            let harder = if rung == Rung::StdinClosed {
                Rung::Terminated
            } else {
                Rung::Killed
            };
            prop_assert_eq!(self.asked, Some(harder));
        }
        Ok(())
    }

    fn step(&mut self, input: Input) -> TestCaseResult {
        let from_the_world = matches!(input, Input::Seen(..));
        let actions = self.machine.step(self.now, input);
        self.obey(actions)?;
        if from_the_world && !self.always && *self.machine.state() == State::Stopped {
            // The restart policy leaves it alone.
            self.wanted = false;
        }
        self.check()
    }

    fn obey(&mut self, actions: Vec<Action>) -> TestCaseResult {
        for action in actions {
            match action {
                Action::Spawn(generation) => {
                    prop_assert!(!self.making && !self.alive, "a second process");
                    prop_assert!(!self.pending, "calls of the old process wait for ever");
                    prop_assert!(self.enabled && self.wanted, "a process that nobody wants");
                    prop_assert!(generation > self.newest);
                    self.newest = generation;
                    self.making = true;
                }
                Action::Handshake => {
                    prop_assert!(self.alive);
                    self.pending = true;
                }
                Action::Open => prop_assert!(self.alive && self.pending),
                Action::Drain => prop_assert!(self.alive),
                Action::Ask(rung) => {
                    prop_assert!(self.alive);
                    prop_assert!(!self.pending, "asked to go with calls that are not told");
                    prop_assert!(
                        self.asked.is_none_or(|before| before <= rung),
                        "asked more gently"
                    );
                    self.asked = Some(rung);
                }
                Action::FailPending(_) => self.pending = false,
            }
        }
        Ok(())
    }

    fn check(&self) -> TestCaseResult {
        let state = self.machine.state();
        prop_assert_eq!(state.has_process(), self.making || self.alive, "{:?}", state);
        prop_assert_eq!(self.machine.generation(), self.newest);
        prop_assert_eq!(matches!(state, State::Spawning), self.making);
        prop_assert_eq!(
            matches!(state, State::Stopping { .. } | State::Unkillable { .. }),
            self.alive && self.asked.is_some()
        );
        prop_assert!(
            self.alive || !self.pending,
            "calls wait for a process that is gone"
        );
        let rests = matches!(state, State::Stopped | State::Disabled);
        if self.enabled && self.wanted {
            prop_assert!(!rests, "wanted, and forgotten");
        } else {
            let going = matches!(
                state,
                State::Spawning | State::Draining { .. } | State::Stopping { .. } | State::Unkillable { .. }
            );
            prop_assert!(rests || going, "not wanted, and {:?}", state);
        }
        // Only a child that is well may stay as it is for ever.
        let may_stay = matches!(state, State::Spawning | State::Ready { .. }) || !state.has_process();
        prop_assert!(
            may_stay || state.wake_at().is_some(),
            "nothing bounds {:?}",
            state
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn the_promises_hold_for_any_sequence_of_inputs(
        restart in prop::sample::select(vec![RestartWhen::Always, RestartWhen::OnFailure, RestartWhen::Never]),
        autostart in prop::sample::select(vec![Autostart::Eager, Autostart::OnDemand]),
        enabled: bool,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut world = World::new(Policy { restart, autostart, ..policy() }, enabled);
        let begun = world.machine.begin();
        world.obey(begun)?;
        world.check()?;
        for op in ops {
            world.run(op)?;
        }
    }
}
