//! One client on one long connection: each message it sends, and everything that goes back to it.
//!
//! Used by the line door and by HTTP+SSE. Requests run side by side; what they lead to goes into one bounded queue,
//! which the connection's writer empties. A client that does not read stops only its own requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::listen::Listening;
use crate::bridge::exchange::{Peer, Step};
use crate::bridge::ladder::{self, Asked};
use crate::bridge::modern::{Begun, Reply};
use crate::bridge::{Answer, lane_of};
use crate::child::Lane;
use crate::ids::SessionId;
use crate::route::CallContext;
use crate::rpc::error::code;
use crate::rpc::mcp::{Era, method};
use crate::rpc::message::{Malformed, response_line};
use crate::rpc::object::Object;
use crate::rpc::{Incoming, Message, Notification, Outcome, Raw, Request, RequestId, Response, RpcError};
use crate::session::{InFlight, Session};

/// Lines that may wait for the connection's writer.
pub const N_LINES_MAX: usize = 256;
/// Requests of one connection in flight at once.
pub const N_REQUESTS_MAX: usize = 1024;

/// One client on one long connection.
#[derive(Debug, Clone)]
pub struct Conversation {
    front: Shared,
    session: Arc<Session>,
    lines: mpsc::Sender<Bytes>,
    places: Arc<Semaphore>,
    /// The client says nothing more.
    last_word: CancellationToken,
}

impl Conversation {
    /// A conversation in a session, and the queue that its writer empties.
    pub fn new(front: Shared, session: Arc<Session>) -> (Self, mpsc::Receiver<Bytes>) {
        let (lines, queue) = mpsc::channel(N_LINES_MAX);
        let places = Arc::new(Semaphore::new(N_REQUESTS_MAX));
        (
            Self {
                front,
                session,
                lines,
                places,
                last_word: CancellationToken::new(),
            },
            queue,
        )
    }

    /// Its session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Takes in one text. Waits only while the client does not read what it is sent.
    pub async fn receive(&self, text: &Bytes) {
        match Incoming::parse(text) {
            Ok(Incoming::One(message)) => self.message(message).await,
            Ok(Incoming::Batch(parts)) if self.session.revision().has_batches() => {
                // Answered one by one: over a stream a batch of answers is allowed, but never needed.
                for part in parts {
                    match part {
                        Ok(message) => self.message(message).await,
                        Err(malformed) => self.refuse(&malformed).await,
                    }
                }
            }
            Ok(Incoming::Batch(_)) => {
                let error =
                    RpcError::invalid_request("Invalid request: batches exist only in revision 2025-03-26");
                self.send(response_line(None, &Err(error.raw()))).await;
            }
            Err(malformed) => self.refuse(&malformed).await,
        }
    }

    /// The client says nothing more: waits until no request is in flight. Streams of changes have no end of their own;
    /// they end now, or it would wait for ever.
    pub async fn settled(&self) {
        self.last_word.cancel();
        let n = u32::try_from(N_REQUESTS_MAX).unwrap_or(u32::MAX);
        drop(self.places.acquire_many(n).await);
    }

    async fn refuse(&self, malformed: &Malformed) {
        if malformed.is_response {
            tracing::debug!(session = %self.session.id, "an answer that is no valid message");
            return;
        }
        self.send(response_line(malformed.id.as_ref(), &Err(malformed.error.raw())))
            .await;
    }

    async fn message(&self, message: Message) {
        let era = ladder::era_of(&message, None);
        match message {
            Message::Request(request) if era == Era::Modern => self.request_without_handshake(request).await,
            Message::Request(request) => self.request(request).await,
            Message::Notification(notification) => notified(&self.front, &self.session, &notification),
            Message::Response(response) => answered(&self.session, &response),
        }
    }

    async fn request(&self, request: Request) {
        if let Some(outcome) = handshake(&self.front, &self.session, &request) {
            return self.answer(&request.id, &outcome).await;
        }
        if let Some(outcome) = self.at_once(&request) {
            return self.answer(&request.id, &outcome).await;
        }
        let Some(place) = self.admit(&request).await else {
            return;
        };
        let lane = lane_of(&self.session, &request);
        let in_flight = self.session.begin(Arc::clone(&lane));
        let this = self.clone();
        self.front.tasks.spawn("client request", async move {
            let context = CallContext {
                revision: this.session.revision(),
                lane,
                to: None,
            };
            this.work(context, &request, in_flight).await;
            drop(place);
        });
    }

