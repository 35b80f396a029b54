//! Results and errors on their way from one era to the other. Pure; one edit each, and the rest stays as it came.
//!
//! | what | to 2026-07-28 | to the handshake era |
//! | --- | --- | --- |
//! | `resultType` | `complete` where a server said none, or could not say one | taken away |
//! | `ttlMs`, `cacheScope` | on what may be kept | taken away |
//! | `_meta` | with who we are; without the related task | without the keys of the other era |
//! | structured content that is no object | as it is | under `result` |
//! | errors | [`error_for_modern`] | [`error_for_legacy`] |
//!
//! Tools are in [`crate::catalog::eras`].

use std::borrow::Cow;

use super::urls::URL_NEEDED;
use crate::rpc::error::code;
use crate::rpc::mcp::{Era, RELATED_TASK, method};
use crate::rpc::object::{Object, elements};
use crate::rpc::{Raw, RpcError};

/// The key in `_meta` of who answers.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The key in `_meta` of the subscription that a message belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Discovery, whose result may be kept.
const DISCOVER: &str = "server/discover";
/// Longest text made of structured content for clients that read nothing else, in bytes.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Who may keep a result besides the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everybody.
    Public,
    /// Nobody.
    Private,
}

/// How long a result may be kept, and by whom (MCP 2026-07-28, caching).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Unit: milliseconds.
    pub ttl_ms: u64,
    /// By whom.
    pub scope: Scope,
    /// Whether this holds although the server has said something else.
    pub is_final: bool,
}

/// What is put into a result for a client of 2026-07-28.
#[derive(Debug, Clone)]
pub struct Fill<'a> {
    /// The era of the server: `resultType` of one of the handshake era means nothing.
    pub from: Era,
    /// Who we are: an object. Without it the result says nothing of it.
    pub server_info: Option<&'a Raw>,
    /// For the results of methods that may be kept ([`may_be_kept`]); what a server of the same era says stands.
    pub keep: Option<Keep>,
}

/// Whether results of this method say how long they may be kept.
pub fn may_be_kept(name: &str) -> bool {
    matches!(
        name,
        DISCOVER
            | method::TOOLS_LIST
            | method::PROMPTS_LIST
            | method::RESOURCES_LIST
            | method::TEMPLATES_LIST
            | method::RESOURCES_READ
    )
}

/// A result for a client of 2026-07-28. What is no object stays as it is.
#[must_use]
pub fn complete_for_modern(result: &Raw, fill: &Fill<'_>) -> Raw {
    let Some(object) = Object::of(result) else {
        return result.clone();
    };
    let is_modern = matches!(fill.from, Era::Modern);
    let kind = object
        .get("resultType")
        .filter(|kind| is_modern && kind.as_string().is_some());
    let is_complete = kind
        .as_ref()
        .is_none_or(|kind| kind.as_string().as_deref() == Some("complete"));
    let mut dropped: Vec<&str> = Vec::new();
    let mut added: Vec<(&str, Raw)> = Vec::new();
    let mut set = |key: &'static str, value: Raw| {
        if object.get(key).is_some() {
            dropped.push(key);
        }
        added.push((key, value));
    };
    if kind.is_none() {
        set("resultType", Raw::of(&"complete"));
    }
    if let Some(keep) = fill
        .keep
        .filter(|keep| is_complete && (keep.is_final || !is_modern || !says_keep(&object)))
    {
        set("ttlMs", Raw::of(&keep.ttl_ms));
        set(
            "cacheScope",
            Raw::of(&if keep.scope == Scope::Public {
                "public"
            } else {
                "private"
            }),
        );
    }
    if let Some(meta) = meta_for_modern(object.get("_meta").as_ref(), fill.server_info) {
        set("_meta", meta);
    }
    if dropped.is_empty() {
        return appended(result, object.is_empty(), &added);
    }
    let rest = object.without(&dropped);
    let is_empty = Object::of(&rest).is_some_and(|rest| rest.is_empty());
    appended(&rest, is_empty, &added)
}

/// Whether a server says how long its result may be kept, and in the form that it should have.
fn says_keep(result: &Object<'_>) -> bool {
    let is_time = result.get("ttlMs").is_some_and(|ttl| ttl.read::<u64>().is_ok());
    is_time
        && matches!(
            result.get_string("cacheScope").as_deref(),
            Some("public" | "private")
        )
}

