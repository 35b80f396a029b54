//! Requests of clients without a handshake (2026-07-28): each says all that is needed to understand it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::exchange::{About, Exchange, Peer, Step, may_ask};
use super::ladder::{self, Asked, Refused};
use super::mcp_headers::McpHeaders;
use super::pages::{self, Pages, Wait};
use super::parks::{Given, Memory, N_ROUNDS_MAX, PARKED_MAX, Returned, now_ms};
use super::seal::{self, Kind as StateKind, State};
use super::{Engine, bad_cursor, cursor, listed_by, mirror, tasks_ext};
use crate::catalog::Kind;
use crate::ids::SessionId;
use crate::route::ClientSide;
use crate::route::client::Profile;
use crate::route::modern::{Fill, Keep, Scope, Told, complete_for_modern, error_for_modern, may_be_kept};
use crate::rpc::error::code;
use crate::rpc::mcp::{Era, Implementation, meta, method};
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, Request, RpcError};
use uuid::Uuid;

/// What a request leads to.
#[derive(Debug)]
pub enum Begun {
    /// It is answered.
    Answered(Outcome),
    /// A server works on it.
    Going(Box<Reply>),
    /// A stream of changes; the parameters of it.
    Listen(Option<Raw>),
}

/// One request that a server works on, up to the answer that its client gets.
#[derive(Debug)]
pub struct Reply {
    engine: Engine,
    peer: Peer,
    asked: Asked,
    request: Request,
    about: About,
    exchange: Exchange,
    client: Option<Arc<ClientSide>>,
    /// The call's own name among those who ask.
    session: Option<SessionId>,
    /// Goes out before anything else.
    said: VecDeque<Bytes>,
    pages: Pages,
    /// The call has ended, and is made again when a person is done.
    waits: Option<Wait>,
    /// Rounds in which the client was told to open a page, and of which the servers know nothing.
    n_reissued: u32,
    was_replayed: bool,
}

impl Engine {
    /// Begins to answer a request that has come up the ladder. `headers` are those of HTTP.
    ///
    /// # Errors
    /// What it is refused for, with a status for HTTP.
    pub fn begin(
        &self,
        peer: &Peer,
        mut request: Request,
        asked: Asked,
        headers: Option<&McpHeaders>,
    ) -> Result<Begun, Refused> {
        let method = request.method.clone();
        let name = method.as_str();
        let offer = || {
            self.offer
                .of(&self.router.view_within(peer.scope.as_ref()), peer.scope.as_ref())
        };
        if let Some(kind) = listed_by(name) {
            let list = self.listed(peer, kind, headers.is_some(), request.params.as_ref());
            return Ok(Begun::Answered(list.map_err(|error| error.raw())));
        }
        match name {
            method::DISCOVER => {
                let discovered = offer().discovered(&self.router.standing(peer.scope.as_ref()));
                return Ok(Begun::Answered(Ok(discovered)));
            }
            method::LISTEN => return Ok(Begun::Listen(request.params)),
            method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ | method::COMPLETE => {}
            about_task if method::is_about_task(about_task) => {
                tasks_ext::demand(&asked)?;
                if let Some(outcome) = self.hosted(&peer.home, &request) {
                    return Ok(Begun::Answered(outcome.map(|result| completed(name, &result))));
                }
                let mut about = about(peer, &request);
                let params = request.params.as_ref().and_then(Object::of);
                let id = params.and_then(|params| params.get_string("taskId"));
                about.target = id.unwrap_or_default();
                about.to = Some(tasks_ext::own(&self.parks.keys(), peer, &mut request)?);
                let brought = Brought::take(&mut request);
                return Ok(self.go(peer, request, asked, about, brought));
            }
            unknown => {
                let error = RpcError::unknown_method(unknown);
                return Err(Refused { status: 404, error });
            }
        }
        let about = about(peer, &request);
        if let (Some(headers), method::TOOLS_CALL) = (headers, name)
            && let Some(mirrored) = offer().mirrored(&about.target)
        {
            mirror::check(mirrored, about.arguments.as_ref(), headers).map_err(Refused::bad_request)?;
        }
        let brought = Brought::take(&mut request);
        Ok(match self.go(peer, request, asked, about, brought) {
            Begun::Answered(outcome) => Begun::Answered(outcome.map(|result| completed(name, &result))),
            other @ (Begun::Going(_) | Begun::Listen(_)) => other,
        })
    }

