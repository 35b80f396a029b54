//! Questions that children ask one client: under ids of ours, each answered once, whichever way it ends.
//!
//! A question belongs to one call of this client (see `attribute`). It ends with the client's answer, with the
//! child taking it back, with the last call that may have asked, with the child's process, with the session, or
//! after [`PATIENCE`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::assurance::{self, Assurance};
use super::outbox::Outbox;
use super::related;
use super::task_table::Belongs;
use crate::child::Lane;
use crate::child::link::Link;
use crate::ids::{Generation, Instance, ServerName};
use crate::rpc::error::code;
use crate::rpc::mcp::method;
use crate::rpc::message::{notification_line, request_line, response_line};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, RequestId, RpcError};

/// A person may take so long to answer.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Questions that one client may have open; one more is refused.
pub const N_OPEN_MAX: usize = 64;

/// One client's open questions.
#[derive(Debug, Default)]
pub struct Questions {
    open: Mutex<Open>,
    /// Rung at each question, where the client is told in results what it is asked.
    bell: Option<Notify>,
}

/// A question as a client is told of it in a result.
#[derive(Debug, Clone)]
pub struct Collected {
    /// Our id of it.
    pub id: u64,
    /// The server that asks.
    pub server: ServerName,
    /// The process of it that asks.
    pub generation: Generation,
    /// What it asks for: the method.
    pub asked: String,
    /// Its parameters.
    pub params: Option<Raw>,
}

#[derive(Debug, Default)]
struct Open {
    n_asked: u64,
    open: HashMap<u64, Question>,
}

/// One open question: who asked, and on whose behalf.
#[derive(Debug)]
pub struct Question {
    /// The process line that asks.
    pub instance: Instance,
    /// Where the answer goes.
    pub back: Back,
    /// What it asks for: the method.
    pub asked: String,
    /// Its parameters, as the client gets them.
    pub params: Option<Raw>,
    /// The call that it belongs to.
    pub lane: Arc<Lane>,
    /// The task that it belongs to, where it belongs to one.
    pub task: Option<TaskTie>,
    /// When it was asked.
    pub since: Instant,
    /// How its server is kept waiting, where it wants to be.
    pub assurance: Option<Assurance>,
}

/// Where an answer goes.
#[derive(Debug)]
pub enum Back {
    /// To the process that asks.
    Process {
        /// The way there.
        link: Arc<Link>,
        /// The id under which it asks.
        child_id: RequestId,
    },
    /// To who asks on behalf of a server that cannot ask by itself: it is called again with the answer, whichever
    /// process it then has.
    Waiter(oneshot::Sender<Outcome>),
}

impl Back {
    /// To this process, under its own id.
    pub fn to_process(link: &Arc<Link>, child_id: RequestId) -> Self {
        Self::Process {
            link: Arc::clone(link),
            child_id,
        }
    }

    /// To who waits for it here.
    pub fn to_waiter(waiter: oneshot::Sender<Outcome>) -> Self {
        Self::Waiter(waiter)
    }

    fn generation(&self) -> Option<Generation> {
        match self {
            Self::Process { link, .. } => Some(link.generation),
            Self::Waiter(_) => None,
        }
    }
}

/// A question's task, under both its names.
#[derive(Debug, Clone)]
pub struct TaskTie {
    ours: Option<String>,
    own: String,
}

impl TaskTie {
    /// The tie of a question to this task.
    pub fn of(belongs: &Belongs) -> Self {
        Self {
            ours: belongs.ours.clone(),
            own: belongs.own.clone(),
        }
    }

    /// The client's answer with the task under the child's name. A client that knows of no task cannot name it.
    fn answer(&self, result: &Raw) -> Raw {
        match &self.ours {
            Some(_) => related::with_task_id(result, &self.own),
            None => related::belonging_to(result, &self.own),
        }
    }
}

impl Questions {
    /// For a client that is told in results what it is asked: nothing is sent to it, the door fetches them.
    pub fn collected() -> Self {
        Self {
            open: Mutex::default(),
            bell: Some(Notify::new()),
        }
    }

    /// Whether the door fetches them.
    pub fn are_collected(&self) -> bool {
        self.bell.is_some()
    }

