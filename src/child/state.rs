//! The life of a child: one pure function from (state, input, now) to (state, actions).
//!
//! | state | means | leaves on |
//! | --- | --- | --- |
//! | disabled | the operator does not want it | Enable |
//! | stopped | wanted, but told to rest | Start, Restart |
//! | idle | on demand, not needed now | Demand, Start, Restart |
//! | spawning | a process is being made | Spawned, NotSpawned |
//! | handshaking | it runs, `initialize` is under way | HandshakeDone, HandshakeRefused, StartOver, Exited, deadline |
//! | ready | it takes calls | Exited, StdoutClosed, Broken, ProbesFailed, OverLimit, Stop, Restart, Idle |
//! | unresponsive | it missed its probes; new calls wait | Traffic, Hung, deadline (not confirmed), and as ready |
//! | draining | no new calls; those in flight may finish | Drained, OverLimit, deadline |
//! | stopping | asked to go: stdin closed, SIGTERM, SIGKILL | TreeGone, deadline (next rung, after the last: unkillable) |
//! | unkillable | killed, and not gone after a second; shown as failed | TreeGone |
//! | backoff | gone by itself, will be started again | deadline, Start, Restart |
//! | failed | gone too often, or cannot be started | deadline (one more attempt), Start, Restart |
//!
//! Promises, held by the property test below for any sequence of inputs: never two processes at once; generations
//! only grow; sights of older generations change nothing; `stopping` reaches SIGKILL after two expired rungs;
//! without want or permission no process is started, and one that runs is on its way out.
//! No IO, no clock: `now` is an argument.

use std::time::Duration;

use tokio::time::Instant;

pub use super::inputs::{Action, Input, Sight};
pub use super::stage::State;
use crate::config::spec::{Autostart, Policy, RestartWhen};
use crate::event::{Cause, Exit, Rung};
use crate::ids::Generation;
use crate::retry::RestartDelays;

/// A child that was ready for this long is restarted at once after its first failure.
const PROVEN_AFTER: Duration = Duration::from_secs(10);
/// After SIGKILL a process is gone at once, unless the kernel holds it.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// From an end of stdout to SIGTERM: a process that is ending closes its stdout a moment before.
const STDOUT_CLOSED_GRACE: Duration = Duration::from_secs(1);
/// So many equal refusals of the handshake in a row mean that trying again soon is useless.
const N_EQUAL_REFUSALS_MAX: u32 = 3;

/// The life of one child.
#[derive(Debug)]
pub struct Machine {
    policy: Policy,
    delays: RestartDelays,
    enabled: bool,
    /// Want apart from is: whether it should run (or be ready to, on demand).
    want_up: bool,
    generation: Generation,
    /// The highest number that another line of processes has given: the next one is above it.
    given: Generation,
    state: State,
    /// When it failed, within the window.
    failures: Vec<Instant>,
    /// After `failed` there is one attempt: the next failure leads right back.
    on_probation: bool,
    /// A restart was asked for while it was stopping.
    restart_asked: bool,
    refusals: (u32, String),
    noise: Option<String>,
    /// Processes that ended by themselves, ever.
    n_failures: u64,
    last_cause: Option<Cause>,
}

impl Machine {
    /// A child whose next process has a number above `generation`.
    pub fn new(policy: Policy, enabled: bool, generation: Generation) -> Self {
        let delays = RestartDelays::from(&policy);
        Self {
            policy,
            delays,
            enabled,
            want_up: true,
            generation,
            given: generation,
            state: if enabled { State::Stopped } else { State::Disabled },
            failures: Vec::new(),
            on_probation: false,
            restart_asked: false,
            refusals: (0, String::new()),
            noise: None,
            n_failures: 0,
            last_cause: None,
        }
    }

    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The number of the present or last process.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Processes that ended by themselves, ever.
    pub fn n_failures(&self) -> u64 {
        self.n_failures
    }

    /// Failures in the present window.
    pub fn n_failures_in_window(&self) -> u32 {
        u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }

