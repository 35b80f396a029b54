//! Calls whose client was asked something in a result, and has not come back yet.
//!
//! To the server such a call goes on; to the client its request is over. What the client brings back names the call,
//! sealed, for one use.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::canonical::{Digest128, arguments_digest};
use super::exchange::{Exchange, Going, Resumed};
use super::seal::{self, ANSWERS_BYTES_MAX, Keys, Kind, State};
use crate::ids::{ServerName, SessionId};
use crate::route::Router;
use crate::route::assurance;
use crate::route::client::Profile;
use crate::route::questions::Collected;
use crate::rpc::mcp::method;
use crate::rpc::object::{Object, elements};
use crate::rpc::{Raw, RpcError};

/// So long a client may take to come back with what it was asked.
pub const PARKED_MAX: Duration = Duration::from_secs(600);
/// Rounds of questions in one call.
pub const N_ROUNDS_MAX: u32 = 10;
/// Calls that wait for their clients, of all servers together.
pub const N_PARKS_MAX: usize = 4_096;
/// Rounds that are remembered as used.
const N_USED_MAX: usize = 4_096;
/// A client whose connection broke after it had answered may send the same again so soon.
const REATTACH: Duration = Duration::from_secs(2);

/// Parked calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Parks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keys: RwLock<Arc<Keys>>,
    router: Router,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    n_made: u64,
    parked: HashMap<u64, Parked>,
    /// Rounds that clients have come back for, for as long as their states could be brought once more.
    used: VecDeque<([u8; 16], Instant)>,
}

#[derive(Debug)]
struct Parked {
    going: Box<Going>,
    server: Option<ServerName>,
    nonce: [u8; 16],
    until: Instant,
    /// Who comes back must bring these answers: the call goes on with them already.
    only_with: Option<Digest128>,
}

/// One answer that a client has given, and to which question.
#[derive(Debug, Clone)]
pub struct Given {
    /// See [`super::exchange`].
    pub question: Digest128,
    /// The answer, as the client wrote it.
    pub answer: Raw,
}

/// What became of a call that a client comes back for.
#[derive(Debug)]
pub enum Returned {
    /// It goes on.
    Goes(Exchange),
    /// It is not there any more.
    Lost,
    /// The client has come back for it before: a state is good once.
    Used,
    /// What the client brings is no answer; it may come again.
    Refused(RpcError),
}

impl Parks {
    /// No parked calls yet.
    pub fn new(router: Router, keys: Keys) -> Self {
        Self(Arc::new(Shared {
            keys: RwLock::new(Arc::new(keys)),
            router,
            table: Mutex::default(),
        }))
    }

