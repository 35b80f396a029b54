//! A child's task: translates what happens into inputs of the machine, and carries out what it decides.
//!
//! It has no opinions. Calls do not pass through it: they use the [`Link`] that it publishes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::around::{self, Refused, Report, keep, report, report_unless_over};
use super::handshake::{self, Handshake, Persona};
use super::hub::{FromChild, Hub, Outlet};
use super::link::Link;
use super::process::{Pipes, Process};
use super::reader::{Ended, Noise, Reader};
use super::state::{Action, Input, Machine, Sight, State};
use super::status::{ChildStatus, Gate};
use super::stderr::{self, Tail};
use super::{Child, Control, Shared};
use crate::config::spec::{Launch, Policy, ServerSpec};
use crate::event::{Cause, Rung, SupervisionEvent, What};
use crate::ids::{Generation, Instance, ServerName};
use crate::tasks::Tasks;

/// Controls that may wait for a child's task.
const N_CONTROLS_MAX: usize = 64;
/// Reports that may wait for a child's task.
const N_REPORTS_MAX: usize = 64;
/// Lines of stderr told with the end of a process.
const N_STDERR_LINES_TOLD: usize = 20;

/// What all children share.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Who waits for the tasks.
    pub tasks: Tasks,
    /// Where children's own messages go.
    pub hub: Outlet,
    /// Where the story is told.
    pub events: broadcast::Sender<SupervisionEvent>,
    /// Starts at once: a storm of package runners brings a machine to its knees.
    pub starts: Arc<Semaphore>,
    /// The PATH in which programs are looked for.
    pub path: Arc<str>,
    /// Where stderr is kept.
    pub log_dir: PathBuf,
}

/// Brings a child to life as its spec says.
///
/// It takes the place of `before`: it waits until no process of that is left, and counts generations on. It also
/// waits until it is `listed` where others look for it: a child may be ready within a millisecond.
///
/// With a persona it is that client's alone.
pub fn start(
    spec: &ServerSpec,
    surroundings: &Surroundings,
    before: Option<Child>,
    persona: Option<Persona>,
    listed: CancellationToken,
) -> Child {
    let owner = persona.as_ref().map(|persona| persona.owner.clone());
    let instance = Instance {
        server: spec.name.clone(),
        owner,
    };
    let policy = spec.policy.clone();
    let (control, controls) = mpsc::channel(N_CONTROLS_MAX);
    let (reports_in, reports) = mpsc::channel(N_REPORTS_MAX);
    let generation = before
        .as_ref()
        .map(|before| before.status().generation)
        .unwrap_or_default();
    let machine = Machine::new(policy.clone(), spec.enabled, generation);
    let (publish, status) = watch::channel(ChildStatus {
        state: machine.state().name(),
        since: Instant::now(),
        gate: if spec.enabled {
            Gate::Soon { at: None }
        } else {
            Gate::Shut { retry_at: None }
        },
        generation: machine.generation(),
        pid: None,
        handshake: None,
        cause: None,
        n_failures: 0,
    });
    let tail: Arc<Tail> = Arc::default();
    let noise: Arc<Noise> = Arc::default();
    let runner = Runner {
        name: spec.name.clone(),
        persona,
        has_roots: !spec.roots.is_empty(),
        launch: spec.launch.clone(),
        policy: policy.clone(),
        surroundings: surroundings.clone(),
        hub: Hub::new(instance.clone(), surroundings.hub.clone()),
        machine,
        controls,
        reports,
        reports_in,
        publish,
        tail: Arc::clone(&tail),
        noise: Arc::clone(&noise),
        run: None,
        entered: Instant::now(),
    };
    let span = tracing::info_span!("child", server = %instance);
    surroundings
        .tasks
        .spawn("child", runner.live(before, listed).instrument(span));
    Child(Arc::new(Shared {
        name: spec.name.clone(),
        instance,
        places: Arc::new(Semaphore::new(policy.inflight_max)),
        policy,
        control,
        status,
        n_waiting: AtomicUsize::new(0),
        tail,
        noise,
    }))
}

/// The present process, and what belongs to it.
#[derive(Debug)]
struct Run {
    pid: u32,
    link: Arc<Link>,
    rungs: mpsc::Sender<Rung>,
    close_stdin: CancellationToken,
    /// Ends every task around the process.
    over: CancellationToken,
    spawned: Instant,
    handshake: Option<Arc<Handshake>>,
    /// How hard it was asked to go so far.
    rung: Option<Rung>,
    /// Held until the handshake is over.
    start: Option<OwnedSemaphorePermit>,
}