    /// Why the last process is gone, or none could be made.
    pub fn last_cause(&self) -> Option<&Cause> {
        self.last_cause.as_ref()
    }

    /// Whether it should run, or be ready to on demand.
    pub fn is_wanted(&self) -> bool {
        self.wanted()
    }

    /// Another task's process had this number, so the next one has a higher one. The present one keeps its own.
    pub fn count_on(&mut self, generation: Generation) {
        self.given = self.given.max(generation);
    }

    /// Whether this process, or the next, is the one attempt after too many failures.
    pub fn is_on_probation(&self) -> bool {
        self.on_probation
    }

    /// Its task lost its way, and cannot trust what was decided last: the process, if there is one, is being killed.
    /// `TreeGone` says when it is gone, or that there was none.
    pub fn lose(&mut self, now: Instant, why: Cause) {
        self.state = State::Stopping {
            rung: Rung::Killed,
            deadline: now + KILL_GRACE,
            why,
        };
    }

    /// Begins its life: what `autostart` says.
    pub fn begin(&mut self) -> Vec<Action> {
        if self.state == State::Stopped {
            return self.rise();
        }
        Vec::new()
    }

    /// Moves on. The one place where a child's state changes.
    pub fn step(&mut self, now: Instant, input: Input) -> Vec<Action> {
        match input {
            Input::Enable => self.enable(),
            Input::Disable => self.disable(now),
            Input::Start => self.start(),
            Input::Stop => self.stop(now, Cause::Asked),
            Input::Shutdown => self.shut_down(now),
            Input::Restart => self.restart(now),
            Input::Demand => self.demand(),
            Input::Idle => self.fall_idle(now),
            Input::Woke => self.woke(now),
            Input::Seen(generation, sight) if generation == self.generation => self.seen(now, sight),
            Input::Seen(..) => Vec::new(),
        }
    }

    // === What the operator, the definition and callers say ===

    fn enable(&mut self) -> Vec<Action> {
        let was_off = !std::mem::replace(&mut self.enabled, true);
        if was_off {
            self.want_up = true;
        }
        if self.state == State::Disabled {
            return self.rise();
        }
        Vec::new()
    }

    fn disable(&mut self, now: Instant) -> Vec<Action> {
        self.enabled = false;
        self.lower(now, Cause::Asked)
    }

    fn start(&mut self) -> Vec<Action> {
        self.want_up = true;
        match self.state {
            State::Stopped | State::Idle | State::Backoff { .. } | State::Failed { .. } => {
                self.forgive();
                self.spawn()
            }
            // It has to go first; then it rises again.
            State::Draining { .. } | State::Stopping { .. } | State::Unkillable { .. } => {
                self.restart_asked = self.enabled;
                Vec::new()
            }
            State::Disabled
            | State::Spawning
            | State::Handshaking { .. }
            | State::Ready { .. }
            | State::Unresponsive { .. } => Vec::new(),
        }
    }

    fn stop(&mut self, now: Instant, why: Cause) -> Vec<Action> {
        self.want_up = false;
        self.lower(now, why)
    }

    fn restart(&mut self, now: Instant) -> Vec<Action> {
        if !self.enabled {
            return Vec::new();
        }
        self.want_up = true;
        match self.state {
            State::Disabled => Vec::new(),
            State::Stopped | State::Idle | State::Backoff { .. } | State::Failed { .. } => {
                self.forgive();
                self.spawn()
            }
            State::Draining { .. } | State::Stopping { .. } | State::Unkillable { .. } => {
                self.restart_asked = true;
                Vec::new()
            }
            // The one that is being made is fresh.
            State::Spawning => {
                self.forgive();
                Vec::new()
            }
            State::Handshaking { .. } | State::Ready { .. } | State::Unresponsive { .. } => {
                self.forgive();
                self.restart_asked = true;
                self.lower(now, Cause::Asked)
            }
        }
    }

    fn demand(&mut self) -> Vec<Action> {
        if self.state == State::Idle {
            self.spawn()
        } else {
            Vec::new()
        }
    }

