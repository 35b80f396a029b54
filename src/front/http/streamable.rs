//! Streamable HTTP of 2025-03-26, 2025-06-18 and 2025-11-25, on `/mcp`.
//!
//! An answer is JSON unless something has to be said before it, or it takes long: then the response becomes an
//! event stream at that moment, and not before. A client that disconnects has not cancelled.
//!
//! Source: MCP 2025-11-25, transports, "Streamable HTTP"; statuses it leaves open are those of the official SDKs.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::door::Who;
use super::events::{self, HEARTBEAT};
use super::headers::{accepts, is_json};
use super::{header_text, json, pieces, read_body, refusal, resumable};
use crate::bridge::{Answer, errors, ladder, lane_of};
use crate::child::Lane;
use crate::front::Shared;
use crate::front::conversation::{self, handshake, notified};
use crate::route::CallContext;
use crate::rpc::error::code;
use crate::rpc::mcp::{Era, Revision, method};
use crate::rpc::message::{Malformed, response_line};
use crate::rpc::{Incoming, Message, Outcome, RequestId, RpcError};
use crate::session::replay::{EventLog, Lost, Streams};
use crate::session::{InFlight, Session};

const SESSION_ID: &str = "mcp-session-id";
const LAST_EVENT_ID: &str = "last-event-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// `/mcp`, whatever the verb.
pub async fn mcp(front: Shared, who: Who, request: Request<Body>) -> Response {
    if request.method() != Method::POST && is_modern(&request) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    }
    match request.method() {
        &Method::POST => post(front, who, request).await,
        &Method::GET => get(&front, &who, &request),
        &Method::DELETE => {
            let session = session_of(&front, &who, &request);
            Box::pin(delete(&front, session)).await
        }
        _another => (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "GET, POST, DELETE")],
        )
            .into_response(),
    }
}

// === GET and DELETE ===

fn get(front: &Shared, who: &Who, request: &Request<Body>) -> Response {
    if !accepts(request.headers(), EVENTS) {
        let error = RpcError::invalid_request("the client must accept text/event-stream");
        return refusal(StatusCode::NOT_ACCEPTABLE, &error);
    }
    let session =
        match session_of(front, who, request).and_then(|session| check_version(request).map(|()| session)) {
            Ok(session) => session,
            Err(refused) => return refused,
        };
    let asked_for = request
        .headers()
        .get(LAST_EVENT_ID)
        .map(|id| id.to_str().unwrap_or_default());
    let (log, after) = match asked_for {
        None => (session.streams.open(None), None),
        Some(id) => match session.streams.find(id) {
            Some((log, number)) => (log, Some(number)),
            None if Streams::lost(id).is_some() => (after_a_restart(&session, id), None),
            None => {
                let error = RpcError::invalid_request(
                    "this Last-Event-ID is not known here; open a stream without it",
                );
                return refusal(StatusCode::BAD_REQUEST, &error);
            }
        },
    };
    let (frames, response) = events::channel();
    let stream = session.open_stream();
    front.tasks.spawn("event stream", async move {
        resumable::send(&session, &log, after, &frames).await;
        drop(stream);
    });
    response
}

/// What a client gets that asks for the rest of a stream which went down with an earlier daemon: that its call is lost,
/// or a fresh stream.
fn after_a_restart(session: &Session, event_id: &str) -> Arc<EventLog> {
    let Some(Lost::Call(id)) = Streams::lost(event_id) else {
        return session.streams.open(None);
    };
    let log = session.streams.open(Some(&id));
    log.push(response_line(Some(&id), &Err(errors::lost_in_a_restart().raw())));
    log.end();
    log
}

async fn delete(front: &Shared, session: Result<Arc<Session>, Response>) -> Response {
    match session {
        Ok(session) => {
            front.sessions.end(&session).await;
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refused) => refused,
    }
}

// === POST ===

