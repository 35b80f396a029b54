//! Clients to the byte: one for each door, with one way to use them all.

use std::collections::HashMap;
use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::bare::{self, Asking, Pairs};
use super::cell::{Cell, Door, Revision, V06, V26};
use crate::harness::http::{HttpClient, Reply};
use crate::harness::{LineClient, SseClient, able, request, soon};

/// Messages that may wait for the test.
const N_WAITING_MAX: usize = 1024;

/// On which way a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The one way that a long connection has.
    Only,
    /// The answer to a POST: the how manieth.
    Post(usize),
    /// The event stream of a session of Streamable HTTP.
    Stream,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) way: Way,
    pub(crate) text: String,
}

#[derive(Deserialize)]
struct Envelope<'l> {
    #[serde(borrow)]
    id: Option<&'l RawValue>,
    method: Option<String>,
}

impl Came {
    fn envelope(&self) -> Envelope<'_> {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }

    /// The id as it is written.
    pub(crate) fn id(&self) -> Option<&str> {
        self.envelope().id.map(RawValue::get)
    }

    pub(crate) fn method(&self) -> Option<String> {
        self.envelope().method
    }

    /// The stream of changes that it belongs to, as its id is written.
    pub(crate) fn subscription(&self) -> Option<String> {
        let id = &self.json()["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
        (!id.is_null()).then(|| id.to_string())
    }

    pub(crate) fn is_question(&self) -> bool {
        self.method().is_some() && self.id().is_some()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }
}

/// One client: with a handshake it has shaken hands, without one it has asked what there is, and listens to all lists.
#[derive(Debug)]
pub(crate) struct Peer {
    wire: Wire,
    /// The answer to `initialize` or to `server/discover`, as it came.
    pub(crate) greeting: String,
    n_asked: u64,
    /// Of a client without a handshake only.
    bare: Option<Bare>,
}

/// A client without a handshake.
#[derive(Debug)]
struct Bare {
    abilities: Value,
    /// Said with each request.
    level: Option<String>,
    /// Requests as they were sent, by their ids: to be made again.
    sent: HashMap<String, String>,
    /// The `requestState`s that came, each as it is written.
    states: Vec<String>,
}

/// The id of the request by which a client without a handshake hears of changed lists.
pub(crate) const LISTEN: &str = "\"listen\"";

#[derive(Debug)]
enum Wire {
    Line(LineClient),
    Sse(SseClient),
    Http(HttpPeer),
}

/// A client of Streamable HTTP: whatever comes, on whichever way, waits in one queue.
#[derive(Debug)]
struct HttpPeer {
    client: Rc<HttpClient>,
    revision: Revision,
    came: mpsc::Sender<Came>,
    inbox: mpsc::Receiver<Came>,
    /// Each reads one way to its end.
    readers: JoinSet<()>,
    n_posts: usize,
    /// The readers of answers, by the ids of the requests: without one the connection is cut.
    open: HashMap<String, AbortHandle>,
}

impl Peer {
    /// Comes in through the cell's door and shakes hands.
    pub(crate) async fn open(cell: &Cell, abilities: &Value) -> Self {
        if cell.client == V26 {
            return Self::open_bare(cell, abilities).await;
        }
        let params = able(cell.client, abilities, "matrix");
        let hello = request("init", "initialize", params);
        let daemon = cell.daemon();
        let (wire, greeting) = match cell.door {
            Door::Stdio => {
                let mut line = LineClient::launch(&daemon.setup);
                let greeting = line.ask(&hello).await;
                (Wire::Line(line), greeting)
            }
            Door::Sse => {
                let mut sse = SseClient::open(&daemon.address).await;
                let greeting = sse.ask(&hello).await;
                (Wire::Sse(sse), greeting)
            }
            Door::Http => {
                let (peer, greeting) = HttpPeer::open(&daemon.address, cell.client, &hello).await;
                (Wire::Http(peer), greeting)
            }
        };
        let mut peer = Self {
            wire,
            greeting,
            n_asked: 0,
            bare: None,
        };
        peer.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
        if let Wire::Http(http) = &mut peer.wire {
            http.listen().await;
        }
        peer
    }

