//! The call engine: one request of one client, whatever its door, to one outcome.
//!
//! Doors make a [`CallContext`] and render the outcome; children and clients do not know that this exists.
//! Two makers of contexts: sessions (`front`), and single requests of 2026-07-28 ([`modern`]), whose calls may outlive
//! the request that began them ([`exchange`], [`parks`]).

pub mod canonical;
pub mod errors;
pub mod exchange;
mod hints;
pub mod initialize;
pub mod ladder;
pub mod mcp_headers;
pub mod mirror;
pub mod modern;
pub mod offer;
mod pages;
pub mod parks;
pub mod seal;
pub mod tasks_ext;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::access::{Scope, holder};
use crate::catalog::Kind;
use crate::child::CallError;
use crate::route::{CallContext, RouteError, Router};
use crate::rpc::mcp::{LogLevel, RELATED_TASK, Revision, method};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, Request, RpcError, Text};
use crate::tasks::Tasks;
use errors::to_rpc;
use parks::Parks;

/// How long the answer to a log level waits for the servers that are told it.
const LEVEL_PATIENCE: Duration = Duration::from_secs(1);

/// How a request ended.
#[derive(Debug)]
pub enum Answer {
    /// With this: the client gets it under its own id.
    Outcome(Outcome),
    /// The client no longer wants an answer.
    Cancelled,
}

/// Answers requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    router: Router,
    tasks: Tasks,
    parks: Parks,
    offer: Arc<offer::Cache>,
}

impl Engine {
    /// An engine over this router.
    ///
    /// `keys` seal what clients keep for us.
    pub fn new(router: Router, tasks: Tasks, keys: seal::Keys) -> Self {
        Self {
            parks: Parks::new(router.clone(), keys),
            offer: Arc::default(),
            router,
            tasks,
        }
    }

    /// Calls that wait for their clients.
    pub fn parks(&self) -> &Parks {
        &self.parks
    }

    /// The router.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Answers what needs no child, as far as a scope reaches: at once, without a task or a wait. `None` for everything else.
    pub fn at_once(
        &self,
        revision: Revision,
        scope: Option<&Arc<Scope>>,
        request: &Request,
    ) -> Option<Outcome> {
        if request.method.as_str() == method::PING {
            return Some(Ok(Raw::empty_object()));
        }
        let kind = listed_by(request.method.as_str())?;
        Some(
            self.list(kind, revision, scope, request.params.as_ref())
                .map_err(|error| error.raw()),
        )
    }

    fn list(
        &self,
        kind: Kind,
        revision: Revision,
        scope: Option<&Arc<Scope>>,
        params: Option<&Raw>,
    ) -> Result<Raw, RpcError> {
        let cursor = cursor(params)?;
        self.router.list_is_read(kind);
        let view = self.router.view_within(scope);
        let page = view.list(kind).page(revision, cursor.as_deref()).cloned();
        page.ok_or_else(bad_cursor)
    }

    /// Answers a request.
    pub async fn answer(&self, context: &CallContext, request: &Request) -> Answer {
        if let Some(outcome) = self.at_once(context.revision, context.lane.scope.as_ref(), request) {
            return Answer::Outcome(outcome);
        }
        let routed = self
            .route(context, &request.method, request.params.as_ref())
            .await;
        if context.lane.is_asking()
            && let Some(client) = self.router.listeners().client(&context.lane.session)
        {
            // The call is over: nobody needs the answers to what it has asked.
            client.questions.call_ended(&context.lane, &client.outbox);
        }
        match routed {
            Ok(outcome) => Answer::Outcome(outcome),
            Err(
                RouteError::Cancelled
                | RouteError::Child {
                    error: CallError::Cancelled,
                    ..
                },
            ) => Answer::Cancelled,
            Err(error) => {
                tracing::debug!(method = request.method.as_str(), %error, "a request failed");
                let mut told = to_rpc(&error);
                if let Some(hint) = hints::hint(&error, &self.router, context.lane.scope.as_ref()) {
                    told.message = format!("{}; {hint}", told.message);
                }
                Answer::Outcome(Err(told.raw()))
            }
        }
    }

    async fn route(
        &self,
        context: &CallContext,
        asked: &Text,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        if let Some(twice) = params.and_then(ambiguous) {
            return Err(RouteError::BadParams(format!("`{twice}` stands twice")));
        }
        if let Some(server) = &context.to {
            return Box::pin(self.router.pass_on(server, context, asked, params)).await;
        }
        match asked.as_str() {
            method::TOOLS_CALL => self.router.call_tool(context, params).await,
            // Boxed, so that the future of a call stays small.
            other => Box::pin(self.route_other(context, other, params)).await,
        }
    }

