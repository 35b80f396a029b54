//! One request of a client without a handshake, from its beginning to its answer.
//!
//! Such a client can be asked nothing but in a result: when a server asks something in the middle of the call, the
//! client gets the questions as its answer, and comes back with the answers to them in another request. Between the
//! two the call is parked (see [`super::parks`]): to the server it is one call all the time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::canonical::{self, Digest128};
use super::parks::{Given, Parks};
use super::{Answer, Engine};
use crate::access::{Scope, holder};
use crate::child::Lane;
use crate::ids::{Generation, ServerName, SessionId};
use crate::route::client::Profile;
use crate::route::listeners::Known;
use crate::route::questions::Collected;
use crate::route::{CallContext, ClientSide};
use crate::rpc::error::code;
use crate::rpc::mcp::{LogLevel, Revision, method};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, Request, RequestId, Text};
use crate::tasks::Tasks;

/// Questions that come so soon after one another are put together.
const QUIET: Duration = Duration::from_millis(40);
/// No client waits longer than this for further questions.
const QUIET_MAX: Duration = Duration::from_millis(250);

/// Who makes a request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Who is behind it, as far as that is known: what one was given no other may use.
    pub principal: Arc<str>,
    /// What lasts longer than a request belongs to this.
    pub home: SessionId,
    /// The connection, where all that comes over it is of one client.
    pub connection: Option<SessionId>,
    /// What is there for it; `None` when everything is.
    pub scope: Option<Arc<Scope>>,
}

/// What a request asks for: what another that continues it has to ask for, too.
#[derive(Debug, Clone)]
pub struct About {
    /// Who asks.
    pub principal: Arc<str>,
    /// The method.
    pub method: Text,
    /// The exposed name or URI.
    pub target: String,
    /// The arguments, as they were given.
    pub arguments: Option<Raw>,
    /// The server that it is for, where the request itself names none.
    pub to: Option<ServerName>,
}

/// The next thing that belongs to an exchange.
#[derive(Debug)]
pub enum Step {
    /// This goes to the client before the answer.
    Said(Bytes),
    /// The end: this goes out first, and then the answer.
    Answered {
        /// What was said last.
        said: VecDeque<Bytes>,
        /// The answer. It may be that the client is asked something.
        outcome: Outcome,
    },
    /// The end: the process that had asked is gone, and with it what the client has answered so far.
    Lost {
        /// What was said last.
        said: VecDeque<Bytes>,
        /// The client's answers so far.
        given: Vec<Given>,
        /// What has become of the call.
        outcome: Outcome,
    },
    /// The end: the client does not want an answer any more.
    Dropped,
}

/// One request being worked on. Dropped before its end, it is cancelled: the client has gone.
#[derive(Debug)]
pub struct Exchange {
    parks: Parks,
    going: Option<Box<Going>>,
}

/// A call, whichever request of its client waits for it, or none.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) about: About,
    pub(super) lane: Arc<Lane>,
    pub(super) client: Arc<ClientSide>,
    /// The client knows the questions up to this id.
    pub(super) shown: u64,
    /// Questions that the client knows and has not answered.
    pub(super) open: Vec<Collected>,
    /// Rounds that the client was asked in.
    pub(super) n_rounds: u32,
    /// What the client has answered so far.
    pub(super) given: Vec<Given>,
    /// What it had answered before the process was lost.
    pub(super) known: Vec<Given>,
    /// The process that asked last.
    asker: Option<(ServerName, Generation)>,
    /// The round that it goes on after: who comes with the same again takes it over.
    pub(super) resumed_by: Option<Resumed>,
    window: Option<Window>,
    work: Work,
    tasks: Tasks,
}

/// By what a call goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resumed {
    /// The parked call.
    pub(super) park: u64,
    /// The round of it.
    pub(super) nonce: [u8; 16],
    /// The client's answers.
    pub(super) brought: Digest128,
}