/// However it comes to its end, also by a panic of the child's task: nobody waits for ever, and the process goes,
/// because [`keep`] sees that nobody can ask it any more.
impl Drop for Run {
    fn drop(&mut self) {
        self.link.close(&Cause::ShuttingDown, None);
        self.over.cancel();
    }
}

#[derive(Debug)]
struct Runner {
    name: ServerName,
    persona: Option<Persona>,
    has_roots: bool,
    launch: Launch,
    policy: Policy,
    surroundings: Surroundings,
    hub: Hub,
    machine: Machine,
    controls: mpsc::Receiver<Control>,
    reports: mpsc::Receiver<(Generation, Report)>,
    reports_in: mpsc::Sender<(Generation, Report)>,
    publish: watch::Sender<ChildStatus>,
    tail: Arc<Tail>,
    noise: Arc<Noise>,
    run: Option<Run>,
    entered: Instant,
}

/// Everything that can wake a child's task. Closed: what is not here cannot happen.
enum Event {
    Control(Control),
    /// The last handle is gone: the child is not declared any more.
    Abandoned,
    Report(Generation, Report),
    Deadline,
}

impl Runner {
    /// Lives until it is told to go down, or nobody holds a handle, and no process is left.
    async fn live(mut self, before: Option<Child>, listed: CancellationToken) {
        if let Some(before) = before {
            before.ended().await;
            self.machine.count_on(before.status().generation);
        }
        listed.cancelled().await;
        let actions = self.machine.begin();
        self.carry_out(actions);
        self.tell_state();
        let mut ending = false;
        while !ending || self.machine.state().has_process() {
            let event = self.next_event(ending).await;
            ending |= matches!(
                event,
                Event::Abandoned | Event::Control(Control::Shutdown | Control::Retire)
            );
            let Some(input) = self.translate(event) else {
                continue;
            };
            let before = self.machine.state().clone();
            let actions = self.machine.step(Instant::now(), input);
            let opens = actions.iter().any(|action| matches!(action, Action::Open));
            self.carry_out(actions);
            self.take_back_the_start();
            let has_changed = *self.machine.state() != before;
            if has_changed {
                self.entered = Instant::now();
            }
            // First how it is, then what happened: who hears of it looks.
            self.tell_state();
            if has_changed {
                self.tell_change(&before);
            }
            if opens {
                self.announce();
            }
        }
    }

    async fn next_event(&mut self, ending: bool) -> Event {
        let wake_at = self.machine.state().wake_at();
        tokio::select! {
            // What the operator wants comes before what a noisy child does. All arms are cancel-safe.
            biased;
            control = self.controls.recv(), if !ending => control.map_or(Event::Abandoned, Event::Control),
            Some((generation, report)) = self.reports.recv() => Event::Report(generation, report),
            () = sleep_until(wake_at) => Event::Deadline,
        }
    }

