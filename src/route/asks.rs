//! Children's own requests: to exactly the client they belong to, or refused with a reason that child and operator
//! can read. Never guessed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::assurance::Assurance;
use super::attribute::Attribution;
use super::backward::{as_its_client_knows, to_task, with_tasks};
use super::questions::{Back, Question, TaskTie};
use super::router::Router;
use super::task_table::Belongs;
use super::{ask, related, roots, trace};
use crate::child::Lane;
use crate::child::ghosts::Candidates;
use crate::child::link::Link;
use crate::config::spec::Sharing;
use crate::event::{SupervisionEvent, What};
use crate::ids::{Generation, Instance};
use crate::rpc::error::code;
use crate::rpc::mcp::method;
use crate::rpc::message::{notification_line, response_line};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, Request, RequestId, RpcError};

/// One request of a child.
#[derive(Debug)]
pub struct Asking<'a> {
    /// The process line that asks.
    pub instance: &'a Instance,
    /// The way back to the process that asks.
    pub link: &'a Arc<Link>,
    /// What it asks.
    pub request: &'a Request,
}

/// The desk at which children ask.
#[derive(Debug)]
pub struct Asks {
    events: broadcast::Sender<SupervisionEvent>,
}

/// Why a request of a child goes to nobody: what the child hears, and what the operator reads.
struct Refusal {
    answer: Outcome,
    why: String,
}

impl Asks {
    /// A desk that tells refusals to `events`.
    pub fn new(events: broadcast::Sender<SupervisionEvent>) -> Self {
        Self { events }
    }

    /// Puts a child's request to the client it belongs to, or refuses it.
    pub fn put(&self, asking: &Asking<'_>, candidates: &Candidates, router: &Router) {
        if let Some(roots) = roots::of_the_operator(asking, router) {
            let answer = response_line(Some(&asking.request.id), &Ok(roots));
            asking.link.post(answer);
            return;
        }
        if is_for_nobodys_roots(asking, router) {
            let none = Ok(Raw::of(&serde_json::json!({ "roots": [] })));
            asking.link.post(response_line(Some(&asking.request.id), &none));
            return;
        }
        let Err(refusal) = self.try_put(asking, candidates, router) else {
            return;
        };
        let (server, asked) = (asking.instance, asking.request.method.as_str());
        tracing::warn!(%server, asked, why = refusal.why, "a server's own request was refused");
        self.tell(asking, refusal.why);
        asking
            .link
            .post(response_line(Some(&asking.request.id), &refusal.answer));
    }

    fn try_put(&self, asking: &Asking<'_>, candidates: &Candidates, router: &Router) -> Result<(), Refusal> {
        let asked = asking.request.method.as_str();
        if !ask::is_for_clients(asked) {
            return Err(Refusal::error(RpcError::unknown_method(asked)));
        }
        if asking.instance.owner.is_none() && !candidates.live.is_empty() {
            router.pool().note_asking(&asking.instance.server);
        }
        let Whose { lane, task } = whose(asking, candidates, router)?;
        let client = router.listeners().client(&lane.session);
        let Some((client, profile)) = client
            .as_ref()
            .and_then(|client| Some((client, client.profile()?)))
        else {
            return Err(Refusal::gone(asked));
        };
        let params = ask::for_client(
            &asking.instance.server,
            asked,
            asking.request.params.as_ref(),
            &profile,
        )
        .inspect_err(|_refused| client.note_lacked(ask::needed(asked, asking.request.params.as_ref())))
        .map_err(Refusal::error)?
        .map(|params| named_for_client(&params, task.as_ref()));
        let url = params.as_ref().and_then(Object::of);
        if let Some(id) = url.and_then(|params| params.get_string("elicitationId")) {
            router.urls().note(asking.instance, id, &lane.session);
        }
        let question = Question {
            instance: asking.instance.clone(),
            back: Back::to_process(asking.link, asking.request.id.compact()),
            asked: asked.to_owned(),
            params,
            lane,
            task: task.as_ref().map(TaskTie::of),
            since: Instant::now(),
            assurance: Assurance::wanted(asking.request.params.as_ref(), Instant::now()),
        };
        match client.questions.ask(question) {
            Ok(None) => Ok(()),
            // The call's own exchange is over; the task's may be open, and the client's other streams are.
            Ok(Some(line)) => {
                match &task {
                    Some(task) => to_task(task, line, router),
                    None => client.outbox.message(line),
                }
                Ok(())
            }
            Err(_too_many) => Err(Refusal::error(RpcError::new(
                code::INTERNAL_ERROR,
                "the client has too many open questions already",
            ))),
        }
    }

    fn tell(&self, asking: &Asking<'_>, why: String) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let event = SupervisionEvent {
            at_ms: since_1970.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            server: asking.instance.server.clone(),
            generation: asking.link.generation,
            what: What::Refused {
                asked: asking.request.method.as_str().to_owned(),
                why,
            },
        };
        // Nobody may be listening.
        drop(self.events.send(event));
    }
}

/// A child takes one of its own requests back.
pub fn taken_back(instance: &Instance, generation: Generation, params: Option<&Raw>, router: &Router) {
    let id = params
        .and_then(Object::of)
        .and_then(|params| params.get("requestId"));
    let Some(id) = id.and_then(|id| RequestId::parse(id).ok()) else {
        return;
    };
    for client in router.listeners().clients() {
        client
            .questions
            .withdraw(instance, generation, &id, &client.outbox);
    }
}