    fn fall_idle(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            State::Ready { .. } => self.drain(now, Cause::Idle),
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Spawning
            | State::Handshaking { .. }
            | State::Unresponsive { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Unkillable { .. }
            | State::Backoff { .. }
            | State::Failed { .. } => Vec::new(),
        }
    }

    /// The daemon goes down, and has given the calls in flight their time already.
    fn shut_down(&mut self, now: Instant) -> Vec<Action> {
        self.want_up = false;
        match &self.state {
            State::Ready { .. } | State::Unresponsive { .. } | State::Draining { .. } => {
                self.ask(now, Rung::StdinClosed, Cause::ShuttingDown)
            }
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Spawning
            | State::Handshaking { .. }
            | State::Stopping { .. }
            | State::Unkillable { .. }
            | State::Backoff { .. }
            | State::Failed { .. } => self.lower(now, Cause::ShuttingDown),
        }
    }

    /// Brings it down, gently where calls may be in flight.
    fn lower(&mut self, now: Instant, why: Cause) -> Vec<Action> {
        match &self.state {
            State::Disabled | State::Stopped | State::Idle | State::Backoff { .. } | State::Failed { .. } => {
                self.state = self.resting();
                Vec::new()
            }
            State::Ready { .. } | State::Unresponsive { .. } => self.drain(now, why),
            // A process that is not there yet is asked to go as soon as it is.
            State::Spawning => Vec::new(),
            State::Handshaking { .. } => self.ask(now, Rung::StdinClosed, why),
            State::Draining { deadline, .. } => {
                self.state = State::Draining {
                    deadline: *deadline,
                    why,
                };
                Vec::new()
            }
            State::Stopping { .. } | State::Unkillable { .. } => Vec::new(),
        }
    }

    fn drain(&mut self, now: Instant, why: Cause) -> Vec<Action> {
        self.state = State::Draining {
            deadline: now + self.policy.drain_timeout,
            why,
        };
        vec![Action::Drain]
    }

    /// Forgets what went wrong: a person has looked at it.
    fn forgive(&mut self) {
        self.failures.clear();
        self.on_probation = false;
        self.refusals = (0, String::new());
    }

    // === What is seen of the process ===

    fn seen(&mut self, now: Instant, sight: Sight) -> Vec<Action> {
        match sight {
            Sight::Spawned => self.spawned(now),
            Sight::NotSpawned(cause) => self.not_spawned(now, cause),
            Sight::HandshakeDone => self.handshake_done(now),
            Sight::HandshakeRefused(why) => self.handshake_refused(now, why),
            Sight::StartOver { gone } => self.start_over(now, gone),
            Sight::Exited(exit) => self.exited(now, exit),
            Sight::TreeGone => self.tree_gone(now),
            Sight::StdoutClosed => self.faulted(now, Cause::StdoutClosed),
            Sight::Broken(cause) => self.faulted(now, cause),
            Sight::ProbesFailed => self.probes_failed(now),
            Sight::Hung => self.hung(now),
            Sight::OverLimit { cause, grossly } => self.over_limit(now, cause, grossly),
            Sight::Traffic => self.traffic(now),
            Sight::Drained => self.drained(now),
            Sight::Noise(line) => {
                self.noise.get_or_insert(line);
                Vec::new()
            }
        }
    }

    fn spawned(&mut self, now: Instant) -> Vec<Action> {
        if self.state != State::Spawning {
            return Vec::new();
        }
        if !self.wanted() {
            return self.ask(now, Rung::StdinClosed, Cause::Asked);
        }
        self.state = State::Handshaking {
            deadline: now + self.policy.start_timeout,
        };
        vec![Action::Handshake]
    }

    fn not_spawned(&mut self, now: Instant, cause: Cause) -> Vec<Action> {
        if self.state != State::Spawning {
            return Vec::new();
        }
        self.last_cause = Some(cause.clone());
        self.restart_asked = false;
        if !self.wanted() {
            self.state = self.resting();
        } else if matches!(cause, Cause::NoResources { .. }) {
            // Not the child's fault, so it is not counted.
            let wait = self.policy.backoff_initial.max(Duration::from_secs(1));
            self.state = State::Backoff {
                until: now + wait,
                cause,
            };
        } else {
            self.n_failures += 1;
            self.state = State::Failed {
                retry_at: now + self.policy.failed_retry,
                cause,
            };
        }
        Vec::new()
    }

