//! Batches: arrays of messages, in sessions of 2025-03-26 only (MCP 2025-03-26, basic, "Batching").

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::{json, limits, refusal};
use crate::bridge::{Answer, errors, lane_of};
use crate::front::Shared;
use crate::front::conversation::{self, handshake, notified};
use crate::route::CallContext;
use crate::rpc::mcp::method;
use crate::rpc::message::{Malformed, response_line};
use crate::rpc::{Message, Request, RpcError};
use crate::session::Session;

/// Messages in one batch.
pub const N_MESSAGES_MAX: usize = 128;

/// Takes in a batch. Its requests run side by side, and their answers come as one array.
pub async fn batch(front: Shared, session: Arc<Session>, parts: Vec<Result<Message, Malformed>>) -> Response {
    if !session.revision().has_batches() {
        let text = "Invalid request: batches exist only in revision 2025-03-26";
        return refusal(StatusCode::BAD_REQUEST, &RpcError::invalid_request(text));
    }
    if parts.len() > N_MESSAGES_MAX {
        let text = format!("Invalid request: a batch has at most {N_MESSAGES_MAX} messages");
        return refusal(StatusCode::BAD_REQUEST, &RpcError::invalid_request(text));
    }
    let is_handshake = |part: &Result<Message, Malformed>| matches!(part, Ok(Message::Request(request)) if request.method.as_str() == method::INITIALIZE);
    if parts.iter().any(is_handshake) {
        let text = "Invalid request: `initialize` must not be part of a batch";
        return refusal(StatusCode::BAD_REQUEST, &RpcError::invalid_request(text));
    }
    let mut answers = Vec::new();
    let mut running = Vec::new();
    // The first came in with the batch and was counted there.
    let mut is_counted = true;
    for part in parts {
        if let Ok(Message::Request(request)) = &part
            && !std::mem::take(&mut is_counted)
            && let Err(much) = limits::request_of(&session.principal)
        {
            answers.push(response_line(Some(&request.id), &Err(much.error().raw())));
            continue;
        }
        match part {
            Ok(Message::Notification(notification)) => notified(&front, &session, &notification),
            Ok(Message::Response(response)) => conversation::answered(&session, &response),
            Ok(Message::Request(request)) => {
                let (done, waits) = tokio::sync::oneshot::channel();
                let (front_of_it, session) = (Arc::clone(&front), Arc::clone(&session));
                front.tasks.spawn("batched request", async move {
                    // The client may be gone.
                    drop(done.send(line(front_of_it, session, request).await));
                });
                running.push(waits);
            }
            Err(malformed) => answers.push(response_line(malformed.id.as_ref(), &Err(malformed.error.raw()))),
        }
    }
    for waits in running {
        answers.extend(waits.await);
    }
    if answers.is_empty() {
        return StatusCode::ACCEPTED.into_response();
    }
    json(StatusCode::OK, joined(&answers))
}

/// The answer to one request of a batch.
async fn line(front: Shared, session: Arc<Session>, request: Request) -> Bytes {
    let at_once = handshake(&front, &session, &request).or_else(|| {
        let scope = session.principal.scope.as_ref();
        front.engine.at_once(session.revision(), scope, &request)
    });
    let outcome = match at_once {
        Some(outcome) => outcome,
        None => {
            let lane = lane_of(&session, &request);
            let in_flight = session.begin(Arc::clone(&lane));
            let context = CallContext {
                revision: session.revision(),
                lane,
                to: None,
            };
            let answer = carried(&front, &session, &context, &request).await;
            super::keep_changes(&front, &session, &request).await;
            drop(in_flight);
            match answer {
                Answer::Outcome(outcome) => outcome,
                Answer::Cancelled => Err(errors::cancelled().raw()),
            }
        }
    };
    response_line(Some(&request.id), &outcome)
}

/// Carries out one request. What has to be said before its answer goes out on the client's other streams: the answers
/// of a batch come all at once.
async fn carried(front: &Shared, session: &Session, context: &CallContext, request: &Request) -> Answer {
    let lane = Arc::clone(&context.lane);
    let mut answer = std::pin::pin!(front.engine.answer(context, request));
    let answer = loop {
        tokio::select! {
            biased;
            line = lane.next() => session.client.outbox.message(line),
            answer = &mut answer => break answer,
        }
    };
    for line in lane.finish() {
        session.client.outbox.message(line);
    }
    answer
}

fn joined(answers: &[Bytes]) -> Bytes {
    let mut text = vec![b'['];
    for (at, answer) in answers.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(answer);
    }
    text.push(b']');
    text.into()
}