/// A person is done with a URL: the client hears of it that was told to open it.
pub fn elicitation_complete(instance: &Instance, params: Option<&Raw>, router: &Router) {
    let id = params
        .and_then(Object::of)
        .and_then(|params| params.get_string("elicitationId"));
    let told = id.and_then(|id| {
        let told = router.urls().session_of(instance, &id)?;
        router.urls().complete(instance, &id);
        Some(told)
    });
    if let Some(client) = told.and_then(|session| router.listeners().client(&session)) {
        let line = notification_line(method::ELICITATION_COMPLETE, params);
        client.outbox.message(line);
    }
}

/// Whose a request is.
struct Whose {
    lane: Arc<Lane>,
    /// The task that it names.
    task: Option<Belongs>,
}

/// Whose a request is: the task says so that it names, or the call that it belongs to.
fn whose(asking: &Asking<'_>, candidates: &Candidates, router: &Router) -> Result<Whose, Refusal> {
    let Some(own) = asking.request.params.as_ref().and_then(related::task_id) else {
        let candidates = with_tasks(asking.instance, asking.link.generation, candidates, router);
        let lane = lane_of(asking, &candidates, router)?;
        return Ok(Whose { lane, task: None });
    };
    let found = router
        .task_table()
        .belongs(asking.instance, asking.link.generation, &own);
    let Some((_, task)) = found else {
        return Err(Refusal::error(RpcError::invalid_params(
            "the request names a task that no client has",
        )));
    };
    // A task that we drive is one call to its client. Else it outlives each of the client's requests, and so does what
    // it asks.
    let driven = task.lane.clone().filter(|_| task.ours.is_none());
    let lane = driven.unwrap_or_else(|| Arc::new(Lane::closed(task.session.clone())));
    Ok(Whose {
        lane,
        task: Some(task),
    })
}

/// The parameters with the task as the client knows it, if it knows of one.
///
/// Clients are not told of tasks of their own (`task`): to us they have declared them, to the child we have not.
fn named_for_client(params: &Raw, task: Option<&Belongs>) -> Raw {
    let params = match task {
        None => params.clone(),
        Some(task) => as_its_client_knows(task, params),
    };
    Object::of(&params).map_or_else(|| params.clone(), |object| object.without(&["task"]))
}

/// Whether the process that only tells the lists of a server asks for folders: it was told that there may be some,
/// so that its lists are those of its clients' processes, and it has no client.
fn is_for_nobodys_roots(asking: &Asking<'_>, router: &Router) -> bool {
    let of_nobody = asking.request.method.as_str() == method::ROOTS_LIST && asking.instance.owner.is_none();
    of_nobody
        && router
            .entry(&asking.instance.server)
            .is_some_and(|entry| entry.spec.policy.sharing != Sharing::Shared)
}

/// The call that a request belongs to.
///
/// The calls in flight have to leave no doubt, also in a process of several sessions of one client program. Outside
/// of any call, a process that is one client's alone asks that client; one that is shared asks nobody.
fn lane_of(asking: &Asking<'_>, candidates: &Candidates, router: &Router) -> Result<Arc<Lane>, Refusal> {
    let asked = asking.request.method.as_str();
    match trace::attribute(candidates, asking.request.params.as_ref()) {
        Attribution::Call(lane) => return Ok(lane),
        Attribution::Ambiguous => return Err(ambiguous(asked)),
        Attribution::Unsolicited => {}
    }
    let Some(owner) = &asking.instance.owner else {
        return Err(unsolicited(asked));
    };
    match router.listeners().clients_of(owner).as_slice() {
        // It goes out on the client's other streams.
        // Nor may it be another session's, which has given up its call.
        [(session, _)] if candidates.may_all_be_of(session) => Ok(Arc::new(Lane::closed(session.clone()))),
        [] => Err(Refusal::gone(asked)),
        _several => Err(unsolicited(asked)),
    }
}

impl Refusal {
    fn error(error: RpcError) -> Self {
        Self {
            why: error.message.clone(),
            answer: Err(error.raw()),
        }
    }

    fn gone(asked: &str) -> Self {
        let why = "the client that it belongs to is gone";
        match asked {
            method::ELICIT => Self::cancel(why),
            _other => Self::error(RpcError::new(code::INTERNAL_ERROR, why)),
        }
    }

    fn cancel(why: &str) -> Self {
        Self {
            answer: Ok(Raw::of(&serde_json::json!({ "action": "cancel" }))),
            why: why.to_owned(),
        }
    }
}

/// Calls of different clients are in flight, and the wire does not say whose this is.
fn ambiguous(asked: &str) -> Refusal {
    /// "User rejected sampling request" (MCP, sampling, "Error Handling").
    const REJECTED: i64 = -1;
    let why = "calls of several clients are in flight, or were given up a moment ago, and nothing says whose this request is; \
               with interactive_policy = \"pool\" such calls are kept apart, and with sharing = \"per-session\" every \
               client has a process of its own";
    match asked {
        method::SAMPLE => Refusal::error(RpcError::new(REJECTED, why)),
        method::ELICIT => Refusal::cancel(why),
        _roots => Refusal::error(RpcError::new(code::INTERNAL_ERROR, why)),
    }
}

fn unsolicited(asked: &str) -> Refusal {
    match asked {
        method::ROOTS_LIST => Refusal::error(RpcError::unknown_method(asked)),
        _other => Refusal::error(RpcError::invalid_params(
            "the request belongs to no request of a client",
        )),
    }
}
