//! The words of the control API: what the daemon tells `mcpctl`, and what `mcpctl` asks.
//!
//! HTTP with JSON over the Unix socket `control.sock` in the data folder; the same handlers serve `/api`
//! over TCP for holders of the admin token. Shared by `front/http/api` and `ctl`, which do not know each other.
//!
//! | verb | path | body | answer |
//! | --- | --- | --- | --- |
//! | GET | `/api/daemon` | | [`DaemonStatus`] |
//! | GET | `/api/servers` | | `[ServerStatus]` |
//! | GET | `/api/servers/{name}` | | [`ServerStatus`] |
//! | POST | `/api/servers/{name}/start`, `/stop`, `/restart` | | [`ServerStatus`] when it is done |
//! | GET | `/api/servers/{name}/why` | | [`Why`] |
//! | GET | `/api/servers/{name}/logs?lines=N&follow=BOOL` | | text, one stderr line a line, escaped |
//! | GET | `/api/tools?server=NAME` | | `[ToolLine]` |
//! | POST | `/api/call` | [`CallRequest`] | [`CallAnswer`] |
//! | POST | `/api/shutdown` | | [`Stopping`]: the daemon goes down |
//! | POST | `/api/reload` | | [`Reloaded`]: definitions were read again and applied |
//! | GET | `/api/events?server=NAME&n=N` | | `[SupervisionEvent]`, oldest first |
//!
//! Everything that is refused is answered with a status of 400 or more and [`Refusal`].

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::SupervisionEvent;
use crate::ids::ServerName;

/// Where a definition comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefinitionOrigin {
    /// `servers.toml`.
    File,
    /// `mcpctl add`.
    Cli,
    /// `mcpctl import`.
    Import,
}

/// The daemon as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Where it listens, for example `http://127.0.0.1:8999/mcp`.
    pub url: String,
    /// `healthy`, `starting` or `unhealthy`.
    pub health: String,
    /// Open client sessions.
    pub sessions: usize,
    /// Calls whose clients were asked something in a result and have not come back with the answer, by server.
    #[serde(default)]
    pub parked: Vec<Parked>,
    /// The data folder.
    pub data_dir: String,
    /// The servers file.
    pub servers_file: String,
    /// What is wrong with the servers file or the registry right now; the last good state is kept.
    pub problems: Vec<String>,
}

/// Calls that wait for what their clients answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parked {
    /// The server that has asked.
    pub server: ServerName,
    /// How many of its calls wait.
    pub n: usize,
}

/// Who is connected.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connected {
    /// Those with a session, the oldest first.
    pub sessions: Vec<SessionStatus>,
    /// Requests of clients without a session (2026-07-28 over HTTP) that are being worked on, streams of changes included.
    pub n_requests_without: usize,
}

/// One session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The beginning of its id: enough to name it, too little to take it over.
    pub id: String,
    /// `http`, `sse`, `stdio` or `mcpctl`.
    pub door: String,
    /// The client program and its version, as it says.
    pub client: Option<String>,
    /// The revision it speaks, once it has said so.
    pub revision: Option<String>,
    /// Milliseconds since it was opened.
    pub age_ms: u64,
    /// Milliseconds since its client has last shown itself; 0 while a stream or a call of it is open.
    pub idle_ms: u64,
    /// Requests in flight.
    pub n_inflight: usize,
    /// Streams to the client.
    pub n_streams: usize,
}

/// The daemon was told to go down, and does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stopping {
    /// Its process id: calls in flight may finish, so it takes a while to go.
    pub pid: u32,
}

