//! What is declared becomes what runs: `servers.toml` is mirrored into the registry, the registry's definitions
//! are resolved, and the manager applies them. Looks twice a second whether anything has changed.
//!
//! Commit, then act: what cannot be read or stored is reported, and everything stays as it was.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::api::{DefinitionOrigin, Reloaded};
use crate::config::spec::ServerSpec;
use crate::config::{ConfigErrors, Environment, RawPolicy, ServersFile, Settings, read_servers, resolve};
use crate::ids::ServerName;
use crate::registry::Registry;
use crate::supervise::ProcessManager;

/// How often we look.
const EVERY: Duration = Duration::from_millis(500);
/// So long a file must look the same before it is read: an editor may be in the middle of it, and half a file can be
/// one without faults and without servers.
const SETTLED: Duration = Duration::from_millis(100);
/// So often a file may change before it is read anyway.
const N_LOOKS_MAX: usize = 20;

/// The way from declarations to children. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Declarations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    registry: Registry,
    manager: ProcessManager,
    /// Held while declarations are read and applied.
    turn: tokio::sync::Mutex<Seen>,
    told: Mutex<Told>,
}

/// What was looked at last.
#[derive(Debug, Default, Clone, PartialEq)]
struct Seen {
    servers_file: Option<Stamp>,
    dotenv_file: Option<Stamp>,
    revision: Option<u64>,
}

type Stamp = (Option<SystemTime>, u64);

/// What people may ask about.
#[derive(Debug, Default)]
struct Told {
    problems: Vec<String>,
    /// The registry did not take or give the declarations: the fault is not in them.
    must_try_again: bool,
    origins: Vec<(ServerName, DefinitionOrigin)>,
    /// The defaults of the last good file: they hold for definitions from elsewhere too.
    defaults: RawPolicy,
}

impl Declarations {
    /// Nothing is declared yet.
    pub fn new(settings: Settings, registry: Registry, manager: ProcessManager) -> Self {
        Self(Arc::new(Shared {
            settings,
            registry,
            manager,
            turn: tokio::sync::Mutex::default(),
            told: Mutex::default(),
        }))
    }

    /// Reads all declarations and applies what changed.
    pub async fn reload(&self) -> Reloaded {
        let mut seen = self.0.turn.lock().await;
        // Looked at before: what changes meanwhile is found at the next look.
        let look = self.look().await;
        let reloaded = self.read_and_apply().await;
        let revision = self.0.registry.check().await.ok();
        *seen = Seen { revision, ..look };
        if self.told(|told| told.must_try_again) {
            // Unlike anything that can be seen, so that the next look leads here again.
            *seen = Seen::default();
        }
        reloaded
    }

    /// What is wrong with the declarations now; empty when nothing is.
    pub fn problems(&self) -> Vec<String> {
        self.told(|told| told.problems.clone())
    }

    /// Where a server's definition comes from.
    pub fn origin(&self, server: &ServerName) -> DefinitionOrigin {
        let found = self.told(|told| {
            told.origins
                .iter()
                .find(|(name, _)| name == server)
                .map(|(_, origin)| *origin)
        });
        found.unwrap_or(DefinitionOrigin::Cli)
    }

