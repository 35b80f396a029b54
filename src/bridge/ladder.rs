//! The steps that a request of the era without handshake climbs before anybody works on it: the first that fails
//! is the answer. Pure; the steps of HTTP itself (verb, origin, formats) are the door's.
//!
//! | step | what | else |
//! | --- | --- | --- |
//! | 3 | a request or a notification, no answer | 400, `-32600` |
//! | 4 | a notification: passed over | 400, `-32022` for a revision that is not served |
//! | 5 | no header twice | 400, `-32020` |
//! | 6 | `_meta` with revision and capabilities | 400, `-32602` |
//! | 7 | headers there, and the same as the body | 400, `-32020` |
//! | 8 | a revision that is served | 400, `-32022` |
//! | 9 | parameters in headers: see [`super::mirror`] | 400, `-32020` |
//! | 10 | a method that is served: the engine's | 404, `-32601` |
//! | 11 | what the client must be able to do: [`lacking`] | 400, `-32021` |
//!
//! Sources: MCP 2026-07-28, basic, "_meta" and "Error Codes"; Streamable HTTP, "Server Validation"; versioning.

use serde_json::json;

use super::mcp_headers::{BadHeader, METHOD, McpHeaders, NAME, VERSION, shown};
use crate::route::ClientSide;
use crate::route::client::Profile;
use crate::rpc::error::code;
use crate::rpc::mcp::{Era, LogLevel, Revision, method};
use crate::rpc::object::Object;
use crate::rpc::{Message, Raw, Request, RpcError};

/// The revision of the era without handshake.
pub const MODERN: &str = "2026-07-28";
/// All revisions that are served, newest first.
pub const SUPPORTED: &[&str] = &[MODERN, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// The key in `_meta` of the revision of a request.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The key in `_meta` of what the client is able to do.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The key in `_meta` of who the client says it is.
pub const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The key in `_meta` of the severity from which on log messages are wanted.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// Methods of this era alone.
const DISCOVER: &str = "server/discover";
const LISTEN: &str = "subscriptions/listen";
/// The answer of a client within a task of the extension.
const TASKS_UPDATE: &str = "tasks/update";

/// What a request says about its circumstances.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What the client is able to do: an object.
    pub capabilities: Raw,
    /// Who it says it is: an object.
    pub client_info: Option<Raw>,
    /// From which severity on it wants log messages of this request; without it, none.
    pub log_level: Option<LogLevel>,
    /// The token under which it wants progress, as it wrote it.
    pub progress_token: Option<Raw>,
}

impl Asked {
    /// The client as far as it told of itself.
    pub fn profile(&self) -> Profile {
        Profile {
            revision: Revision::NEWEST,
            client_info: self.client_info.clone(),
            capabilities: self.capabilities.clone(),
            log_level: self.log_level,
        }
    }
}

/// What came up the ladder.
#[derive(Debug, Clone)]
pub enum Admitted {
    /// A request.
    Request(Asked),
    /// A notification: HTTP answers 202 and nothing is done, since no client has one to send there.
    Notification,
}

/// What was refused, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The error.
    pub error: RpcError,
}

impl Refused {
    /// Status 400 with this error: every step of the ladder.
    pub fn bad_request(error: RpcError) -> Self {
        Self { status: 400, error }
    }
}

// === Which era ===

/// The era in which a message is to be taken. `version_header` is that of HTTP; on stdio there is none.
///
/// An `initialize` that names a revision begins a session, whatever else it says; without one it is a method that
/// the other era does not have. A header that names no revision of the handshake era belongs to the other.
pub fn era_of(message: &Message, version_header: Option<&str>) -> Era {
    let (name, params) = match message {
        Message::Request(request) => (request.method.as_str(), request.params.as_ref()),
        Message::Notification(notification) => (notification.method.as_str(), notification.params.as_ref()),
        Message::Response(_) => ("", None),
    };
    let params = params.and_then(Object::of);
    let names_revision = || params.as_ref()?.get("protocolVersion")?.as_string().map(|_| ());
    if name == method::INITIALIZE && matches!(message, Message::Request(_)) && names_revision().is_some() {
        return Era::Legacy;
    }
    let has_key = || Object::of(&params.as_ref()?.get("_meta")?)?.get(META_VERSION);
    let is_modern = matches!(name, DISCOVER | LISTEN)
        || version_header.is_some_and(|version| !is_legacy(version.trim_matches([' ', '\t'])))
        || has_key().is_some();
    if is_modern { Era::Modern } else { Era::Legacy }
}

fn is_legacy(version: &str) -> bool {
    Revision::parse(version).is_some_and(|revision| revision.era() == Era::Legacy)
}

// === The ladder ===

