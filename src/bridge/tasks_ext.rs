//! Tasks for clients of 2026-07-28 (extension `io.modelcontextprotocol/tasks`): the server decides that a call becomes
//! one, and its client asks how it stands.
//!
//! Where the server knows the extension too, the id that the client gets says whose it is, sealed: nobody else can use
//! it, and nothing has to be remembered here. Else the task is hosted ([`crate::route::task_table`]), and asked after
//! here.

use serde_json::json;

use super::Engine;
use super::errors::to_rpc;
use super::exchange::Peer;
use super::ladder::{self, Asked, Refused};
use super::parks::{answers_to, input_requests};
use super::seal::{Keys, Kind, State, principal_digest};
use crate::ids::{ServerName, SessionId};
use crate::route::modern::{Told, error_for_modern};
use crate::route::questions::Collected;
use crate::route::task_table::{End, Standing};
use crate::route::task_watch::Named;
use crate::route::task_words::{Status, said};
use crate::rpc::error::code;
use crate::rpc::mcp::{Era, TASKS_EXTENSION, method};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, Request, RequestId, RpcError};

/// What stands in the place of a method in the state that is a task's id.
const TASK: &str = "tasks";

/// Whether the client has declared the extension.
///
/// # Errors
/// -32021 where it has not.
pub fn demand(asked: &Asked) -> Result<(), Refused> {
    let needed = Raw::of(&json!({ "extensions": { TASKS_EXTENSION: {} } }));
    ladder::demand(&asked.capabilities, &needed)
}

/// Whose task a request is about; the request then names it as its server does.
///
/// # Errors
/// -32602 where the client has no such task.
pub(super) fn own(keys: &Keys, peer: &Peer, request: &mut Request) -> Result<ServerName, Refused> {
    let unknown = || Refused {
        status: 200,
        error: RpcError::invalid_params("Invalid params: no such task"),
    };
    let params = request.params.as_ref().and_then(Object::of).ok_or_else(unknown)?;
    let id = params.get_string("taskId").ok_or_else(unknown)?;
    let (server, own) = opened(keys, &peer.principal, &id).ok_or_else(unknown)?;
    let params = params.with("taskId", &Raw::of(&own));
    request.params = Some(params);
    Ok(server)
}

/// Whose the task is that this client calls so, and what that server calls it.
fn opened(keys: &Keys, principal: &str, id: &str) -> Option<(ServerName, String)> {
    // Its time is the server's to say.
    let state = keys.open(id, 0).ok()?;
    let is_it = state.method == TASK && state.principal == principal_digest(principal);
    let own = state.inner.filter(|_| is_it)?;
    Some((ServerName::parse(&state.server).ok()?, own))
}

/// A result about a task that its client calls so.
pub fn named(id: &str, result: &Raw) -> Raw {
    match Object::of(result) {
        Some(object) if object.get_string("taskId").is_some() => object.with("taskId", &Raw::of(&id)),
        _another => result.clone(),
    }
}

