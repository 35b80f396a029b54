//! What one child is declared to be: valid values only, durations and bytes, templates still unexpanded.
//!
//! Does no IO and reads no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::reference::Part;
use crate::ids::ServerName;
use crate::retry::RestartDelays;

/// A text that must not be printed: `Debug` shows `hidden`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into hiding.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for a child's environment, a comparison, or the registry file; never for a log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// When a child that ended by itself is started again (OTP: permanent, transient, temporary).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartWhen {
    /// Always: a stdio server that ends while its stdin is open has failed its clients.
    Always,
    /// Unless it returned 0.
    OnFailure,
    /// Never.
    Never,
}

/// When a child is started for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Autostart {
    /// With the daemon.
    Eager,
    /// By the first call; until then its lists come from the saved snapshot.
    OnDemand,
}

/// In which era a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EraPolicy {
    /// It is found out, at its first start.
    Auto,
    /// With a handshake: it is never asked for anything newer.
    Legacy,
    /// 2026-07-28 or not at all.
    Modern,
    /// It is found out, and a server that answers both eras has a process for each: clients with a handshake that can be
    /// asked something have one that is spoken to with a handshake.
    Both,
}

impl EraPolicy {
    /// Whether the server is asked what it speaks.
    pub fn is_found_out(self) -> bool {
        matches!(self, Self::Auto | Self::Both)
    }
}

/// When the process of a changed definition takes the place of the one that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replace {
    /// When it has done its handshake and told its lists; until then the earlier one serves beside it.
    WhenReady,
    /// It is made when the earlier one is gone: for servers of which only one process can be, because of a port or a
    /// lock file.
    AfterStop,
}

/// Who shares a process of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// All clients share one.
    Shared,
    /// Every session has its own, which sees that client's capabilities and folders.
    PerSession,
    /// All sessions of one client program share one.
    PerClient,
}

/// What is done where a server asks its clients within calls, and calls of several clients are in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interactive {
    /// They share a process, and what cannot be attributed is refused.
    Shared,
    /// Calls of different clients go to different processes, once the server was seen asking.
    Pool,
}

/// How a child is supervised. Each field is a key of `servers.toml`, under `[defaults]` or a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Who shares a process of it. Default: everybody.
    pub sharing: Sharing,
    /// Processes at once, where they are not shared; one more client is refused. Default 16.
    pub instances_max: usize,
    /// Whether clients that share a process are kept apart once it asks them. Default: no, as processes share no state.
    pub interactive_policy: Interactive,
    /// A process that is not shared and not used for this long is stopped. Default 10 min.
    pub instance_idle: Duration,
    /// When it is started again after it ended by itself.
    pub restart: RestartWhen,
    /// When it is started for the first time.
    pub autostart: Autostart,
    /// In which era it is spoken to. Default: what it is found to speak, of two the newer.
    pub era: EraPolicy,
    /// When a changed definition takes the place of the one that runs. Default: when it is ready.
    pub replace: Replace,
    /// Stop it after this long without a call; `None` never.
    pub idle_stop: Option<Duration>,
    /// Patience for the handshake. Default 60 s, 180 s for package runners, which download on first start.
    pub start_timeout: Duration,
    /// Patience for one call, started anew by each progress notification. Default 60 s.
    pub call_timeout: Duration,
    /// Hard limit of one call, progress or not. Default 600 s.
    pub call_max: Duration,
    /// How long a call waits for a child that is starting or restarting. Default 10 s.
    pub queue_wait: Duration,
    /// First wait before a restart; a child that was ready for 10 s is restarted at once the first time. Default 250 ms.
    pub backoff_initial: Duration,
    /// Growth of the wait per failure. Default 2.
    pub backoff_factor: f64,
    /// Longest wait before a restart. Default 60 s.
    pub backoff_max: Duration,
    /// Part of the wait that is random, each way. Default 0.2.
    pub backoff_jitter: f64,
    /// After this long in `ready` the failures are forgotten. Default 60 s.
    pub stable_after: Duration,
    /// So many failures within `fail_window` and the child is `failed`. Default 5.
    pub fail_burst: u32,
    /// The window in which failures are counted. Default 120 s.
    pub fail_window: Duration,
    /// A failed child gets one more attempt each time this passes. Default 300 s.
    pub failed_retry: Duration,
    /// Silence after which an idle child is pinged; zero never. Default 30 s.
    pub probe_interval: Duration,
    /// Patience for a ping. Default 10 s.
    pub probe_timeout: Duration,
    /// So many unanswered pings in a row and the child is `unresponsive`. Default 3.
    pub probe_threshold: u32,
    /// From closing stdin to SIGTERM. Default 2 s.
    pub eof_grace: Duration,
    /// From SIGTERM to SIGKILL. Default 5 s.
    pub term_grace: Duration,
    /// How long calls in flight may take to finish before a stop. Default 10 s.
    pub drain_timeout: Duration,
    /// A child that does not take a line from its stdin for this long is replaced. Default 10 s.
    pub write_stall: Duration,
    /// Calls in flight at once. Default 64.
    pub inflight_max: usize,
    /// Calls waiting behind those; one more is answered `overloaded`. Default 256.
    pub queue_max: usize,
    /// Longest message either way, bytes. Default 16 MiB.
    pub message_bytes_max: usize,
    /// A line longer than this ends the process, bytes. Default 256 MiB.
    pub discard_bytes_max: usize,
    /// Memory of a process and all that it has started, bytes; over it they are replaced. `None` no limit, the default.
    pub memory_max: Option<u64>,
    /// A process and all that it has started are at most so many; over it they are replaced. Default 1,000.
    pub processes_max: u32,
    /// Open files of each of its processes: `RLIMIT_NOFILE`. Default 65,536, or as many as the daemon may allow.
    pub files_max: u64,
    /// Whether a crash may leave a core file, which holds all secrets of the process. Default no.
    pub core_dumps: bool,
    /// How far it gives way to others who want the processor, 0 to 19. Default 0.
    pub nice: u8,
    /// What is kept of its stderr on the disk, in three files, bytes. Default 30 MiB.
    pub log_bytes_max: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            sharing: Sharing::Shared,
            instances_max: 16,
            interactive_policy: Interactive::Shared,
            instance_idle: Duration::from_secs(600),
            restart: RestartWhen::Always,
            autostart: Autostart::Eager,
            era: EraPolicy::Auto,
            replace: Replace::WhenReady,
            idle_stop: None,
            start_timeout: Duration::from_secs(60),
            call_timeout: Duration::from_secs(60),
            call_max: Duration::from_secs(600),
            queue_wait: Duration::from_secs(10),
            backoff_initial: Duration::from_millis(250),
            backoff_factor: 2.0,
            backoff_max: Duration::from_secs(60),
            backoff_jitter: 0.2,
            stable_after: Duration::from_secs(60),
            fail_burst: 5,
            fail_window: Duration::from_secs(120),
            failed_retry: Duration::from_secs(300),
            probe_interval: Duration::from_secs(30),
            probe_timeout: Duration::from_secs(10),
            probe_threshold: 3,
            eof_grace: Duration::from_secs(2),
            term_grace: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            write_stall: Duration::from_secs(10),
            inflight_max: 64,
            queue_max: 256,
            message_bytes_max: 16 << 20,
            discard_bytes_max: 256 << 20,
            memory_max: None,
            processes_max: 1_000,
            files_max: 65_536,
            core_dumps: false,
            nice: 0,
            log_bytes_max: 30 << 20,
        }
    }
}

