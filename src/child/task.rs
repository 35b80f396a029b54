//! A child's task: translates what happens into inputs of the machine, and carries out what it decides.
//!
//! It has no opinions. Calls do not pass through it: they use the [`Link`] that it publishes.

mod attendants;
mod news;
mod starting;
mod unproven;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::around::{self, Report, keep, report};
pub use super::birth::{Birth, Surroundings};
use super::handshake::{self, Handshake, Persona};
use super::hub::{FromChild, Hub};
use super::inputs::Numbers;
use super::link::Link;
use super::mask::Mask;
use super::meet::{Hunch, Meeting, Met, Refused};
use super::probe::Finding;
use super::process::{Pipes, Process, Tag};
use super::reader::Noise;
use super::secrets::{Filled, Missing};
use super::state::{Action, Input, Machine, Sight, State};
use super::status::{ChildStatus, Gate};
use super::stderr::{Log, Tail};
use super::stop::{self, Stop};
use super::telling::millis;
use super::usage::{Footprint, Tree};
use super::watch::Sign;
use super::{Child, Control, Shared, verdict};
use crate::config::is_runner;
use crate::config::spec::{Command, Launch, Policy, ServerSpec};
use crate::event::{Cause, Rung, What};
use crate::ids::{Generation, Instance, ServerName};
use crate::tasks::unless_panicked;
use attendants::broken;

/// Controls that may wait for a child's task.
const N_CONTROLS_MAX: usize = 64;
/// Reports that may wait for a child's task.
const N_REPORTS_MAX: usize = 64;
/// Lines of stderr told with the end of a process.
const N_STDERR_LINES_TOLD: usize = 20;
/// From a panic of a child's task until it is taken up again: should it panic at once, it does little else meanwhile.
const PANIC_REST: Duration = Duration::from_secs(1);
/// Characters of a child's own words that are told.
const N_CHARS_TOLD: usize = 1_000;

/// Brings a child to life as its spec says.
pub fn start(spec: &ServerSpec, surroundings: &Surroundings, birth: Birth) -> Child {
    let Birth {
        after,
        numbers,
        persona,
        older,
        spare,
        listed,
        is_trial,
    } = birth;
    let owner = persona.as_ref().map(|persona| persona.owner.clone());
    let instance = Instance {
        server: spec.name.clone(),
        owner,
        older,
        spare,
    };
    let policy = spec.policy.clone();
    let (control, controls) = mpsc::channel(N_CONTROLS_MAX);
    let (reports_in, reports) = mpsc::channel(N_REPORTS_MAX);
    let machine = Machine::new(policy.clone(), spec.enabled, Generation::default());
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
        finishing: None,
        cause: None,
        n_failures: 0,
        on_probation: false,
    });
    let retired = CancellationToken::new();
    let tail: Arc<Tail> = Arc::default();
    let noise: Arc<Noise> = Arc::default();
    let footprint: Arc<Footprint> = Arc::default();
    let missing: Arc<Missing> = Arc::default();
    let runner = Runner {
        name: spec.name.clone(),
        persona,
        has_roots: !spec.roots.is_empty(),
        launch: spec.launch.clone(),
        policy: policy.clone(),
        surroundings: surroundings.clone(),
        hub: Hub::new(instance.clone(), surroundings.hub.clone()),
        machine,
        numbers: numbers.clone(),
        is_trial,
        is_older: older,
        has_shaken_hands: false,
        retired: retired.clone(),
        waits_for_work: false,
        controls,
        reports,
        reports_in,
        publish,
        hunch: Hunch::default(),
        tail: Arc::clone(&tail),
        noise: Arc::clone(&noise),
        footprint: Arc::clone(&footprint),
        missing: Arc::clone(&missing),
        mask: Mask::default(),
        stop_command: None,
        run: None,
        stopped: stop::nothing(),
        entered: Instant::now(),
        stuck: None,
        ending: false,
        panic: None,
    };
    let span = tracing::info_span!("child", server = %instance);
    surroundings
        .tasks
        .spawn("child", runner.live(after, listed).instrument(span));
    Child(Arc::new(Shared {
        name: spec.name.clone(),
        instance,
        places: Arc::new(Semaphore::new(policy.inflight_max)),
        policy,
        control,
        retired,
        numbers,
        status,
        n_waiting: AtomicUsize::new(0),
        tail,
        footprint,
        missing,
        noise,
    }))
}