    fn listed(&self, peer: &Peer, kind: Kind, is_http: bool, params: Option<&Raw>) -> Result<Raw, RpcError> {
        let cursor = cursor(params)?;
        let scope = peer.scope.as_ref();
        self.router.list_is_read(kind);
        // First how good they are, then what they are: they may be better than is said, and never worse.
        let standing = self.router.standing(scope);
        let offer = self.offer.of(&self.router.view_within(scope), scope);
        let page = offer.page(kind, is_http, cursor.as_deref(), &standing);
        page.ok_or_else(bad_cursor)
    }

    fn go(&self, peer: &Peer, request: Request, asked: Asked, about: About, brought: Brought) -> Begun {
        let mut reply = Fresh {
            engine: self,
            peer,
            asked,
            request,
            about,
        };
        let Some(sealed) = brought.state.filter(|_| may_ask(reply.about.method.as_str())) else {
            reply.bring(brought.responses, None);
            return Begun::Going(Box::new(reply.begin(Vec::new())));
        };
        let state = match self.opened(&sealed, &reply.about) {
            Ok(state) => state,
            Err(seal::Refused::Expired) => return Begun::Answered(expired(&reply.about)),
            Err(refused) => {
                tracing::warn!(principal = %peer.principal, why = %refused, "a requestState was refused");
                return Begun::Answered(Err(
                    bad_state("the requestState is not valid for this request").raw()
                ));
            }
        };
        match state.kind {
            StateKind::Relay => {
                reply.bring(brought.responses, state.inner);
                Begun::Going(Box::new(reply.begin(Vec::new())))
            }
            StateKind::Reissue if was_declined(brought.responses.as_ref()) => {
                Begun::Answered(declined(&reply.about))
            }
            StateKind::Reissue => {
                let mut begun = reply.begin(Vec::new());
                begun.pages = Pages::of(&self.router, state.inner.as_deref());
                begun.n_reissued = state.round;
                Begun::Going(Box::new(begun))
            }
            StateKind::Park | StateKind::Replay => self.come_back(reply, &state, brought.responses.as_ref()),
        }
    }

    fn come_back(&self, reply: Fresh<'_>, state: &State, responses: Option<&Raw>) -> Begun {
        let token = reply.asked.progress_token.clone();
        match self.parks.take_back(state, responses, &reply.profile(), token) {
            Returned::Goes(exchange) => {
                if let Some(level) = reply.asked.log_level {
                    let router = self.router.clone();
                    self.tasks
                        .spawn("level of a request", async move { router.hear_from(level).await });
                }
                Begun::Going(Box::new(reply.with(exchange)))
            }
            Returned::Refused(error) => Begun::Answered(Err(error.raw())),
            Returned::Lost if self.may_replay(&reply.about) => {
                let mut begun = reply.begin(Memory::all_given(state, responses));
                begun.was_replayed = true;
                Begun::Going(Box::new(begun))
            }
            Returned::Lost | Returned::Used => Begun::Answered(expired(&reply.about)),
        }
    }

    fn opened(&self, sealed: &str, about: &About) -> Result<State, seal::Refused> {
        let state = self.parks.keys().open(sealed, now_ms())?;
        let arguments = super::canonical::arguments_digest(about.arguments.as_ref());
        let principal = seal::principal_digest(&about.principal);
        seal::matches(&state, principal, about.method.as_str(), &about.target, arguments)?;
        Ok(state)
    }

    /// Whether a call may be made again although the process may have carried it out: it has no effects, or the same
    /// twice as once.
    fn may_replay(&self, about: &About) -> bool {
        if about.method.as_str() != method::TOOLS_CALL {
            return true;
        }
        let view = self.router.view();
        let is_said = |key: &str| {
            let tool = view.item(Kind::Tools, &about.target)?;
            let annotations = Object::of(tool)?.get("annotations")?;
            let hint = Object::of(&annotations)?.get(key)?;
            Some(hint.as_str() == "true")
        };
        ["readOnlyHint", "idempotentHint"]
            .into_iter()
            .any(|key| is_said(key) == Some(true))
    }
}

/// A request before it is worked on.
struct Fresh<'a> {
    engine: &'a Engine,
    peer: &'a Peer,
    asked: Asked,
    request: Request,
    about: About,
}

