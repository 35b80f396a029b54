//! The handshake with a child: what we offer, and what it answered.

use crate::config::spec::Sharing;
use crate::ids::OwnerKey;
use crate::rpc::mcp::{self, Era, Implementation, Revision};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw};

/// What a child said of itself.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// The revision that it speaks with us.
    pub revision: Revision,
    /// The capabilities it declared.
    pub capabilities: Raw,
    /// Name and version, as it gave them.
    pub server_info: Option<Raw>,
    /// What it tells the model about itself.
    pub instructions: Option<String>,
}

/// The client for whom alone a process runs: the process sees its capabilities and its name.
#[derive(Debug, Clone)]
pub struct Persona {
    /// Whose process it is.
    pub owner: OwnerKey,
    /// What the client can do.
    pub capabilities: Raw,
    /// The client's name and version, as it gave them.
    pub client_info: Option<Raw>,
}

/// The parameters of our `initialize`: in a client's name where the process is its alone.
///
/// `has_roots`: the operator has named folders. They are told to whom no client tells of its own.
pub fn initialize_params(persona: Option<&Persona>, has_roots: bool, sharing: Sharing) -> Raw {
    let Some(persona) = persona else {
        return shared_params(has_roots || sharing != Sharing::Shared);
    };
    let ours = Raw::of(&Implementation::ourselves());
    let plain = Raw::of(&serde_json::json!({ "protocolVersion": Revision::NEWEST_LEGACY.as_str() }));
    // Put together from texts, so that what the client said stays as it was.
    let with = |raw: &Raw, key: &str, value: &Raw| {
        Object::of(raw).map_or_else(|| raw.clone(), |raw| raw.with(key, value))
    };
    // A client's own tasks stay out of it: nobody in between could tell whose they are.
    let capabilities = Object::of(&persona.capabilities).map(|all| all.without(&["tasks"]));
    let capabilities = capabilities.unwrap_or_else(Raw::empty_object);
    let knows_roots = Object::of(&capabilities).is_none_or(|all| all.get("roots").is_some());
    let capabilities = if has_roots && !knows_roots {
        with(&capabilities, "roots", &Raw::empty_object())
    } else {
        capabilities
    };
    let params = with(&plain, "capabilities", &capabilities);
    with(
        &params,
        "clientInfo",
        persona.client_info.as_ref().unwrap_or(&ours),
    )
}

/// The parameters of our `initialize` to a process that many clients share.
///
/// Declared is what is refused well when the client in question cannot do it. Folders (roots) are not, unless the
/// operator has named some: a server that takes one client's folders for its own would take them for all clients.
/// Where every client has a process of its own, this one only tells the lists, and some servers list a tool for folders
/// only if there may be any.
fn shared_params(has_roots: bool) -> Raw {
    let mut capabilities = serde_json::json!({ "sampling": {}, "elicitation": { "form": {}, "url": {} } });
    if let Some(all) = capabilities.as_object_mut().filter(|_| has_roots) {
        // They change only with the process: no `listChanged`.
        all.insert("roots".to_owned(), serde_json::json!({}));
    }
    Raw::of(&serde_json::json!({
        "protocolVersion": Revision::NEWEST_LEGACY.as_str(),
        "capabilities": capabilities,
        "clientInfo": Implementation::ourselves(),
    }))
}

impl Handshake {
    /// Reads a child's answer to `initialize`.
    ///
    /// # Errors
    /// A sentence: the child's own error, or what is wrong with its result.
    pub fn read(outcome: &Outcome) -> Result<Self, String> {
        let result = outcome
            .as_ref()
            .map_err(|error| format!("the server answered: {}", error_text(error)))?;
        let object = Object::of(result).ok_or("the result is no object")?;
        let version = object
            .get_string("protocolVersion")
            .ok_or("the result has no `protocolVersion`")?;
        let revision = revision(&version)
            .ok_or_else(|| format!("the server wants protocol version `{version}`, which nobody knows"))?;
        Ok(Self {
            revision,
            capabilities: object
                .get("capabilities")
                .filter(Raw::is_object)
                .unwrap_or_else(Raw::empty_object)
                .compact(),
            server_info: object.get("serverInfo").map(|info| info.compact()),
            instructions: object.get_string("instructions"),
        })
    }

    /// Reads the answer to `server/discover` of a server that speaks 2026-07-28.
    pub fn of_discovery(result: &Raw) -> Self {
        let object = Object::of(result);
        let part = |key: &str| object.as_ref().and_then(|object| object.get(key));
        let meta = part("_meta");
        let info = meta.as_ref().and_then(Object::of);
        Self {
            revision: Revision::V2026_07_28,
            capabilities: part("capabilities")
                .filter(Raw::is_object)
                .unwrap_or_else(Raw::empty_object)
                .compact(),
            server_info: info
                .and_then(|meta| meta.get(mcp::meta::SERVER_INFO))
                .map(|info| info.compact()),
            instructions: object.as_ref().and_then(|all| all.get_string("instructions")),
        }
    }