enum Work {
    /// Polled by whoever holds the exchange.
    Here(Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// Goes on by itself.
    Elsewhere(oneshot::Receiver<Answer>),
    /// It has ended, and what it came to was taken.
    Over,
}

/// While further questions are waited for.
#[derive(Debug, Clone, Copy)]
struct Window {
    quiet_at: Instant,
    latest: Instant,
}

enum Event {
    Said(Bytes),
    Asked,
    Ended(Answer),
}

impl Exchange {
    /// Begins to carry out a request. `request` has no metadata any more that is meant for us.
    pub fn begin(
        engine: &Engine,
        peer: &Peer,
        profile: Arc<Profile>,
        token: Option<Raw>,
        request: Request,
        about: About,
    ) -> Self {
        let id = SessionId::random();
        let client =
            ClientSide::of_request(Arc::clone(&profile)).within(peer.scope.clone(), holder(&peer.principal));
        let client = Arc::new(client);
        // As long as the call goes on.
        let listeners = engine.router().listeners();
        let known = Known::new(listeners, id.clone(), peer.home.clone(), Arc::clone(&client));
        let connection = peer.connection.clone().unwrap_or_else(|| id.clone());
        let log_level = profile.log_level;
        let lane = Lane::new(id, request.id.compact(), token)
            .of_peer(peer.home.clone(), connection)
            .called_by(Some(profile))
            .within(peer.scope.clone(), holder(&peer.principal));
        let lane = Arc::new(lane);
        let to = about.to.clone();
        let work = work(engine.clone(), Arc::clone(&lane), to, request, log_level, known);
        let going = Going {
            about,
            lane,
            client,
            shown: 0,
            open: Vec::new(),
            n_rounds: 0,
            given: Vec::new(),
            known: Vec::new(),
            asker: None,
            resumed_by: None,
            window: None,
            work: Work::Here(Box::pin(work)),
            tasks: engine.tasks.clone(),
        };
        Self {
            parks: engine.parks.clone(),
            going: Some(Box::new(going)),
        }
    }

    pub(super) fn resume(parks: &Parks, going: Box<Going>) -> Self {
        Self {
            parks: parks.clone(),
            going: Some(going),
        }
    }

    /// What the client has answered before is answered so again, as far as it is asked again.
    pub(super) fn knowing(mut self, known: Vec<Given>) -> Self {
        if let Some(going) = &mut self.going {
            going.known = known;
        }
        self
    }

    /// The client as children see it in this request.
    pub(super) fn client(&self) -> Option<Arc<ClientSide>> {
        self.going.as_ref().map(|going| Arc::clone(&going.client))
    }

    /// The call's way to the client: for taking it back.
    pub fn lane(&self) -> Option<Arc<Lane>> {
        self.going.as_ref().map(|going| Arc::clone(&going.lane))
    }

    /// The client does not want it any more.
    pub(super) fn cancel(mut self) {
        if let Some(going) = self.going.take() {
            going.cancel();
        }
    }

    /// The next thing that belongs to it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn step(&mut self) -> Step {
        loop {
            let Some(going) = self.going.as_mut() else {
                return Step::Dropped;
            };
            match going.next().await {
                Event::Said(line) => return Step::Said(line),
                Event::Ended(answer) => {
                    let (said, was_lost) = (going.lane.finish(), going.was_lost(&answer));
                    let given = std::mem::take(&mut going.given);
                    self.going = None;
                    return match answer {
                        Answer::Outcome(outcome) if was_lost => Step::Lost { said, given, outcome },
                        Answer::Outcome(outcome) => Step::Answered { said, outcome },
                        Answer::Cancelled => Step::Dropped,
                    };
                }
                Event::Asked => {
                    let Some(going) = self.going.take() else { continue };
                    match self.parks.park(going) {
                        Ok((said, asked)) => {
                            return Step::Answered {
                                said,
                                outcome: Ok(asked),
                            };
                        }
                        Err(goes_on) => self.going = Some(goes_on),
                    }
                }
            }
        }
    }
}

/// Who reads the answer has gone: closing the response is how such a client cancels (MCP 2026-07-28, cancellation).
impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(going) = self.going.take() {
            self.parks.left(going);
        }
    }
}

async fn work(
    engine: Engine,
    lane: Arc<Lane>,
    to: Option<ServerName>,
    request: Request,
    log_level: Option<LogLevel>,
    known: Known,
) -> Answer {
    if let Some(level) = log_level {
        engine.router().hear_from(level).await;
    }
    let context = CallContext {
        revision: Revision::NEWEST,
        lane,
        to,
    };
    let answer = engine.answer(&context, &request).await;
    drop(known);
    answer
}

impl Going {
    /// # Cancel safety
    /// Safe.
    async fn next(&mut self) -> Event {
        loop {
            let latest = self.window.map(|window| window.quiet_at.min(window.latest));
            tokio::select! {
                // An answer that is here is given; what its server has asked before is moot.
                biased;
                answer = self.work.end() => return Event::Ended(answer),
                line = self.lane.next() => return Event::Said(line),
                () = self.client.questions.asked() => self.await_further(),
                () = sleep_until(latest) => {
                    self.window = None;
                    if self.take_questions() {
                        return Event::Asked;
                    }
                }
            }
        }
    }

    fn await_further(&mut self) {
        let now = Instant::now();
        let latest = self.window.map_or(now + QUIET_MAX, |window| window.latest);
        self.window = Some(Window {
            quiet_at: now + QUIET,
            latest,
        });
    }

    /// Takes over what was asked meanwhile. Whether anything is open that the client has to be told of.
    fn take_questions(&mut self) -> bool {
        self.forget_withdrawn();
        for question in self.client.questions.after(self.shown) {
            self.shown = question.id;
            self.note_asker(&question);
            let known = fingerprint(&question);
            match self.known.iter().position(|given| given.question == known) {
                Some(at) => {
                    let given = self.known.remove(at);
                    self.answer(&question, given.answer);
                }
                None => self.open.push(question),
            }
        }
        !self.open.is_empty()
    }

