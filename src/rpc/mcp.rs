//! The words of MCP: revisions, method names, and the few shapes that we write ourselves.

use serde::{Deserialize, Serialize};

/// A revision of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05: HTTP+SSE and stdio.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP, batches, audio.
    V2025_03_26,
    /// 2025-06-18: structured content, elicitation, resource links.
    V2025_06_18,
    /// 2025-11-25: tasks, url elicitation, icons.
    V2025_11_25,
    /// 2026-07-28: no handshake; what a request needs to be understood stands in its own metadata.
    V2026_07_28,
}

/// How a peer keeps its state: with a handshake, or in each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Needs `initialize`: 2024-11-05 to 2025-11-25.
    Legacy,
    /// `server/discover` and metadata in each request: 2026-07-28 on.
    Modern,
}

impl Revision {
    /// The newest of the handshake era: what we offer where the peer leaves us the choice.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;
    /// What a request without a version header speaks (MCP 2025-06-18, transports, "Protocol Version Header").
    pub const WITHOUT_HEADER: Self = Self::V2025_03_26;

    /// The newest of all.
    pub const NEWEST: Self = Self::V2026_07_28;
    /// All, newest first: the order in which a peer is told of them.
    pub const ALL: [Self; 5] = [
        Self::V2026_07_28,
        Self::V2025_11_25,
        Self::V2025_06_18,
        Self::V2025_03_26,
        Self::V2024_11_05,
    ];

    /// Reads a version string.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "2026-07-28" => Some(Self::V2026_07_28),
            older => Self::of_handshake(older),
        }
    }

    /// Reads the version string of a revision that a handshake can agree on.
    pub fn of_handshake(text: &str) -> Option<Self> {
        match text {
            // The draft that the first clients shipped; the same wire as the release after it.
            "2024-10-07" | "2024-11-05" => Some(Self::V2024_11_05),
            "2025-03-26" => Some(Self::V2025_03_26),
            "2025-06-18" => Some(Self::V2025_06_18),
            "2025-11-25" => Some(Self::V2025_11_25),
            _other => None,
        }
    }

    /// The version string.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era it belongs to.
    pub const fn era(self) -> Era {
        match self {
            Self::V2024_11_05 | Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }

    /// Whether an array of messages may come (2025-03-26 only).
    pub const fn has_batches(self) -> bool {
        matches!(self, Self::V2025_03_26)
    }
}

/// Method names.
pub mod method {
    /// The handshake.
    pub const INITIALIZE: &str = "initialize";
    /// What a server is and can (2026-07-28): there is no handshake.
    pub const DISCOVER: &str = "server/discover";
    /// A stream of changes (2026-07-28).
    pub const LISTEN: &str = "subscriptions/listen";
    /// The first message on such a stream: what it will tell of.
    pub const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
    /// The end of the handshake.
    pub const INITIALIZED: &str = "notifications/initialized";
    /// Are you there?
    pub const PING: &str = "ping";
    /// Lists of what is on offer.
    pub const TOOLS_LIST: &str = "tools/list";
    /// See `TOOLS_LIST`.
    pub const PROMPTS_LIST: &str = "prompts/list";
    /// See `TOOLS_LIST`.
    pub const RESOURCES_LIST: &str = "resources/list";
    /// See `TOOLS_LIST`.
    pub const TEMPLATES_LIST: &str = "resources/templates/list";
    /// Runs a tool.
    pub const TOOLS_CALL: &str = "tools/call";
    /// Fills in a prompt.
    pub const PROMPTS_GET: &str = "prompts/get";
    /// Reads a resource.
    pub const RESOURCES_READ: &str = "resources/read";
    /// Wants `resources/updated` for a resource.
    pub const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
    /// No longer wants it.
    pub const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
    /// Suggests values for an argument.
    pub const COMPLETE: &str = "completion/complete";
    /// How a task stands (2025-11-25, experimental).
    pub const TASKS_GET: &str = "tasks/get";
    /// What a task has come to; waits until it has.
    pub const TASKS_RESULT: &str = "tasks/result";
    /// The caller's own tasks.
    pub const TASKS_LIST: &str = "tasks/list";
    /// A task is no longer wanted.
    pub const TASKS_CANCEL: &str = "tasks/cancel";
    /// What a task was waiting for (2026-07-28, extension).
    pub const TASKS_UPDATE: &str = "tasks/update";
    /// A task stands differently now.
    pub const TASK_STATUS: &str = "notifications/tasks/status";
    /// The same (2026-07-28, extension).
    pub const TASK_CHANGED: &str = "notifications/tasks";
    /// From which severity on log messages are wanted.
    pub const SET_LEVEL: &str = "logging/setLevel";
    /// A child asks the client's model.
    pub const SAMPLE: &str = "sampling/createMessage";
    /// A child asks the person.
    pub const ELICIT: &str = "elicitation/create";
    /// A child asks for the client's folders.
    pub const ROOTS_LIST: &str = "roots/list";
    /// The client's folders have changed.
    pub const ROOTS_CHANGED: &str = "notifications/roots/list_changed";
    /// An elicitation by url is done.
    pub const ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";
    /// A request need not be answered any more.
    pub const CANCELLED: &str = "notifications/cancelled";
    /// How far a request has got.
    pub const PROGRESS: &str = "notifications/progress";
    /// A log message.
    pub const MESSAGE: &str = "notifications/message";
    /// A resource has changed.
    pub const RESOURCE_UPDATED: &str = "notifications/resources/updated";
    /// A list has changed.
    pub const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
    /// A list has changed.
    pub const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
    /// A list has changed.
    pub const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";

    /// Whether this is a request about a task of the extension (2026-07-28).
    pub fn is_about_task(method: &str) -> bool {
        matches!(method, TASKS_GET | TASKS_UPDATE | TASKS_CANCEL)
    }
}

/// Keys in `_meta` of 2026-07-28 (basic, "Request Metadata" and "Result Metadata").
pub mod meta {
    /// Of a request: the revision that it speaks. Required.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// Of a request: what the client can do. Required.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Of a request: who the client says it is.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// Of a request: from which severity on it wants log messages; without it none.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// Of a result: who the server says it is.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// Of a notification on a stream of changes: the id of the request that opened it.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    /// What a request says of its client, and no server but ours is to see as the client wrote it.
    pub const OF_REQUEST: [&str; 4] = [PROTOCOL_VERSION, CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL];
}

/// The key in `_meta` under which a message says to which task it belongs (MCP 2025-11-25, tasks, "Related Task
/// Metadata").
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// The extension of 2026-07-28 by which a server makes a task of a call.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Severities of log messages, least first (RFC 5424).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// See RFC 5424.
    Debug,
    /// See RFC 5424.
    Info,
    /// See RFC 5424.
    Notice,
    /// See RFC 5424.
    Warning,
    /// See RFC 5424.
    Error,
    /// See RFC 5424.
    Critical,
    /// See RFC 5424.
    Alert,
    /// See RFC 5424.
    Emergency,
}

/// Who somebody says they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Implementation {
    /// Program name.
    pub name: String,
    /// Program version.
    #[serde(default)]
    pub version: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl Implementation {
    /// This program.
    pub fn ourselves() -> Self {
        Self {
            name: "mcp-wrapper".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: None,
        }
    }
}
