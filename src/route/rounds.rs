//! Rounds of questions: a server of 2026-07-28 cannot ask its client by itself. It answers a call with what it needs
//! (`input_required`), and is called again with the answers.
//!
//! Here a client with a handshake is asked on the server's behalf, by the same way as by other servers, and the call is
//! made again until it is answered. A client of 2026-07-28 gets what is needed as it came, with the mark of who asks.
//! Source: MCP 2026-07-28, basic patterns, "Multi Round-Trip Requests".

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::Profile;
use super::context::CallContext;
use super::error::RouteError;
use super::modern::{Told, error_for_legacy, strip_for_legacy, wrap_structured};
use super::questions::{Back, Question};
use super::router::Router;
use super::{ask, roots};
use crate::catalog::eras::is_wrapped;
use crate::child::{Call, CallError, Child};
use crate::rpc::error::code;
use crate::rpc::mcp::method;
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, RpcError, Text};
use crate::supervise::Entry;

/// Times that one call may be made again.
pub(super) const N_ROUNDS_MAX: u32 = 10;
/// Things that a server may need in one round.
const N_NEEDS_MAX: usize = 32;
/// How long to wait before a call is made again for which nothing is needed but time: at first, and at most.
const WAIT_FIRST: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(4);

/// A call that may be answered by what is needed for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// One of the three that may: a tool, a prompt, a resource.
    pub(super) method: &'static str,
    /// In the server's own names.
    pub(super) params: Option<&'a Raw>,
    /// The server's own name of the tool.
    pub(super) tool: Option<&'a str>,
    /// The resource as the client knows it.
    pub(super) uri: Option<&'a str>,
    /// Whether it may be repeated on a fresh process although the old one had received it.
    pub(super) repeatable: bool,
}

/// What a result is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Complete,
    /// A task that was made of the call, or how one stands.
    Task,
    /// Something is needed first.
    Needs(Needs),
    /// No kind that we know, or not as it must be.
    Bad(String),
}

/// What a server needs before it goes on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    all: Vec<Need>,
    /// To be given back as it came.
    state: Option<Raw>,
}

/// One thing that only the client can give.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    key: String,
    asked: String,
    params: Option<Raw>,
}

/// Why a round could not be finished.
enum Stopped {
    /// The client's error, or ours on its behalf.
    Error(Raw),
    Route(RouteError),
}

