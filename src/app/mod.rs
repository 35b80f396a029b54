//! The one place that builds everything, in start order, and takes it down in reverse.
//!
//! Start: lock, leftovers of a daemon that was killed, registry, children, catalogue, doors. Stop: no new requests; those in flight finish, within
//! [`DRAIN`]; sessions end; children go; the registry is closed.

mod banner;
mod keeping;
#[cfg(target_os = "linux")]
mod leftovers;
mod limits;
mod lock;
mod records;
mod seal_keys;
mod signals;
mod verdicts;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::Principal;
use crate::bridge::Engine;
use crate::bridge::seal::Keys;
use crate::catalog::Catalog;
use crate::child::hub::Outlet;
use crate::child::process::Keeping;
use crate::child::task::Surroundings;
use crate::child::verdict::Verdicts;
use crate::config::spec::Autostart;
use crate::config::{Environment, Settings, read_servers};
use crate::declare::Declarations;
use crate::front::http::guard::{Guard, now_ms};
use crate::front::http::limits::Gate;
use crate::front::http::room::Room;
use crate::front::socket::Door;
use crate::front::{self, Front, shim, socket, stream};
use crate::registry::Registry;
use crate::registry::sessions::SessionStore;
use crate::route::backward::Backward;
use crate::route::{Listeners, Router};
use crate::session::{Sessions, keep, sweep};
use crate::supervise::{Entry, ProcessManager};
use crate::tasks::Tasks;
use crate::{login_path, telemetry};

/// Calls in flight may take so long to finish when the daemon goes down.
pub const DRAIN: Duration = Duration::from_secs(25);
/// Tasks may take so long to end when everything they serve is gone.
const LAST_TASKS: Duration = Duration::from_secs(5);
/// All processes may take so long to go: the longest patience of one is drain, stdin, SIGTERM, SIGKILL.
const LAST_PROCESSES: Duration = Duration::from_secs(30);
/// Processes that are started at once.
const N_STARTS_MAX: usize = 8;
/// Connections that may wait to be taken in; what the system allows may be less (`net.core.somaxconn`).
const N_CONNECTIONS_WAITING_MAX: u32 = 4096;
/// Verdicts that may wait to be written down.
const N_VERDICTS_MAX: usize = 256;
/// Events that a slow listener may be behind; each has its place in memory from the start.
const N_EVENTS_MAX: usize = 2048;
/// Requests in flight are counted this often while the daemon waits for them.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How the daemon was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// By a person or a service manager.
    Foreground,
    /// By the stdio shim, for a desktop client: with a bare environment, and to outlive it.
    Background,
}

/// Runs the daemon until it is told to stop.
pub async fn serve(project_dir: &Path, started: Started) -> ExitCode {
    if let Err(code) = check_folder(project_dir) {
        return code;
    }
    let settings = match Settings::load(project_dir, &Environment::of_process()) {
        Ok(settings) => settings,
        Err(errors) => {
            banner::refuse(&errors.to_string());
            return ExitCode::from(2);
        }
    };
    if started == Started::Background {
        // Its own session, so that it does not end with the client that started it. It fails only for a process
        // that leads a group already, and that has what this is for.
        nix::unistd::setsid().ok();
    }
    let _log = telemetry::start(settings.log_level, &settings.log_dir)
        .inspect_err(|problem| tracing::warn!(problem))
        .ok();
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    match run(settings, project_dir, started).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::Locked(text)) => {
            banner::refuse(&text);
            ExitCode::from(if started == Started::Background {
                u8::try_from(shim::LOCKED).unwrap_or(1)
            } else {
                1
            })
        }
        Err(Refusal::Other(text)) => {
            banner::refuse(&text);
            ExitCode::from(1)
        }
        Err(Refusal::BadConfig(text)) => {
            banner::refuse(&text);
            ExitCode::from(2)
        }
    }
}

/// Relays a desktop client to the daemon.
pub async fn stdio(project_dir: &Path) -> ExitCode {
    if let Err(code) = check_folder(project_dir) {
        return code;
    }
    let settings = match Settings::load(project_dir, &Environment::of_process()) {
        Ok(settings) => settings,
        Err(errors) => {
            banner::refuse(&errors.to_string());
            return ExitCode::from(2);
        }
    };
    match shim::run(&settings, project_dir).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            banner::refuse(&text);
            ExitCode::from(1)
        }
    }
}

