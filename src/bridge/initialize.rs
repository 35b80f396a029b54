//! The handshake with a client: answered at once, from what is known, whatever the children are doing.

use serde_json::json;

use super::{Engine, offer};
use crate::route::client::Profile;
use crate::rpc::mcp::{Implementation, Revision};
use crate::rpc::object::Object;
use crate::rpc::{Raw, RpcError};
use crate::session::Session;
use crate::session::sessions::first_question_id;

/// In `_meta` of a handshake: the client has spoken with an earlier daemon, and says so through the shim.
pub const RESUMED: &str = "mcp-wrapper/resumed";

impl Engine {
    /// Answers `initialize`.
    ///
    /// The capabilities are static and maximal: children come and go, and a client of this era cannot renegotiate.
    ///
    /// # Errors
    /// The parameters are no handshake, or the session has had one.
    pub fn initialize(&self, session: &Session, params: Option<&Raw>) -> Result<Raw, RpcError> {
        let object = params.and_then(Object::of);
        let object =
            object.ok_or_else(|| RpcError::invalid_params("Invalid params: `params` must be an object"))?;
        let asked = object
            .get_string("protocolVersion")
            .ok_or_else(|| RpcError::invalid_params("Invalid params: `protocolVersion` must be a string"))?;
        // The server answers with what it prefers where it does not know what is asked (MCP, lifecycle).
        let revision = Revision::of_handshake(&asked).unwrap_or(Revision::NEWEST_LEGACY);
        let profile = Profile {
            revision,
            client_info: object.get("clientInfo").map(|info| info.compact()),
            capabilities: object
                .get("capabilities")
                .filter(Raw::is_object)
                .unwrap_or_else(Raw::empty_object)
                .compact(),
            log_level: None,
        };
        let client = client_line(&profile);
        if !session.client.introduce(profile) {
            return Err(RpcError::invalid_request(
                "Invalid request: this session is initialized already",
            ));
        }
        let meta = object.get("_meta");
        let mark = meta
            .as_ref()
            .and_then(Object::of)
            .and_then(|meta| meta.get(RESUMED));
        if mark.is_some() {
            session.client.questions.begin_after(first_question_id());
        }
        tracing::info!(session = %session.id, client, revision = revision.as_str(), "session opened");
        // 2024-10-07 is the same wire as 2024-11-05; its clients want to hear their own name.
        let version = if asked == "2024-10-07" {
            asked.as_str()
        } else {
            revision.as_str()
        };
        Ok(self.greeting_result(session, revision, version))
    }

    fn greeting_result(&self, session: &Session, revision: Revision, version: &str) -> Raw {
        let mut result = json!({
            "protocolVersion": version,
            "capabilities": offer::capabilities(),
            "serverInfo": Implementation::ourselves(),
        });
        if revision >= Revision::V2025_11_25
            && let Some(capabilities) = result.get_mut("capabilities").and_then(|all| all.as_object_mut())
        {
            let tasks = json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
            capabilities.insert("tasks".to_owned(), tasks);
        }
        let view = self.router().view_within(session.principal.scope.as_ref());
        if let (Some(object), Some(text)) = (result.as_object_mut(), &view.instructions) {
            object.insert("instructions".to_owned(), json!(text));
        }
        Raw::of(&result)
    }
}

/// The client's name and version for the log: what it says of itself, escaped and short.
fn client_line(profile: &Profile) -> String {
    let info: Option<Implementation> = profile.client_info.as_ref().and_then(|info| info.read().ok());
    let line = info
        .map(|info| format!("{} {}", info.name, info.version))
        .unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(80).collect()
}