    fn handshake_done(&mut self, now: Instant) -> Vec<Action> {
        let State::Handshaking { .. } = self.state else {
            return Vec::new();
        };
        self.refusals = (0, String::new());
        self.state = State::Ready {
            since: now,
            stable_at: Some(now + self.policy.stable_after),
        };
        vec![Action::Open]
    }

    fn handshake_refused(&mut self, now: Instant, why: String) -> Vec<Action> {
        let State::Handshaking { .. } = self.state else {
            return Vec::new();
        };
        let n_before = if self.refusals.1 == why {
            self.refusals.0
        } else {
            0
        };
        self.refusals = (n_before + 1, why.clone());
        self.ask(now, Rung::StdinClosed, Cause::BadHandshake { why })
    }

    /// What it speaks is not what was thought. Neither counted nor waited for: who asked it wrongly were we.
    fn start_over(&mut self, now: Instant, gone: bool) -> Vec<Action> {
        match &self.state {
            State::Handshaking { .. } | State::Ready { .. } | State::Unresponsive { .. }
                if gone && self.wanted() =>
            {
                let mut actions = vec![Action::FailPending(Cause::OtherEra)];
                actions.extend(self.spawn());
                actions
            }
            State::Handshaking { .. } | State::Ready { .. } | State::Unresponsive { .. } if gone => {
                self.state = self.resting();
                vec![Action::FailPending(Cause::OtherEra)]
            }
            State::Handshaking { .. } => {
                self.restart_asked = true;
                self.ask(now, Rung::StdinClosed, Cause::OtherEra)
            }
            State::Ready { .. } | State::Unresponsive { .. } => {
                self.restart_asked = true;
                self.drain(now, Cause::OtherEra)
            }
            State::Draining { .. } | State::Stopping { .. } | State::Unkillable { .. } if gone => {
                self.tree_gone(now)
            }
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Spawning
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Unkillable { .. }
            | State::Backoff { .. }
            | State::Failed { .. } => Vec::new(),
        }
    }

    fn exited(&mut self, now: Instant, exit: Exit) -> Vec<Action> {
        match &self.state {
            State::Handshaking { .. } => self.fall(now, Cause::ExitedInHandshake { exit }, None),
            State::Ready { since, .. } | State::Unresponsive { since, .. } => {
                let ready_for = now.saturating_duration_since(*since);
                self.fall(now, Cause::Exited { exit }, Some(ready_for))
            }
            // It was asked to go, and did.
            State::Draining { .. } | State::Stopping { .. } | State::Unkillable { .. } => self.tree_gone(now),
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Spawning
            | State::Backoff { .. }
            | State::Failed { .. } => Vec::new(),
        }
    }

    fn faulted(&mut self, now: Instant, cause: Cause) -> Vec<Action> {
        match &self.state {
            State::Handshaking { .. } | State::Ready { .. } | State::Unresponsive { .. } => {
                self.ask(now, Rung::StdinClosed, cause)
            }
            State::Draining { why, .. } => {
                let why = why.clone();
                self.ask(now, Rung::StdinClosed, why)
            }
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Spawning
            | State::Stopping { .. }
            | State::Unkillable { .. }
            | State::Backoff { .. }
            | State::Failed { .. } => Vec::new(),
        }
    }

    fn probes_failed(&mut self, now: Instant) -> Vec<Action> {
        if let State::Ready { since, .. } = self.state {
            let patience = 2 * (self.policy.probe_interval + self.policy.probe_timeout);
            let deadline = now + patience;
            self.state = State::Unresponsive { since, deadline };
        }
        Vec::new()
    }