/// A folder that is not there is a typing error: an empty gateway would hide it.
fn check_folder(project_dir: &Path) -> Result<(), ExitCode> {
    if project_dir.is_dir() {
        return Ok(());
    }
    banner::refuse(&format!(
        "{}: no such folder; --dir names the project folder",
        project_dir.display()
    ));
    Err(ExitCode::from(2))
}

enum Refusal {
    Locked(String),
    BadConfig(String),
    Other(String),
}

async fn run(settings: Settings, project_dir: &Path, started: Started) -> Result<(), Refusal> {
    limits::no_core_files();
    let mut signals =
        signals::Signals::listen().map_err(|error| Refusal::Other(format!("signals: {error}")))?;
    if let Err(errors) = read_servers(&settings.servers_file, &settings.environment) {
        return Err(Refusal::BadConfig(errors.to_string()));
    }
    let lock = lock::take(&settings.data_dir).map_err(Refusal::Locked)?;
    let kept = keeping::Kept::begin(&settings.data_dir)
        .await
        .map_err(Refusal::Other)?;
    let registry = Registry::open(&settings.data_dir)
        .await
        .map_err(|error| Refusal::Other(error.to_string()))?;
    let has_keys = has_keys(&registry).await.map_err(Refusal::Other)?;
    if let Some(exposed) = settings.exposure(has_keys) {
        return Err(Refusal::BadConfig(exposed));
    }
    if settings.require_keys && !has_keys && settings.auth_token.is_none() {
        tracing::warn!(
            "MCP_REQUIRE_KEYS is set and there is no key: nobody comes in over HTTP; `mcpctl key create NAME` makes one"
        );
    }
    let path = match started {
        Started::Foreground => None,
        Started::Background => login_path::ask().await,
    };
    let path = path.unwrap_or_else(|| std::env::var("PATH").unwrap_or_default());
    let listener = bind(&settings).map_err(Refusal::Other)?;
    let keys = seal_keys::of(&settings.data_dir).map_err(Refusal::Other)?;
    let house = House::build(settings, registry, path, kept.keeping.clone(), &listener, keys);
    kept.look_after_strays(&house.inner);
    house.recall_lists().await;
    verdicts::recall(
        house.front.declarations.registry(),
        &house.front.manager.surroundings().verdicts,
    )
    .await;
    // Before the sessions, of which some belong to their holders.
    house
        .front
        .reload_keys()
        .await
        .map_err(|error| Refusal::Other(error.to_string()))?;
    house.recall_sessions().await;
    let reloaded = house.front.declarations.reload().await;
    if !reloaded.problems.is_empty() {
        house.take_down().await;
        return Err(Refusal::BadConfig(reloaded.problems.join("\n")));
    }
    // The first client finds the lists that are known, however fast it is.
    house.front.catalog.rebuild().await;
    house
        .inner
        .spawn("daemon.pid", lock.note().keep(house.inner.token()));
    house.revive();
    house.open(listener).map_err(Refusal::Other)?;
    banner::greet(&house.front, project_dir, &house.doors).await;
    house.live(&mut signals).await;
    house.go_down(&mut signals).await;
    kept.end();
    drop(lock);
    Ok(())
}

/// Whether there is a key that opens.
async fn has_keys(registry: &Registry) -> Result<bool, String> {
    let rows = registry.keys().await.map_err(|error| error.to_string())?;
    let opens = |until: Option<u64>| until.is_none_or(|until| until > now_ms());
    Ok(rows.iter().any(|row| opens(row.grant.expires_ms)))
}

fn bind(settings: &Settings) -> Result<TcpListener, String> {
    let address = SocketAddr::new(settings.host, settings.port);
    listen(address).map_err(|error| {
        format!("cannot listen on {address}: {error}; MCP_PORT and MCP_HOST choose another address")
    })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A daemon that is started again gets its address although connections of the last one have not quite ended.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(N_CONNECTIONS_WAITING_MAX)
}

/// Everything that was built.
struct House {
    front: Arc<Front>,
    /// Tasks of the doors: the first to go.
    doors: Tasks,
    /// Tasks of the children and of what serves them.
    inner: Tasks,
    /// The task that writes sessions down: it has to be done before they end.
    keeping: Tasks,
}

