//! Streamable HTTP of 2026-07-28, on `/mcp` beside the handshake era: each request stands for itself.
//!
//! An answer is JSON unless something has to be said before it, or it takes long; then the response becomes an event
//! stream. Closing the response is how the client cancels.
//!
//! Source: MCP 2026-07-28, Streamable HTTP; statuses it leaves open are those of the official SDKs.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::door::Who;
use super::events::{self, HEARTBEAT};
use super::{guard, json, pieces};
use crate::bridge::exchange::{Peer, Step};
use crate::bridge::ladder::{self, Admitted, Asked, Refused};
use crate::bridge::mcp_headers::McpHeaders;
use crate::bridge::modern::{Begun, Reply, status};
use crate::front::Shared;
use crate::front::listen::Listening;
use crate::rpc::message::response_line;
use crate::rpc::{Message, Outcome, Raw, Request, RequestId};

/// One message of a client without a handshake.
pub(super) async fn post(front: Shared, who: &Who, headers: &HeaderMap, message: Message) -> Response {
    let id = match &message {
        Message::Request(request) => Some(request.id.clone()),
        Message::Notification(_) | Message::Response(_) => None,
    };
    let headers = McpHeaders::of(
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes())),
    );
    match (ladder::climb(&message, Some(&headers)), message) {
        (Err(why), _) => refused(id.as_ref(), &why),
        (Ok(Admitted::Request(asked)), Message::Request(request)) => {
            answer(front, who, &headers, asked, request).await
        }
        // No notification of a client means anything here: ids are not those of other exchanges.
        (Ok(_), _) => StatusCode::ACCEPTED.into_response(),
    }
}

async fn answer(front: Shared, who: &Who, headers: &McpHeaders, asked: Asked, request: Request) -> Response {
    let peer = peer(who);
    let id = request.id.clone();
    match front.engine.begin(&peer, request, asked.clone(), Some(headers)) {
        Err(why) => refused(Some(&id), &why),
        Ok(Begun::Answered(outcome)) => answered(&id, &outcome),
        Ok(Begun::Going(reply)) => going(&front, id.compact(), reply).await,
        Ok(Begun::Listen(params)) => match who.address.stream() {
            Err(much) => guard::too_much(&much),
            Ok(()) => listen(front, &peer, asked, id.compact(), params).await,
        },
    }
}

fn peer(who: &Who) -> Peer {
    let principal = &who.principal;
    Peer {
        principal: Arc::clone(&principal.id),
        home: principal.home.clone(),
        connection: None,
        scope: principal.scope.clone(),
    }
}

async fn going(front: &Shared, id: RequestId, mut reply: Box<Reply>) -> Response {
    let first = tokio::select! {
        step = reply.step() => Some(step),
        // Some clients give up when they see no headers for long.
        () = tokio::time::sleep(HEARTBEAT) => None,
    };
    match first {
        Some(Step::Answered { said, outcome }) if said.is_empty() => answered(&id, &outcome),
        first => {
            let (frames, response) = events::channel();
            front.tasks.spawn("streamed answer", async move {
                // What is dropped here unfinished is cancelled.
                stream(&frames, &id, reply, first).await;
            });
            response
        }
    }
}

async fn stream(frames: &mpsc::Sender<Bytes>, id: &RequestId, mut reply: Box<Reply>, first: Option<Step>) {
    let mut step = first;
    loop {
        let lines = match step {
            None => Vec::new(),
            Some(Step::Said(line)) => vec![line],
            Some(Step::Answered { said, outcome }) => {
                let last = response_line(Some(id), &outcome);
                for line in said.into_iter().chain([last]) {
                    if frames.send(events::frame(&line)).await.is_err() {
                        return;
                    }
                }
                return;
            }
            Some(Step::Lost { .. } | Step::Dropped) => return,
        };
        for line in lines {
            if frames.send(events::frame(&line)).await.is_err() {
                return;
            }
        }
        step = tokio::select! {
            () = frames.closed() => return,
            step = reply.step() => Some(step),
            () = tokio::time::sleep(HEARTBEAT) => {
                if frames.send(events::comment()).await.is_err() {
                    return;
                }
                None
            }
        };
    }
}

async fn listen(front: Shared, peer: &Peer, asked: Asked, id: RequestId, params: Option<Raw>) -> Response {
    let opened = Listening::open(&front, peer, asked, id.clone(), params.as_ref()).await;
    let (mut listening, first) = match opened {
        Ok(opened) => opened,
        Err(error) => return answered(&id, &Err(error.raw())),
    };
    let (frames, response) = events::channel();
    let closing = front.closing.clone();
    front.tasks.spawn("stream of changes", async move {
        let mut next = first;
        loop {
            if frames.send(events::frame(&next)).await.is_err() {
                return;
            }
            next = loop {
                tokio::select! {
                    () = frames.closed() => return,
                    () = closing.cancelled() => {
                        drop(frames.send(events::frame(&listening.end())).await);
                        return;
                    }
                    line = listening.next() => break line,
                    () = tokio::time::sleep(HEARTBEAT) => {
                        if frames.send(events::comment()).await.is_err() {
                            return;
                        }
                    }
                }
            };
        }
    });
    response
}

fn answered(id: &RequestId, outcome: &Outcome) -> Response {
    let status = StatusCode::from_u16(status(outcome)).unwrap_or(StatusCode::OK);
    json(status, pieces::of_answer(id, outcome))
}

fn refused(id: Option<&RequestId>, why: &Refused) -> Response {
    let status = StatusCode::from_u16(why.status).unwrap_or(StatusCode::BAD_REQUEST);
    json(status, response_line(id, &Err(why.error.raw())))
}