/// The present process, and what belongs to it.
#[derive(Debug)]
struct Run {
    pid: u32,
    tree: Tree,
    link: Arc<Link>,
    rungs: mpsc::Sender<Rung>,
    close_stdin: CancellationToken,
    /// Ends every task around the process.
    over: CancellationToken,
    spawned: Instant,
    handshake: Option<Arc<Handshake>>,
    /// How hard it was asked to go so far.
    rung: Option<Rung>,
    /// Whether its end may be its answer to being asked what it speaks.
    is_asking: Arc<AtomicBool>,
    /// What its program looks like.
    fingerprint: String,
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
    numbers: Numbers,
    is_trial: bool,
    /// Spoken to with a handshake although the server also knows the revision without one.
    is_older: bool,
    /// Whether a process of this line has.
    has_shaken_hands: bool,
    /// Set when nothing comes after the present process.
    retired: CancellationToken,
    /// Told to yield: what it has to finish beside calls is waited for as well.
    waits_for_work: bool,
    hunch: Hunch,
    controls: mpsc::Receiver<Control>,
    reports: mpsc::Receiver<(Generation, Report)>,
    reports_in: mpsc::Sender<(Generation, Report)>,
    publish: watch::Sender<ChildStatus>,
    tail: Arc<Tail>,
    noise: Arc<Noise>,
    footprint: Arc<Footprint>,
    missing: Arc<Missing>,
    /// Of the present process.
    mask: Mask,
    /// For the end of the present process.
    stop_command: Option<Command>,
    run: Option<Run>,
    /// Set when what is run at the end of the last process has ended.
    stopped: CancellationToken,
    entered: Instant,
    /// Why it is shown as failed though its process is there.
    stuck: Option<Cause>,
    /// It is to end when no process is left.
    ending: bool,
    panic: Option<Panic>,
}

/// What broke this task, and is still to be dealt with.
#[derive(Debug)]
struct Panic {
    cause: Cause,
    had_process: bool,
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
    /// Lives until it is told to go down, or nobody holds a handle, and no process is left. A panic on the way costs the
    /// process, and is told as the cause of its end.
    async fn live(mut self, after: Vec<Child>, listed: CancellationToken) {
        for before in after {
            before.ended().await;
        }
        listed.cancelled().await;
        let mut has_begun = false;
        while let Err(what) = unless_panicked(self.go_on(std::mem::replace(&mut has_begun, true))).await {
            tracing::error!(what, "a child's task panicked; this is a bug in mcp-wrapper");
            let cause = Cause::Panicked { what };
            let run = self.run.take();
            // Dropped, the run ends its process: whatever was decided last cannot be trusted.
            let had_process = run.is_some_and(|run| {
                run.link.close(&cause, None);
                true
            });
            self.panic = Some(Panic { cause, had_process });
            tokio::time::sleep(PANIC_REST).await;
        }
    }

    async fn go_on(&mut self, has_begun: bool) {
        if has_begun {
            self.recover();
        } else {
            self.begin();
        }
        while !self.ending || self.machine.state().has_process() {
            let event = self.next_event(self.ending).await;
            self.ending |= matches!(
                event,
                Event::Abandoned | Event::Control(Control::Shutdown | Control::Retire | Control::Yield)
            );
            self.waits_for_work |= matches!(event, Event::Control(Control::Yield));
            let Some(input) = self.translate(event).await else {
                continue;
            };
            let before = self.machine.state().clone();
            let now = Instant::now();
            let actions = self.step(|machine| machine.step(now, input));
            let opens = actions.iter().any(|action| matches!(action, Action::Open));
            self.carry_out(actions);
            self.give_up_unproven();
            self.take_back_the_start();
            let has_changed = *self.machine.state() != before;
            let was_stuck = self.stuck.is_some();
            self.note_stuck();
            // That its failures are forgotten, or that it is asked harder to go, is no other state for people.
            let has_moved = self.machine.state().name() != before.name();
            if has_moved && !(was_stuck && self.stuck.is_some()) {
                self.entered = Instant::now();
            }
            // First how it is, then what happened: who hears of it looks.
            self.tell_state();
            if has_changed {
                self.tell_change(&before, now);
            }
            if opens {
                self.announce();
            }
        }
        self.stopped.cancelled().await;
    }

