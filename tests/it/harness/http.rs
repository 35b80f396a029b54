//! A client of Streamable HTTP: one connection a request, so that dropping a reply is disconnecting.

use std::sync::atomic::{AtomicU64, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{call, greeting, request, soon};

/// What a client of this transport accepts.
pub(crate) const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

/// One client, with at most one session.
#[derive(Debug)]
pub(crate) struct HttpClient {
    address: String,
    pub(crate) session: Option<String>,
    pub(crate) token: Option<String>,
    next_id: AtomicU64,
}

impl HttpClient {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            session: None,
            token: None,
            next_id: AtomicU64::new(1),
        }
    }

    /// Sends exactly this, and a `Host` unless one is given.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let stream = soon("a connection", TcpStream::connect(&self.address))
            .await
            .unwrap();
        let mut all = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "host") {
            all.push(("host", &self.address));
        }
        send_over(stream, method, path, &all, body.to_vec()).await
    }

    /// The same on `/mcp`, as a well-behaved client of this session.
    pub(crate) async fn mcp(&self, method: &str, more: &[(&str, &str)], body: &str) -> Reply {
        let mut headers = vec![BOTH, JSON];
        if let Some(session) = &self.session {
            headers.push(("mcp-session-id", session));
        }
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        if let Some(bearer) = &bearer {
            headers.push(("authorization", bearer));
        }
        headers.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        headers.extend(more);
        self.send(method, "/mcp", &headers, body.as_bytes()).await
    }

    pub(crate) async fn post(&self, body: &str) -> Reply {
        self.mcp("POST", &[], body).await
    }

    /// Opens the session's event stream.
    pub(crate) async fn stream(&self) -> Reply {
        let reply = self.mcp("GET", &[("accept", "text/event-stream")], "").await;
        assert_eq!(reply.status, 200);
        reply
    }

    /// Shakes hands. Returns the result.
    pub(crate) async fn initialize(&mut self, revision: &str) -> Value {
        self.introduce(greeting(revision)).await
    }

    /// Shakes hands with these parameters. Returns the result.
    pub(crate) async fn introduce(&mut self, params: Value) -> Value {
        let reply = self.post(&request("init", "initialize", params)).await;
        assert_eq!(reply.status, 200);
        self.session = Some(reply.header("mcp-session-id").unwrap().to_owned());
        let answer = reply.json().await;
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(self.post(initialized).await.status, 202);
        answer["result"].clone()
    }

    /// Sends a message and returns the answer as it came.
    pub(crate) async fn ask(&self, line: &str) -> String {
        self.post(line).await.answer().await
    }

    pub(crate) async fn request(&self, method: &str, params: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        serde_json::from_str(&self.ask(&request(id, method, params)).await).unwrap()
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        serde_json::from_str(&self.ask(&call(id, tool, arguments)).await).unwrap()
    }
}

/// Sends one request over a fresh connection.
pub(crate) async fn send_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let mut carrier = JoinSet::new();
    carrier.spawn(async move { drop(connection.await) });
    let response = soon("a response", sender.send_request(request)).await.unwrap();
    let (parts, body) = response.into_parts();
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
        buffer: Vec::new(),
        _carrier: carrier,
    }
}

/// A response whose body is still to be read. Dropped, the connection is cut.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: HeaderMap,
    body: Incoming,
    buffer: Vec<u8>,
    _carrier: JoinSet<()>,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    pub(crate) async fn bytes(self) -> Vec<u8> {
        let rest = soon("the rest of a body", self.body.collect())
            .await
            .unwrap()
            .to_bytes();
        [self.buffer, rest.to_vec()].concat()
    }

    pub(crate) async fn text(self) -> String {
        String::from_utf8(self.bytes().await).unwrap()
    }

    pub(crate) async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    /// All events, to the end of the stream.
    pub(crate) async fn events(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next_event().await {
            all.push(event);
        }
        all
    }

    /// The answer to a request, whichever form it has.
    pub(crate) async fn answer(self) -> String {
        if self.is_stream() {
            let events = self.events().await;
            return events
                .last()
                .expect("an event stream ends with the answer")
                .data
                .clone();
        }
        self.text().await
    }

    /// The next event that carries something; comments are passed over. `None` at the end of the stream.
    pub(crate) async fn next_event(&mut self) -> Option<Event> {
        soon("an event that carries something", self.coming_event()).await
    }

    /// The same, however long it takes.
    pub(crate) async fn coming_event(&mut self) -> Option<Event> {
        loop {
            let event = self.coming_bare_event().await?;
            // An event without data primes the stream for resumption; it is no message.
            if !event.data.is_empty() {
                return Some(event);
            }
        }
    }

    /// The next event, also one without data. `None` at the end of the stream.
    ///
    /// The whole wait is bounded: the heartbeats of a silent stream do not make it longer.
    pub(crate) async fn next_bare_event(&mut self) -> Option<Event> {
        soon("an event", self.coming_bare_event()).await
    }

    async fn coming_bare_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take_event() {
                return Some(event);
            }
            if self.buffer.windows(2).any(|pair| pair == b"\n\n") {
                continue;
            }
            let frame = self.body.frame().await?;
            // A connection that was cut is an end as well.
            let data = frame.ok()?.into_data().ok()?;
            self.buffer.extend_from_slice(&data);
        }
    }

    /// The first block of the buffer, if it is whole and an event.
    fn take_event(&mut self) -> Option<Event> {
        let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
        let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
        let block = String::from_utf8(block).expect("an event stream is UTF-8");
        let field = |name: &str| {
            let found = block
                .split('\n')
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(|value| value.strip_prefix(' ').unwrap_or(value).to_owned())
        };
        Some(Event {
            id: field("id"),
            name: field("event").unwrap_or_else(|| "message".to_owned()),
            data: field("data")?,
        })
    }

    /// The next event as JSON.
    pub(crate) async fn next_json(&mut self) -> Value {
        let event = self.next_event().await.expect("one more event");
        serde_json::from_str(&event.data).unwrap()
    }
}