/// One server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: ServerName,
    /// Where its definition comes from.
    pub origin: DefinitionOrigin,
    /// Whether the operator wants it.
    pub enabled: bool,
    /// The state: `disabled stopped idle spawning handshaking ready unresponsive draining stopping backoff failed`.
    pub state: String,
    /// The command line, environment not included.
    pub command: Vec<String>,
    /// Process id, while there is one.
    pub pid: Option<u32>,
    /// Number of the present or last process; 0 before the first.
    pub generation: u64,
    /// Milliseconds in the present state.
    pub state_ms: u64,
    /// The protocol revision it speaks, while ready.
    pub revision: Option<String>,
    /// How it is spoken to, while ready: `legacy` (with a handshake) or `modern` (2026-07-28).
    #[serde(default)]
    pub era: Option<String>,
    /// What it turned out to be, how that was found, and how sure it is; absent where the era is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Name and version it gave itself.
    pub server_info: Option<String>,
    /// How many tools, prompts, resources and templates are on offer from it.
    pub n_tools: usize,
    /// See `n_tools`.
    pub n_prompts: usize,
    /// See `n_tools`.
    pub n_resources: usize,
    /// See `n_tools`.
    pub n_templates: usize,
    /// Memory of its process and all that this has started, bytes, as last measured.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// How many processes these are.
    #[serde(default)]
    pub n_processes: Option<u64>,
    /// Calls in flight, in all its processes.
    pub n_inflight: usize,
    /// Processes beside the first: where the definition says so (`sharing`), or where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_owned: Option<usize>,
    /// The first [`N_OWNED_MAX`] of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owned: Vec<OwnedStatus>,
    /// Processes that ended by themselves since the daemon started.
    pub n_failures: u64,
    /// Lines on its stdout that are no messages, since the daemon started.
    pub n_noise_lines: u64,
    /// Answers to nothing that was asked, since the daemon started.
    #[serde(default)]
    pub n_unasked_answers: u64,
    /// Further answers to what was answered already, since the daemon started.
    #[serde(default)]
    pub n_repeated_answers: u64,
    /// What becomes of a call that comes now, in a few words.
    #[serde(default)]
    pub calls: String,
    /// It has failed, and this process is the one attempt that it gets: the next failure leads right back.
    #[serde(default)]
    pub on_probation: bool,
    /// Why it is not running, in one sentence.
    pub cause: Option<String>,
    /// Milliseconds until the next attempt.
    pub next_try_ms: Option<u64>,
    /// The changed definition, while an earlier one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Warnings about its definition or its lists, for example two servers with one exposed name.
    pub warnings: Vec<String>,
}

/// Processes of one server that are told one by one.
pub const N_OWNED_MAX: usize = 50;

/// One process of a server beside the first: one client's alone, or one for all clients that shake hands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OwnedStatus {
    /// Whose it is: the beginning of a key that stands for a session or a client program, as in the log, or in words.
    pub owner: String,
    /// The protocol revision it speaks, once it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The era of that: `legacy` with a handshake, `modern` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub era: Option<String>,
    /// See [`ServerStatus::state`].
    pub state: String,
    /// Process id, while there is one.
    pub pid: Option<u32>,
    /// Milliseconds in the present state.
    pub state_ms: u64,
    /// Calls in flight.
    pub n_inflight: usize,
}

/// What a server turned out to speak when it was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Probe {
    /// `legacy` or `modern`.
    pub era: String,
    /// By what it was found, in one sentence.
    pub how: String,
    /// Whether the server itself has said or shown it.
    pub is_certain: bool,
    /// When it was found, milliseconds since 1970.
    pub at_ms: u64,
}

/// A changed definition of a server that is not known to work yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trial {
    /// The state of its process; see [`ServerStatus::state`].
    pub state: String,
    /// What there is to say of it, in one sentence. It is the first of the warnings, too.
    pub told: String,
}

/// The story of one server: why it is in the state it is in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Why {
    /// Its state now.
    pub server: ServerStatus,
    /// What happened, oldest first.
    pub events: Vec<SupervisionEvent>,
    /// The last lines of its stderr, escaped, oldest first.
    pub stderr: Vec<String>,
    /// The PATH in which its program is looked for.
    pub path_searched: String,
    /// The file that the program was found as, if it was.
    pub program_found: Option<String>,
    /// What to try, most promising first.
    pub advice: Vec<String>,
    /// The file with its whole stderr.
    pub log_file: String,
}

/// One tool on offer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToolLine {
    /// The exposed name, as a client calls it.
    pub name: String,
    /// Whose it is.
    pub server: ServerName,
    /// The name it has there.
    pub own_name: String,
    /// The first line of its description.
    pub description: String,
}

/// A tool call from the command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallRequest {
    /// The exposed name.
    pub tool: String,
    /// The arguments, a JSON object.
    pub arguments: Box<RawValue>,
}

/// What the call gave: one of the two, as the child wrote it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallAnswer {
    /// The result object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// The JSON-RPC error object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<RawValue>>,
}

/// What a reload changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// One line a change, for example `git: added`.
    pub changes: Vec<String>,
    /// What is wrong with the servers file; then nothing of it was taken.
    pub problems: Vec<String>,
}

/// Why a request was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// A sentence that says what happened, whose fault it is, and what to do.
    pub error: String,
}