/// A result with the id of its task as the client gets it, where it is about one.
pub(super) fn exposed(keys: &Keys, principal: &str, server: &ServerName, result: &Raw) -> Raw {
    let Some(object) = Object::of(result) else {
        return result.clone();
    };
    let Some(own) = object.get_string("taskId") else {
        return result.clone();
    };
    // The same text each time, as long as the same key seals.
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

impl Engine {
    /// The answer to a request about a hosted task of this client; `None` where it has none of this id.
    pub(super) fn hosted(&self, owner: &SessionId, request: &Request) -> Option<Outcome> {
        let params = request.params.as_ref().and_then(Object::of)?;
        let id = params.get_string("taskId")?;
        let table = self.router.task_table();
        let standing = table.standing(owner, &id)?;
        Some(match request.method.as_str() {
            method::TASKS_UPDATE => {
                let updated = supplied(&standing, params.get("inputResponses").as_ref());
                table.touched(&id);
                updated.map(|()| Raw::empty_object()).map_err(|error| error.raw())
            }
            // "The server MUST acknowledge the request", also where there is nothing left to cancel.
            method::TASKS_CANCEL => {
                drop(table.cancel(owner, &id));
                Ok(Raw::empty_object())
            }
            _get => Ok(shown(&standing)),
        })
    }

    /// A task of this client that its server alone knows.
    pub fn task_of_server(&self, principal: &str, id: &str) -> Option<Named> {
        let (server, own) = opened(&self.parks.keys(), principal, id)?;
        let id = id.to_owned();
        Some(Named { id, server, own })
    }

    /// A hosted task as its client sees it, and a number that is another when it stands differently.
    pub fn hosted_task(&self, owner: &SessionId, id: &str) -> Option<(u64, Raw)> {
        let standing = self.router.task_table().standing(owner, id)?;
        Some((standing.version, shown(&standing)))
    }
}

/// Gives the answers to those who asked; what was not asked, or was answered before, is passed over.
fn supplied(standing: &Standing, responses: Option<&Raw>) -> Result<(), RpcError> {
    let Some(client) = &standing.client else {
        return Ok(());
    };
    for (id, answer) in answers_to(&client.questions.after(0), responses, key)? {
        client.questions.answer(&RequestId::number(id), &Ok(answer));
    }
    Ok(())
}

/// No key stands for two questions of one task.
fn key(question: &Collected) -> String {
    format!("i{}", question.id)
}

/// A task with all that it has in store (SEP-2663, "Task Polling").
fn shown(standing: &Standing) -> Raw {
    let task = |status| said(&standing.heard, &standing.ours, status);
    let with = |status, key: &str, value: &Raw| {
        let task = task(status);
        Object::of(&task).map_or_else(|| task.clone(), |object| object.with(key, value))
    };
    let open = standing.client.as_ref().map(|client| client.questions.after(0));
    match &standing.end {
        None => match open.filter(|open| !open.is_empty()) {
            Some(open) => with(
                Status::InputRequired,
                "inputRequests",
                &input_requests(&open, key),
            ),
            None => task(Status::Working),
        },
        Some(End::Cancelled) => task(Status::Cancelled),
        Some(End::Came(Ok(Ok(result)))) => with(Status::Completed, "result", result),
        Some(End::Came(Ok(Err(error)))) => match failed(standing, error) {
            Ok(result) => with(Status::Completed, "result", &result),
            Err(error) => with(Status::Failed, "error", &error),
        },
        Some(End::Came(Err(error))) => with(Status::Failed, "error", &to_rpc(error).raw()),
    }
}

/// The error of a task as its client understands it.
fn failed(standing: &Standing, error: &Raw) -> Outcome {
    let lacked = standing
        .client
        .as_ref()
        .and_then(|client| ladder::lacked_by(client));
    if let Some(lacked) = lacked {
        return Err(ladder::missing_capability(&lacked).raw());
    }
    match error_for_modern(Era::Legacy, method::TOOLS_CALL, None, error) {
        Told::Error(error) | Told::WrongRevision(error) => Err(error),
        Told::Result(result) => Ok(result),
        Told::OpenUrlFirst(_) => {
            let text = "the server wants a page opened first, and then the call made again";
            Err(RpcError::new(code::INTERNAL_ERROR, text).raw())
        }
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
            scope: None,
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
        assert_eq!(own(&keys, &peer("one"), &mut request).unwrap(), server);
        assert_eq!(request.params.unwrap().as_str(), r#"{"taskId":"own-7","x":1}"#);
        let code = |peer: &Peer, id: &str| own(&keys, peer, &mut get(id)).unwrap_err().error.code;
        assert_eq!(code(&peer("two"), &id), -32602);
        assert_eq!(code(&peer("one"), "own-7"), -32602);
        assert_eq!(demand(&asked("{}")).unwrap_err().error.code, -32021);
        assert!(demand(&asked(CAN)).is_ok());
    }
}