    /// A read is made again by itself when its process ends: the next process begins anew, and what the client has
    /// answered to the one before it is not asked again.
    fn note_asker(&mut self, question: &Collected) {
        let asker = (question.server.clone(), question.generation);
        let is_another = |before: (ServerName, Generation)| before.0 == asker.0 && before.1 != asker.1;
        if self.asker.replace(asker.clone()).is_some_and(is_another) {
            self.known.append(&mut self.given);
        }
    }

    /// What the server has taken back, or what has ended with its process, is not asked any more.
    pub(super) fn forget_withdrawn(&mut self) {
        let questions = &self.client.questions;
        self.open.retain(|question| questions.is_open(question.id));
    }

    /// The client's answer to one question.
    pub(super) fn answer(&mut self, question: &Collected, answer: Raw) {
        let outcome = Ok(answer.clone());
        self.client
            .questions
            .answer(&RequestId::number(question.id), &outcome);
        self.given.push(Given {
            question: fingerprint(question),
            answer,
        });
    }

    /// The questions that are open are asked without waiting for further ones.
    pub(super) fn ask_again(&mut self) {
        let now = Instant::now();
        self.window = Some(Window {
            quiet_at: now,
            latest: now,
        });
    }

    /// Whether the process that had asked the client has ended before it answered.
    fn was_lost(&self, answer: &Answer) -> bool {
        let Answer::Outcome(Err(error)) = answer else {
            return false;
        };
        let code = Object::of(error).and_then(|error| error.get("code"));
        self.n_rounds > 0 && code.is_some_and(|found| found.as_str() == code::CHILD_EXITED.to_string())
    }

    /// Whether its method is one in whose result the client can be asked (MCP 2026-07-28, multi round-trip requests,
    /// "Supported Requests").
    pub(super) fn may_ask(&self) -> bool {
        may_ask(self.about.method.as_str())
    }

    /// Nobody can be asked: its servers hear so, and it goes on.
    pub(super) fn refuse_questions(&mut self) {
        self.open.clear();
        self.client.questions.end_all();
    }

    /// From now on it goes on by itself, whoever waits for it.
    pub(super) fn go_on_alone(&mut self) {
        let work = std::mem::replace(&mut self.work, Work::Over);
        self.work = match work {
            Work::Here(work) => {
                let (ended, answer) = oneshot::channel();
                self.tasks.spawn("parked call", async move {
                    // Nobody may be there any more.
                    drop(ended.send(work.await));
                });
                Work::Elsewhere(answer)
            }
            other @ (Work::Elsewhere(_) | Work::Over) => other,
        };
    }

    /// Nobody wants it any more: the server is told, and what it still asks is refused.
    pub(super) fn cancel(mut self) {
        self.lane.cancel();
        self.client.questions.end_all();
        self.go_on_alone();
    }
}

#[cfg(test)]
impl Going {
    /// A call of this client that never ends by itself.
    pub(super) fn endless(lane: Arc<Lane>, client: Arc<ClientSide>) -> Box<Self> {
        Box::new(Self {
            about: About {
                principal: Arc::from("test"),
                method: Text::fixed(method::TOOLS_CALL),
                target: "a__tool".to_owned(),
                arguments: None,
                to: None,
            },
            lane,
            client,
            shown: 0,
            open: Vec::new(),
            n_rounds: 0,
            given: Vec::new(),
            known: Vec::new(),
            asker: None,
            resumed_by: None,
            window: None,
            work: Work::Here(Box::pin(std::future::pending())),
            tasks: Tasks::new(),
        })
    }
}

/// Whether a client can be asked in a result of this method.
pub fn may_ask(method: &str) -> bool {
    matches!(
        method,
        method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ
    )
}

/// By what a question is known again: what it asks for, and its parameters in whichever form they are written.
pub(super) fn fingerprint(question: &Collected) -> Digest128 {
    let asked = Raw::of(&question.asked);
    let nothing = Raw::empty_object();
    let whole = Raw::array(&[asked, question.params.clone().unwrap_or(nothing)]);
    canonical::arguments_digest(Some(&whole))
}

impl Work {
    /// # Cancel safety
    /// Safe.
    async fn end(&mut self) -> Answer {
        let answer = match self {
            Self::Here(work) => work.await,
            // Its task has ended with the daemon.
            Self::Elsewhere(answer) => answer.await.unwrap_or(Answer::Cancelled),
            Self::Over => std::future::pending().await,
        };
        *self = Self::Over;
        answer
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "Here",
            Self::Elsewhere(_) => "Elsewhere",
            Self::Over => "Over",
        })
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