/// Steps 3 to 8. `headers` is `None` where there are none (stdio).
///
/// # Errors
/// The first step that fails.
pub fn climb(message: &Message, headers: Option<&McpHeaders>) -> Result<Admitted, Refused> {
    match message {
        Message::Request(request) => climb_request(request, headers).map(Admitted::Request),
        Message::Notification(_) => {
            let version = headers
                .map(|headers| headers.get(VERSION))
                .transpose()
                .map_err(mismatch)?;
            match version.flatten() {
                Some(version) if version != MODERN => Err(unsupported(version)),
                _none_or_ours => Ok(Admitted::Notification),
            }
        }
        Message::Response(_) => Err(Refused::bad_request(RpcError::invalid_request(
            "Invalid request: this revision has no requests of servers, so there is nothing to answer",
        ))),
    }
}

/// Steps 5 to 8 of a request.
///
/// # Errors
/// The first step that fails.
pub fn climb_request(request: &Request, headers: Option<&McpHeaders>) -> Result<Asked, Refused> {
    for name in [VERSION, METHOD, NAME] {
        headers
            .map(|headers| headers.get(name))
            .transpose()
            .map_err(mismatch)?;
    }
    let params = request.params.as_ref().and_then(Object::of);
    let meta = params.as_ref().and_then(|params| params.get("_meta"));
    let meta = meta.as_ref().and_then(Object::of);
    let (version, capabilities) = required(meta.as_ref())?;
    if let Some(headers) = headers {
        compare(headers, request, params.as_ref(), &version)?;
    }
    if version != MODERN {
        return Err(unsupported(&version));
    }
    let get = |key: &str| meta.as_ref().and_then(|meta| meta.get(key));
    let log_level = match get(META_LOG_LEVEL).filter(|level| !level.is_null()) {
        Some(level) => Some(level.read().map_err(|_| unknown_level(&level))?),
        None => None,
    };
    Ok(Asked {
        capabilities: capabilities.compact(),
        client_info: get(META_CLIENT_INFO)
            .filter(Raw::is_object)
            .map(|info| info.compact()),
        log_level,
        // "Progress tokens MUST be a string or integer value": `null` asks for nothing.
        progress_token: get("progressToken")
            .filter(|token| matches!(token.as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9')))
            .map(|token| token.compact()),
    })
}

/// Step 6: the revision and the capabilities; of a key that stands twice two readers may take two values.
fn required(meta: Option<&Object<'_>>) -> Result<(String, Raw), Refused> {
    let keys = [META_VERSION, META_CAPABILITIES];
    if let Some(key) = meta.and_then(|meta| meta.doubled(&keys)) {
        return Err(no_envelope(&format!("`{key}` stands twice"), &[]));
    }
    let version = meta.and_then(|meta| meta.get_string(META_VERSION));
    let capabilities = meta
        .and_then(|meta| meta.get(META_CAPABILITIES))
        .filter(Raw::is_object);
    match (version, capabilities) {
        (Some(version), Some(capabilities)) => Ok((version, capabilities)),
        (version, capabilities) => {
            let missing: Vec<&str> = [
                (version.is_none(), META_VERSION),
                (capabilities.is_none(), META_CAPABILITIES),
            ]
            .into_iter()
            .filter_map(|(is_missing, key)| is_missing.then_some(key))
            .collect();
            let which = missing.join("` and `");
            Err(no_envelope(
                &format!("`params._meta` must have `{which}`"),
                &missing,
            ))
        }
    }
}

fn no_envelope(why: &str, missing: &[&str]) -> Refused {
    // The revisions too: it may be a client of the handshake era, to which nobody else will tell them.
    let data = json!({ "missing": missing, "supported": SUPPORTED });
    Refused::bad_request(RpcError::invalid_params(format!("Invalid params: {why}")).with_data(data))
}

/// Step 7.
fn compare(
    headers: &McpHeaders,
    request: &Request,
    params: Option<&Object<'_>>,
    version: &str,
) -> Result<(), Refused> {
    let name = request.method.as_str();
    for (header, body) in [(VERSION, version), (METHOD, name)] {
        match headers.get(header).map_err(mismatch)? {
            None => {
                return Err(mismatch(BadHeader(format!(
                    "{} is missing",
                    super::mcp_headers::shown_name(header)
                ))));
            }
            Some(value) if value != body => return Err(differs(header, value, body)),
            Some(_same) => {}
        }
    }
    let Some(key) = named_by(name) else {
        return Ok(());
    };
    if params.is_some_and(|params| params.doubled(&[key]).is_some()) {
        return Err(mismatch(BadHeader(format!(
            "Mcp-Name: the body has `{key}` twice"
        ))));
    }
    let body = params.and_then(|params| params.get_string(key));
    match (headers.decoded(NAME).map_err(mismatch)?, body) {
        (Some(value), Some(body)) if value == body => Ok(()),
        (Some(value), Some(body)) => Err(differs(NAME, &value, &body)),
        (Some(_), None) => Err(mismatch(BadHeader(format!(
            "Mcp-Name: the body has no text `{key}`"
        )))),
        (None, Some(_)) => Err(mismatch(BadHeader("Mcp-Name is missing".to_owned()))),
        // Whoever serves the method refuses it for that.
        (None, None) => Ok(()),
    }
}

/// The member of the parameters that `Mcp-Name` repeats, for methods that have one.
fn named_by(name: &str) -> Option<&'static str> {
    match name {
        method::TOOLS_CALL | method::PROMPTS_GET => Some("name"),
        method::RESOURCES_READ => Some("uri"),
        method::TASKS_GET | method::TASKS_CANCEL | TASKS_UPDATE => Some("taskId"),
        _other => None,
    }
}

fn differs(header: &str, value: &str, body: &str) -> Refused {
    mismatch(BadHeader(format!(
        "{} header value '{}' does not match body value '{}'",
        super::mcp_headers::shown_name(header),
        shown(value),
        shown(body)
    )))
}

/// Steps 5, 7 and 9 end in this.
pub fn mismatch(bad: BadHeader) -> Refused {
    Refused::bad_request(RpcError::new(
        code::HEADER_MISMATCH,
        format!("Header mismatch: {}", bad.0),
    ))
}

/// Step 8. Who names a revision with handshake in a request without is told of none of those: it would come back
/// with the same.
fn unsupported(version: &str) -> Refused {
    let supported = if is_legacy(version) { &[MODERN] } else { SUPPORTED };
    let data = json!({ "supported": supported, "requested": shown(version) });
    Refused::bad_request(
        RpcError::new(code::UNSUPPORTED_VERSION, "Unsupported protocol version").with_data(data),
    )
}

fn unknown_level(level: &Raw) -> Refused {
    let level = shown(level.as_str());
    Refused::bad_request(RpcError::invalid_params(format!(
        "Invalid params: unknown log level {level}: debug, info, notice, warning, error, critical, alert, emergency"
    )))
}

// === What a client is able to do ===

/// Step 11: the refusal, when `declared` lacks something of `needed`, both objects as in `clientCapabilities`.
///
/// # Errors
/// 400, `-32021` with what is missing in `data.requiredCapabilities`.
pub fn demand(declared: &Raw, needed: &Raw) -> Result<(), Refused> {
    let Some(missing) = lacking(declared, needed) else {
        return Ok(());
    };
    Err(Refused::bad_request(missing_capability(&missing)))
}

/// The error that says what a client would have to be able to do.
pub fn missing_capability(missing: &Raw) -> RpcError {
    let required: serde_json::Value = missing.read().unwrap_or_default();
    let names =
        Object::of(missing).map(|all| all.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", "));
    RpcError::new(
        code::MISSING_CAPABILITY,
        format!(
            "Missing required client capability: {}",
            names.unwrap_or_default()
        ),
    )
    .with_data(json!({ "requiredCapabilities": required }))
}

