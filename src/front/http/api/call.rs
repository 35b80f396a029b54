//! One tool call from the command line: the same way as any client's.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;
use serde_json::value::RawValue;

use super::refused;
use crate::access::Principal;
use crate::api::{CallAnswer, CallRequest};
use crate::bridge::{Answer, lane_of};
use crate::front::Shared;
use crate::route::CallContext;
use crate::rpc::mcp::{Revision, method};
use crate::rpc::object::Object;
use crate::rpc::{Raw, Request, RequestId, Text};
use crate::session::Door;

pub(super) async fn call(
    State(front): State<Shared>,
    Extension(principal): Extension<Arc<Principal>>,
    Json(asked): Json<CallRequest>,
) -> Response {
    let session = match front.sessions.open(&principal, Door::Control) {
        Ok(session) => session,
        Err(error) => return refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    // Put together from texts, so that the arguments stay as they were typed.
    let named = Raw::of(&json!({ "name": asked.tool }));
    let arguments = Raw::trusted(asked.arguments.get().to_owned());
    let params =
        Object::of(&named).map_or_else(|| named.clone(), |named| named.with("arguments", &arguments));
    let request = Request {
        id: RequestId::number(1),
        method: Text::fixed(method::TOOLS_CALL),
        params: Some(params),
    };
    let context = CallContext {
        revision: Revision::NEWEST_LEGACY,
        lane: lane_of(&session, &request),
        to: None,
    };
    let answer = front.engine.answer(&context, &request).await;
    front.sessions.end(&session).await;
    let boxed = |raw: &Raw| RawValue::from_string(raw.as_str().to_owned()).ok();
    match answer {
        Answer::Outcome(Ok(result)) => Json(CallAnswer {
            result: boxed(&result),
            error: None,
        })
        .into_response(),
        Answer::Outcome(Err(error)) => Json(CallAnswer {
            result: None,
            error: boxed(&error),
        })
        .into_response(),
        Answer::Cancelled => refused(StatusCode::CONFLICT, "the call was cancelled"),
    }
}
