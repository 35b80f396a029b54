//! Clients to the byte: one for each door, with one way to use them all.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cell::{Cell, Door, Revision, V06};
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

    pub(crate) fn is_question(&self) -> bool {
        self.method().is_some() && self.id().is_some()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }
}

/// One client that has shaken hands.
#[derive(Debug)]
pub(crate) struct Peer {
    wire: Wire,
    /// The answer to `initialize`, as it came.
    pub(crate) greeting: String,
    n_asked: u64,
}

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
}

impl Peer {
    /// Comes in through the cell's door and shakes hands.
    pub(crate) async fn open(cell: &Cell, abilities: &Value) -> Self {
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
        };
        peer.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
        if let Wire::Http(http) = &mut peer.wire {
            http.listen().await;
        }
        peer
    }

    /// Sends one message as it is. A notification or an answer was taken in when this returns.
    pub(crate) async fn send(&mut self, text: &str) {
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
    pub(crate) async fn up_to(&mut self, id: &str, mut reply: impl FnMut(&Came) -> String) -> Vec<Came> {
        let mut all = Vec::new();
        loop {
            let came = self.next().await;
            if came.is_question() {
                let answer = reply(&came);
                self.send(&answer).await;
            }
            let is_last = came.method().is_none() && came.id() == Some(id);
            all.push(came);
            if is_last {
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
        for question in &came {
            assert_eq!(question.way, answer.way, "{} came on another way", question.text);
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

impl HttpPeer {
    async fn open(address: &str, revision: Revision, hello: &str) -> (Self, String) {
        let mut client = HttpClient::new(address);
        let reply = client.post(hello).await;
        assert_eq!(reply.status, 200);
        client.session = reply.header("mcp-session-id").map(str::to_owned);
        assert!(client.session.is_some(), "a session has an id");
        let greeting = reply.answer().await;
        let (came, inbox) = mpsc::channel(N_WAITING_MAX);
        let peer = Self {
            client: Rc::new(client),
            revision,
            came,
            inbox,
            readers: JoinSet::new(),
            n_posts: 0,
        };
        (peer, greeting)
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
        let (client, headers) = (Rc::clone(&self.client), self.version());
        let message: Envelope<'_> = serde_json::from_str(text).expect("what we send is a message");
        if message.method.is_none() || message.id.is_none() {
            assert_eq!(client.mcp("POST", &headers, text).await.status, 202);
            return;
        }
        self.n_posts += 1;
        let (way, came, text) = (Way::Post(self.n_posts), self.came.clone(), text.to_owned());
        self.readers.spawn_local(async move {
            let reply = client.mcp("POST", &headers, &text).await;
            assert_eq!(reply.status, 200);
            read(reply, way, came).await;
        });
    }
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
