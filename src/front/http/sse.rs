//! HTTP+SSE of 2024-11-05: one event stream per client, and a POST beside it for each message.
//!
//! The session begins and ends with the stream. Clients of later revisions fall back to it, so any revision of the
//! handshake era may be agreed on. Source: MCP 2024-11-05, transports, "HTTP with SSE".

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::events::{self, HEARTBEAT};
use super::headers::is_json;
use super::{read_body, refusal};
use crate::access::Principal;
use crate::front::Shared;
use crate::front::conversation::Conversation;
use crate::rpc::error::code;
use crate::rpc::{Incoming, RpcError};
use crate::session::Door;

/// Opens the stream, and with it the session.
pub async fn open(State(front): State<Shared>, Extension(principal): Extension<Arc<Principal>>) -> Response {
    let session = match front.sessions.open(&principal, Door::Sse) {
        Ok(session) => session,
        Err(error) => {
            let error = RpcError::new(code::OVERLOADED, error.to_string());
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &error);
        }
    };
    let (conversation, queue) = Conversation::new(Arc::clone(&front), Arc::clone(&session));
    front.conversations.add(&conversation);
    let (frames, response) = events::channel();
    front.tasks.clone().spawn("sse stream", async move {
        let stream = session.open_stream();
        // Relative and without a slash, so that a prefix that a proxy puts before it survives.
        let endpoint = format!(
            "event: endpoint\ndata: messages?sessionId={}\n\n",
            session.id.as_str()
        );
        if frames.send(endpoint.into()).await.is_ok() {
            forward(&conversation, queue, &frames).await;
        }
        front.conversations.remove(&session.id);
        front.sessions.end(&session).await;
        front.engine.parks().connection_ended(&session.id);
        drop(stream);
    });
    response
}

async fn forward(
    conversation: &Conversation,
    mut queue: mpsc::Receiver<Bytes>,
    frames: &mpsc::Sender<Bytes>,
) {
    let session = conversation.session();
    loop {
        let Ok(room) = frames.reserve().await else { return };
        tokio::select! {
            // Answers before everything else. Every arm is cancel-safe.
            biased;
            () = frames.closed() => return,
            Some(line) = queue.recv() => room.send(events::frame(&line)),
            () = session.over.cancelled() => return,
            line = session.client.outbox.next() => room.send(events::frame(&line)),
            () = tokio::time::sleep(HEARTBEAT) => room.send(events::comment()),
        }
    }
}

/// Which stream a message belongs to.
#[derive(Debug, Deserialize)]
pub struct Addressed {
    #[serde(rename = "sessionId")]
    session_id: Option<String>,
}

/// Takes in one message; whatever it leads to goes out on the stream.
pub async fn message(
    State(front): State<Shared>,
    Extension(principal): Extension<Arc<Principal>>,
    Query(addressed): Query<Addressed>,
    request: Request<Body>,
) -> Response {
    let Some(id) = addressed.session_id else {
        let error = RpcError::invalid_request("the query parameter `sessionId` is missing");
        return refusal(StatusCode::BAD_REQUEST, &error);
    };
    let found = front.conversations.find(&id);
    // Another's session is not there.
    let found = found.filter(|found| found.session().principal.id == principal.id);
    let Some(conversation) = found else {
        let error = RpcError::new(
            code::NO_SESSION,
            "Session not found: its stream is closed; open a new one",
        );
        return refusal(StatusCode::NOT_FOUND, &error);
    };
    if request.headers().contains_key(header::CONTENT_TYPE) && !is_json(request.headers()) {
        let error = RpcError::invalid_request("the Content-Type must be application/json");
        return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error);
    }
    let text = match read_body(request.into_body()).await {
        Ok(text) => text,
        Err(refused) => return refused,
    };
    if let Err(malformed) = Incoming::parse(&text) {
        return refusal(StatusCode::BAD_REQUEST, &malformed.error);
    }
    conversation.session().touch(tokio::time::Instant::now());
    conversation.receive(&text).await;
    (StatusCode::ACCEPTED, "Accepted").into_response()
}