    fn translate(&mut self, event: Event) -> Option<Input> {
        Some(match event {
            Event::Control(Control::Enable) => Input::Enable,
            Event::Control(Control::Disable) => Input::Disable,
            Event::Control(Control::Start) => Input::Start,
            Event::Control(Control::Stop | Control::Retire) => Input::Stop,
            Event::Control(Control::Restart) => Input::Restart,
            Event::Control(Control::Demand) => Input::Demand,
            Event::Control(Control::Idle) => Input::Idle,
            Event::Control(Control::Shutdown) | Event::Abandoned => Input::Shutdown,
            Event::Deadline => Input::Woke,
            Event::Report(generation, _) if generation != self.machine.generation() => return None,
            // The start was taken back meanwhile; the permit goes back too.
            Event::Report(_, Report::MayStart(_)) if *self.machine.state() != State::Spawning => return None,
            Event::Report(_, Report::IdleTooLong) => Input::Idle,
            Event::Report(generation, Report::MayStart(permit)) => {
                Input::Seen(generation, self.spawn(permit))
            }
            Event::Report(generation, Report::Agreed(handshake)) => {
                if let Some(run) = &mut self.run {
                    run.handshake = Some(handshake);
                }
                Input::Seen(generation, Sight::HandshakeDone)
            }
            Event::Report(generation, Report::Sight(sight)) => {
                if matches!(sight, Sight::Exited(_) | Sight::TreeGone) {
                    self.tell_gone(&sight);
                }
                Input::Seen(generation, sight)
            }
        })
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Spawn(generation) => self.ask_for_a_start(generation),
                Action::Handshake => self.shake_hands(),
                Action::Open => self.open(),
                Action::Drain => self.drain(),
                Action::Ask(rung) => self.ask(rung),
                Action::FailPending(cause) => self.fail_pending(&cause),
            }
        }
    }

    /// A process that waits for its turn and is not wanted any more is not made at all: the turn may come late.
    fn take_back_the_start(&mut self) {
        if *self.machine.state() == State::Spawning && !self.machine.is_wanted() {
            let never = Sight::NotSpawned(Cause::Asked);
            let input = Input::Seen(self.machine.generation(), never);
            let actions = self.machine.step(Instant::now(), input);
            self.carry_out(actions);
        }
    }

    // === Making a process ===

    fn ask_for_a_start(&self, generation: Generation) {
        let starts = Arc::clone(&self.surroundings.starts);
        let reports = self.reports_in.clone();
        self.surroundings.tasks.spawn("start permit", async move {
            let permit = tokio::select! {
                permit = starts.acquire_owned() => permit,
                // The child's task has ended.
                () = reports.closed() => return,
            };
            if let Ok(permit) = permit {
                report(&reports, generation, Report::MayStart(permit)).await;
            }
        });
    }

    fn spawn(&mut self, permit: OwnedSemaphorePermit) -> Sight {
        let command = match &self.launch {
            Launch::Command(command) => command,
            Launch::Broken { why } => return Sight::NotSpawned(Cause::CannotStart { why: why.clone() }),
        };
        match Process::spawn(command, &self.surroundings.path) {
            Ok((process, pipes)) => {
                self.surround(process, pipes, permit);
                Sight::Spawned
            }
            Err(cause) => {
                if matches!(cause, Cause::NoResources { .. }) {
                    let generation = self.machine.generation().0;
                    tracing::error!(generation, "no process can be made: {cause}");
                }
                Sight::NotSpawned(cause)
            }
        }
    }

    /// Starts the tasks around a process.
    fn surround(&mut self, process: Process, pipes: Pipes, permit: OwnedSemaphorePermit) {
        let generation = self.machine.generation();
        let pid = process.pid();
        self.tell(What::Spawned { pid });
        self.tail.begin_process();
        let n_lines_max = 2 * self.policy.inflight_max + 64;
        let (link, queue) = Link::new(generation, n_lines_max);
        let (close_stdin, over) = (CancellationToken::new(), CancellationToken::new());
        let (rungs, asked) = mpsc::channel(4);
        let read_to_end = CancellationToken::new();
        self.spawn_reader(Arc::clone(&link), pipes.stdout, over.clone(), read_to_end.clone());
        self.spawn_writer(
            Arc::clone(&link),
            queue,
            pipes.stdin,
            close_stdin.clone(),
            over.clone(),
        );
        let file = self
            .surroundings
            .log_dir
            .join("children")
            .join(format!("{}.log", self.name));
        let (tail, end, words_read) = (Arc::clone(&self.tail), over.clone(), CancellationToken::new());
        let read = [read_to_end, words_read.clone()];
        self.task("child stderr", async move {
            tokio::select! {
                () = stderr::drain(pipes.stderr, tail, file) => {}
                // Something outside the group holds it open.
                () = end.cancelled() => {}
            }
            words_read.cancel();
        });
        let reports = self.reports_in.clone();
        self.task(
            "child process",
            keep(process, asked, read, over.clone(), generation, reports),
        );
        let spawned = Instant::now();
        let (handshake, rung, start) = (None, None, Some(permit));
        self.run = Some(Run {
            pid,
            link,
            rungs,
            close_stdin,
            over,
            spawned,
            handshake,
            rung,
            start,
        });
    }

    fn spawn_reader(
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

    fn spawn_writer(
        &self,
        link: Arc<Link>,
        queue: mpsc::Receiver<super::outgoing::OutLine>,
        stdin: tokio::process::ChildStdin,
        close: CancellationToken,
        over: CancellationToken,
    ) {
        let (reports, generation, stall) =
            (self.reports_in.clone(), link.generation, self.policy.write_stall);
        self.task("child stdin", async move {
            let writing = super::writer::run(link, queue, stdin, stall, close);
            let ended = tokio::select! {
                ended = writing => ended,
                () = over.cancelled() => None,
            };
            if let Some(cause) = ended {
                report_unless_over(&reports, generation, Sight::Broken(cause), &over).await;
            }
        });
    }

    // === What the machine decides ===

    fn shake_hands(&self) {
        let Some(run) = &self.run else { return };
        let (link, over) = (Arc::clone(&run.link), run.over.clone());
        let (reports, patience) = (self.reports_in.clone(), self.policy.start_timeout);
        let params = handshake::initialize_params(self.persona.as_ref(), self.has_roots, self.policy.sharing);
        self.task("child handshake", async move {
            let generation = link.generation;
            let shaken = tokio::select! {
                shaken = around::shake_hands(&link, patience, params) => shaken,
                () = over.cancelled() => return,
            };
            let told = match shaken {
                Ok(handshake) => Report::Agreed(Arc::new(handshake)),
                Err(Refused::Said(why)) => Report::Sight(Sight::HandshakeRefused(why)),
                // The process is gone, or the machine's own deadline has come: that is told elsewhere.
                Err(Refused::Gone) => return,
            };
            report(&reports, generation, told).await;
        });
    }

    fn open(&mut self) {
        let Some(run) = &mut self.run else { return };
        run.start = None;
        let Some(handshake) = run.handshake.clone() else {
            return;
        };
        let revision = handshake.revision.as_str().to_owned();
        let took_ms = millis(run.spawned.elapsed());
        let (link, over) = (Arc::clone(&run.link), run.over.clone());
        self.tell(What::Ready { revision, took_ms });
        self.task("child watch", self.watch(link, over));
    }

    fn announce(&self) {
        let generation = self.machine.generation();
        self.hub.take(FromChild::Ready { generation });
    }

    fn watch(&self, link: Arc<Link>, over: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let (reports, policy, generation) = (self.reports_in.clone(), self.policy.clone(), link.generation);
        async move {
            let say = |told: Report| {
                // Said again later, should the queue be full.
                drop(reports.try_send((generation, told)));
            };
            // None of these ends by itself: each is needed as long as the process.
            tokio::select! {
                () = over.cancelled() => {}
                () = super::watch::deadlines(Arc::clone(&link), policy.call_timeout) => {}
                () = super::watch::liveness(Arc::clone(&link), policy.clone(), |sight| say(Report::Sight(sight))) => {}
                () = super::watch::idleness(Arc::clone(&link), policy.idle_stop, || say(Report::IdleTooLong)) => {}
            }
        }
    }

    fn drain(&self) {
        let Some(run) = &self.run else { return };
        let (link, over, reports) = (Arc::clone(&run.link), run.over.clone(), self.reports_in.clone());
        self.task("child drain", async move {
            let drained = async {
                while link.n_inflight() > 0 {
                    link.idle.notified().await;
                }
            };
            tokio::select! {
                () = over.cancelled() => {}
                () = drained => report(&reports, link.generation, Report::Sight(Sight::Drained)).await,
            }
        });
    }

    fn ask(&mut self, rung: Rung) {
        let Some(run) = &mut self.run else { return };
        run.start = None;
        run.close_stdin.cancel();
        // A full queue means that the rung before is still to be climbed; the machine asks again.
        let queued = run.rungs.try_send(rung).is_ok();
        let is_new = run.rung != Some(rung);
        run.rung = Some(rung);
        if queued && is_new {
            self.tell(What::Asked { rung });
        }
    }

    fn fail_pending(&self, cause: &Cause) {
        if let Some(run) = &self.run {
            run.link.close(cause, self.next_process_in());
        }
    }

    /// How long until there is another process, if one is to come.
    fn next_process_in(&self) -> Option<Duration> {
        let now = Instant::now();
        match self.machine.state() {
            State::Backoff { until: at, .. } | State::Failed { retry_at: at, .. } => {
                Some(at.saturating_duration_since(now))
            }
            State::Spawning => Some(Duration::ZERO),
            State::Disabled
            | State::Stopped
            | State::Idle
            | State::Handshaking { .. }
            | State::Ready { .. }
            | State::Unresponsive { .. }
            | State::Draining { .. }
            | State::Stopping { .. } => None,
        }
    }

    // === Telling ===

    fn tell_state(&mut self) {
        let (has_process, generation) = (self.machine.state().has_process(), self.machine.generation());
        // While the next process is being made, the run is still that of the one before.
        drop(
            self.run
                .take_if(|run| !has_process || run.link.generation != generation),
        );
        let is_ready = matches!(self.machine.state(), State::Ready { .. });
        let status = ChildStatus {
            state: self.machine.state().name(),
            since: self.entered,
            gate: self.gate(),
            generation: self.machine.generation(),
            pid: self.run.as_ref().map(|run| run.pid),
            handshake: self.run.as_ref().and_then(|run| run.handshake.clone()),
            cause: self.machine.last_cause().filter(|_| !is_ready).cloned(),
            n_failures: self.machine.n_failures(),
        };
        self.publish.send_replace(status);
    }

    fn gate(&self) -> Gate {
        match (self.machine.state(), &self.run) {
            (State::Ready { .. }, Some(run)) => Gate::Open(Arc::clone(&run.link)),
            (State::Idle, _) => Gate::OnDemand,
            (State::Backoff { until, .. }, _) => Gate::Soon { at: Some(*until) },
            (State::Failed { retry_at, .. }, _) => Gate::Shut {
                retry_at: Some(*retry_at),
            },
            (State::Disabled | State::Stopped, _) => Gate::Shut { retry_at: None },
            (
                State::Spawning
                | State::Handshaking { .. }
                | State::Ready { .. }
                | State::Unresponsive { .. }
                | State::Draining { .. }
                | State::Stopping { .. },
                _,
            ) => Gate::Soon { at: None },
        }
    }

    fn tell_change(&self, before: &State) {
        let now = Instant::now();
        match self.machine.state() {
            State::Backoff { until, .. } => self.tell(What::Backoff {
                wait_ms: millis(until.saturating_duration_since(now)),
                failures: self.machine.n_failures_in_window(),
            }),
            State::Failed { retry_at, cause } => self.tell(What::Failed {
                cause: cause.clone(),
                retry_ms: Some(millis(retry_at.saturating_duration_since(now))),
            }),
            State::Stopped | State::Disabled | State::Idle => self.tell(What::Stopped),
            State::Unresponsive { .. } => self.tell(What::Unresponsive),
            State::Ready { .. } if matches!(before, State::Unresponsive { .. }) => {
                self.tell(What::Responsive)
            }
            State::Spawning
            | State::Handshaking { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopping { .. } => {}
        }
    }

    /// The end of a process is told before the machine moves on, with the cause as it will see it.
    fn tell_gone(&self, sight: &Sight) {
        let cause = match (self.machine.state(), sight) {
            (State::Stopping { why, .. } | State::Draining { why, .. }, _) => why.clone(),
            (State::Handshaking { .. }, Sight::Exited(exit)) => Cause::ExitedInHandshake { exit: *exit },
            (_, Sight::Exited(exit)) => Cause::Exited { exit: *exit },
            _other => Cause::Asked,
        };
        let expected = matches!(cause, Cause::Asked | Cause::Idle | Cause::ShuttingDown);
        let stderr = if expected {
            Vec::new()
        } else {
            self.tail.last_of_process(N_STDERR_LINES_TOLD)
        };
        self.tell(What::Gone { cause, stderr });
    }

    fn tell(&self, what: What) {
        let event = SupervisionEvent {
            at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
            server: self.name.clone(),
            generation: self.machine.generation(),
            what,
        };
        match &event.what {
            What::Failed { .. } => tracing::error!(generation = event.generation.0, "{}", event.what),
            What::Gone {
                cause: Cause::Asked | Cause::Idle | Cause::ShuttingDown,
                ..
            } => {
                tracing::info!(generation = event.generation.0, "{}", event.what);
            }
            What::Gone { .. } | What::Backoff { .. } | What::Unresponsive | What::Refused { .. } => {
                tracing::warn!(generation = event.generation.0, "{}", event.what);
            }
            What::Spawned { .. }
            | What::Ready { .. }
            | What::Asked { .. }
            | What::Stopped
            | What::Responsive => {
                tracing::info!(generation = event.generation.0, "{}", event.what);
            }
        }
        // Nobody may be listening.
        drop(self.surroundings.events.send(event));
    }

    fn task(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.surroundings.tasks.spawn(name, task.in_current_span());
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
