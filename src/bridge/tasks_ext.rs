//! Tasks of servers of 2026-07-28 (extension `io.modelcontextprotocol/tasks`): the server decides that a call becomes
//! one, and its client asks how it stands. The id that the client gets says whose it is, sealed: nobody else can use
//! it, and nothing has to be remembered here.

use serde_json::json;

use super::exchange::Peer;
use super::ladder::{self, Asked, Refused};
use super::seal::{Keys, Kind, State, principal_digest};
use crate::ids::ServerName;
use crate::rpc::mcp::{TASKS_EXTENSION, method};
use crate::rpc::object::Object;
use crate::rpc::{Raw, Request, RpcError};

/// What stands in the place of a method in the state that is a task's id.
const TASK: &str = "tasks";

/// Whether this is a request about a task.
pub fn is_about_task(method: &str) -> bool {
    matches!(
        method,
        method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL
    )
}

/// Whose task a request is about; the request then names it as its server does.
///
/// # Errors
/// -32021 where the client has not declared the extension, -32602 where it has no such task.
pub(super) fn own(
    keys: &Keys,
    peer: &Peer,
    asked: &Asked,
    request: &mut Request,
) -> Result<ServerName, Refused> {
    let needed = Raw::of(&json!({ "extensions": { TASKS_EXTENSION: {} } }));
    ladder::demand(&asked.capabilities, &needed)?;
    let unknown = || Refused {
        status: 200,
        error: RpcError::invalid_params("Invalid params: no such task"),
    };
    let params = request.params.as_ref().and_then(Object::of).ok_or_else(unknown)?;
    let id = params.get_string("taskId").ok_or_else(unknown)?;
    // Its time is the server's to say.
    let state = keys.open(&id, 0).map_err(|_| unknown())?;
    let is_it = state.method == TASK && state.principal == principal_digest(&peer.principal);
    let own = state.inner.filter(|_| is_it).ok_or_else(unknown)?;
    let server = ServerName::parse(&state.server).map_err(|_| unknown())?;
    let params = params.with("taskId", &Raw::of(&own));
    request.params = Some(params);
    Ok(server)
}

/// A result with the id of its task as the client gets it, where it is about one.
pub(super) fn exposed(keys: &Keys, principal: &str, server: &ServerName, result: &Raw) -> Raw {
    let Some(object) = Object::of(result) else {
        return result.clone();
    };
    let Some(own) = object.get_string("taskId") else {
        return result.clone();
    };
    // The same text each time: there is nothing in it that changes.
    let state = State {
        kind: Kind::Relay,
        park: 0,
        round: 0,
        nonce: [0; 16],
        server: server.as_str().to_owned(),
        generation: 0,
        method: TASK.to_owned(),
        target: String::new(),
        arguments_digest: [0; 16],
        principal: principal_digest(principal),
        issued_at_ms: 0,
        expires_at_ms: u64::MAX,
        inner: Some(own),
        answers: None,
    };
    match keys.seal(&state) {
        Ok(id) => object.with("taskId", &Raw::of(&id)),
        Err(_too_large) => result.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::SessionId;
    use crate::rpc::{RequestId, Text};

    fn peer(principal: &str) -> Peer {
        Peer {
            principal: Arc::from(principal),
            home: SessionId::random(),
            connection: None,
        }
    }

    fn asked(capabilities: &str) -> Asked {
        Asked {
            capabilities: Raw::parse(&capabilities.to_owned().into()).unwrap(),
            client_info: None,
            log_level: None,
            progress_token: None,
        }
    }

    fn get(id: &str) -> Request {
        Request {
            id: RequestId::number(1),
            method: Text::fixed(method::TASKS_GET),
            params: Some(Raw::of(&json!({ "taskId": id, "x": 1 }))),
        }
    }

    #[test]
    fn a_task_is_its_clients_alone_and_keeps_its_id() {
        const CAN: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
        let keys = Keys::random().unwrap();
        let server = ServerName::parse("a").unwrap();
        let result = Raw::of(&json!({ "resultType": "task", "taskId": "own-7", "status": "working" }));
        let shown = exposed(&keys, "one", &server, &result);
        assert_eq!(shown, exposed(&keys, "one", &server, &result));
        let id = Object::of(&shown).unwrap().get_string("taskId").unwrap();
        assert!(!id.contains("own-7"));
        let mut request = get(&id);
        assert_eq!(
            own(&keys, &peer("one"), &asked(CAN), &mut request).unwrap(),
            server
        );
        assert_eq!(request.params.unwrap().as_str(), r#"{"taskId":"own-7","x":1}"#);
        let code = |peer: &Peer, can: &str, id: &str| {
            own(&keys, peer, &asked(can), &mut get(id))
                .unwrap_err()
                .error
                .code
        };
        assert_eq!(code(&peer("two"), CAN, &id), -32602);
        assert_eq!(code(&peer("one"), CAN, "own-7"), -32602);
        assert_eq!(
            code(&peer("one"), "{}", "nothing"),
            -32021,
            "before the id is looked at"
        );
    }
}