    async fn route_other(
        &self,
        context: &CallContext,
        asked: &str,
        params: Option<&Raw>,
    ) -> Result<Outcome, RouteError> {
        match asked {
            method::PROMPTS_GET => self.router.get_prompt(context, params).await,
            method::RESOURCES_READ => self.router.read_resource(context, params).await,
            method::RESOURCES_SUBSCRIBE => self.router.subscribe(context, params).await,
            method::RESOURCES_UNSUBSCRIBE => self.router.unsubscribe(context, params).await,
            method::COMPLETE => self.router.complete(context, params).await,
            method::TASKS_GET => self.router.task_state(context, method::TASKS_GET, params).await,
            method::TASKS_CANCEL => {
                self.router
                    .task_state(context, method::TASKS_CANCEL, params)
                    .await
            }
            method::TASKS_RESULT => self.router.task_result(context, params).await,
            method::TASKS_LIST => self.router.task_list(context, params).await,
            method::SET_LEVEL => self.set_level(context, params).await,
            unknown => Ok(Err(RpcError::unknown_method(unknown).raw())),
        }
    }

    /// The answer waits for the servers, so that it holds for the client's next request; but not for long.
    async fn set_level(&self, context: &CallContext, params: Option<&Raw>) -> Result<Outcome, RouteError> {
        let level = params.and_then(Object::of).and_then(|params| params.get("level"));
        let level: Option<LogLevel> = level.and_then(|level| level.read().ok());
        let level = level.ok_or_else(|| {
            RouteError::BadParams(
                "`level` must be one of debug, info, notice, warning, error, critical, alert, emergency"
                    .to_owned(),
            )
        })?;
        self.router.listeners().set_level(&context.lane.session, level);
        let (router, stop) = (self.router.clone(), self.tasks.token());
        let (told, all_told) = oneshot::channel::<()>();
        self.tasks.spawn("spread the log level", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = router.spread_level() => {}
            }
            drop(told);
        });
        drop(tokio::time::timeout(LEVEL_PATIENCE, all_told).await);
        Ok(Ok(Raw::empty_object()))
    }
}

/// The cursor of a list request.
fn cursor(params: Option<&Raw>) -> Result<Option<String>, RpcError> {
    let cursor = params
        .and_then(Object::of)
        .and_then(|params| params.get("cursor"))
        .filter(|cursor| !cursor.is_null());
    let Some(cursor) = cursor else { return Ok(None) };
    let text = cursor.as_string().map(std::borrow::Cow::into_owned);
    text.map(Some)
        .ok_or_else(|| RpcError::invalid_params("`cursor` must be a string"))
}

fn bad_cursor() -> RpcError {
    RpcError::invalid_params("Invalid cursor: start again without one")
}

/// The kind of list that a method asks for.
fn listed_by(method: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.method() == method)
}

/// A member that says where a request goes or whose it is, and stands twice: the server might read the other one.
fn ambiguous(params: &Raw) -> Option<&'static str> {
    let params = Object::of(params)?;
    let inner = |key: &str, keys: &[&'static str]| Object::of(&params.get(key)?)?.doubled(keys);
    params
        .doubled(&["name", "uri", "ref", "task", "taskId", "_meta"])
        .or_else(|| inner("_meta", &["progressToken", "traceparent", RELATED_TASK]))
        .or_else(|| inner("ref", &["type", "name", "uri"]))
}

/// The lane of a request: with the client's own progress token, if it gave one.
pub fn lane_of(session: &crate::session::Session, request: &Request) -> Arc<crate::child::Lane> {
    let meta = request
        .params
        .as_ref()
        .and_then(Object::of)
        .and_then(|params| params.get("_meta"));
    let token = meta
        .as_ref()
        .and_then(Object::of)
        .and_then(|meta| meta.get("progressToken"))
        // "Progress tokens MUST be a string or integer value": `null` asks for nothing.
        .filter(|token| matches!(token.as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9')));
    let lane = crate::child::Lane::new(
        session.id.clone(),
        request.id.compact(),
        token.map(|token| token.compact()),
    );
    let scope = session.principal.scope.clone();
    Arc::new(
        lane.called_by(session.client.profile())
            .within(scope, holder(&session.principal.id)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_where_a_request_goes_must_stand_once() {
        let found = |text: &str| {
            let params = Raw::parse(&text.to_owned().into()).unwrap();
            ambiguous(&params)
        };
        let task = RELATED_TASK;
        for (text, wanted) in [
            (r#"{"name":"a","na\u006de":"b"}"#.to_owned(), "name"),
            (r#"{"_meta":{},"_meta":{}}"#.to_owned(), "_meta"),
            (
                r#"{"_meta":{"progressToken":1,"progressToken":2}}"#.to_owned(),
                "progressToken",
            ),
            (format!(r#"{{"_meta":{{"{task}":1,"{task}":2}}}}"#), task),
            (r#"{"ref":{"uri":"a","uri":"b"}}"#.to_owned(), "uri"),
        ] {
            assert_eq!(found(&text), Some(wanted), "{text}");
        }
        assert_eq!(
            found(r#"{"arguments":{"name":1,"name":2},"arguments":2,"x":1,"x":2}"#),
            None
        );
        assert_eq!(found("[]"), None);
    }
}