    fn at_once(&self, request: &Request) -> Option<Outcome> {
        let scope = self.session.principal.scope.as_ref();
        self.front.engine.at_once(self.session.revision(), scope, request)
    }

    /// A place among the requests in flight; `None` when it was refused.
    async fn admit(&self, request: &Request) -> Option<OwnedSemaphorePermit> {
        let error = if self.front.closing.is_cancelled() {
            RpcError::new(
                code::SHUTTING_DOWN,
                "mcp-wrapper is going down; try again in a moment",
            )
        } else if self.session.is_in_flight(&request.id) {
            RpcError::invalid_request("Invalid request: a request with this id is in flight already")
        } else if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        } else {
            let text = format!("{N_REQUESTS_MAX} requests of this client are in flight already");
            RpcError::new(code::OVERLOADED, text)
        };
        self.answer(&request.id, &Err(error.raw())).await;
        None
    }

    /// A request that says itself all that is needed to understand it (2026-07-28).
    async fn request_without_handshake(&self, request: Request) {
        let asked = match ladder::climb_request(&request, None) {
            Ok(asked) => asked,
            Err(refused) => return self.answer(&request.id, &Err(refused.error.raw())).await,
        };
        let Some(place) = self.admit(&request).await else {
            return;
        };
        self.session.note_said(Arc::new(asked.profile()));
        let id = request.id.compact();
        let peer = Peer {
            principal: Arc::clone(&self.session.principal.id),
            home: self.session.id.clone(),
            connection: Some(self.session.id.clone()),
            scope: self.session.principal.scope.clone(),
        };
        match self.front.engine.begin(&peer, request, asked.clone(), None) {
            Err(refused) => self.answer(&id, &Err(refused.error.raw())).await,
            Ok(Begun::Answered(outcome)) => self.answer(&id, &outcome).await,
            Ok(Begun::Going(reply)) => self.go(id, reply, place),
            Ok(Begun::Listen(params)) => self.listen(peer, asked, id, params, place),
        }
    }

    fn go(&self, id: RequestId, mut reply: Box<Reply>, place: OwnedSemaphorePermit) {
        let Some(lane) = reply.lane() else { return };
        let mut in_flight = Some(self.session.begin_as(id.clone(), Arc::clone(&lane), true));
        let this = self.clone();
        self.front.tasks.spawn("client request", async move {
            loop {
                let step = tokio::select! {
                    // Once it is taken back nothing is said of it any more. The call that it is by now may have
                    // another lane than the one it began with.
                    biased;
                    () = lane.cancelled() => {
                        reply.cancel();
                        break;
                    }
                    step = reply.step() => step,
                };
                match step {
                    Step::Said(line) => this.send(line).await,
                    Step::Answered { said, outcome } => {
                        for line in said {
                            this.send(line).await;
                        }
                        // With the answer the client may use its id again, and for a round it is likely to.
                        in_flight.take();
                        this.answer(&id, &outcome).await;
                        break;
                    }
                    Step::Lost { .. } | Step::Dropped => break,
                }
            }
            drop((in_flight, place));
        });
    }

    fn listen(
        &self,
        peer: Peer,
        asked: Asked,
        id: RequestId,
        params: Option<Raw>,
        place: OwnedSemaphorePermit,
    ) {
        let lane = Arc::new(Lane::new(self.session.id.clone(), id.clone(), None));
        let in_flight = self.session.begin(Arc::clone(&lane));
        let this = self.clone();
        self.front.tasks.spawn("stream of changes", async move {
            match Listening::open(&this.front, &peer, asked, id.clone(), params.as_ref()).await {
                Ok((listening, first)) => this.tell_of_changes(listening, first, &lane).await,
                Err(error) => this.answer(&id, &Err(error.raw())).await,
            }
            drop((in_flight, place));
        });
    }

    async fn tell_of_changes(&self, mut listening: Listening, first: Bytes, lane: &Lane) {
        let mut next = first;
        // "The receiver MUST NOT send a response" (MCP, cancellation), nor anything else.
        while !lane.is_cancelled() {
            self.send(next).await;
            next = tokio::select! {
                biased;
                () = lane.cancelled() => return,
                () = self.front.closing.cancelled() => return self.send(listening.end()).await,
                () = self.last_word.cancelled() => return self.send(listening.end()).await,
                line = listening.next() => line,
            };
        }
    }

    /// Carries out one request: everything that belongs to it goes out before its answer.
    async fn work(&self, context: CallContext, request: &Request, in_flight: InFlight) {
        let lane = Arc::clone(&context.lane);
        let mut answer = std::pin::pin!(self.front.engine.answer(&context, request));
        let answer = loop {
            tokio::select! {
                // What was said before the answer has to arrive before it.
                biased;
                line = lane.next() => self.send(line).await,
                answer = &mut answer => break answer,
            }
        };
        for line in lane.finish() {
            self.send(line).await;
        }
        // With the answer the client may use its id again.
        drop(in_flight);
        match answer {
            Answer::Outcome(outcome) => self.answer(&request.id, &outcome).await,
            // "The receiver MUST NOT send a response" (MCP, cancellation).
            Answer::Cancelled => {}
        }
    }

    async fn answer(&self, id: &RequestId, outcome: &Outcome) {
        self.send(response_line(Some(id), outcome)).await;
    }

    /// Puts a line on its way to the client.
    pub(super) async fn send(&self, line: Bytes) {
        if self.lines.send(line).await.is_err() {
            tracing::debug!(session = %self.session.id, "the client is gone");
        }
    }
}