    /// The keys of what clients keep for us.
    pub fn keys(&self) -> Arc<Keys> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }

    /// From now on these keys count: what was sealed with earlier ones opens as long as those are among them.
    pub fn take_keys(&self, keys: Keys) {
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// How many calls wait for their clients, and for which servers.
    pub fn counts(&self) -> Vec<(ServerName, usize)> {
        let mut counts: HashMap<ServerName, usize> = HashMap::new();
        let table = self.table();
        for server in table.parked.values().filter_map(|parked| parked.server.clone()) {
            *counts.entry(server).or_default() += 1;
        }
        drop(table);
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort();
        counts
    }

    /// Puts a call aside, and gives the result that asks its client; what was said before goes out first.
    ///
    /// # Errors
    /// The call comes back where its client cannot be asked (again): its servers have been told so.
    pub(super) fn park(&self, mut going: Box<Going>) -> Result<(VecDeque<Bytes>, Raw), Box<Going>> {
        let asker = going
            .open
            .first()
            .map(|question| (question.server.clone(), question.generation));
        let server = asker.as_ref().map(|(server, _)| server.clone());
        if !going.may_ask() || going.n_rounds >= N_ROUNDS_MAX || !self.has_room(server.as_ref()) {
            going.refuse_questions();
            return Err(going);
        }
        going.n_rounds += 1;
        let nonce = *Uuid::new_v4().as_bytes();
        let number = self.next_number();
        let now_ms = now_ms();
        let mut state = State {
            kind: Kind::Park,
            park: number,
            round: going.n_rounds,
            nonce,
            server: server
                .as_ref()
                .map(|server| server.as_str().to_owned())
                .unwrap_or_default(),
            generation: asker.map(|(_, generation)| generation.0).unwrap_or_default(),
            method: going.about.method.as_str().to_owned(),
            target: going.about.target.clone(),
            arguments_digest: arguments_digest(going.about.arguments.as_ref()),
            principal: seal::principal_digest(&going.about.principal),
            issued_at_ms: now_ms,
            expires_at_ms: now_ms + millis(PARKED_MAX),
            inner: None,
            answers: Memory::of(&going).written(),
        };
        let sealed = self.keys().seal(&state).or_else(|_too_large| {
            state.answers = None;
            self.keys().seal(&state)
        });
        let Ok(sealed) = sealed else {
            going.refuse_questions();
            return Err(going);
        };
        let result = asking(&going.open, &sealed);
        let mut said = VecDeque::new();
        while let Some(line) = going.lane.pop() {
            said.push_back(line);
        }
        // Nobody hears of progress until the client comes back, with another token.
        going.lane.set_progress_token(None);
        going.go_on_alone();
        let parked = Parked {
            going,
            server,
            nonce,
            until: Instant::now() + PARKED_MAX,
            only_with: None,
        };
        self.table().parked.insert(number, parked);
        Ok((said, result))
    }

    fn next_number(&self) -> u64 {
        let mut table = self.table();
        table.n_made += 1;
        table.n_made
    }

    /// Half of a server's calls in flight may wait for people: the other half is for those who do not.
    fn has_room(&self, server: Option<&ServerName>) -> bool {
        let entry = server.and_then(|server| self.0.router.entry(server));
        let n_max = entry.map_or(1, |entry| entry.spec.policy.inflight_max / 2).max(1);
        let table = self.table();
        let n_of_server = table
            .parked
            .values()
            .filter(|parked| parked.server.as_ref() == server)
            .count();
        table.parked.len() < N_PARKS_MAX && n_of_server < n_max
    }

    /// A client comes back with what it was asked.
    pub(super) fn take_back(
        &self,
        state: &State,
        responses: Option<&Raw>,
        profile: &Arc<Profile>,
        token: Option<Raw>,
    ) -> Returned {
        let mut table = self.table();
        let Some(parked) = table
            .parked
            .get(&state.park)
            .filter(|parked| parked.nonce == state.nonce)
        else {
            let is_used = table.used.iter().any(|(nonce, _)| *nonce == state.nonce);
            return if is_used { Returned::Used } else { Returned::Lost };
        };
        let brought = arguments_digest(responses);
        if parked.only_with.is_some_and(|only| only != brought) {
            return Returned::Used;
        }
        let answers = match answers_to(&parked.going.open, responses, key) {
            Ok(answers) => answers,
            Err(error) => return Returned::Refused(error),
        };
        let Some(parked) = table.parked.remove(&state.park) else {
            return Returned::Lost;
        };
        table.note_used(state.nonce, Instant::now() + PARKED_MAX);
        drop(table);
        let mut going = parked.going;
        going.client.say_anew(Arc::clone(profile));
        going.lane.set_progress_token(token);
        let listeners = self.0.router.listeners();
        listeners.set_level_of_request(&going.lane.session, profile.log_level);
        if profile.log_level.is_none() {
            // It wants to hear of nothing, also of what was said meanwhile.
            while going.lane.pop().is_some() {}
        }
        if parked.only_with.is_none() {
            going.take_answers(answers);
        }
        going.resumed_by = Some(Resumed {
            park: state.park,
            nonce: state.nonce,
            brought,
        });
        Returned::Goes(Exchange::resume(self, going))
    }

    /// Who waited for an exchange has gone. A client that had come back with answers may have lost its connection only:
    /// for a moment it may come once more with the same.
    pub(super) fn left(&self, going: Box<Going>) {
        match going.resumed_by {
            Some(resumed) => {
                let mut going = going;
                going.go_on_alone();
                let parked = Parked {
                    server: None,
                    going,
                    nonce: resumed.nonce,
                    until: Instant::now() + REATTACH,
                    only_with: Some(resumed.brought),
                };
                self.table().parked.insert(resumed.park, parked);
            }
            None => going.cancel(),
        }
    }

    /// A connection has ended on which all was of one client: with it the client has gone, and a call that waits for it
    /// stands in the way of telling whose the questions of its server are. One that is launched anew has a moment.
    pub fn connection_ended(&self, connection: &SessionId) {
        let until = Instant::now() + REATTACH;
        for parked in self.table().parked.values_mut() {
            if parked.going.lane.peer == *connection {
                parked.until = parked.until.min(until);
            }
        }
    }

    /// The daemon goes down: nobody can come back to it.
    pub fn end_all(&self) {
        let all: Vec<Parked> = self.table().parked.drain().map(|(_, parked)| parked).collect();
        for parked in all {
            parked.going.cancel();
        }
    }

    /// Takes back the calls whose clients have not come back in time. The servers of the others, and those of tasks, hear
    /// that it takes time, where they want to.
    pub fn sweep(&self, now: Instant) {
        let mut table = self.table();
        let over: Vec<Parked> = table
            .parked
            .extract_if(|_, parked| parked.until <= now)
            .map(|(_, parked)| parked)
            .collect();
        while table.used.front().is_some_and(|(_, until)| *until <= now) {
            table.used.pop_front();
        }
        for parked in table.parked.values() {
            parked.going.client.questions.assure(now, assurance::EVERY);
        }
        drop(table);
        // What a task asks waits for its client, too, without a call that is parked.
        for client in self.0.router.listeners().clients_of_requests() {
            client.questions.assure(now, assurance::EVERY);
        }
        for parked in over {
            tracing::info!(server = ?parked.server, "a client did not come back with what it was asked");
            parked.going.cancel();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// At most [`N_USED_MAX`]: one that is forgotten too early is taken for lost.
    fn note_used(&mut self, nonce: [u8; 16], until: Instant) {
        if self.used.len() >= N_USED_MAX {
            self.used.pop_front();
        }
        self.used.push_back((nonce, until));
    }
}

impl Going {
    fn take_answers(&mut self, answers: Vec<(u64, Raw)>) {
        for (id, answer) in answers {
            if let Some(at) = self.open.iter().position(|question| question.id == id) {
                let question = self.open.remove(at);
                self.answer(&question, answer);
            }
        }
        self.forget_withdrawn();
        // What it has not answered it is asked again, at once.
        if !self.open.is_empty() {
            self.ask_again();
        }
    }
}

/// The result that asks a client (MCP 2026-07-28, multi round-trip requests).
fn asking(open: &[Collected], sealed: &str) -> Raw {
    let requests = input_requests(open, key);
    let result = Raw::of(&json!({ "resultType": "input_required", "requestState": sealed }));
    Object::of(&result).map_or_else(
        || result.clone(),
        |result| result.with("inputRequests", &requests),
    )
}

/// Questions as a client is told of them, under these keys.
pub(super) fn input_requests(open: &[Collected], key: impl Fn(&Collected) -> String) -> Raw {
    open.iter().fold(Raw::empty_object(), |requests, question| {
        let request = Raw::of(&json!({ "method": question.asked }));
        let params = question
            .params
            .as_ref()
            .map(|params| assurance::without_token(&without_id(params)));
        let request = match (Object::of(&request), params) {
            (Some(object), Some(params)) => object.with("params", &params),
            _without => request,
        };
        Object::of(&requests).map_or_else(|| requests.clone(), |all| all.with(&key(question), &request))
    })
}

/// An elicitation by url has an id only where the client has a handshake.
fn without_id(params: &Raw) -> Raw {
    Object::of(params).map_or_else(|| params.clone(), |params| params.without(&["elicitationId"]))
}

fn key(question: &Collected) -> String {
    format!("q{}", question.id)
}

/// The answers among what a client brings; what it was not asked is passed over.
pub(super) fn answers_to(
    open: &[Collected],
    responses: Option<&Raw>,
    key: impl Fn(&Collected) -> String,
) -> Result<Vec<(u64, Raw)>, RpcError> {
    let Some(responses) = responses else {
        return Ok(Vec::new());
    };
    let all = Object::of(responses)
        .ok_or_else(|| RpcError::invalid_params("Invalid params: `inputResponses` must be an object"))?;
    let mut answers = Vec::new();
    for question in open {
        let key = key(question);
        let Some(answer) = all.get(&key) else { continue };
        if !has_shape_of_answer(&question.asked, &answer) {
            let text = format!(
                "Invalid params: `inputResponses.{key}` must be the result of {}",
                question.asked
            );
            return Err(RpcError::invalid_params(text));
        }
        answers.push((question.id, answer.compact()));
    }
    Ok(answers)
}

/// Whether it may be the result of such a request: a server that gets another gives the whole call up.
fn has_shape_of_answer(asked: &str, answer: &Raw) -> bool {
    let Some(answer) = Object::of(answer) else {
        return false;
    };
    match asked {
        method::ELICIT => {
            let action = answer.get_string("action");
            matches!(action.as_deref(), Some("accept" | "decline" | "cancel"))
        }
        method::SAMPLE => answer.get("role").is_some() && answer.get("content").is_some(),
        method::ROOTS_LIST => answer.get("roots").as_ref().and_then(elements).is_some(),
        _another => true,
    }
}

/// What a client has answered and is asked, as it keeps it for us: so that after a loss a call without effects can be
/// made again without asking again.
#[derive(Debug, Default)]
pub(super) struct Memory {
    given: Vec<Given>,
    /// The questions that are open, by their keys.
    open: Vec<(String, Digest128)>,
}

impl Memory {
    fn of(going: &Going) -> Self {
        Self {
            given: going.given.clone(),
            open: going
                .open
                .iter()
                .map(|question| (key(question), super::exchange::fingerprint(question)))
                .collect(),
        }
    }

    fn written(&self) -> Option<String> {
        let given: Vec<Raw> = self
            .given
            .iter()
            .map(|given| Raw::array(&[Raw::of(&given.question), given.answer.clone()]))
            .collect();
        let open = Raw::of(&self.open);
        let text = format!(
            r#"{{"given":{},"open":{}}}"#,
            Raw::array(&given).as_str(),
            open.as_str()
        );
        (text.len() <= ANSWERS_BYTES_MAX).then_some(text)
    }

    fn read(text: &str) -> Option<Self> {
        let raw = Raw::parse(&text.to_owned().into()).ok()?;
        let object = Object::of(&raw)?;
        let given = elements(&object.get("given")?)?
            .iter()
            .filter_map(|pair| {
                let pair = elements(pair)?;
                let question = pair.first()?.read().ok()?;
                let answer = pair.get(1)?.clone();
                Some(Given { question, answer })
            })
            .collect();
        let open = object.get("open")?.read().ok()?;
        Some(Self { given, open })
    }

    /// All that the client of a lost call has answered, with what it brings now.
    pub(super) fn all_given(state: &State, responses: Option<&Raw>) -> Vec<Given> {
        let memory = state.answers.as_deref().and_then(Self::read).unwrap_or_default();
        let brought = responses.and_then(Object::of);
        let mut given = memory.given;
        for (key, question) in memory.open {
            let answer = brought
                .as_ref()
                .and_then(|all| all.get(&key))
                .filter(Raw::is_object);
            given.extend(answer.map(|answer| Given {
                question,
                answer: answer.compact(),
            }));
        }
        given
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "parks_tests.rs"]
mod tests;