    /// Whether it needs no handshake: each request says all that it has to know.
    pub fn is_modern(&self) -> bool {
        self.revision.era() == Era::Modern
    }

    /// Whether it runs tool calls as tasks.
    pub fn makes_tasks(&self) -> bool {
        makes_tasks(&self.capabilities)
    }

    /// Whether it declared a capability.
    pub fn can(&self, capability: &str) -> bool {
        Object::of(&self.capabilities)
            .and_then(|all| all.get(capability))
            .is_some_and(|value| value.is_object())
    }

    /// Whether it declared a flag within a capability.
    pub fn can_also(&self, capability: &str, flag: &str) -> bool {
        let capability = Object::of(&self.capabilities).and_then(|all| all.get(capability));
        let value = capability
            .as_ref()
            .and_then(Object::of)
            .and_then(|capability| capability.get(flag));
        value.is_some_and(|value| value.as_str() == "true")
    }
}

/// Whether a server with these capabilities runs tool calls as tasks (MCP 2025-11-25, tasks, "Server Capabilities").
pub fn makes_tasks(capabilities: &Raw) -> bool {
    let part = |whole: &Raw, key| Object::of(whole)?.get(key).filter(Raw::is_object);
    part(capabilities, "tasks")
        .and_then(|tasks| part(&tasks, "requests"))
        .and_then(|requests| part(&requests, "tools"))
        .and_then(|tools| part(&tools, "call"))
        .is_some()
}

/// A known revision; one that is newer than all we know of its era is spoken as the newest we know.
fn revision(version: &str) -> Option<Revision> {
    Revision::of_handshake(version).or_else(|| {
        let is_date =
            version.len() == 10 && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let newer = is_date && version > Revision::NEWEST_LEGACY.as_str();
        newer.then(|| {
            tracing::warn!(
                version,
                "the server names an unknown protocol version; spoken as the newest known"
            );
            Revision::NEWEST_LEGACY
        })
    })
}

/// The message of a JSON-RPC error, with its code.
pub fn error_text(error: &Raw) -> String {
    let object = Object::of(error);
    let message = object.as_ref().and_then(|object| object.get_string("message"));
    let code = object.as_ref().and_then(|object| object.get("code"));
    match (message, code) {
        (Some(message), Some(code)) => format!("{message} (code {})", code.as_str()),
        (Some(message), None) => message,
        (None, _) => "an error without a message".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Handshake, String> {
        Handshake::read(&Ok(Raw::parse(&text.to_owned().into()).unwrap()))
    }

    fn declared(capabilities: Option<&str>, has_roots: bool) -> String {
        let persona = capabilities.map(|capabilities| Persona {
            owner: OwnerKey::client(None, "x"),
            capabilities: Raw::parse(&capabilities.to_owned().into()).unwrap(),
            client_info: None,
        });
        let params = initialize_params(persona.as_ref(), has_roots, Sharing::Shared);
        let capabilities = Object::of(&params).unwrap().get("capabilities").unwrap();
        capabilities.as_str().to_owned()
    }

    #[test]
    fn folders_are_declared_where_the_operator_names_some_and_else_by_the_owner_alone() {
        assert!(!declared(None, false).contains("roots"));
        assert!(declared(None, true).contains(r#""roots":{}"#));
        assert_eq!(declared(Some("{}"), false), "{}");
        assert_eq!(declared(Some("{}"), true), r#"{"roots":{}}"#);
        let own = r#"{"roots":{"listChanged":true}}"#;
        assert_eq!(declared(Some(own), true), own);
    }

    #[test]
    fn a_good_answer_is_read() {
        let shake = read(r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{"listChanged":true},"x":false},"serverInfo":{"name":"a"},"instructions":"hi"}"#).unwrap();
        assert_eq!(shake.revision, Revision::V2024_11_05);
        assert!(shake.can("tools") && shake.can_also("tools", "listChanged"));
        assert!(!shake.can("prompts") && !shake.can("x") && !shake.can_also("tools", "x"));
        assert_eq!(shake.instructions.as_deref(), Some("hi"));
    }

    #[test]
    fn a_newer_version_is_spoken_as_the_newest_known_and_nonsense_is_refused() {
        assert_eq!(
            read(r#"{"protocolVersion":"2026-07-28"}"#).unwrap().revision,
            Revision::V2025_11_25
        );
        assert!(read(r#"{"protocolVersion":"1999-01-01"}"#).is_err());
        assert!(read(r#"{"protocolVersion":7}"#).is_err());
        assert!(read("[]").is_err());
    }

    #[test]
    fn the_servers_own_words_are_kept() {
        let error = Raw::parse(&r#"{"code":-32000,"message":"no licence"}"#.to_owned().into()).unwrap();
        assert_eq!(
            Handshake::read(&Err(error)).unwrap_err(),
            "the server answered: no licence (code -32000)"
        );
    }
}