impl Router {
    /// Calls a server, and calls it again with what it needs, until it answers.
    pub(super) async fn in_rounds(
        &self,
        entry: &Entry,
        context: &CallContext,
        asked: Asked<'_>,
    ) -> Result<Outcome, RouteError> {
        let child = self.child_for(entry, context)?;
        let is_relayed = context
            .lane
            .caller
            .as_ref()
            .is_some_and(|caller| caller.is_asked_in_results());
        let (level, _) = self.listeners().state_of(&context.lane.session);
        if let Some(level) = level {
            context.lane.log_level.get_or_init(|| level);
        }
        let mut params = asked.params.cloned();
        let (mut spent, mut wait) = (Duration::ZERO, WAIT_FIRST);
        for _round in 0..=N_ROUNDS_MAX {
            let began = Instant::now();
            let call = Call {
                method: Text::fixed(asked.method),
                params: self.marked(entry, context, params.as_ref()),
                lane: Some(std::sync::Arc::clone(&context.lane)),
                repeatable: asked.repeatable,
                ..Call::ours(asked.method, crate::child::outgoing::Params::None)
            };
            let outcome = self.put(&child, context, call).await?;
            spent += began.elapsed();
            // What a server of the handshake era says of its result means nothing.
            if !context.lane.is_answered_by_modern() {
                return Ok(if is_relayed {
                    outcome.map(without_result_type)
                } else {
                    outcome
                });
            }
            let kind = outcome.as_ref().map_or(Kind::Complete, kind_of);
            let needs = match kind {
                Kind::Complete | Kind::Task if is_relayed => return Ok(outcome),
                Kind::Task => {
                    return Ok(Err(faulty(
                        "it made a task of the call, which the client cannot follow",
                    )));
                }
                Kind::Complete => return Ok(self.crossed(entry, asked, outcome)),
                Kind::Bad(why) => return Ok(Err(faulty(&why))),
                Kind::Needs(needs) if is_relayed => return Ok(relayed(entry, context, &outcome, &needs)),
                Kind::Needs(needs) => needs,
            };
            if spent >= child.policy().call_max {
                let error = CallError::TimedOut {
                    patience: child.policy().call_max,
                };
                return Err(failed(&child, error));
            }
            if needs.all.is_empty() {
                // Only time is needed.
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = context.lane.cancelled() => return Err(failed(&child, CallError::Cancelled)),
                }
                (spent, wait) = (spent + wait, (2 * wait).min(WAIT_MAX));
            }
            match Box::pin(self.gathered(entry, &child, context, &needs)).await {
                Ok(answers) => params = Some(again(asked.params, &answers, needs.state.as_ref())),
                Err(Stopped::Route(error)) => return Err(error),
                Err(Stopped::Error(error)) => return Ok(aborted(asked.method, error)),
            }
        }
        Ok(Err(faulty(&format!(
            "it asked {N_ROUNDS_MAX} times, and was not content"
        ))))
    }

    /// What the client says to all that is needed: elicitations one after the other, as there is one person; the rest
    /// at once.
    async fn gathered(
        &self,
        entry: &Entry,
        child: &Child,
        context: &CallContext,
        needs: &Needs,
    ) -> Result<Vec<(String, Raw)>, Stopped> {
        let mut waiting = Vec::with_capacity(needs.all.len());
        for need in needs.all.iter().filter(|need| need.asked != method::ELICIT) {
            waiting.push((need, self.question(entry, child, context, need)?));
        }
        let mut answers = Vec::with_capacity(needs.all.len());
        for need in needs.all.iter().filter(|need| need.asked == method::ELICIT) {
            let asked = self.question(entry, child, context, need)?;
            answers.push((need.key.clone(), answered(child, context, asked).await?));
        }
        for (need, asked) in waiting {
            answers.push((need.key.clone(), answered(child, context, asked).await?));
        }
        Ok(answers)
    }

    /// Puts one thing to the client.
    fn question(
        &self,
        entry: &Entry,
        child: &Child,
        context: &CallContext,
        need: &Need,
    ) -> Result<oneshot::Receiver<Outcome>, Stopped> {
        let lane = &context.lane;
        let (answer, answered) = oneshot::channel();
        let client = self.listeners().client(&lane.session);
        let Some((client, profile)) = client
            .as_ref()
            .and_then(|client| Some((client, client.profile()?)))
        else {
            return Err(Stopped::Error(
                RpcError::new(code::INTERNAL_ERROR, "the client that could answer is gone").raw(),
            ));
        };
        if let Some(folders) = folders_for(entry, &profile, need) {
            drop(answer.send(Ok(folders)));
            return Ok(answered);
        }
        let params = for_client(entry, &profile, need)?;
        let url = params.as_ref().and_then(Object::of);
        if let Some(id) = url.and_then(|params| params.get_string("elicitationId")) {
            self.urls().note(child.instance(), id, &lane.session);
        }
        let question = Question {
            instance: child.instance().clone(),
            back: Back::to_waiter(answer),
            asked: need.asked.clone(),
            params,
            lane: std::sync::Arc::clone(lane),
            task: None,
            since: Instant::now(),
        };
        match client.questions.ask(question) {
            Ok(None) => {}
            Ok(Some(line)) => client.outbox.message(line),
            Err(_too_many) => {
                let why = "the client has too many open questions already";
                return Err(Stopped::Error(RpcError::new(code::INTERNAL_ERROR, why).raw()));
            }
        }
        Ok(answered)
    }

    /// The outcome of a server of 2026-07-28 as a client with a handshake understands it.
    fn crossed(&self, entry: &Entry, asked: Asked<'_>, outcome: Outcome) -> Outcome {
        match outcome {
            Ok(result) => {
                let result = strip_for_legacy(asked.method, &result).into_owned();
                Ok(match asked.tool {
                    Some(tool) => {
                        wrap_structured(&result, self.is_wrapped(entry, tool, &result)).into_owned()
                    }
                    None => result,
                })
            }
            Err(error) => match error_for_legacy(asked.method, asked.uri, &error) {
                Told::Result(result) => Ok(result),
                Told::Error(error) | Told::OpenUrlFirst(error) | Told::WrongRevision(error) => Err(error),
            },
        }
    }

    fn is_wrapped(&self, entry: &Entry, tool: &str, result: &Raw) -> bool {
        if !result.holds("\"structuredContent\"") {
            return false;
        }
        let snapshot = self.snapshot(&entry.spec.name);
        snapshot.is_some_and(|snapshot| {
            let mut tools = snapshot.tools.iter();
            tools.any(|item| item.key == tool && is_wrapped(&item.raw))
        })
    }
}