    /// The open ones after this id, in the order in which they were asked.
    pub fn after(&self, id: u64) -> Vec<Collected> {
        let open = self.open();
        let later = open.open.iter().filter(|(known, _)| **known > id);
        let mut later: Vec<Collected> = later
            .map(|(id, question)| Collected {
                id: *id,
                server: question.instance.server.clone(),
                generation: question.back.generation().unwrap_or_default(),
                asked: question.asked.clone(),
                params: question.params.clone(),
            })
            .collect();
        later.sort_by_key(|question| question.id);
        later
    }

    /// Waits until one is asked; also returns for one that was asked since the last wait.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn asked(&self) {
        match &self.bell {
            Some(bell) => bell.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Whether this one is open.
    pub fn is_open(&self, id: u64) -> bool {
        self.open().open.contains_key(&id)
    }

    /// From now on ids begin after this one: lower ones may still be open at the client, from before a restart.
    pub fn begin_after(&self, id: u64) {
        let mut open = self.open();
        open.n_asked = open.n_asked.max(id);
    }

    /// Asks: the line for the client goes onto the call's own way; or comes back, where that is closed, to go another.
    ///
    /// # Errors
    /// The question comes back when too many are open.
    pub fn ask(&self, question: Question) -> Result<Option<Bytes>, Box<Question>> {
        let mut open = self.open();
        if open.open.len() >= N_OPEN_MAX {
            return Err(Box::new(question));
        }
        open.n_asked += 1;
        let id = open.n_asked;
        if let Some(bell) = &self.bell {
            question.lane.question_asked();
            open.open.insert(id, question);
            bell.notify_one();
            return Ok(None);
        }
        let params = match (&question.params, &question.assurance) {
            // A child's token never reaches a client.
            (Some(params), Some(_wants_progress)) => Some(assurance::with_token(params, id)),
            (params, _) => params.clone(),
        };
        let line = request_line(RequestId::number(id).raw(), &question.asked, params.as_ref());
        let lane = Arc::clone(&question.lane);
        open.open.insert(id, question);
        // Counted and queued under the lock: an answer cannot overtake it.
        lane.question_asked();
        let on_its_way = lane.push(line.clone());
        drop(open);
        Ok(if on_its_way { None } else { Some(line) })
    }

    /// The client's answer goes to the child that asked, as the client wrote it. `false`: nothing was asked so.
    pub fn answer(&self, id: &RequestId, outcome: &Outcome) -> bool {
        let question = id.as_u64().and_then(|id| self.open().open.remove(&id));
        let Some(question) = question else { return false };
        match (&question.task, outcome) {
            (Some(task), Ok(result)) => {
                let answer = Ok(task.answer(result));
                question.end(&answer);
            }
            (_, outcome) => question.end(outcome),
        }
        true
    }

    /// The client tells how far it is with its answer: the server that asked for that hears it under its own token
    /// (MCP 2025-11-25, progress: either side may send it).
    pub fn progressed(&self, params: &Raw) {
        let Some(object) = Object::of(params) else { return };
        let id = object
            .get("progressToken")
            .and_then(|token| token.as_str().parse::<u64>().ok());
        let open = self.open();
        let Some(question) = id.and_then(|id| open.open.get(&id)) else {
            return;
        };
        // Queued under the lock: what is told of a question goes before its answer.
        if let (Some(assurance), Back::Process { link, .. }) = (&question.assurance, &question.back) {
            link.post(assurance.told(&object));
        }
    }

    /// The child takes a question back: the client is told under our id.
    pub fn withdraw(
        &self,
        instance: &Instance,
        generation: Generation,
        child_id: &RequestId,
        outbox: &Outbox,
    ) -> bool {
        let found = self.take(|question| {
            question.instance == *instance
                && question.back.generation() == Some(generation)
                && matches!(&question.back, Back::Process { child_id: own, .. } if own == child_id)
        });
        let any = !found.is_empty();
        for (id, question) in found {
            self.tell(&question, outbox, cancelled(id, "the server no longer asks"));
            question.lane.question_ended();
        }
        any
    }

    /// A newer process has come: what older ones asked concerns nobody any more, and the client is told.
    pub fn withdraw_older(&self, instance: &Instance, generation: Generation, outbox: &Outbox) {
        let is_older = |question: &Question| question.back.generation().is_some_and(|it| it < generation);
        let older = self.take(|question| question.instance == *instance && is_older(question));
        for (id, question) in older {
            self.tell(
                &question,
                outbox,
                cancelled(id, "the server that asked has ended"),
            );
            question.lane.question_ended();
        }
    }

    /// Questions that nobody has answered for too long: the child hears so, and the client too.
    pub fn expire(&self, now: Instant, outbox: &Outbox) {
        for (id, question) in self.take(|question| now.saturating_duration_since(question.since) >= PATIENCE)
        {
            self.tell(&question, outbox, cancelled(id, "nobody answered in time"));
            let outcome = gone(&question.asked);
            question.end(&outcome);
        }
    }

    /// Servers that want to hear of it are told that what they asked is still open, so often. Where a process takes no
    /// more lines just now, it hears of it the next time.
    pub fn assure(&self, now: Instant, every: Duration) {
        for question in self.open().open.values_mut() {
            let line = question
                .assurance
                .as_mut()
                .and_then(|assurance| assurance.due(now, every));
            // Queued under the lock: what is told of a question goes before its answer.
            if let (Some(line), Back::Process { link, .. }) = (line, &question.back) {
                link.post(line);
            }
        }
    }

    /// The session has ended: the children that asked hear so.
    pub fn end_all(&self) {
        for (_, question) in self.take(|_| true) {
            let outcome = gone(&question.asked);
            question.end(&outcome);
        }
    }

    /// A call has ended, and with it what its client was asked: the client is told before it hears of the end, and
    /// the child hears that nobody answers any more. What may have been asked by another call stays open.
    pub fn call_ended(&self, lane: &Arc<Lane>, outbox: &Outbox) {
        for question in self.open().open.values_mut() {
            if Arc::ptr_eq(&question.lane, lane) {
                question.move_on();
            }
        }
        for (id, question) in self.take(|question| Arc::ptr_eq(&question.lane, lane)) {
            self.tell(&question, outbox, cancelled(id, "the call that asked has ended"));
            let outcome = gone(&question.asked);
            question.end(&outcome);
        }
    }

    /// On the way that the question took. A client that was told of it in a result finds it gone when it asks again.
    fn tell(&self, question: &Question, outbox: &Outbox, line: Bytes) {
        if !self.are_collected() && !question.lane.push(line.clone()) {
            outbox.message(line);
        }
    }

    fn take(&self, which: impl Fn(&Question) -> bool) -> Vec<(u64, Question)> {
        let mut open = self.open();
        open.open.extract_if(|_, question| which(question)).collect()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// Its call ends. Of several calls of this client in flight another may be the one that asked; and folders are
    /// asked for outside of any call, too, in a process that is one client's alone.
    fn move_on(&mut self) {
        // Whose it is was certain.
        if self.task.is_some() {
            return;
        }
        // Whose it is was certain here too.
        let Back::Process { link, .. } = &self.back else {
            return;
        };
        let others = link.candidates();
        let is_other =
            |lane: &&Arc<Lane>| lane.session == self.lane.session && !Arc::ptr_eq(lane, &self.lane);
        let next = match others.live.iter().rfind(is_other) {
            Some(lane) => Arc::clone(lane),
            None if self.instance.owner.is_some() && self.asked == method::ROOTS_LIST => {
                Arc::new(Lane::closed(self.lane.session.clone()))
            }
            None => return,
        };
        self.lane.question_ended();
        next.question_asked();
        self.lane = next;
    }

    fn end(self, outcome: &Outcome) {
        self.lane.question_ended();
        let was_taken = match self.back {
            Back::Process { link, child_id } => link.post(response_line(Some(&child_id), outcome)),
            Back::Waiter(waiter) => waiter.send(outcome.clone()).is_ok(),
        };
        if !was_taken {
            tracing::debug!(server = %self.instance, "an answer came for a process or a call that is gone");
        }
    }
}

fn cancelled(id: u64, reason: &str) -> Bytes {
    let params = Raw::of(&serde_json::json!({ "requestId": id, "reason": reason }));
    notification_line(method::CANCELLED, Some(&params))
}

/// What a child hears when nobody is there to answer any more.
fn gone(asked: &str) -> Outcome {
    if asked == method::ELICIT {
        return Ok(Raw::of(&serde_json::json!({ "action": "cancel" })));
    }
    Err(RpcError::new(code::INTERNAL_ERROR, "the client that could answer is gone").raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::outgoing::OutLine;
    use crate::ids::{ServerName, SessionId};

    fn instance() -> Instance {
        Instance::first(ServerName::parse("a").unwrap())
    }

    fn question(link: &Arc<Link>, lane: &Arc<Lane>, child_id: u64) -> Question {
        Question {
            instance: instance(),
            back: Back::to_process(link, RequestId::number(child_id)),
            asked: method::ELICIT.to_owned(),
            params: None,
            lane: Arc::clone(lane),
            task: None,
            since: Instant::now(),
            assurance: None,
        }
    }

    fn lane() -> Arc<Lane> {
        Arc::new(Lane::new(SessionId::random(), RequestId::number(1), None))
    }

    fn posted(queue: &mut tokio::sync::mpsc::Receiver<OutLine>) -> Option<String> {
        match queue.try_recv().ok()? {
            OutLine::Other(line) => Some(String::from_utf8(line.to_vec()).unwrap()),
            OutLine::Call { .. } => panic!("a call"),
        }
    }

    #[tokio::test]
    async fn a_question_goes_out_under_our_id_and_its_answer_back_under_the_childs_once() {
        let (link, mut queue) = Link::new(Generation(1), 8);
        let (questions, lane) = (Questions::default(), lane());
        questions.ask(question(&link, &lane, 77)).unwrap();
        assert!(lane.is_asking());
        assert_eq!(
            lane.pop().unwrap(),
            r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create"}"#
        );
        let answer = Ok(Raw::empty_object());
        assert!(questions.answer(&RequestId::number(1), &answer));
        assert!(!questions.answer(&RequestId::number(1), &answer));
        assert_eq!(
            posted(&mut queue).unwrap(),
            r#"{"jsonrpc":"2.0","id":77,"result":{}}"#
        );
        assert!(posted(&mut queue).is_none() && !lane.is_asking());
    }

    #[tokio::test]
    async fn a_question_that_is_taken_back_is_cancelled_at_the_client_and_not_answered() {
        let (link, mut queue) = Link::new(Generation(1), 8);
        let (questions, lane, instance) = (Questions::default(), lane(), instance());
        let outbox = Outbox::default();
        questions.ask(question(&link, &lane, 77)).unwrap();
        assert!(
            !questions.withdraw(&instance, Generation(2), &RequestId::number(77), &outbox),
            "another process"
        );
        assert!(questions.withdraw(&instance, Generation(1), &RequestId::number(77), &outbox));
        lane.pop();
        let told = String::from_utf8(lane.pop().unwrap().to_vec()).unwrap();
        assert!(told.contains(r#""requestId":1}"#) && !lane.is_asking(), "{told}");
        assert!(posted(&mut queue).is_none());
    }

    #[tokio::test]
    async fn a_child_hears_when_the_client_is_gone() {
        let (link, mut queue) = Link::new(Generation(1), 8);
        let (questions, lane) = (Questions::default(), lane());
        questions.ask(question(&link, &lane, 5)).unwrap();
        questions.end_all();
        assert_eq!(
            posted(&mut queue).unwrap(),
            r#"{"jsonrpc":"2.0","id":5,"result":{"action":"cancel"}}"#
        );
    }

    #[tokio::test]
    async fn folders_may_be_asked_for_outside_of_the_call_that_ends_but_only_where_the_owner_is_certain() {
        for (is_owned, method, stays) in [
            (true, method::ROOTS_LIST, true),
            (true, method::ELICIT, false),
            (false, method::ROOTS_LIST, false),
        ] {
            let (link, mut queue) = Link::new(Generation(1), 8);
            let (questions, lane, outbox) = (Questions::default(), lane(), Outbox::default());
            let mut asked = question(&link, &lane, 5);
            asked.asked = method.to_owned();
            if is_owned {
                asked.instance.owner = Some(crate::ids::OwnerKey::session(&lane.session));
            }
            questions.ask(asked).unwrap();
            questions.call_ended(&lane, &outbox);
            assert!(!lane.is_asking());
            assert_eq!(posted(&mut queue).is_none(), stays, "{is_owned} {method}");
            assert_eq!(
                questions.answer(&RequestId::number(1), &Ok(Raw::empty_object())),
                stays
            );
        }
    }

    #[tokio::test]
    async fn a_client_is_not_asked_without_end() {
        let (link, _queue) = Link::new(Generation(1), 8);
        let (questions, lane) = (Questions::default(), lane());
        for n in 0..N_OPEN_MAX {
            questions
                .ask(question(&link, &lane, u64::try_from(n).unwrap()))
                .unwrap();
        }
        assert!(questions.ask(question(&link, &lane, 999)).is_err());
    }
}
