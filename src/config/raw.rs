//! A server as somebody typed it, nothing expanded and nothing filled in.
//!
//! The same words in `servers.toml`, in the registry and in `mcpctl add`: one type for all three.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::keys;
use super::size::{ByteSize, SizeLimit};
use super::spec::{Autostart, EraPolicy, Interactive, Policy, Replace, RestartWhen, Secret, Sharing};

/// One server as declared. What is `None` was not said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawServer {
    /// Name or path of the program; may hold `${VAR}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its arguments; may hold `${VAR}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Variables added to its environment; values may hold `${VAR}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, Secret>>,
    /// The folder it runs in; may hold `${VAR}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Program and arguments to run when its process has to go; may hold `${VAR}`. See [`super::spec::Command::stop`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_command: Option<Vec<String>>,
    /// Whether it is wanted at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// What stands before `__` in exposed names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Exposed names that the operator chose, by the server's own names; see [`super::spec::ServerSpec::aliases`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases: Option<BTreeMap<String, String>>,
    /// Folders that it is told of; may hold `${VAR}`. See [`super::spec::ServerSpec::roots`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<Vec<String>>,
    /// How it is spoken to; only `stdio` yet. Other hosts call this key `type`.
    #[serde(skip_serializing_if = "Option::is_none", alias = "type")]
    pub transport: Option<String>,
    /// How it is supervised.
    #[serde(flatten)]
    pub policy: RawPolicy,
}

impl RawServer {
    /// What is wrong with it, one sentence each, whatever the environment holds.
    ///
    /// For declarations that did not come through `servers.toml`, where each fault also has a line.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.command.is_none() {
            faults.push(format!("command: {}", keys::COMMAND_IS_MISSING));
        }
        // The checks are written once, over JSON; what does not become JSON has no faults to find there.
        if let Ok(serde_json::Value::Object(said)) = serde_json::to_value(self) {
            let known = said
                .iter()
                .filter_map(|(name, value)| Some((keys::find(name)?, value)));
            faults.extend(
                known.filter_map(|(key, value)| Some(format!("{}: {}", key.name, key.fault_of(value)?))),
            );
        }
        faults
    }
}

macro_rules! raw_policy {
    ($($(#[$doc:meta])* $key:ident: $raw:ty),* $(,)?) => {
        /// The keys of a [`Policy`] that somebody set, under `[defaults]` or a server.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct RawPolicy {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$raw>,)*
        }

        impl RawPolicy {
            /// Writes what is set over `policy`.
            pub fn overlay(&self, policy: &mut Policy) {
                $(if let Some(value) = self.$key { policy.$key = value.into(); })*
            }
        }
    };
}

raw_policy! {
    /// See [`Policy::sharing`].
    sharing: Sharing,
    /// See [`Policy::instances_max`].
    instances_max: usize,
    /// See [`Policy::interactive_policy`].
    interactive_policy: Interactive,
    /// See [`Policy::instance_idle`].
    instance_idle: TimeSpan,
    /// See [`Policy::restart`].
    restart: RestartWhen,
    /// See [`Policy::autostart`].
    autostart: Autostart,
    /// See [`Policy::era`].
    era: EraPolicy,
    /// See [`Policy::replace`].
    replace: Replace,
    /// See [`Policy::idle_stop`].
    idle_stop: IdleStop,
    /// See [`Policy::start_timeout`].
    start_timeout: TimeSpan,
    /// See [`Policy::call_timeout`].
    call_timeout: TimeSpan,
    /// See [`Policy::call_max`].
    call_max: TimeSpan,
    /// See [`Policy::queue_wait`].
    queue_wait: TimeSpan,
    /// See [`Policy::backoff_initial`].
    backoff_initial: TimeSpan,
    /// See [`Policy::backoff_factor`].
    backoff_factor: f64,
    /// See [`Policy::backoff_max`].
    backoff_max: TimeSpan,
    /// See [`Policy::backoff_jitter`].
    backoff_jitter: f64,
    /// See [`Policy::stable_after`].
    stable_after: TimeSpan,
    /// See [`Policy::fail_burst`].
    fail_burst: u32,
    /// See [`Policy::fail_window`].
    fail_window: TimeSpan,
    /// See [`Policy::failed_retry`].
    failed_retry: TimeSpan,
    /// See [`Policy::probe_interval`].
    probe_interval: TimeSpan,
    /// See [`Policy::probe_timeout`].
    probe_timeout: TimeSpan,
    /// See [`Policy::probe_threshold`].
    probe_threshold: u32,
    /// See [`Policy::eof_grace`].
    eof_grace: TimeSpan,
    /// See [`Policy::term_grace`].
    term_grace: TimeSpan,
    /// See [`Policy::drain_timeout`].
    drain_timeout: TimeSpan,
    /// See [`Policy::write_stall`].
    write_stall: TimeSpan,
    /// See [`Policy::inflight_max`].
    inflight_max: usize,
    /// See [`Policy::queue_max`].
    queue_max: usize,
    /// See [`Policy::message_bytes_max`].
    message_bytes_max: ByteSize,
    /// See [`Policy::discard_bytes_max`].
    discard_bytes_max: ByteSize,
    /// See [`Policy::memory_max`].
    memory_max: SizeLimit,
    /// See [`Policy::processes_max`].
    processes_max: u32,
    /// See [`Policy::files_max`].
    files_max: u64,
    /// See [`Policy::core_dumps`].
    core_dumps: bool,
    /// See [`Policy::nice`].
    nice: u8,
    /// See [`Policy::log_bytes_max`].
    log_bytes_max: ByteSize,
}

/// A duration that is written as people write it: `"250ms"`, `"10s"`, `"1m 30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan(pub Duration);

impl From<TimeSpan> for Duration {
    fn from(span: TimeSpan) -> Self {
        span.0
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

/// `"never"`, or how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleStop {
    /// It keeps running however little it is used.
    Never,
    /// It stops after this long without a call.
    After(TimeSpan),
}

impl IdleStop {
    /// The word for "no limit".
    pub(super) const NEVER: &str = "never";
}

impl From<IdleStop> for Option<Duration> {
    fn from(idle: IdleStop) -> Self {
        match idle {
            IdleStop::Never => None,
            IdleStop::After(span) => Some(span.0),
        }
    }
}

impl fmt::Display for IdleStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str(Self::NEVER),
            Self::After(span) => humantime::format_duration(span.0).fmt(f),
        }
    }
}

