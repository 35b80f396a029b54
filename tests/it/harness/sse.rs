//! A client of HTTP+SSE, as of 2024-11-05.

use serde_json::Value;

use super::http::{HttpClient, JSON, Reply};
use super::{greeting, request};

/// One stream, and the posts beside it.
#[derive(Debug)]
pub(crate) struct SseClient {
    pub(crate) http: HttpClient,
    pub(crate) stream: Reply,
    /// As the server gave it.
    pub(crate) endpoint: String,
}

impl SseClient {
    /// Opens the stream.
    pub(crate) async fn open(address: &str) -> Self {
        let http = HttpClient::new(address);
        let mut stream = http
            .send("GET", "/sse", &[("accept", "text/event-stream")], b"")
            .await;
        assert_eq!(stream.status, 200);
        let first = stream.next_event().await.unwrap();
        assert_eq!(first.name, "endpoint");
        Self {
            http,
            stream,
            endpoint: first.data,
        }
    }

    /// Opens the stream and shakes hands.
    pub(crate) async fn greeted(address: &str) -> Self {
        Self::introduced(address, greeting("2024-11-05")).await
    }

    /// Opens the stream and shakes hands with these parameters.
    pub(crate) async fn introduced(address: &str, params: Value) -> Self {
        let mut client = Self::open(address).await;
        let answer = client.ask(&request("init", "initialize", params)).await;
        assert!(answer.contains(r#""protocolVersion":"2024-11-05""#), "{answer}");
        client
            .post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
        client
    }

    /// Posts one message, which must be taken in.
    pub(crate) async fn post(&self, line: &str) {
        let path = format!("/{}", self.endpoint);
        let reply = self.http.send("POST", &path, &[JSON], line.as_bytes()).await;
        assert_eq!(reply.status, 202);
    }

    /// The next message on the stream, as it came.
    pub(crate) async fn next(&mut self) -> String {
        let event = self.stream.next_event().await.expect("the stream is open");
        assert_eq!(event.name, "message");
        event.data
    }

    pub(crate) async fn next_json(&mut self) -> Value {
        serde_json::from_str(&self.next().await).unwrap()
    }

    /// Posts a request and returns the next message on the stream.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.post(line).await;
        self.next().await
    }
}