impl House {
    fn build(
        settings: Settings,
        registry: Registry,
        path: String,
        keeping: Keeping,
        listener: &TcpListener,
        keys: Keys,
    ) -> Self {
        let (doors, inner) = (Tasks::new(), Tasks::new());
        let hub = Outlet::default();
        let (events, _) = broadcast::channel(N_EVENTS_MAX);
        let (save_verdict, saved_verdicts) = mpsc::channel(N_VERDICTS_MAX);
        let verdicts = Verdicts::saved_by(save_verdict);
        let surroundings = Surroundings {
            tasks: inner.clone(),
            hub: hub.clone(),
            events: events.clone(),
            starts: Arc::new(Semaphore::new(N_STARTS_MAX)),
            path: path.into(),
            log_dir: settings.log_dir.clone(),
            keeping,
            census: Arc::default(),
            verdicts,
        };
        let manager = ProcessManager::new(surroundings);
        let (save, saved) = mpsc::channel(64);
        let catalog = Catalog::new(manager.directory(), inner.clone(), save, events.clone());
        let router = Router::new(
            manager.directory(),
            catalog.clone(),
            Arc::new(Listeners::default()),
            inner.clone(),
        );
        let sessions = Sessions::new(router.clone());
        let backward = Backward::new(router.clone(), catalog.clone(), inner.clone(), events.clone());
        hub.connect(Arc::new(backward));
        let engine = Engine::new(router, inner.clone(), keys);
        inner.spawn("parked calls", sweep_parks(engine.clone(), inner.token()));
        inner.spawn(
            "seal keys",
            seal_keys::rotate(engine.clone(), settings.data_dir.clone(), inner.token()),
        );
        inner.spawn(
            "journal",
            records::journal(registry.clone(), events.subscribe(), inner.token()),
        );
        inner.spawn(
            "save snapshots",
            records::snapshots(registry.clone(), saved, inner.token()),
        );
        inner.spawn(
            "save verdicts",
            verdicts::keep(registry.clone(), saved_verdicts, inner.token()),
        );
        inner.spawn(
            "rebuild the view",
            records::rebuild(
                catalog.clone(),
                manager.directory(),
                events.subscribe(),
                inner.token(),
            ),
        );
        let port = listener
            .local_addr()
            .map_or(settings.port, |address| address.port());
        let front = Front {
            engine,
            sessions,
            catalog,
            conversations: front::conversation::Conversations::default(),
            listens: front::listen::Listens::default(),
            guard: Guard::new(&settings),
            owner: Arc::new(Principal::owner()),
            gate: Arc::new(Gate::new(settings.limits)),
            reading_keys: tokio::sync::Mutex::default(),
            tasks: doors.clone(),
            started: Instant::now(),
            first: OnceLock::new(),
            url: format!("http://{}/mcp", SocketAddr::new(settings.host, port)),
            closing: CancellationToken::new(),
            told_to_stop: CancellationToken::new(),
            declarations: Declarations::new(settings, registry, manager.clone()),
            manager,
        };
        Self {
            front: Arc::new(front),
            doors,
            inner,
            keeping: Tasks::new(),
        }
    }