/// What is rare is boxed, so that the future of a call, which is moved about, stays small.
async fn post(front: Shared, who: Who, request: Request<Body>) -> Response {
    if let Err(refused) = check_formats(&request) {
        return refused;
    }
    if front.closing.is_cancelled() {
        let error = RpcError::new(
            code::SHUTTING_DOWN,
            "mcp-wrapper is going down; try again in a moment",
        );
        let mut refused = refusal(StatusCode::SERVICE_UNAVAILABLE, &error);
        refused
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        return refused;
    }
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, Body::empty());
    let text = match read_body(body).await {
        Ok(text) => text,
        Err(refused) => return refused,
    };
    match Incoming::parse(&text) {
        Err(malformed) => malformed_body(&malformed),
        Ok(Incoming::One(message)) if ladder::era_of(&message, version(&request)) == Era::Modern => {
            Box::pin(super::modern::post(front, &who, request.headers(), message)).await
        }
        Ok(Incoming::One(Message::Request(asked))) if asked.method.as_str() == method::INITIALIZE => {
            Box::pin(initialize(&front, &who, &asked)).await
        }
        Ok(Incoming::Batch(_)) if header_text(&request, SESSION_ID).is_none() => {
            let text = "Invalid request: batches exist only in sessions of revision 2025-03-26";
            refusal(StatusCode::BAD_REQUEST, &RpcError::invalid_request(text))
        }
        Ok(incoming) => {
            let session = session_of(&front, &who, &request)
                .and_then(|session| check_version(&request).map(|()| session));
            match (session, incoming) {
                (Err(refused), _) => refused,
                (Ok(session), Incoming::One(message)) => one(front, session, message).await,
                (Ok(session), Incoming::Batch(parts)) => {
                    Box::pin(super::batch::batch(front, session, parts)).await
                }
            }
        }
    }
}

fn check_formats(request: &Request<Body>) -> Result<(), Response> {
    let headers = request.headers();
    if !accepts(headers, JSON) || !accepts(headers, EVENTS) {
        let error =
            RpcError::invalid_request("the client must accept both application/json and text/event-stream");
        return Err(refusal(StatusCode::NOT_ACCEPTABLE, &error));
    }
    if !is_json(headers) {
        let error = RpcError::invalid_request("the Content-Type must be application/json");
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error));
    }
    Ok(())
}

fn malformed_body(malformed: &Malformed) -> Response {
    json(
        StatusCode::BAD_REQUEST,
        response_line(malformed.id.as_ref(), &Err(malformed.error.raw())),
    )
}

/// A handshake opens a session, whatever stale session id comes with it.
async fn initialize(front: &Shared, who: &Who, asked: &crate::rpc::Request) -> Response {
    let session = match front.sessions.open_kept(&who.principal) {
        Ok(session) => session,
        Err(error) => {
            let error = RpcError::new(code::OVERLOADED, error.to_string());
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &error);
        }
    };
    let outcome = front.engine.initialize(&session, asked.params.as_ref());
    if outcome.is_err() {
        let (front, session) = (Arc::clone(front), Arc::clone(&session));
        let sessions = front.sessions.clone();
        front
            .tasks
            .spawn("refused handshake", async move { sessions.end(&session).await });
    }
    let is_open = outcome.is_ok();
    if is_open {
        front.sessions.kept(&session).await;
    }
    let mut response = answered(&asked.id, &outcome.map_err(|error| error.raw()));
    if let Some(id) = HeaderValue::from_str(session.id.as_str())
        .ok()
        .filter(|_| is_open)
    {
        response.headers_mut().insert(SESSION_ID, id);
    }
    response
}

/// Takes in one message of a session.
pub(super) async fn one(front: Shared, session: Arc<Session>, message: Message) -> Response {
    match message {
        Message::Notification(notification) => {
            notified(&front, &session, &notification);
            if notification.method.as_str() == method::INITIALIZED {
                front.sessions.keep(&session);
            }
            StatusCode::ACCEPTED.into_response()
        }
        Message::Response(response) => {
            conversation::answered(&session, &response);
            StatusCode::ACCEPTED.into_response()
        }
        Message::Request(request) => {
            let at_once = handshake(&front, &session, &request).or_else(|| {
                let scope = session.principal.scope.as_ref();
                front.engine.at_once(session.revision(), scope, &request)
            });
            match at_once {
                Some(outcome) => answered(&request.id, &outcome),
                None => call(front, session, request).await,
            }
        }
    }
}

/// One request that needs a child.
async fn call(front: Shared, session: Arc<Session>, request: crate::rpc::Request) -> Response {
    let lane = lane_of(&session, &request);
    let id = request.id.clone();
    let mut work = Box::pin(work(
        Arc::clone(&front),
        Arc::clone(&session),
        request,
        Arc::clone(&lane),
    ));
    let first = tokio::select! {
        // An answer that is here goes out as JSON.
        biased;
        ended = &mut work => return finished(&front, session, &id, &lane, ended),
        line = lane.next() => Some(line),
        // Some clients give up when they see no headers for long.
        () = tokio::time::sleep(HEARTBEAT) => None,
    };
    let log = session.streams.open(Some(&id));
    if let Some(line) = first {
        log.push(line);
    }
    let response = streamed(&front, session, &log);
    front.tasks.spawn("streamed answer", async move {
        stream(work, id.compact(), &lane, &log).await
    });
    response
}