impl Fresh<'_> {
    fn profile(&self) -> Arc<Profile> {
        Arc::new(self.asked.profile())
    }

    /// What the client brings for the server itself goes on to it.
    fn bring(&mut self, responses: Option<Raw>, state: Option<String>) {
        let state = state.map(|state| Raw::of(&state));
        for (key, value) in [("inputResponses", responses), ("requestState", state)] {
            let params = self.request.params.as_ref().and_then(Object::of);
            if let (Some(value), Some(params)) = (value, params) {
                self.request.params = Some(params.with(key, &value));
            }
        }
    }

    fn begin(self, known: Vec<Given>) -> Reply {
        let exchange = Exchange::begin(
            self.engine,
            self.peer,
            self.profile(),
            self.asked.progress_token.clone(),
            self.request.clone(),
            self.about.clone(),
        );
        self.with(exchange.knowing(known))
    }

    fn with(self, exchange: Exchange) -> Reply {
        Reply {
            engine: self.engine.clone(),
            peer: self.peer.clone(),
            asked: self.asked,
            request: self.request,
            about: self.about,
            client: exchange.client(),
            session: exchange.lane().map(|lane| lane.session.clone()),
            exchange,
            said: VecDeque::new(),
            pages: Pages::of(&self.engine.router, None),
            waits: None,
            n_reissued: 0,
            was_replayed: false,
        }
    }
}