/// The part of `needed` that `declared` does not have; `None` when it has all. `needed` is ours, and not deep.
pub fn lacking(declared: &Raw, needed: &Raw) -> Option<Raw> {
    part_lacking(Object::of(declared).as_ref(), needed, &[])
}

/// What a server wanted of a client that it had not declared, and has not by now.
pub(super) fn lacked_by(client: &ClientSide) -> Option<Raw> {
    let lacked = client.lacked()?;
    match client.profile() {
        Some(profile) => lacking(&profile.capabilities, &lacked),
        None => Some(lacked),
    }
}

fn part_lacking(declared: Option<&Object<'_>>, needed: &Raw, path: &[&str]) -> Option<Raw> {
    let all = Object::of(needed)?;
    let mut missing = serde_json::Map::new();
    for (key, inner) in all.iter() {
        let there = declared
            .and_then(|declared| declared.get(&key))
            .filter(Raw::is_object);
        let lacks = match (&there, path, key.as_str()) {
            (Some(there), _, key) => {
                part_lacking(Object::of(there).as_ref(), &inner, &[path, &[key]].concat())
            }
            // "An empty capabilities object is equivalent to declaring support for `form` mode only" (elicitation).
            (None, ["elicitation"], "form") if declared.is_some_and(Object::is_empty) => None,
            (None, _, _) => Some(inner),
        };
        if let Some(lacks) = lacks {
            missing.insert(key, lacks.read().unwrap_or_default());
        }
    }
    (!missing.is_empty()).then(|| Raw::of(&missing))
}

/// The HTTP status of an answer with an error of this code, where nothing was sent before it.
///
/// Errors that a server has with the parameters are answers like others: 200. An envelope that this program refuses
/// has the status of its [`Refused`].
pub fn status_of(error_code: i64) -> u16 {
    match error_code {
        code::METHOD_NOT_FOUND => 404,
        code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION => 400,
        _in_band => 200,
    }
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