/// Conversations that take their messages from other connections, by session.
#[derive(Debug, Default)]
pub struct Conversations(Mutex<HashMap<SessionId, Conversation>>);

impl Conversations {
    /// One has begun.
    pub fn add(&self, conversation: &Conversation) {
        self.all()
            .insert(conversation.session.id.clone(), conversation.clone());
    }

    /// One has ended.
    pub fn remove(&self, session: &SessionId) {
        self.all().remove(session);
    }

    /// Finds one.
    pub fn find(&self, session: &str) -> Option<Conversation> {
        self.all().get(session).cloned()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<SessionId, Conversation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers `initialize`, and everything that may not come before it. `None`: the request is for the engine.
pub fn handshake(front: &Shared, session: &Session, request: &Request) -> Option<Outcome> {
    match request.method.as_str() {
        method::INITIALIZE => Some(
            front
                .engine
                .initialize(session, request.params.as_ref())
                .map_err(|error| error.raw()),
        ),
        method::PING => Some(Ok(Raw::empty_object())),
        _another if session.is_greeted() => None,
        another => {
            tracing::debug!(session = %session.id, method = another, "a request before `initialize`, without metadata");
            // A client of either era learns from it what is missing.
            let refused = ladder::climb_request(request, None).err()?;
            Some(Err(refused.error.raw()))
        }
    }
}

/// Takes in a client's answer to what a child has asked.
pub fn answered(session: &Session, response: &Response) {
    let known = response
        .id
        .as_ref()
        .is_some_and(|id| session.client.questions.answer(id, &response.outcome));
    if !known {
        tracing::debug!(session = %session.id, "an answer to nothing that was asked");
    }
}

/// Takes in a notification of a client.
pub fn notified(front: &Shared, session: &Session, notification: &Notification) {
    match notification.method.as_str() {
        method::INITIALIZED => session.set_initialized(),
        method::CANCELLED => {
            let params = notification.params.as_ref().and_then(Object::of);
            let id = params
                .and_then(|params| params.get("requestId"))
                .and_then(|id| RequestId::parse(id).ok());
            if let Some(id) = id {
                session.cancel(&id);
            }
        }
        method::PROGRESS => {
            if let Some(params) = &notification.params {
                session.client.questions.progressed(params);
            }
        }
        method::ROOTS_CHANGED => front.engine.router().roots_changed(&session.id),
        other => {
            tracing::debug!(session = %session.id, method = other, "a notification that concerns no child")
        }
    }
}