/// The metadata of a result for a client of 2026-07-28; `None` where nothing is to be changed.
fn meta_for_modern(meta: Option<&Raw>, server_info: Option<&Raw>) -> Option<Raw> {
    let there = meta.filter(|meta| meta.is_object());
    let without = there
        .and_then(Object::of)
        .map(|meta| meta.without(&[RELATED_TASK]));
    match (without, server_info) {
        (without, Some(info)) => {
            let without = without.unwrap_or_else(Raw::empty_object);
            Object::of(&without).map(|meta| meta.with(SERVER_INFO, info))
        }
        (Some(without), None) => (Some(&without) != meta).then_some(without),
        (None, None) => None,
    }
}

/// The object with these members behind its own.
fn appended(object: &Raw, is_empty: bool, added: &[(&str, Raw)]) -> Raw {
    let text = object.as_bytes();
    let mut out = Vec::with_capacity(
        text.len()
            + added
                .iter()
                .map(|(key, value)| key.len() + value.as_bytes().len() + 4)
                .sum::<usize>(),
    );
    out.extend_from_slice(text.strip_suffix(b"}").unwrap_or(text));
    for (at, (key, value)) in added.iter().enumerate() {
        if at > 0 || !is_empty {
            out.push(b',');
        }
        out.extend_from_slice(Raw::of(key).as_bytes());
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
    Raw::trusted(out)
}

/// A result of a server of 2026-07-28 for a client of the handshake era.
pub fn strip_for_legacy<'a>(name: &str, result: &'a Raw) -> Cow<'a, Raw> {
    let Some(object) = Object::of(result) else {
        return Cow::Borrowed(result);
    };
    let keys: &[&str] = if may_be_kept(name) {
        &["resultType", "ttlMs", "cacheScope"]
    } else {
        &["resultType"]
    };
    let stripped = object.without(keys);
    let Some(meta) = object.get("_meta") else {
        return if stripped == *result {
            Cow::Borrowed(result)
        } else {
            Cow::Owned(stripped)
        };
    };
    let Some(kept) = Object::of(&meta).map(|meta| meta.without(&[SERVER_INFO, SUBSCRIPTION_ID])) else {
        return Cow::Owned(stripped);
    };
    let is_empty = kept.as_str() == "{}" && kept != meta;
    let stripped = match Object::of(&stripped) {
        Some(object) if is_empty => object.without(&["_meta"]),
        Some(object) if kept != meta => object.with("_meta", &kept),
        _as_it_is => stripped,
    };
    Cow::Owned(stripped)
}

/// The result of a tool of a server of 2026-07-28 for a client of the handshake era, whose structured content is an
/// object and stands in a text too. `is_wrapped` says that the tool's schema was ([`crate::catalog::eras::is_wrapped`]).
pub fn wrap_structured(result: &Raw, is_wrapped: bool) -> Cow<'_, Raw> {
    let object = Object::of(result);
    let Some((object, value)) =
        object.and_then(|object| object.get("structuredContent").map(|value| (object, value)))
    else {
        return Cow::Borrowed(result);
    };
    let mut changed = None;
    if is_wrapped || !value.is_object() {
        let wrapped = appended(&Raw::empty_object(), true, &[("result", value.clone())]);
        changed = Some(object.with("structuredContent", &wrapped));
    }
    let content = object.get("content");
    let blocks = content.as_ref().and_then(elements);
    if !blocks.iter().flatten().any(is_text) && value.as_bytes().len() <= TEXT_BYTES_MAX {
        let mut blocks = blocks.unwrap_or_default();
        blocks.push(Raw::of(
            &serde_json::json!({ "type": "text", "text": value.as_str() }),
        ));
        let base = changed.as_ref().and_then(Object::of).unwrap_or(object);
        changed = Some(base.with("content", &Raw::array(&blocks)));
    }
    changed.map_or(Cow::Borrowed(result), Cow::Owned)
}

fn is_text(block: &Raw) -> bool {
    Object::of(block)
        .and_then(|block| block.get_string("type"))
        .as_deref()
        == Some("text")
}

// === Errors ===

/// What an error of a server is for a client of the other era.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// This error.
    Error(Raw),
    /// This result: an error that the model can act upon.
    Result(Raw),
    /// The server wants the person to open a URL first (`-32042`; the error as it came). It has no place in
    /// 2026-07-28 other than a question to the client.
    OpenUrlFirst(Raw),
    /// This error, and the server does not speak the revision that it was thought to: it is to be asked again.
    WrongRevision(Raw),
}