impl Reply {
    /// The next thing that belongs to it; the answer is as the client gets it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn step(&mut self) -> Step {
        loop {
            if let Some(line) = self.said.pop_front() {
                return Step::Said(line);
            }
            if let Some(waits) = &self.waits {
                let is_done = waits.is_done().await;
                let Some(waited) = self.waits.take() else { continue };
                if !is_done {
                    let outcome = self.open_pages(&waited.error);
                    return Step::Answered {
                        said: VecDeque::new(),
                        outcome,
                    };
                }
                self.pages.again();
                self.begin_again(Vec::new());
                continue;
            }
            match self.exchange.step().await {
                Step::Answered { said, outcome } => {
                    if let Some(waits) = self.waits_for(&outcome) {
                        (self.said, self.waits) = (said, Some(waits));
                        continue;
                    }
                    let outcome = self.answered(outcome);
                    return Step::Answered { said, outcome };
                }
                Step::Lost { given, .. } if !self.was_replayed && self.engine.may_replay(&self.about) => {
                    self.was_replayed = true;
                    self.begin_again(given);
                }
                // It may have taken effect: the client is told so as of any call whose process has ended.
                Step::Lost { said, outcome, .. } => {
                    let outcome = self.answered(outcome);
                    return Step::Answered { said, outcome };
                }
                other @ (Step::Said(_) | Step::Dropped) => return other,
            }
        }
    }

    /// Makes the call again.
    fn begin_again(&mut self, known: Vec<Given>) {
        let exchange = Exchange::begin(
            &self.engine,
            &self.peer,
            self.profile(),
            self.asked.progress_token.clone(),
            self.request.clone(),
            self.about.clone(),
        );
        self.exchange = exchange.knowing(known);
        self.client = self.exchange.client();
        self.session = self.exchange.lane().map(|lane| lane.session.clone());
    }

    /// The client was told of these pages before: it is asked again only when nobody is done with them in time.
    fn waits_for(&mut self, outcome: &Outcome) -> Option<Wait> {
        let is_asked_again = self.n_reissued < N_ROUNDS_MAX / 2;
        let session = self.session.as_ref().filter(|_| is_asked_again)?;
        self.pages.wait(session, outcome, Instant::now())
    }

    /// The call's way to the client: for taking it back.
    pub fn lane(&self) -> Option<Arc<crate::child::Lane>> {
        self.exchange.lane()
    }

    /// The client has taken the request back: unlike one that is dropped, nobody can come back to it.
    pub fn cancel(self) {
        self.exchange.cancel();
    }

    fn profile(&self) -> Arc<Profile> {
        let known = self.client.as_ref().and_then(|client| client.profile());
        known.unwrap_or_else(|| Arc::new(self.asked.profile()))
    }

    fn answered(&self, outcome: Outcome) -> Outcome {
        let name = self.about.method.as_str();
        match outcome {
            Ok(result) => Ok(completed(name, &self.with_task(self.relayed(result)))),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &Raw) -> Outcome {
        if let Some(lacked) = self.client.as_ref().and_then(|client| ladder::lacked_by(client)) {
            return Err(ladder::missing_capability(&lacked).raw());
        }
        let uri =
            (self.about.method.as_str() == method::RESOURCES_READ).then_some(self.about.target.as_str());
        match error_for_modern(Era::Modern, self.about.method.as_str(), uri, error) {
            Told::Error(error) | Told::WrongRevision(error) => Err(error),
            Told::Result(result) => Ok(result),
            Told::OpenUrlFirst(error) => self.open_pages(&error),
        }
    }

    /// A server's own state goes to the client sealed, so that it is bound to who was given it and to what was asked.
    fn relayed(&self, result: Raw) -> Raw {
        if !result.holds("\"input_required\"") {
            return result;
        }
        let Some(object) = Object::of(&result) else {
            return result;
        };
        let is_asking = object.get_string("resultType").as_deref() == Some("input_required");
        let own = object
            .get_string("requestState")
            .filter(|own| !own.starts_with("g1."));
        let Some(own) = own.filter(|_| is_asking) else {
            return result.clone();
        };
        let state = self.state(StateKind::Relay, 1, Some(own));
        match self.engine.parks.keys().seal(&state) {
            Ok(sealed) => object.with("requestState", &Raw::of(&sealed)),
            Err(_too_large) => object.without(&["requestState"]),
        }
    }

    /// A task that its server has made of the call, or that the request is about, under the id that the client gets.
    fn with_task(&self, result: Raw) -> Raw {
        // A look at the text is enough for almost every result.
        if !result.holds("\"taskId\"") {
            return result;
        }
        let named = Object::of(&result).and_then(|result| result.get_string("resultType"));
        let of_call = || {
            // The id of a hosted task is ours already.
            let id = Object::of(&result).and_then(|result| result.get_string("taskId"));
            let is_hosted = id.is_some_and(|id| self.engine.router.task_table().is_hosted(&id));
            let is_task = named.as_deref() == Some("task") && !is_hosted;
            let view = self.engine.router.view();
            let owner = view
                .list(Kind::Tools)
                .owner(&self.about.target)
                .filter(|_| is_task);
            owner.map(|owner| owner.server.clone())
        };
        if self.about.to.is_some() {
            // The id by which its client asked: another key may seal by now.
            return tasks_ext::named(&self.about.target, &result);
        }
        match of_call() {
            Some(server) => {
                let keys = self.engine.parks.keys();
                tasks_ext::exposed(&keys, &self.about.principal, &server, &result)
            }
            None => result,
        }
    }

    fn state(&self, kind: StateKind, round: u32, inner: Option<String>) -> State {
        let now = now_ms();
        State {
            kind,
            park: 0,
            round,
            nonce: *Uuid::new_v4().as_bytes(),
            server: String::new(),
            generation: 0,
            method: self.about.method.as_str().to_owned(),
            target: self.about.target.clone(),
            arguments_digest: super::canonical::arguments_digest(self.about.arguments.as_ref()),
            principal: seal::principal_digest(&self.about.principal),
            issued_at_ms: now,
            expires_at_ms: now + u64::try_from(PARKED_MAX.as_millis()).unwrap_or(u64::MAX),
            inner,
            answers: None,
        }
    }

    /// A server wants pages opened before the call is made again (2025-11-25, URL mode, "URL Elicitation Required
    /// Error"): the client is asked so in a result.
    fn open_pages(&self, error: &Raw) -> Outcome {
        let needed = Raw::of(&json!({ "elicitation": { "url": {} } }));
        if let Some(missing) = ladder::lacking(&self.asked.capabilities, &needed) {
            return Err(ladder::missing_capability(&missing).raw());
        }
        let wanted = pages::wanted_pages(error);
        if wanted.is_empty() || self.n_reissued >= N_ROUNDS_MAX / 2 {
            return Err(RpcError::new(code::INTERNAL_ERROR, "the server still wants a page opened").raw());
        }
        let requests = pages::input_requests(&wanted);
        let state = self.state(StateKind::Reissue, self.n_reissued + 1, Some(pages::told(error)));
        let Ok(sealed) = self.engine.parks.keys().seal(&state) else {
            return Err(RpcError::new(code::INTERNAL_ERROR, "the state is too large").raw());
        };
        let result = Raw::of(&json!({ "resultType": "input_required", "requestState": sealed }));
        Ok(Object::of(&result).map_or_else(
            || result.clone(),
            |result| result.with("inputRequests", &requests),
        ))
    }
}