    /// The settings of the daemon.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Looks for changes until told to stop.
    pub async fn watch(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let before = self.0.turn.lock().await.clone();
            let now = self.look().await;
            if now != before {
                self.settled(now).await;
                self.reload().await;
            }
        }
    }

    async fn settled(&self, mut seen: Seen) {
        for _look in 0..N_LOOKS_MAX {
            tokio::time::sleep(SETTLED).await;
            let now = self.look().await;
            if std::mem::replace(&mut seen, now.clone()) == now {
                return;
            }
        }
    }

    async fn read_and_apply(&self) -> Reloaded {
        self.told(|told| told.must_try_again = false);
        let mut problems = Vec::new();
        let environment = self.environment(&mut problems);
        let specs = match self.0.registry.check().await {
            Ok(_) => {
                self.mirror(&environment, &mut problems).await;
                self.resolved(&environment).await
            }
            Err(error) => Err(error.to_string()),
        };
        let changes = match specs {
            Ok(specs) => self.0.manager.apply(specs).await,
            Err(error) => {
                self.told(|told| told.must_try_again = true);
                problems.push(error);
                Vec::new()
            }
        };
        for change in &changes {
            tracing::info!("declarations: {change}");
        }
        let is_news = self.told(|told| std::mem::replace(&mut told.problems, problems.clone()) != problems);
        for problem in problems.iter().filter(|_| is_news) {
            tracing::error!("{problem}");
        }
        Reloaded { changes, problems }
    }

    /// The environment, with the `.env` as it is now.
    fn environment(&self, problems: &mut Vec<String>) -> Environment {
        match Environment::of_process().with_dotenv(&self.0.settings.dotenv_file) {
            Ok(environment) => environment,
            Err(errors) => {
                problems.extend(errors.0.iter().map(ToString::to_string));
                self.0.settings.environment.clone()
            }
        }
    }

    /// What the file says, read while nobody wrote to it: many an editor empties a file before it writes it anew, and what
    /// is there in between is valid, too.
    async fn read(&self, environment: &Environment) -> Result<ServersFile, ConfigErrors> {
        let file = &self.0.settings.servers_file;
        for _look in 1..N_LOOKS_MAX {
            let before = stamp(file);
            if let Some(rest) = unsettled(before) {
                tokio::time::sleep(rest).await;
                continue;
            }
            let read = read_servers(file, environment);
            if stamp(file) == before {
                return read;
            }
        }
        read_servers(file, environment)
    }

    /// Makes the registry's definitions of origin `file` equal to the file, if that is free of faults.
    async fn mirror(&self, environment: &Environment, problems: &mut Vec<String>) {
        let file = match self.read(environment).await {
            Ok(file) => file,
            Err(errors) => {
                problems.extend(errors.0.iter().map(ToString::to_string));
                return;
            }
        };
        if let Some(problem) = self.is_taken_away(&file) {
            problems.push(problem);
            return;
        }
        match self.0.registry.mirror_file(&file.servers).await {
            Ok(()) => self.told(|told| told.defaults = file.defaults),
            Err(error) => {
                self.told(|told| told.must_try_again = true);
                problems.push(error.to_string());
            }
        }
    }

    /// A file without a word in place of servers that run: more likely somebody is about to write it, however long a busy
    /// machine makes that, than that all are to end.
    fn is_taken_away(&self, read: &ServersFile) -> Option<String> {
        let file = &self.0.settings.servers_file;
        let has_servers = |told: &mut Told| {
            told.origins
                .iter()
                .any(|(_, origin)| *origin == DefinitionOrigin::File)
        };
        if !read.servers.is_empty() || read.has_text || !self.told(has_servers) {
            return None;
        }
        let file = file.display();
        Some(format!(
            "{file}: is empty or gone; its servers go on. If there are to be none, write a comment into it (`# none`)"
        ))
    }

    async fn resolved(&self, environment: &Environment) -> Result<Vec<ServerSpec>, String> {
        let declared = self
            .0
            .registry
            .servers()
            .await
            .map_err(|error| error.to_string())?;
        let effective: Vec<_> = declared
            .into_iter()
            .filter(|declared| !declared.shadowed)
            .collect();
        let defaults = self.told(|told| {
            told.origins = effective
                .iter()
                .map(|declared| (declared.name.clone(), declared.origin))
                .collect();
            told.defaults.clone()
        });
        let spec = |declared: &crate::registry::Declared| {
            let mut spec = resolve(&declared.name, &declared.raw, &defaults, environment);
            spec.enabled = declared.enabled;
            spec
        };
        Ok(effective.iter().map(spec).collect())
    }

    async fn look(&self) -> Seen {
        Seen {
            servers_file: stamp(&self.0.settings.servers_file),
            dotenv_file: stamp(&self.0.settings.dotenv_file),
            revision: self.0.registry.check().await.ok(),
        }
    }

    fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.0.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How long one has to wait until the file was left alone for long enough; `None` when it was.
fn unsettled(stamp: Option<Stamp>) -> Option<Duration> {
    let (written, _) = stamp?;
    let age = written?.elapsed().ok()?;
    SETTLED.checked_sub(age).filter(|rest| !rest.is_zero())
}

fn stamp(file: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok(), meta.len()))
}
