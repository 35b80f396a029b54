//! What a verb works with: where the project is, and the way to its daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::client::{Client, Patience};
use super::clients::Homes;
use super::failure::Failure;
use super::render::Out;
use super::words;
use crate::api::{DefinitionOrigin, Reloaded, ServerStatus};
use crate::config::{Environment, Settings, read_servers};
use crate::ids::ServerName;
use crate::place;
use crate::registry::{Declared, Registry, RegistryError};

/// Patience for a change of processes: a package runner may have to download first.
const ACT_PATIENCE: Duration = Duration::from_secs(300);
/// Patience for the daemon to read the definitions again.
const RELOAD_PATIENCE: Duration = Duration::from_secs(60);
/// How often a server that was just declared is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a verb works with.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) settings: Settings,
    /// The project folder, absolute: the one given, or the one we stand in.
    pub(super) project: PathBuf,
}

/// What became of one server of several.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Done(Box<ServerStatus>),
    Refused { name: ServerName, error: String },
}

impl Context {
    /// Finds the project of a folder, or of the one we stand in.
    pub(super) fn new(folder: Option<PathBuf>) -> Result<Self, Failure> {
        let project = absolute(folder)?;
        let settings = settings(&project)?;
        Ok(Self {
            client: Client::new(settings.data_dir.clone()),
            settings,
            project,
        })
    }

    /// Where other programs keep their settings.
    pub(super) fn homes(&self) -> Result<Homes, Failure> {
        let folder = |name: &str| {
            let set = std::env::var_os(name).filter(|value| !value.is_empty());
            set.map(PathBuf::from).filter(|folder| folder.is_absolute())
        };
        let home = folder("HOME").ok_or_else(|| {
            Failure::Refused(
                "HOME is not set, so the settings of other programs cannot be found; name the file"
                    .to_owned(),
            )
        })?;
        Ok(Homes {
            home,
            config: folder("XDG_CONFIG_HOME"),
            codex: folder("CODEX_HOME"),
            project: self.project.clone(),
        })
    }

    /// What is declared, without leaving a trace: for a look at what would be done.
    pub(super) async fn declared_only(&self, out: &mut Out) -> Result<Vec<Declared>, Failure> {
        if Registry::is_in(&self.settings.data_dir) {
            let registry = self.registry(out).await?;
            return registry
                .servers()
                .await
                .map_err(|error| Failure::Refused(error.to_string()));
        }
        let file = read_servers(&self.settings.servers_file, &self.settings.environment)
            .map_err(|faults| Failure::Refused(faults.to_string()))?;
        let declared = file.servers.into_iter().map(|(name, raw)| Declared {
            name,
            origin: DefinitionOrigin::File,
            enabled: raw.enabled.unwrap_or(true),
            raw,
            shadowed: false,
        });
        Ok(declared.collect())
    }

    /// Whether this daemon still holds the data folder. Another one may hold it already.
    pub(super) fn is_held_by(&self, pid: u32) -> bool {
        let data_dir = &self.settings.data_dir;
        let holder = std::fs::read_to_string(data_dir.join("daemon.pid")).unwrap_or_default();
        let is_another = holder.trim().parse().is_ok_and(|holder: u32| holder != pid);
        place::is_held(data_dir) && !is_another
    }

    /// The registry, also while a daemon writes to it.
    ///
    /// A daemon keeps the rows of servers.toml equal to the file. Where none runs, that is done here:
    /// else `list` in a fresh project would show nothing. Never beside a daemon, whose file may be another one.
    pub(super) async fn registry(&self, out: &mut Out) -> Result<Registry, Failure> {
        let refused = |error: RegistryError| Failure::Refused(error.to_string());
        let (data_dir, is_daemon_there) = (&self.settings.data_dir, self.client.is_there().await);
        if is_daemon_there && !Registry::is_in(data_dir) {
            // A new one would be ours alone: the daemon goes on with the one that was taken away.
            return Err(refused(Registry::moved_from(data_dir)));
        }
        let registry = Registry::open(data_dir).await.map_err(refused)?;
        if is_daemon_there {
            return Ok(registry);
        }
        match read_servers(&self.settings.servers_file, &self.settings.environment) {
            Ok(file) => registry.mirror_file(&file.servers).await.map_err(refused)?,
            Err(faults) => out.remark(&format!(
                "mcpctl: servers.toml has faults, so its servers are known as they last were:\n{faults}"
            )),
        }
        Ok(registry)
    }

    /// Has a running daemon act on new definitions at once; `None` when none runs.
    pub(super) async fn reload(&self) -> Result<Option<Reloaded>, Failure> {
        let asked = self
            .client
            .tell("/api/reload", Patience::Limited(RELOAD_PATIENCE))
            .await;
        unless_absent(asked)
    }

    /// What the daemon knows of all servers; `None` when none runs.
    pub(super) async fn live(&self) -> Result<Option<Vec<ServerStatus>>, Failure> {
        unless_absent(self.client.get("/api/servers").await)
    }

    /// Looks at a server until its state will not change by itself, or the time is over.
    pub(super) async fn until_settled(
        &self,
        name: &ServerName,
        patience: Duration,
    ) -> Result<ServerStatus, Failure> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let server: ServerStatus = self.client.get(&format!("/api/servers/{name}")).await?;
            if words::is_settled(&server) || tokio::time::Instant::now() >= deadline {
                return Ok(server);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts, stops or restarts servers one after the other; one that is refused does not hold up the others.
    pub(super) async fn act(&self, verb: &str, names: &[ServerName], out: &mut Out) -> Result<(), Failure> {
        let mut outcomes = Vec::new();
        for name in names {
            let path = format!("/api/servers/{name}/{verb}");
            match self
                .client
                .tell::<ServerStatus>(&path, Patience::Limited(ACT_PATIENCE))
                .await
            {
                Ok(server) => {
                    out.say(&words::state(&server))?;
                    outcomes.push(Outcome::Done(Box::new(server)));
                }
                Err(Failure::Refused(error)) => {
                    out.remark(&format!("mcpctl: {error}"));
                    outcomes.push(Outcome::Refused {
                        name: name.clone(),
                        error,
                    });
                }
                Err(failure) => return Err(failure),
            }
        }
        out.json(&outcomes)?;
        let all_well = outcomes.iter().all(Outcome::is_well);
        if all_well { Ok(()) } else { Err(Failure::Told) }
    }
}

impl Outcome {
    fn is_well(&self) -> bool {
        match self {
            Self::Done(server) => !words::has_trouble(server),
            Self::Refused { .. } => false,
        }
    }
}

/// The paths must stay true wherever they are used, so the folder has to be absolute.
fn absolute(folder: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let folder = std::path::absolute(folder.as_deref().unwrap_or(Path::new(".")))
        .map_err(|error| Failure::Refused(format!("the current folder cannot be told: {error}")))?;
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(Failure::Usage(format!("{} is no folder", folder.display())))
    }
}

fn settings(folder: &Path) -> Result<Settings, Failure> {
    Settings::load(folder, &Environment::of_process()).map_err(|errors| Failure::Refused(errors.to_string()))
}

/// That no daemon runs is an answer here, not a failure.
fn unless_absent<T>(asked: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure::NoDaemon { .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}