/// Waits for one answer of the client.
async fn answered(
    child: &Child,
    context: &CallContext,
    answer: oneshot::Receiver<Outcome>,
) -> Result<Raw, Stopped> {
    tokio::select! {
        // A client that answers and takes its call back at once has taken it back.
        biased;
        () = context.lane.cancelled() => Err(Stopped::Route(failed(child, CallError::Cancelled))),
        outcome = answer => match outcome {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(Stopped::Error(error)),
            Err(_withdrawn) => Err(Stopped::Route(failed(child, CallError::Cancelled))),
        },
    }
}

fn failed(child: &Child, error: CallError) -> RouteError {
    RouteError::Child {
        server: child.name().clone(),
        error,
    }
}

/// The folders that the operator has named, where the client has none to tell of.
fn folders_for(entry: &Entry, profile: &Profile, need: &Need) -> Option<Raw> {
    let folders = &entry.spec.roots;
    let is_it = need.asked == method::ROOTS_LIST && !folders.is_empty();
    (is_it && profile.capability("roots").is_none()).then(|| roots::answer(folders))
}

/// What is asked, as this client gets it.
fn for_client(entry: &Entry, profile: &Profile, need: &Need) -> Result<Option<Raw>, Stopped> {
    let params = if profile.is_asked_in_results() {
        need.params.clone()
    } else {
        need.params.as_ref().map(with_elicitation_id)
    };
    ask::for_client(&entry.spec.name, &need.asked, params.as_ref(), profile)
        .map_err(|error| Stopped::Error(error.raw()))
}

/// An elicitation by url has a name until 2025-11-25, and none any more.
fn with_elicitation_id(params: &Raw) -> Raw {
    match Object::of(params) {
        Some(object)
            if object.get_string("mode").as_deref() == Some("url")
                && object.get("elicitationId").is_none() =>
        {
            object.with("elicitationId", &Raw::of(&uuid::Uuid::new_v4().to_string()))
        }
        _as_it_is => params.clone(),
    }
}

/// What is needed, for a client that is told so in the result: each with the mark of who asks.
fn relayed(entry: &Entry, context: &CallContext, outcome: &Outcome, needs: &Needs) -> Outcome {
    let (Ok(result), Some(profile)) = (outcome, context.lane.caller.as_ref()) else {
        return outcome.clone();
    };
    let Some(object) = Object::of(result) else {
        return outcome.clone();
    };
    let requests = object.get("inputRequests");
    let Some(requests) = requests.as_ref().and_then(Object::of) else {
        return outcome.clone();
    };
    let marked = requests.edited(|key, request| {
        let Some(need) = needs.all.iter().find(|need| need.key == key) else {
            return Ok(None);
        };
        match for_client(entry, profile, need) {
            Ok(params) => Ok(params.and_then(|params| Some(Object::of(request)?.with("params", &params)))),
            Err(Stopped::Error(error)) => Err(error),
            Err(Stopped::Route(_)) => Ok(None),
        }
    });
    marked.map(|requests| object.with("inputRequests", &requests))
}