    /// Comes in through the cell's door without a handshake.
    async fn open_bare(cell: &Cell, abilities: &Value) -> Self {
        let daemon = cell.daemon();
        let wire = match cell.door {
            Door::Http => Wire::Http(HttpPeer::new(HttpClient::new(&daemon.address), V26)),
            Door::Stdio => Wire::Line(LineClient::launch(&daemon.setup)),
            Door::Sse => panic!("this door came and went with the handshake"),
        };
        let mut peer = Self {
            wire,
            greeting: String::new(),
            n_asked: 0,
            bare: Some(Bare {
                abilities: abilities.clone(),
                level: None,
                sent: HashMap::new(),
                states: Vec::new(),
            }),
        };
        let discover = r#"{"jsonrpc":"2.0","id":"discover","method":"server/discover"}"#;
        peer.greeting = peer.ask_raw(discover, "\"discover\"").await;
        let lists =
            json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
        peer.listen(LISTEN, lists).await;
        peer
    }

    /// Opens a stream of changes and awaits what is promised on it, which has to be all.
    pub(crate) async fn listen(&mut self, id: &str, wanted: Value) {
        let params = json!({ "notifications": wanted });
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{params}}}"#);
        self.send(&text).await;
        let promised = self
            .notification("notifications/subscriptions/acknowledged")
            .await;
        assert_eq!(promised.json()["params"]["notifications"], wanted);
        assert_eq!(promised.subscription().as_deref(), Some(id));
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.bare.is_some()
    }

    /// From now on each request says that its sender wants to hear of this and what is worse; without a handshake only.
    pub(crate) fn set_level(&mut self, level: Option<&str>) {
        let bare = self.bare.as_mut().expect("a client without a handshake");
        bare.level = level.map(str::to_owned);
    }

    /// The states of calls that this client was given.
    pub(crate) fn states(&self) -> &[String] {
        self.bare.as_ref().map_or(&[], |bare| &bare.states)
    }

    /// Takes a request back, as the door has it.
    pub(crate) async fn cancel(&mut self, id: &str) {
        if let (Wire::Http(http), true) = (&mut self.wire, self.bare.is_some()) {
            http.open.remove(id).expect("a request that is open").abort();
            return;
        }
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"enough"}}}}"#
        );
        self.send(&text).await;
    }

    /// Sends one message; a request of a client without a handshake gets the metadata that it has to have, everything
    /// else goes out as it is. A notification or an answer was taken in when this returns.
    pub(crate) async fn send(&mut self, text: &str) {
        if let (Some(bare), '{') = (&mut self.bare, text.chars().next().unwrap_or(' ')) {
            let message: Envelope<'_> = serde_json::from_str(text).expect("what we send is a message");
            if let (Some(id), Some(_)) = (message.id, message.method) {
                bare.sent.insert(id.get().to_owned(), text.to_owned());
                let text = bare::dressed(text, &bare.abilities, bare.level.as_deref());
                return self.send_as_it_is(&text).await;
            }
        }
        self.send_as_it_is(text).await;
    }

    async fn send_as_it_is(&mut self, text: &str) {
        match &mut self.wire {
            Wire::Line(line) => line.send(text).await,
            Wire::Sse(sse) => sse.post(text).await,
            Wire::Http(http) => http.send(text).await,
        }
    }

    /// The next message, on whichever way.
    pub(crate) async fn next(&mut self) -> Came {
        let way = Way::Only;
        match &mut self.wire {
            Wire::Line(line) => Came {
                way,
                text: line.next().await,
            },
            Wire::Sse(sse) => Came {
                way,
                text: sse.next().await,
            },
            Wire::Http(http) => soon("a message", http.inbox.recv())
                .await
                .expect("a sender is kept"),
        }
    }

    /// The next message that satisfies a condition; what comes before it is passed over.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&Came) -> bool) -> Came {
        loop {
            let came = self.next().await;
            if is_it(&came) {
                return came;
            }
        }
    }

    /// The next notification of a method.
    pub(crate) async fn notification(&mut self, method: &str) -> Came {
        self.until(|came| came.id().is_none() && came.method().as_deref() == Some(method))
            .await
    }

    /// All that comes up to the answer to a request, and the answer last. What servers ask is answered by `reply`.
    ///
    /// What a client without a handshake is asked in a result becomes such questions too, under their keys as ids; it
    /// makes the call again with the answers, and the last answer has the id of the first call again.
    pub(crate) async fn up_to(&mut self, id: &str, mut reply: impl FnMut(&Came) -> String) -> Vec<Came> {
        let mut all = Vec::new();
        let (first, mut id) = (id.to_owned(), id.to_owned());
        loop {
            let mut came = self.next().await;
            let is_answer = came.method().is_none() && came.id() == Some(&id);
            if is_answer && let Some(bare) = &self.bare {
                let Some(asking) = Asking::of(&came.text) else {
                    let text = came
                        .text
                        .replacen(&format!(r#""id":{id}"#), &format!(r#""id":{first}"#), 1);
                    came.text = text;
                    all.push(came);
                    return all;
                };
                let sent = bare.sent[&id].clone();
                id = format!("\"again-{}\"", self.next_id());
                let answers = answers_to(&asking, came.way, &mut all, &mut reply);
                self.bare
                    .iter_mut()
                    .for_each(|bare| bare.states.extend(asking.state.clone()));
                self.send(&asking.retry(&sent, &id, &answers)).await;
                continue;
            }
            if came.is_question() {
                assert!(self.bare.is_none(), "asked by a request: {}", came.text);
                let answer = reply(&came);
                self.send(&answer).await;
            }
            all.push(came);
            if is_answer {
                return all;
            }
        }
    }

    /// Sends a request and returns its answer as it came; nothing may be asked meanwhile.
    pub(crate) async fn ask_raw(&mut self, text: &str, id: &str) -> String {
        self.send(text).await;
        let never = |came: &Came| panic!("nothing should be asked: {}", came.text);
        let came = self.up_to(id, never).await;
        came.last().expect("the answer is the last").text.clone()
    }

    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id();
        let text = self.ask_raw(&request(id, method, params), &id.to_string()).await;
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }

    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// Starts a call and returns its id, which is a number.
    pub(crate) async fn begin(&mut self, tool: &str, arguments: Value) -> String {
        let id = self.next_id();
        let params = json!({ "name": tool, "arguments": arguments });
        self.send(&request(id, "tools/call", params)).await;
        id.to_string()
    }

    /// A call during which the server asks: the questions as they came, and the answer to the call.
    ///
    /// Whatever is asked must come on the way of the call.
    pub(crate) async fn asked(
        &mut self,
        tool: &str,
        arguments: Value,
        mut reply: impl FnMut(&Came) -> String,
    ) -> (Vec<Came>, Value) {
        let id = self.begin(tool, arguments).await;
        let mut came = self.up_to(&id, &mut reply).await;
        let answer = came.pop().expect("the answer is the last");
        came.retain(Came::is_question);
        if !self.is_bare() {
            for question in &came {
                assert_eq!(question.way, answer.way, "{} came on another way", question.text);
            }
        }
        (came, answer.json())
    }

    /// The client of Streamable HTTP beneath, for what only that door has.
    pub(crate) fn http(&self) -> Option<&HttpClient> {
        match &self.wire {
            Wire::Http(http) => Some(&http.client),
            Wire::Line(_) | Wire::Sse(_) => None,
        }
    }

    /// Ends the session. What it had for itself alone is gone soon.
    pub(crate) async fn end(self) {
        match self.wire {
            Wire::Line(line) => drop(line.finish().await),
            Wire::Sse(sse) => drop(sse),
            Wire::Http(_) if self.bare.is_some() => {}
            Wire::Http(http) => {
                assert_eq!(http.client.mcp("DELETE", &[], "").await.status, 204);
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.n_asked += 1;
        self.n_asked
    }
}

/// Puts what a result asks as questions, and gives the answers by their keys.
fn answers_to(
    asking: &Asking,
    way: Way,
    all: &mut Vec<Came>,
    reply: &mut impl FnMut(&Came) -> String,
) -> Pairs {
    let mut answers = Pairs::default();
    for (key, question) in &asking.questions.0 {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{},{}"#, json!(key), &question[1..]);
        let came = Came { way, text };
        let answer = Pairs::of(&reply(&came));
        let result = answer
            .get("result")
            .expect("such a client answers with results only");
        answers.set(key, result.to_owned());
        all.push(came);
    }
    answers
}

impl HttpPeer {
    fn new(client: HttpClient, revision: Revision) -> Self {
        let (came, inbox) = mpsc::channel(N_WAITING_MAX);
        Self {
            client: Rc::new(client),
            revision,
            came,
            inbox,
            readers: JoinSet::new(),
            n_posts: 0,
            open: HashMap::new(),
        }
    }

    async fn open(address: &str, revision: Revision, hello: &str) -> (Self, String) {
        let mut client = HttpClient::new(address);
        let reply = client.post(hello).await;
        assert_eq!(reply.status, 200);
        client.session = reply.header("mcp-session-id").map(str::to_owned);
        assert!(client.session.is_some(), "a session has an id");
        let greeting = reply.answer().await;
        (Self::new(client, revision), greeting)
    }

    /// The header that says the revision came with 2025-06-18.
    fn version(&self) -> Vec<(&'static str, &'static str)> {
        if self.revision >= V06 {
            vec![("mcp-protocol-version", self.revision)]
        } else {
            Vec::new()
        }
    }

    /// Opens the event stream of the session.
    async fn listen(&mut self) {
        let headers = [self.version(), vec![("accept", "text/event-stream")]].concat();
        let reply = self.client.mcp("GET", &headers, "").await;
        assert_eq!(reply.status, 200);
        let came = self.came.clone();
        self.readers.spawn_local(read(reply, Way::Stream, came));
    }

    async fn send(&mut self, text: &str) {
        let client = Rc::clone(&self.client);
        let is_bare = self.revision == V26;
        let headers: Vec<(&str, String)> = if is_bare {
            bare::headers(text)
        } else {
            let version = self.version().into_iter();
            version.map(|(name, value)| (name, value.to_owned())).collect()
        };
        let message: Envelope<'_> = serde_json::from_str(text).expect("what we send is a message");
        let (Some(_), Some(id)) = (&message.method, message.id) else {
            assert_eq!(client.mcp("POST", &shown(&headers), text).await.status, 202);
            return;
        };
        self.n_posts += 1;
        let (way, came, text) = (Way::Post(self.n_posts), self.came.clone(), text.to_owned());
        let id = id.get().to_owned();
        let reader = self.readers.spawn_local(async move {
            let reply = client.mcp("POST", &shown(&headers), &text).await;
            if is_bare && !reply.is_stream() {
                return read_bare(reply, way, came).await;
            }
            assert_eq!(reply.status, 200);
            read(reply, way, came).await;
        });
        self.open.insert(id, reader);
    }
}

fn shown<'h>(headers: &'h [(&'static str, String)]) -> Vec<(&'h str, &'h str)> {
    headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// Reads an answer whose status says what kind of error it is.
async fn read_bare(reply: Reply, way: Way, came: mpsc::Sender<Came>) {
    let status = reply.status;
    assert!(reply.header("mcp-session-id").is_none(), "there are no sessions");
    let text = reply.text().await;
    let wanted = bare::status(&text);
    assert!(
        wanted.map_or([200, 400].contains(&status), |wanted| wanted == status),
        "status {status} of {text}"
    );
    drop(came.send(Came { way, text }).await);
}

/// Reads a response to its end. Whoever waits may be gone.
async fn read(mut reply: Reply, way: Way, came: mpsc::Sender<Came>) {
    if !reply.is_stream() {
        let text = reply.text().await;
        return drop(came.send(Came { way, text }).await);
    }
    while let Some(event) = reply.coming_event().await {
        let text = event.data;
        if came.send(Came { way, text }).await.is_err() {
            return;
        }
    }
}