/// What a client brings from the round before.
struct Brought {
    responses: Option<Raw>,
    state: Option<String>,
}

impl Brought {
    /// Takes it, and the metadata that is meant for us, out of the request.
    fn take(request: &mut Request) -> Self {
        let Some(params) = request.params.as_ref().and_then(Object::of) else {
            return Self {
                responses: None,
                state: None,
            };
        };
        let may_ask = may_ask(request.method.as_str());
        let responses = params.get("inputResponses").filter(|_| may_ask);
        let state = params.get_string("requestState").filter(|_| may_ask);
        let meta = params.get("_meta").map(|meta| {
            Object::of(&meta).map_or_else(|| meta.clone(), |meta| meta.without(&meta::OF_REQUEST))
        });
        let rest = match meta {
            Some(meta) => params.with("_meta", &meta),
            None => params.without(&[]),
        };
        let rest = match Object::of(&rest) {
            Some(rest) if responses.is_some() || state.is_some() => {
                rest.without(&["inputResponses", "requestState"])
            }
            _as_it_is => rest.clone(),
        };
        let responses = responses.map(|responses| responses.compact());
        request.params = Some(rest);
        Self { responses, state }
    }
}

fn about(peer: &Peer, request: &Request) -> About {
    let params = request.params.as_ref().and_then(Object::of);
    let member = |key: &str| params.as_ref().and_then(|params| params.get_string(key));
    let target = member(if request.method.as_str() == method::RESOURCES_READ {
        "uri"
    } else {
        "name"
    });
    About {
        principal: Arc::clone(&peer.principal),
        method: request.method.clone(),
        target: target.unwrap_or_default(),
        arguments: params.as_ref().and_then(|params| params.get("arguments")),
        to: None,
    }
}

/// A result with all that belongs to one in this revision.
fn completed(name: &str, result: &Raw) -> Raw {
    let ourselves = Raw::of(&Implementation::ourselves());
    let keep = may_be_kept(name).then_some(Keep {
        ttl_ms: 0,
        scope: Scope::Private,
        is_final: false,
    });
    let fill = Fill {
        from: Era::Modern,
        server_info: Some(&ourselves),
        keep,
    };
    complete_for_modern(result, &fill)
}

/// The call that a client comes back for is not there any more.
fn expired(about: &About) -> Outcome {
    const TEXT: &str = "what was asked is no longer open: it has expired, was answered before, or the gateway was restarted; nothing more \
                        comes of that call, and a new one starts from the beginning";
    if about.method.as_str() == method::TOOLS_CALL {
        return Ok(failed_tool(TEXT));
    }
    Err(bad_state(TEXT).raw())
}

fn declined(about: &About) -> Outcome {
    const TEXT: &str = "the page that the server wants opened was not opened";
    if about.method.as_str() == method::TOOLS_CALL {
        return Ok(failed_tool(TEXT));
    }
    Err(RpcError::new(code::INTERNAL_ERROR, TEXT).raw())
}

fn failed_tool(text: &str) -> Raw {
    Raw::of(&json!({ "content": [{ "type": "text", "text": text }], "isError": true }))
}

fn was_declined(responses: Option<&Raw>) -> bool {
    let all = responses.and_then(Object::of);
    all.is_some_and(|all| {
        all.iter().any(|(_, answer)| {
            let action = Object::of(&answer).and_then(|answer| answer.get_string("action"));
            action.as_deref() != Some("accept")
        })
    })
}

fn bad_state(text: &str) -> RpcError {
    RpcError::invalid_params(format!("Invalid params: {text}"))
        .with_data(json!({ "reason": "request_state" }))
}

/// The status of an answer that goes out as JSON (MCP 2026-07-28, Streamable HTTP).
pub fn status(outcome: &Outcome) -> u16 {
    let Err(error) = outcome else { return 200 };
    let found = Object::of(error).and_then(|error| error.get("code"));
    match found.and_then(|code| code.as_str().parse().ok()) {
        Some(code::METHOD_NOT_FOUND) => 404,
        Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION) => 400,
        _handled => 200,
    }
}