    fn begin(&mut self) {
        let is_trial = self.is_trial;
        let actions = self.step(|machine| {
            if is_trial {
                machine.step(Instant::now(), Input::Start)
            } else {
                machine.begin()
            }
        });
        self.carry_out(actions);
        self.tell_state();
    }

    /// After a panic: the process goes as one that had to be killed, and another comes as after any failure.
    fn recover(&mut self) {
        let Some(Panic { cause, had_process }) = self.panic.take() else {
            return;
        };
        self.machine.lose(Instant::now(), cause);
        if !had_process {
            // Nobody will report its end.
            self.tell_gone(&Sight::TreeGone);
            let gone = Input::Seen(self.machine.generation(), Sight::TreeGone);
            let before = self.machine.state().clone();
            let now = Instant::now();
            let actions = self.step(|machine| machine.step(now, gone));
            self.carry_out(actions);
            self.tell_change(&before, now);
        }
        self.entered = Instant::now();
        self.tell_state();
    }

    /// Says who it is that does not go, as soon as that is so.
    fn note_stuck(&mut self) {
        let is_stuck = matches!(self.machine.state(), State::Unkillable { .. });
        self.stuck = match self.stuck.take() {
            known @ Some(_) if is_stuck => known,
            _not_before if is_stuck => {
                let tree = self.run.as_ref().map(|run| run.tree);
                let (pid, state) = tree.map(Tree::survivor).unwrap_or_default();
                Some(Cause::Unkillable { pid, state })
            }
            _not_now => None,
        };
    }

    /// Lets the machine decide; a process that it makes has a number that no other of its line has had.
    fn step(&mut self, decide: impl FnOnce(&mut Machine) -> Vec<Action>) -> Vec<Action> {
        let machine = &mut self.machine;
        self.numbers.give(|given| {
            machine.count_on(given);
            let actions = decide(machine);
            (machine.generation(), actions)
        })
    }

    async fn next_event(&mut self, ending: bool) -> Event {
        let wake_at = self.machine.state().wake_at();
        tokio::select! {
            // What the operator wants comes before what a noisy child does. All arms are cancel-safe.
            biased;
            control = self.controls.recv(), if !ending => control.map_or(Event::Abandoned, Event::Control),
            Some((generation, report)) = self.reports.recv() => Event::Report(generation, report),
            () = around::sleep_until(wake_at) => Event::Deadline,
        }
    }

    async fn translate(&mut self, event: Event) -> Option<Input> {
        Some(match event {
            Event::Control(Control::MeetAnew(generation)) => {
                self.surroundings.verdicts.wipe(&self.name);
                Input::Seen(generation, Sight::StartOver { gone: false })
            }
            Event::Control(Control::Enable) => Input::Enable,
            Event::Control(Control::Disable) => Input::Disable,
            Event::Control(Control::Start) => Input::Start,
            Event::Control(Control::Stop | Control::Retire | Control::Yield) => Input::Stop,
            Event::Control(Control::Restart) => {
                // Whoever asks for another process may have changed what it runs.
                self.hunch.set(None);
                self.surroundings.verdicts.doubt(&self.name);
                Input::Restart
            }
            Event::Control(Control::Demand) => Input::Demand,
            Event::Control(Control::Idle) => Input::Idle,
            Event::Control(Control::Shutdown) | Event::Abandoned => Input::Shutdown,
            Event::Deadline => Input::Woke,
            Event::Report(generation, _) if generation != self.machine.generation() => return None,
            // The start was taken back meanwhile; the permit goes back too.
            Event::Report(_, Report::MayStart(..)) if *self.machine.state() != State::Spawning => {
                return None;
            }
            Event::Report(_, Report::IdleTooLong) => Input::Idle,
            Event::Report(_, Report::Told(what)) => {
                self.tell(what);
                return None;
            }
            Event::Report(generation, Report::MayStart(permit, filled)) => {
                Input::Seen(generation, self.spawn(permit, filled).await)
            }
            Event::Report(generation, Report::Agreed(handshake)) => {
                if let Some(run) = &mut self.run {
                    run.handshake = Some(handshake);
                }
                self.prove();
                Input::Seen(generation, Sight::HandshakeDone)
            }
            Event::Report(generation, Report::Sight(sight)) => {
                let sight = self.perhaps_asked_too_much(self.without_secrets(sight));
                if matches!(
                    sight,
                    Sight::Exited(_) | Sight::TreeGone | Sight::StartOver { gone: true }
                ) {
                    self.tell_gone(&sight);
                }
                Input::Seen(generation, sight)
            }
        })
    }