/// An error of a server of the era `from` for a client of 2026-07-28. `uri` is what the client asked for, as it
/// knows it, where it asked for a resource.
///
/// Codes that the protocol keeps for itself (-32099 to -32020) pass with its meaning only; nearly all others pass.
pub fn error_for_modern(from: Era, name: &str, uri: Option<&str>, error: &Raw) -> Told {
    match code_of(error) {
        Some(code::RESOURCE_NOT_FOUND) if is_of_resource(name) => {
            Told::Error(not_found(error, code::INVALID_PARAMS, uri))
        }
        Some(code::RESOURCE_NOT_FOUND) => Told::Error(internal(error)),
        Some(code::INVALID_PARAMS) if name == method::RESOURCES_READ && names_uri(error) => {
            Told::Error(not_found(error, code::INVALID_PARAMS, uri))
        }
        Some(_) if is_url_needed(error) => Told::OpenUrlFirst(error.clone()),
        Some(code::MISSING_CAPABILITY) if matches!(from, Era::Modern) => Told::Error(error.clone()),
        Some(code::HEADER_MISMATCH | code::UNSUPPORTED_VERSION) if matches!(from, Era::Modern) => {
            Told::WrongRevision(internal(error))
        }
        Some(reserved) if is_reserved(reserved) => Told::Error(internal(error)),
        _other => Told::Error(error.clone()),
    }
}

/// An error of a server of 2026-07-28 for a client of the handshake era.
pub fn error_for_legacy(name: &str, uri: Option<&str>, error: &Raw) -> Told {
    match code_of(error) {
        Some(code::INVALID_PARAMS)
            if name == method::RESOURCES_READ && (names_uri(error) || says_not_found(error)) =>
        {
            Told::Error(not_found(error, code::RESOURCE_NOT_FOUND, uri))
        }
        Some(code::MISSING_CAPABILITY) if name == method::TOOLS_CALL => {
            let block = serde_json::json!({ "type": "text", "text": message_of(error) });
            Told::Result(Raw::of(
                &serde_json::json!({ "content": [block], "isError": true }),
            ))
        }
        Some(code::HEADER_MISMATCH | code::UNSUPPORTED_VERSION) => Told::WrongRevision(internal(error)),
        // As clients of 2025-11-25 know it; the revisions before them are told by `super::project`.
        Some(_) if is_url_needed(error) => Told::Error(error.clone()),
        Some(reserved) if is_reserved(reserved) => Told::Error(internal(error)),
        _other => Told::Error(error.clone()),
    }
}

/// What the specification has kept for itself from 2026-07-28 on (basic, "Error Codes").
fn is_reserved(code: i64) -> bool {
    (-32099..=-32020).contains(&code)
}

fn is_of_resource(name: &str) -> bool {
    matches!(
        name,
        method::RESOURCES_READ | method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE
    )
}

fn code_of(error: &Raw) -> Option<i64> {
    Object::of(error)?.get("code")?.read().ok()
}

fn is_url_needed(error: &Raw) -> bool {
    Object::of(error)
        .and_then(|error| error.get("code"))
        .is_some_and(|code| code.as_str() == URL_NEEDED)
}

fn message_of(error: &Raw) -> String {
    Object::of(error)
        .and_then(|error| error.get_string("message"))
        .unwrap_or_default()
}

fn says_not_found(error: &Raw) -> bool {
    message_of(error).to_ascii_lowercase().contains("not found")
}

fn names_uri(error: &Raw) -> bool {
    let data = Object::of(error).and_then(|error| error.get("data"));
    data.as_ref()
        .and_then(Object::of)
        .and_then(|data| data.get_string("uri"))
        .is_some()
}

/// The same error under this code, with the URI as the client knows it.
fn not_found(error: &Raw, code: i64, uri: Option<&str>) -> Raw {
    let Some(object) = Object::of(error) else {
        return error.clone();
    };
    let mut out = object.with("code", &Raw::of(&code));
    if !says_not_found(error) {
        let message = format!("Resource not found: {}", message_of(error));
        out = with(&out, "message", &Raw::of(&message));
    }
    let Some(uri) = uri else {
        return out;
    };
    let data = object.get("data");
    let base = match &data {
        Some(data) if data.is_object() => data.clone(),
        Some(data) if !data.is_null() => with(&Raw::empty_object(), "original", data),
        _none => Raw::empty_object(),
    };
    with(&out, "data", &with(&base, "uri", &Raw::of(&uri)))
}

/// An error whose code means nothing to the client, or something else.
fn internal(error: &Raw) -> Raw {
    let data = with(
        &Raw::of(&serde_json::json!({ "source": "mcp-wrapper" })),
        "original",
        error,
    );
    with(
        &RpcError::new(code::INTERNAL_ERROR, message_of(error)).raw(),
        "data",
        &data,
    )
}

fn with(object: &Raw, key: &str, value: &Raw) -> Raw {
    Object::of(object).map_or_else(|| object.clone(), |object| object.with(key, value))
}

#[cfg(test)]
#[path = "modern_tests.rs"]
mod tests;