/// The guard comes back with the answer: dropped, it closes the lane, and what was said last has to be taken out of
/// that before.
async fn work(front: Shared, session: Arc<Session>, request: crate::rpc::Request, lane: Arc<Lane>) -> Ended {
    let in_flight = session.begin(Arc::clone(&lane));
    let context = CallContext {
        revision: session.revision(),
        lane,
        to: None,
    };
    let answer = front.engine.answer(&context, &request).await;
    super::keep_changes(&front, &session, &request).await;
    Ended { answer, in_flight }
}

/// A request that is answered, and still counts as in flight.
struct Ended {
    answer: Answer,
    in_flight: InFlight,
}

/// An answer that came before anything had to be streamed, unless something came with it.
fn finished(front: &Shared, session: Arc<Session>, id: &RequestId, lane: &Lane, ended: Ended) -> Response {
    let outcome = match ended.answer {
        Answer::Outcome(outcome) => outcome,
        Answer::Cancelled => Err(errors::cancelled().raw()),
    };
    let said = lane.finish();
    drop(ended.in_flight);
    if said.is_empty() {
        return answered(id, &outcome);
    }
    let log = session.streams.open(Some(id));
    for line in said {
        log.push(line);
    }
    log.push(response_line(Some(id), &outcome));
    log.end();
    streamed(front, session, &log)
}

/// A response that reads a stream from its beginning.
fn streamed(front: &Shared, session: Arc<Session>, log: &Arc<EventLog>) -> Response {
    let (frames, response) = events::channel();
    let log = Arc::clone(log);
    front.tasks.spawn("event stream", async move {
        resumable::send(&session, &log, None, &frames).await
    });
    response
}

/// Goes on as an event stream. The call goes on to its end even when nobody reads: the client may come back.
async fn stream(
    mut work: std::pin::Pin<Box<impl Future<Output = Ended>>>,
    id: RequestId,
    lane: &Lane,
    log: &EventLog,
) {
    let ended = loop {
        tokio::select! {
            // What was said before the answer has to arrive before it.
            biased;
            line = lane.next() => log.push(line),
            ended = &mut work => break ended,
        };
    };
    for line in lane.finish() {
        log.push(line);
    }
    drop(ended.in_flight);
    if let Answer::Outcome(outcome) = ended.answer {
        log.push(response_line(Some(&id), &outcome));
    }
    log.end();
}

fn answered(id: &RequestId, outcome: &Outcome) -> Response {
    json(StatusCode::OK, pieces::of_answer(id, outcome))
}

// === What a request belongs to ===

/// Another's session is not there, as one that never was.
fn session_of(front: &Shared, who: &Who, request: &Request<Body>) -> Result<Arc<Session>, Response> {
    let Some(id) = header_text(request, SESSION_ID) else {
        let error = RpcError::new(
            code::NO_SESSION,
            "Bad Request: no Mcp-Session-Id header; send `initialize` first",
        );
        return Err(refusal(StatusCode::BAD_REQUEST, &error));
    };
    front.sessions.find(id, &who.principal).ok_or_else(|| {
        let error = RpcError::new(
            code::NO_SESSION,
            "Session not found: send `initialize` to open a new one",
        );
        refusal(StatusCode::NOT_FOUND, &error)
    })
}

/// The revision that the headers name.
fn version(request: &Request<Body>) -> Option<&str> {
    header_text(request, PROTOCOL_VERSION)
}

/// Nothing but POST is served without a handshake (MCP 2026-07-28, Streamable HTTP).
fn is_modern(request: &Request<Body>) -> bool {
    request.headers().get(SESSION_ID).is_none()
        && version(request)
            .and_then(Revision::parse)
            .is_some_and(|revision| revision.era() == Era::Modern)
}

/// A version that we do not know at all is refused; another than agreed on is not (MCP 2025-06-18, transports,
/// "Protocol Version Header").
fn check_version(request: &Request<Body>) -> Result<(), Response> {
    let Some(version) = request.headers().get(PROTOCOL_VERSION) else {
        return Ok(());
    };
    if version.to_str().ok().and_then(Revision::of_handshake).is_some() {
        return Ok(());
    }
    let text = "Bad Request: unsupported MCP-Protocol-Version; supported are 2024-11-05, 2025-03-26, 2025-06-18 and 2025-11-25";
    Err(refusal(
        StatusCode::BAD_REQUEST,
        &RpcError::new(code::NO_SESSION, text),
    ))
}