/// What the client's error means for its call.
fn aborted(method: &str, error: Raw) -> Outcome {
    if method != method::TOOLS_CALL {
        return Err(error);
    }
    let why = Object::of(&error).and_then(|error| error.get_string("message"));
    let why = why.unwrap_or_else(|| "the client could not answer what the server asked".to_owned());
    let block = serde_json::json!({ "type": "text", "text": why });
    Ok(Raw::of(
        &serde_json::json!({ "content": [block], "isError": true }),
    ))
}

/// The error for an answer that is not as it must be.
fn faulty(why: &str) -> Raw {
    RpcError::new(
        code::INTERNAL_ERROR,
        format!("the server's answer cannot be used: {why}"),
    )
    .with_data(serde_json::json!({ "source": "mcp-wrapper", "reason": "bad_child_message" }))
    .raw()
}

/// The parameters of the next round: those of the first, with the answers of this one alone, and the server's state.
fn again(params: Option<&Raw>, answers: &[(String, Raw)], state: Option<&Raw>) -> Raw {
    let empty = Raw::empty_object();
    let params = params.unwrap_or(&empty);
    let Some(object) = Object::of(params) else {
        return params.clone();
    };
    let mut next = object.without(&["inputResponses", "requestState"]);
    if !answers.is_empty() {
        let mut text = vec![b'{'];
        for (key, answer) in answers {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(Raw::of(&key).as_bytes());
            text.push(b':');
            text.extend_from_slice(answer.as_bytes());
        }
        text.push(b'}');
        if let (Ok(answers), Some(object)) = (Raw::parse(&text.into()), Object::of(&next)) {
            next = object.with("inputResponses", &answers);
        }
    }
    if let (Some(state), Some(object)) = (state, Object::of(&next)) {
        next = object.with("requestState", state);
    }
    next
}

fn without_result_type(result: Raw) -> Raw {
    // A look at the text is enough for almost every result.
    if !result.holds("\"resultType\"") {
        return result;
    }
    Object::of(&result).map_or_else(|| result.clone(), |result| result.without(&["resultType"]))
}

/// What a result is. A missing `resultType` means that it is complete.
fn kind_of(result: &Raw) -> Kind {
    // Nearly all are.
    if !result.holds("\"resultType\"") {
        return Kind::Complete;
    }
    let Some(object) = Object::of(result) else {
        return Kind::Complete;
    };
    let Some(named) = object.get("resultType") else {
        return Kind::Complete;
    };
    match named.as_string().as_deref() {
        Some("complete") => Kind::Complete,
        Some("task") => Kind::Task,
        Some("input_required") => needs_of(&object).map_or_else(Kind::Bad, Kind::Needs),
        Some(other) => Kind::Bad(format!("its `resultType` is `{}`", other.escape_debug())),
        None => Kind::Bad("its `resultType` is no text".to_owned()),
    }
}

fn needs_of(result: &Object<'_>) -> Result<Needs, String> {
    let state = result.get("requestState");
    if state.as_ref().is_some_and(|state| state.as_string().is_none()) {
        return Err("its `requestState` is no text".to_owned());
    }
    let requests = result.get("inputRequests");
    let Some(requests) = requests else {
        return if state.is_some() {
            Ok(Needs {
                all: Vec::new(),
                state,
            })
        } else {
            Err("it needs something, and does not say what".to_owned())
        };
    };
    let requests = Object::of(&requests).ok_or("its `inputRequests` are no object")?;
    let mut all = Vec::new();
    for (key, request) in requests.iter() {
        let request = Object::of(&request).ok_or("one of its `inputRequests` is no object")?;
        let asked = request
            .get_string("method")
            .filter(|asked| ask::is_for_clients(asked));
        let asked = asked.ok_or("one of its `inputRequests` is for no client")?;
        if all.iter().any(|need: &Need| need.key == key) {
            return Err("two of its `inputRequests` have one name".to_owned());
        }
        let params = request.get("params");
        all.push(Need { key, asked, params });
    }
    if all.len() > N_NEEDS_MAX {
        return Err(format!("it needs more than {N_NEEDS_MAX} things at once"));
    }
    if all.is_empty() && state.is_none() {
        return Err("it needs something, and does not say what".to_owned());
    }
    Ok(Needs { all, state })
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