    /// Takes the lists of the last run: they are on offer before the children are ready.
    async fn recall_lists(&self) {
        match self.front.declarations.registry().snapshots().await {
            Ok(saved) => {
                for (server, fingerprint, text) in &saved {
                    self.front.catalog.preload(server, fingerprint, text);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the lists of the last run could not be read; servers tell them again");
            }
        }
    }

    /// Takes in the sessions of the last run, before the children start: those are told what to subscribe to.
    async fn recall_sessions(&self) {
        let data_dir = &self.front.declarations.settings().data_dir;
        match SessionStore::open(data_dir).await {
            Ok(store) => {
                let guard = &self.front.guard;
                keep::recall(&self.front.sessions, &store, |id| guard.principal(id)).await;
                let keep = keep::run(self.front.sessions.clone(), store, self.keeping.token());
                self.keeping.spawn("keep sessions", keep);
            }
            Err(error) => {
                self.front.sessions.keeper().close();
                tracing::warn!(%error, "sessions are not kept: after a restart clients have to begin anew");
            }
        }
    }

    /// Processes of sessions of the last run start, where those subscribe to something.
    fn revive(&self) {
        let router = self.front.engine.router().clone();
        let stop = self.inner.token();
        self.inner.spawn("revive", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = router.revive(None) => {}
            }
        });
    }

    /// Opens the doors.
    fn open(&self, listener: TcpListener) -> Result<(), String> {
        let data_dir = self.front.declarations.settings().data_dir.clone();
        let opened = |name| {
            Door::open(&data_dir, name).map_err(|error| format!("{}: {error}", data_dir.join(name).display()))
        };
        let (control, lines) = (opened(socket::CONTROL)?, opened(socket::LINES)?);
        let directory = Arc::clone(&self.front.manager.directory().borrow());
        let starts = |entry: &&Entry| entry.spec.enabled && entry.spec.policy.autostart == Autostart::Eager;
        let first = directory.iter().filter(starts);
        let first = first.map(|entry| entry.spec.name.clone()).collect();
        self.front.first.get_or_init(|| first);
        let closing = &self.front.closing;
        let network = axum::serve(
            Room::new(listener, self.doors.clone(), Arc::clone(&self.front.gate)),
            front::http::network(Arc::clone(&self.front)),
        )
        .with_graceful_shutdown(closing.clone().cancelled_owned());
        self.doors.spawn("http door", async move { drop(network.await) });
        let control = axum::serve(
            ControlDoor(control),
            front::http::control(Arc::clone(&self.front)),
        )
        .with_graceful_shutdown(closing.clone().cancelled_owned());
        self.doors
            .spawn("control door", async move { drop(control.await) });
        self.doors
            .spawn("line door", stream::serve(Arc::clone(&self.front), lines));
        self.inner.spawn(
            "declarations",
            self.front.declarations.clone().watch(self.inner.token()),
        );
        let (front, stop) = (Arc::clone(&self.front), self.inner.token());
        self.inner
            .spawn("keys", async move { front.look_after_keys(stop).await });
        let listeners = Arc::clone(self.front.engine.router().listeners());
        self.inner.spawn(
            "reap instances",
            records::reap(self.front.manager.clone(), listeners, self.inner.token()),
        );
        self.inner.spawn(
            "session sweep",
            sweep::run(self.front.sessions.clone(), self.inner.token()),
        );
        let (sessions, views) = (self.front.sessions.clone(), self.front.catalog.watch());
        // A daemon that goes down takes every tool away, and that is no news for a client.
        let stop = self.front.closing.clone();
        self.inner.spawn("tell of changes", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sessions.tell_of_changes(views) => {}
            }
        });
        Ok(())
    }

    /// Lives until a signal or an operator says stop.
    async fn live(&self, signals: &mut signals::Signals) {
        loop {
            let told = tokio::select! {
                // Both are cancel-safe.
                told = signals.next() => told,
                () = self.front.told_to_stop.cancelled() => signals::Signal::Stop,
            };
            match told {
                signals::Signal::Stop => return,
                signals::Signal::Reload => {
                    self.front.declarations.reload().await;
                }
            }
        }
    }

    /// Takes everything down; a second signal hurries.
    async fn go_down(self, signals: &mut signals::Signals) {
        tracing::info!(
            "going down: no new requests; {} in flight",
            self.front.sessions.n_inflight()
        );
        self.front.closing.cancel();
        self.front.engine.parks().end_all();
        let deadline = Instant::now() + DRAIN;
        let finished = async {
            while self.front.sessions.n_inflight() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        tokio::select! {
            () = finished => {}
            () = tokio::time::sleep_until(deadline) => tracing::warn!("some requests did not finish in time"),
            () = signals.stop() => tracing::warn!("told twice: not waiting for requests"),
        }
        self.take_down().await;
        tracing::info!("gone");
    }

    async fn take_down(self) {
        self.front.closing.cancel();
        // Children answer what is still in flight by going, and their answers need the doors' tasks.
        if tokio::time::timeout(LAST_PROCESSES, self.front.manager.shut_down())
            .await
            .is_err()
        {
            tracing::error!("some processes did not end even when killed; the kernel holds them");
        }
        // Before they end in memory: on disk they stay.
        if let Err(left) = self.keeping.drain(LAST_TASKS).await {
            tracing::warn!(?left, "sessions could not be written down in time");
        }
        self.front.sessions.end_all();
        if let Err(left) = self.doors.drain(LAST_TASKS).await {
            tracing::warn!(?left, "tasks of the doors did not end in time");
        }
        if let Err(left) = self.inner.drain(LAST_TASKS).await {
            tracing::warn!(?left, "tasks did not end in time");
        }
        if let Err(error) = self.front.declarations.registry().close().await {
            tracing::warn!(%error, "the registry could not be closed neatly; nothing is lost");
        }
    }
}

/// Takes back parked calls whose clients do not come back.
async fn sweep_parks(engine: Engine, stop: CancellationToken) {
    const EVERY: Duration = Duration::from_millis(500);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => engine.parks().sweep(Instant::now()),
        }
    }
}

/// The control socket.
struct ControlDoor(Door);

impl axum::serve::Listener for ControlDoor {
    type Io = tokio::net::UnixStream;
    type Addr = ();

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        (self.0.accept().await, ())
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(())
    }
}