impl Serialize for IdleStop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IdleStop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == Self::NEVER {
            return Ok(Self::Never);
        }
        humantime::parse_duration(&text)
            .map(|d| Self::After(TimeSpan(d)))
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_is_not_written() {
        let raw = RawServer {
            command: Some("npx".to_owned()),
            ..RawServer::default()
        };
        assert_eq!(serde_json::to_string(&raw).unwrap(), r#"{"command":"npx"}"#);
    }

    #[test]
    fn a_server_survives_the_registry() {
        let text = r#"{"command":"a","args":["b"],"env":{"K":"v"},"cwd":"/","enabled":false,"prefix":"",
            "aliases":{"a.b":"c"},"roots":["~/x"],"stop_command":["a","b"],"type":"stdio","restart":"on-failure","idle_stop":"never","call_timeout":"1m 30s","fail_burst":3,
            "backoff_jitter":0.1,"message_bytes_max":1024,"memory_max":"512MiB","log_bytes_max":1048576}"#;
        let raw: RawServer = serde_json::from_str(text).unwrap();
        assert_eq!(raw.policy.call_timeout, Some(TimeSpan(Duration::from_secs(90))));
        assert_eq!(raw.transport.as_deref(), Some("stdio"));
        let again: RawServer = serde_json::from_str(&serde_json::to_string(&raw).unwrap()).unwrap();
        assert_eq!(again, raw);
        assert!(raw.faults().is_empty());
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [r#"{"comand":"a"}"#, r#"{"command":"a","call_timout":"1s"}"#] {
            let told = serde_json::from_str::<RawServer>(text).unwrap_err().to_string();
            assert!(told.contains("unknown field"), "{told}");
        }
    }

    #[test]
    fn faults_of_a_server_that_came_from_elsewhere_are_found() {
        let raw: RawServer =
            serde_json::from_str(r#"{"transport":"sse","inflight_max":0,"call_timeout":"99years"}"#).unwrap();
        let told = raw.faults().join("\n");
        for part in ["command: missing", "transport:", "inflight_max:", "call_timeout:"] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn values_of_variables_do_not_print() {
        let raw: RawServer = serde_json::from_str(r#"{"command":"a","env":{"TOKEN":"abc123"}}"#).unwrap();
        assert!(!format!("{raw:?}").contains("abc123"));
    }
}