    fn hung(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            // It does not listen: closing its stdin would be lost time.
            State::Unresponsive { .. } => self.ask(now, Rung::Terminated, Cause::Unresponsive),
            // The first word of it was lost in a full queue; there will be another.
            State::Ready { .. } => self.probes_failed(now),
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Spawning
            | State::Handshaking { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Unkillable { .. }
            | State::Backoff { .. }
            | State::Failed { .. } => Vec::new(),
        }
    }

    /// Calls in flight may finish, unless it is so much that the machine is in danger.
    fn over_limit(&mut self, now: Instant, cause: Cause, grossly: bool) -> Vec<Action> {
        match &self.state {
            State::Ready { .. } | State::Unresponsive { .. } if !grossly => self.drain(now, cause),
            State::Handshaking { .. } | State::Ready { .. } | State::Unresponsive { .. } => {
                self.ask(now, Rung::Terminated, cause)
            }
            State::Draining { why, .. } if grossly => {
                let why = why.clone();
                self.ask(now, Rung::Terminated, why)
            }
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Spawning
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Unkillable { .. }
            | State::Backoff { .. }
            | State::Failed { .. } => Vec::new(),
        }
    }

    fn traffic(&mut self, now: Instant) -> Vec<Action> {
        let State::Unresponsive { since, .. } = self.state else {
            return Vec::new();
        };
        self.state = State::Ready {
            since,
            stable_at: Some(now + self.policy.stable_after),
        };
        // It was open all the time; only new calls waited.
        Vec::new()
    }

    fn drained(&mut self, now: Instant) -> Vec<Action> {
        let State::Draining { why, .. } = &self.state else {
            return Vec::new();
        };
        let why = why.clone();
        self.ask(now, Rung::StdinClosed, why)
    }

    /// The process that we asked to go is gone.
    fn tree_gone(&mut self, now: Instant) -> Vec<Action> {
        let (State::Stopping { why, .. } | State::Draining { why, .. } | State::Unkillable { why, .. }) =
            &self.state
        else {
            return Vec::new();
        };
        let why = why.clone();
        if !self.wanted() {
            self.last_cause = Some(why.clone());
            self.restart_asked = false;
            self.state = self.resting();
            return vec![Action::FailPending(why)];
        }
        if std::mem::take(&mut self.restart_asked) {
            let mut actions = vec![Action::FailPending(why)];
            actions.extend(self.spawn());
            return actions;
        }
        if !matches!(
            why,
            Cause::Asked | Cause::OtherEra | Cause::Idle | Cause::ShuttingDown
        ) {
            return self.fall(now, why, None);
        }
        self.last_cause = Some(why.clone());
        let mut actions = vec![Action::FailPending(why.clone())];
        if why == Cause::Idle {
            self.state = State::Idle;
        } else {
            // It was asked to go, and is wanted again since.
            actions.extend(self.rise());
        }
        actions
    }

    // === Time ===

    fn woke(&mut self, now: Instant) -> Vec<Action> {
        if self.state.wake_at().is_none_or(|at| now < at) {
            return Vec::new();
        }
        match self.state.clone() {
            State::Ready { since, .. } => {
                self.forgive();
                self.state = State::Ready {
                    since,
                    stable_at: None,
                };
                Vec::new()
            }
            State::Handshaking { .. } => {
                let waited_ms = u64::try_from(self.policy.start_timeout.as_millis()).unwrap_or(u64::MAX);
                let noise = self.noise.take();
                self.ask(now, Rung::StdinClosed, Cause::NoHandshake { waited_ms, noise })
            }
            State::Draining { why, .. } => self.ask(now, Rung::StdinClosed, why),
            State::Stopping {
                rung: Rung::StdinClosed,
                why,
                ..
            } => self.ask(now, Rung::Terminated, why),
            State::Stopping {
                rung: Rung::Terminated,
                why,
                ..
            } => self.ask(now, Rung::Killed, why),
            // The kernel holds it, or something that it has started. No other is made beside it.
            State::Stopping {
                rung: Rung::Killed,
                why,
                ..
            }
            | State::Unkillable { why, .. } => {
                let again_at = now + KILL_GRACE;
                self.state = State::Unkillable { again_at, why };
                vec![Action::Ask(Rung::Killed)]
            }
            State::Backoff { .. } => self.spawn(),
            State::Failed { .. } => {
                self.on_probation = true;
                self.spawn()
            }
            // Nobody has confirmed it: calls go to it again, each with a deadline of its own.
            State::Unresponsive { .. } => self.traffic(now),
            State::Disabled | State::Stopped | State::Idle | State::Spawning => Vec::new(),
        }
    }