impl From<&Policy> for RestartDelays {
    fn from(policy: &Policy) -> Self {
        Self {
            initial: policy.backoff_initial,
            factor: policy.backoff_factor,
            max: policy.backoff_max,
            jitter: policy.backoff_jitter,
        }
    }
}

/// One declared server, checked, with every `${VAR}` replaced: ready to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSpec {
    /// Its name.
    pub name: ServerName,
    /// Whether the operator wants it at all.
    pub enabled: bool,
    /// What stands before `__` in exposed names: `None` the server's name, `Some("")` nothing at all.
    pub prefix: Option<String>,
    /// Exposed names that the operator chose, by the server's own names: tools and prompts alike.
    pub aliases: Arc<BTreeMap<String, String>>,
    /// `file://` URIs of folders that it is told of, where no client tells it of its own.
    pub roots: Vec<String>,
    /// What to start.
    pub launch: Launch,
    /// How to supervise it.
    pub policy: Policy,
    /// SHA-256 over command, arguments, folder (as declared) and names of variables, as hex: the key of saved lists.
    pub fingerprint: String,
}

impl ServerSpec {
    /// Whether a process of the other definition can stay under this one: all that differs is whether it is wanted, and
    /// its exposed names.
    pub fn keeps_process_of(&self, other: &Self) -> bool {
        self.launch == other.launch && self.policy == other.policy && self.roots == other.roots
    }
}

/// What to start: or the sentence that says why that is not known.
#[derive(Debug, Clone, PartialEq)]
pub enum Launch {
    /// This program.
    Command(Command),
    /// Not startable as declared, for example because a variable has no value.
    Broken {
        /// A sentence for the operator.
        why: String,
    },
}

/// A program with its arguments, never passed through a shell. `Debug` shows it as declared.
#[derive(Clone, PartialEq)]
pub struct Command {
    /// Name or path of the program. `mcp-wrapper` means this very program.
    pub program: String,
    /// Its arguments. One that is in `late` stands here as declared.
    pub args: Vec<String>,
    /// Variables added to the small environment that every child gets. One that is in `late` stands here as declared.
    pub env: BTreeMap<String, Secret>,
    /// What is known only when it starts.
    pub late: Late,
    /// Where it runs; `None` the daemon's own folder.
    pub cwd: Option<PathBuf>,
    /// Program and arguments as declared, with `${VAR}` unreplaced: what people may see of them.
    pub shown: Vec<String>,
    /// What is run when its process has to go, or has gone by itself: for what it has started elsewhere, a container or
    /// a service, where no signal of ours arrives. With the same variables, in the same folder; it has no such command
    /// itself.
    pub stop: Option<Box<Self>>,
}