    /// What the child has written itself, as it may be shown.
    fn without_secrets(&self, sight: Sight) -> Sight {
        let hidden = |text: &str| self.mask.hide(text).chars().take(N_CHARS_TOLD).collect();
        match &sight {
            Sight::Noise(line) => Sight::Noise(hidden(line)),
            Sight::HandshakeRefused(why) => Sight::HandshakeRefused(hidden(why)),
            Sight::Spawned
            | Sight::NotSpawned(_)
            | Sight::HandshakeDone
            | Sight::StartOver { .. }
            | Sight::Exited(_)
            | Sight::TreeGone
            | Sight::StdoutClosed
            | Sight::Broken(_)
            | Sight::ProbesFailed
            | Sight::Hung
            | Sight::Traffic
            | Sight::OverLimit { .. }
            | Sight::Drained => sight,
        }
    }

    /// A process that ends when it is asked what it speaks has answered: an older server, as some are. The next one is
    /// not asked.
    fn perhaps_asked_too_much(&self, sight: Sight) -> Sight {
        let asked = self
            .run
            .as_ref()
            .is_some_and(|run| run.is_asking.load(Ordering::Acquire));
        let gone = matches!(sight, Sight::Exited(_));
        let is_end = gone || matches!(sight, Sight::StdoutClosed | Sight::Broken(_));
        if !is_end || !asked || !matches!(self.machine.state(), State::Handshaking { .. }) {
            return sight;
        }
        self.surroundings.verdicts.wipe(&self.name);
        self.hunch.set(Some(Finding::of_its_end()));
        Sight::StartOver { gone }
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
            let actions = self.step(|machine| machine.step(Instant::now(), input));
            self.carry_out(actions);
        }
    }

    // === Making a process ===

    /// Takes as long as the leash needs to start: milliseconds.
    async fn spawn(&mut self, permit: OwnedSemaphorePermit, filled: Option<Box<Filled>>) -> Sight {
        let command = match self.take_over(filled) {
            Ok(command) => command,
            Err(cause) => return Sight::NotSpawned(cause),
        };
        let tag = Tag {
            server: self.name.as_str(),
            generation: self.machine.generation().0,
            eof_grace: self.policy.eof_grace,
            term_grace: self.policy.term_grace,
            #[cfg(target_os = "linux")]
            bounds: super::process::Bounds {
                files_max: self.policy.files_max,
                core_dumps: self.policy.core_dumps,
                nice: self.policy.nice,
            },
            memory_max: self.policy.memory_max,
            processes_max: self.policy.processes_max,
        };
        let Surroundings { path, keeping, .. } = &self.surroundings;
        match Process::spawn(&command, path, keeping, tag).await {
            Ok((process, pipes)) => {
                self.surround(process, pipes, permit);
                Sight::Spawned
            }
            Err(cause) => {
                // Any other cause is told with the state that it leads to.
                if matches!(cause, Cause::NoResources { .. }) {
                    let generation = self.machine.generation().0;
                    tracing::error!(generation, "no process can be made: {cause}");
                    self.tell(What::NotSpawned { cause: cause.clone() });
                }
                Sight::NotSpawned(cause)
            }
        }
    }

    /// Starts the tasks around a process.
    fn surround(&mut self, process: Process, pipes: Pipes, permit: OwnedSemaphorePermit) {
        let generation = self.machine.generation();
        let (pid, tree) = (process.pid(), process.tree());
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
        let words_read = CancellationToken::new();
        let read = [read_to_end, words_read.clone()];
        self.spawn_log(pipes.stderr, over.clone(), words_read);
        self.spawn_limits(tree, over.clone());
        let stop = self.stop();
        self.stopped = stop.ended();
        self.spawn_keeper(
            tree,
            keep(
                process,
                asked,
                stop,
                read,
                over.clone(),
                generation,
                self.reports_in.clone(),
            ),
        );
        let spawned = Instant::now();
        let (handshake, rung, start) = (None, None, Some(permit));
        let fingerprint = match &self.launch {
            Launch::Command(command) => verdict::fingerprint(command, &self.surroundings.path),
            Launch::Broken { .. } => String::new(),
        };
        self.run = Some(Run {
            pid,
            tree,
            link,
            rungs,
            close_stdin,
            over,
            spawned,
            is_asking: Arc::default(),
            fingerprint,
            handshake,
            rung,
            start,
        });
    }

    fn log(&self) -> Log {
        let folder = self.surroundings.log_dir.join("children");
        Log {
            tail: Arc::clone(&self.tail),
            file: folder.join(format!("{}.log", self.name)),
            bytes_max: self.policy.log_bytes_max,
            mask: self.mask.clone(),
        }
    }

    /// What is to be run at the end of the present process.
    fn stop(&self) -> Stop {
        let command = self.stop_command.as_ref();
        let generation = self.machine.generation();
        Stop::new(command, &self.name, generation, &self.surroundings, || self.log())
    }

    // === What the machine decides ===

    fn shake_hands(&self) {
        let Some(run) = &self.run else { return };
        let (link, over) = (Arc::clone(&run.link), run.over.clone());
        let reports = self.reports_in.clone();
        let params = handshake::initialize_params(self.persona.as_ref(), self.has_roots, self.policy.sharing);
        let meeting = Meeting {
            link: Arc::clone(&link),
            server: self.name.clone(),
            era: self.policy.era,
            fingerprint: run.fingerprint.clone(),
            verdicts: self.surroundings.verdicts.clone(),
            hunch: self.hunch.clone(),
            start_timeout: self.policy.start_timeout,
            is_runner: matches!(&self.launch, Launch::Command(command) if is_runner(&command.program)),
            params,
            is_asking: Arc::clone(&run.is_asking),
            mask: self.mask.clone(),
        };
        let has_roots = self.has_roots;
        self.task("child handshake", async move {
            let generation = link.generation;
            let met = tokio::select! {
                met = meeting.meet() => met,
                () = over.cancelled() => return,
            };
            let told = match met {
                Ok(Met::Agreed(handshake)) => {
                    if handshake.is_modern() {
                        link.speak_modern(has_roots);
                    }
                    Report::Agreed(Arc::new(handshake))
                }
                Ok(Met::StartOver) => Report::Sight(Sight::StartOver { gone: false }),
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
        let (link, tree, over) = (Arc::clone(&run.link), run.tree, run.over.clone());
        self.tell(What::Ready { revision, took_ms });
        self.task("child watch", self.watch(link, tree, over));
    }

    fn announce(&self) {
        let generation = self.machine.generation();
        self.hub.take(FromChild::Ready { generation });
    }

    fn watch(
        &self,
        link: Arc<Link>,
        tree: Tree,
        over: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (reports, policy, generation) = (self.reports_in.clone(), self.policy.clone(), link.generation);
        let census = Arc::clone(&self.surroundings.census);
        async move {
            let say = |told: Report| {
                // Said again later, should the queue be full.
                drop(reports.try_send((generation, told)));
            };
            // None of these ends by itself: each is needed as long as the process.
            tokio::select! {
                () = over.cancelled() => {}
                () = super::watch::deadlines(Arc::clone(&link), policy.call_timeout) => {}
                () = super::watch::liveness(Arc::clone(&link), policy.clone(), tree, census, |sign| say(match sign {
                    Sign::Seen(sight) => Report::Sight(sight),
                    Sign::Told(what) => Report::Told(what),
                })) => {}
                () = super::watch::idleness(Arc::clone(&link), policy.idle_stop, || say(Report::IdleTooLong)) => {}
            }
        }
    }

    fn drain(&self) {
        let Some(run) = &self.run else { return };
        let (link, over, reports) = (Arc::clone(&run.link), run.over.clone(), self.reports_in.clone());
        let waits_for_work = self.waits_for_work;
        self.task("child drain", async move {
            let drained = async {
                while link.n_inflight() > 0 || (waits_for_work && link.is_at_work()) {
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
            | State::Stopping { .. }
            | State::Unkillable { .. } => None,
        }
    }

    /// A task around the present process. Without it the process is of no use, so a panic costs that.
    fn task(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (reports, generation) = (self.reports_in.clone(), self.machine.generation());
        let guarded = async move {
            if let Err(what) = unless_panicked(task).await {
                report(&reports, generation, broken(name, &what)).await;
            }
        };
        self.surroundings.tasks.spawn(name, guarded.in_current_span());
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