    // === The few ways from one state to the next ===

    fn wanted(&self) -> bool {
        self.enabled && self.want_up
    }

    fn resting(&self) -> State {
        if self.enabled {
            State::Stopped
        } else {
            State::Disabled
        }
    }

    fn rise(&mut self) -> Vec<Action> {
        if !self.want_up {
            self.state = State::Stopped;
            return Vec::new();
        }
        match self.policy.autostart {
            Autostart::Eager => self.spawn(),
            Autostart::OnDemand => {
                self.state = State::Idle;
                Vec::new()
            }
        }
    }

    fn spawn(&mut self) -> Vec<Action> {
        self.generation = self.generation.max(self.given).next();
        self.noise = None;
        self.state = State::Spawning;
        vec![Action::Spawn(self.generation)]
    }

    fn ask(&mut self, now: Instant, rung: Rung, why: Cause) -> Vec<Action> {
        let patience = match rung {
            Rung::StdinClosed if why == Cause::StdoutClosed => STDOUT_CLOSED_GRACE.min(self.policy.eof_grace),
            Rung::StdinClosed => self.policy.eof_grace,
            Rung::Terminated => self.policy.term_grace,
            Rung::Killed => KILL_GRACE,
        };
        let stopping = State::Stopping {
            rung,
            deadline: now + patience,
            why: why.clone(),
        };
        match std::mem::replace(&mut self.state, stopping) {
            State::Stopping { .. } | State::Unkillable { .. } => vec![Action::Ask(rung)],
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Spawning
            | State::Handshaking { .. }
            | State::Ready { .. }
            | State::Unresponsive { .. }
            | State::Draining { .. }
            | State::Backoff { .. }
            | State::Failed { .. } => vec![Action::FailPending(why), Action::Ask(rung)],
        }
    }

    /// The process is gone and nobody asked for it. `ready_for`: how long it was ready, if it was until now.
    fn fall(&mut self, now: Instant, cause: Cause, ready_for: Option<Duration>) -> Vec<Action> {
        let mut actions = vec![Action::FailPending(cause.clone())];
        self.n_failures += 1;
        self.last_cause = Some(cause.clone());
        self.restart_asked = false;
        if !self.wanted() {
            self.state = self.resting();
            return actions;
        }
        if self.rests_after(&cause) {
            self.want_up = false;
            self.state = State::Stopped;
            return actions;
        }
        self.failures
            .retain(|at| now.saturating_duration_since(*at) < self.policy.fail_window);
        self.failures.push(now);
        if self.is_hopeless() {
            self.state = State::Failed {
                retry_at: now + self.policy.failed_retry,
                cause,
            };
            return actions;
        }
        let first = self.failures.len() == 1;
        if first && ready_for.is_some_and(|ready_for| ready_for >= PROVEN_AFTER) {
            actions.extend(self.spawn());
            return actions;
        }
        let wait = self.delays.next_wait(self.n_failures_in_window());
        self.state = State::Backoff {
            until: now + wait,
            cause,
        };
        actions
    }

    /// Whether the restart policy leaves it alone after this.
    fn rests_after(&self, cause: &Cause) -> bool {
        match self.policy.restart {
            RestartWhen::Always => false,
            RestartWhen::Never => true,
            RestartWhen::OnFailure => matches!(cause, Cause::Exited { exit } if exit.is_success()),
        }
    }

    fn is_hopeless(&self) -> bool {
        self.on_probation
            || self.n_failures_in_window() >= self.policy.fail_burst
            || self.refusals.0 >= N_EQUAL_REFUSALS_MAX
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