/// Values of which a part is fetched at each start. A secret that was rotated counts at the next one, and is no change of
/// the definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Late {
    /// By the place of the argument.
    pub args: BTreeMap<usize, Vec<Part>>,
    /// By the name of the variable.
    pub env: BTreeMap<String, Vec<Part>>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("shown", &self.shown)
            .field("env", &self.env)
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

/// What changed between two sets of specs, by server.
#[derive(Debug, Clone, PartialEq)]
pub enum SpecChange {
    /// A new server.
    Added(ServerSpec),
    /// A server whose process must be replaced, because its command, environment, folders or policy changed.
    Changed(ServerSpec),
    /// A server whose process can stay: only `enabled` or its exposed names changed.
    Adjusted(ServerSpec),
    /// A server that is no longer declared.
    Removed(ServerName),
}

impl SpecChange {
    /// Whether it is about this server.
    pub fn is_of(&self, server: &ServerName) -> bool {
        match self {
            Self::Added(spec) | Self::Changed(spec) | Self::Adjusted(spec) => spec.name == *server,
            Self::Removed(name) => name == server,
        }
    }
}

/// The differences, in the order of `new`, removals first. Applying them to `old` gives `new`.
pub fn diff(old: &[ServerSpec], new: &[ServerSpec]) -> Vec<SpecChange> {
    let removed = old
        .iter()
        .filter(|before| !new.iter().any(|after| after.name == before.name))
        .map(|before| SpecChange::Removed(before.name.clone()));
    let others = new.iter().filter_map(|after| {
        let before = old.iter().find(|before| before.name == after.name);
        change_of(before, after)
    });
    removed.chain(others).collect()
}

fn change_of(before: Option<&ServerSpec>, after: &ServerSpec) -> Option<SpecChange> {
    let Some(before) = before else {
        return Some(SpecChange::Added(after.clone()));
    };
    if before == after {
        return None;
    }
    Some(if after.keeps_process_of(before) {
        SpecChange::Adjusted(after.clone())
    } else {
        SpecChange::Changed(after.clone())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec() -> impl Strategy<Value = ServerSpec> {
        let parts = (
            "[a-d]",
            any::<bool>(),
            prop::option::of("[x-y]"),
            "[p-q]{0,2}",
            "[x-y]{0,1}",
            1u32..3,
            any::<bool>(),
        );
        parts.prop_map(
            |(name, enabled, prefix, program, other, fail_burst, broken)| ServerSpec {
                name: ServerName::parse(&name).unwrap(),
                enabled,
                prefix,
                aliases: Arc::new([(other.clone(), other.clone())].into()),
                roots: vec![other],
                launch: if broken {
                    Launch::Broken { why: program }
                } else {
                    let shown = vec![program.clone()];
                    Launch::Command(Command {
                        program,
                        args: vec![],
                        env: BTreeMap::new(),
                        late: Late::default(),
                        cwd: None,
                        shown,
                        stop: None,
                    })
                },
                policy: Policy {
                    fail_burst,
                    ..Policy::default()
                },
                fingerprint: String::new(),
            },
        )
    }

    /// A set of specs: each name once.
    fn specs() -> impl Strategy<Value = Vec<ServerSpec>> {
        prop::collection::vec(spec(), 0..5).prop_map(|specs| by_name(specs).into_values().collect())
    }

    fn by_name(specs: Vec<ServerSpec>) -> BTreeMap<ServerName, ServerSpec> {
        specs.into_iter().map(|spec| (spec.name.clone(), spec)).collect()
    }

    proptest! {
        #[test]
        fn applying_the_differences_gives_the_new_set(old in specs(), new in specs()) {
            let mut applied = by_name(old.clone());
            for change in diff(&old, &new) {
                match change {
                    SpecChange::Added(spec) => prop_assert!(applied.insert(spec.name.clone(), spec).is_none()),
                    SpecChange::Changed(spec) => {
                        let before = applied.insert(spec.name.clone(), spec.clone()).unwrap();
                        prop_assert!(
                            before.launch != spec.launch
                                || before.policy != spec.policy
                                || before.roots != spec.roots
                        );
                    }
                    SpecChange::Adjusted(spec) => {
                        let before = applied.insert(spec.name.clone(), spec.clone()).unwrap();
                        prop_assert!(before.launch == spec.launch && before.policy == spec.policy);
                        prop_assert_eq!(before.roots, spec.roots);
                    }
                    SpecChange::Removed(name) => prop_assert!(applied.remove(&name).is_some()),
                }
            }
            prop_assert_eq!(applied, by_name(new));
        }

        #[test]
        fn nothing_changes_between_equal_sets(specs in specs()) {
            prop_assert!(diff(&specs, &specs).is_empty());
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "hidden");
    }
}
