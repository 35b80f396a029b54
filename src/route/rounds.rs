//! Rounds of questions: a server of 2026-07-28 cannot ask its client by itself. It answers a call with what it needs
//! (`input_required`), and is called again with the answers.
//!
//! Here a client with a handshake is asked on the server's behalf, by the same way as by other servers, and the call is
//! made again until it is answered. A client of 2026-07-28 gets what is needed as it came, with the mark of who asks.
//! Source: MCP 2026-07-28, basic patterns, "Multi Round-Trip Requests".

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::Profile;
use super::context::CallContext;
use super::error::RouteError;
use super::follow::{Made, Maker};
use super::modern::{Told, error_for_legacy, strip_for_legacy, wrap_structured};
use super::needs::{
    Kind, Need, Needs, aborted, again, faulty, kind_of, wants_tasks_taken, with_elicitation_id,
    without_result_type,
};
use super::questions::{Back, Question};
use super::router::Router;
use super::{ask, related, roots};
use crate::catalog::eras::is_wrapped;
use crate::child::sending::Witness;
use crate::child::{Call, CallError, Child};
use crate::rpc::error::code;
use crate::rpc::mcp::method;
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, RpcError, Text};
use crate::supervise::Entry;

/// Times that one call may be made again.
pub(super) const N_ROUNDS_MAX: u32 = 10;
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

/// What has become of a call.
pub(super) enum Came {
    Outcome(Outcome),
    /// A task, which the client knows nothing of.
    Task(Made),
}

/// Why a round could not be finished.
pub(super) enum Stopped {
    /// The client's error, or ours on its behalf.
    Error(Raw),
    Route(RouteError),
}

impl Router {
    /// Calls a server until it answers. A task that it makes of the call is followed to its end.
    pub(super) async fn in_rounds(
        &self,
        entry: &Entry,
        context: &CallContext,
        asked: Asked<'_>,
    ) -> Result<Outcome, RouteError> {
        let made = match self.rounds(entry, context, asked).await? {
            Came::Outcome(outcome) => return Ok(outcome),
            Came::Task(made) => made,
        };
        let followed = Box::pin(self.follow(entry, context, &made)).await?;
        Ok(self.crossed(entry, asked, followed.outcome()))
    }

    /// Calls a server, and calls it again with what it needs, until it answers.
    pub(super) async fn rounds(
        &self,
        entry: &Entry,
        context: &CallContext,
        asked: Asked<'_>,
    ) -> Result<Came, RouteError> {
        let (mut child, _stay) = self.seated(entry, context).await?;
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
            let maker = self.maker(entry, context, is_relayed);
            let call = Call {
                method: Text::fixed(asked.method),
                witness: maker.clone().map(|maker| -> Arc<dyn Witness> { maker }),
                params: self.marked(entry, context, params.as_ref()),
                lane: Some(Arc::clone(&context.lane)),
                repeatable: asked.repeatable,
                ..Call::ours(asked.method, crate::child::outgoing::Params::None)
            };
            let outcome = self.put(&child, context, call).await?;
            spent += began.elapsed();
            // What a server of the handshake era says of its result means nothing.
            if !context.lane.is_answered_by_modern() {
                return Ok(Came::Outcome(if is_relayed {
                    outcome.map(without_result_type)
                } else if child.instance().older {
                    outcome.map(|result| self.as_listed(entry, asked, result))
                } else {
                    outcome
                }));
            }
            if !is_relayed && !context.lane.takes_tasks() && outcome.as_ref().is_err_and(wants_tasks_taken) {
                context.lane.take_tasks();
                continue;
            }
            if let Some(next) = self.in_place_of(&child, context) {
                child = next;
            }
            let kind = outcome.as_ref().map_or(Kind::Complete, kind_of);
            let needs = match kind {
                Kind::Complete | Kind::Task if is_relayed => return Ok(Came::Outcome(outcome)),
                Kind::Task => {
                    let made = maker.and_then(|maker| Made::of(&child, &maker, &outcome));
                    return Ok(made.map_or_else(
                        || Came::Outcome(Err(faulty("it made a task of the call, which has no name"))),
                        Came::Task,
                    ));
                }
                Kind::Complete => return Ok(Came::Outcome(self.crossed(entry, asked, outcome))),
                Kind::Bad(why) => return Ok(Came::Outcome(Err(faulty(&why)))),
                Kind::Needs(needs) if is_relayed => {
                    return Ok(Came::Outcome(relayed(entry, context, &outcome, &needs)));
                }
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
                Err(Stopped::Error(error)) => return Ok(Came::Outcome(aborted(asked.method, error))),
            }
        }
        Ok(Came::Outcome(Err(faulty(&format!(
            "it asked {N_ROUNDS_MAX} times, and was not content"
        )))))
    }

    /// Sees which process makes a task of the call, where that is for us to know.
    fn maker(&self, entry: &Entry, context: &CallContext, is_relayed: bool) -> Option<Arc<Maker>> {
        let snapshot = self.snapshot(&entry.spec.name).filter(|_| !is_relayed)?;
        snapshot.is_modern.then(|| Maker::new(&context.lane))
    }

    /// What the client says to all that is needed: elicitations one after the other, as there is one person; the rest
    /// at once.
    pub(super) async fn gathered(
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
        let params = match lane.task.get() {
            // The client knows the task by our id, and answers to it; its server hears no such thing.
            Some(ours) => {
                let params = params.unwrap_or_else(Raw::empty_object);
                Some(related::belonging_to(&params, ours))
            }
            None => params,
        };
        let url = params.as_ref().and_then(Object::of);
        if let Some(id) = url.and_then(|params| params.get_string("elicitationId")) {
            self.urls().note(child.instance(), id, &lane.session);
        }
        let question = Question {
            instance: child.instance().clone(),
            back: Back::to_waiter(answer),
            asked: need.asked.clone(),
            params,
            lane: Arc::clone(lane),
            task: None,
            since: Instant::now(),
            assurance: None,
        };
        match client.questions.ask(question) {
            Ok(None) => {}
            Ok(Some(line)) => match lane.task.get() {
                Some(ours) => self.say_to_hosted(context, ours, line),
                None => client.outbox.message(line),
            },
            Err(_too_many) => {
                let why = "the client has too many open questions already";
                return Err(Stopped::Error(RpcError::new(code::INTERNAL_ERROR, why).raw()));
            }
        }
        Ok(answered)
    }

    /// The outcome of a server of 2026-07-28 as a client with a handshake understands it.
    pub(super) fn crossed(&self, entry: &Entry, asked: Asked<'_>, outcome: Outcome) -> Outcome {
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

    /// The result of a tool that answers in the older era while its schema was listed in the newer one.
    fn as_listed(&self, entry: &Entry, asked: Asked<'_>, result: Raw) -> Raw {
        let is_wrapped = asked
            .tool
            .is_some_and(|tool| self.is_wrapped(entry, tool, &result));
        let object = Object::of(&result);
        let is_object = object
            .and_then(|all| all.get("structuredContent"))
            .is_some_and(|it| it.is_object());
        if is_wrapped && !is_object {
            return wrap_structured(&result, true).into_owned();
        }
        result
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
            Ok(Ok(result)) if context.lane.task.get().is_some() => Ok(related::without_task(&result)),
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(Stopped::Error(error)),
            Err(_withdrawn) => Err(Stopped::Route(failed(child, CallError::Cancelled))),
        },
    }
}

pub(super) fn failed(child: &Child, error: CallError) -> RouteError {
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
