//! One client behind any of the three doors: what it sends, and everything it hears, in the order in which it hears it.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::http::JSON;
use super::{Daemon, HttpClient, LineClient, SseClient, able, soon};

/// Messages that may wait for the test; more than a test has in flight.
const N_HEARD_MAX: usize = 4096;

/// Which door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Http,
    Sse,
    Lines,
}

pub(crate) const DOORS: [Door; 3] = [Door::Http, Door::Sse, Door::Lines];

/// Something that was heard.
#[derive(Debug)]
pub(crate) struct Heard {
    /// The exchange of Streamable HTTP on which it came: the number that [`Peer::ask`] gave.
    pub(crate) exchange: Option<usize>,
    /// The message as it came; `None`: the exchange has ended.
    pub(crate) text: Option<String>,
}

/// One client.
pub(crate) struct Peer {
    pub(crate) door: Door,
    way: Way,
    n_asked: usize,
    sender: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    readers: JoinSet<()>,
}

enum Way {
    Http(Arc<HttpClient>),
    Sse { http: HttpClient, path: String },
    Lines { stdin: ChildStdin, _process: Child },
}

impl Peer {
    /// A client that has shaken hands with these capabilities, and hears what belongs to no call as well.
    pub(crate) async fn new(daemon: &Daemon, door: Door, capabilities: &Value, name: &str) -> Self {
        let (sender, heard) = mpsc::channel(N_HEARD_MAX);
        let mut readers = JoinSet::new();
        let to = sender.clone();
        let way = match door {
            Door::Http => {
                let client = daemon.introduced(able("2025-11-25", capabilities, name)).await;
                let mut stream = client.stream().await;
                readers.spawn(async move {
                    while let Some(event) = stream.coming_event().await {
                        pass(&to, None, Some(event.data)).await;
                    }
                });
                Way::Http(Arc::new(client))
            }
            Door::Sse => {
                let params = able("2024-11-05", capabilities, name);
                let client = SseClient::introduced(&daemon.address, params).await;
                let SseClient {
                    http,
                    mut stream,
                    endpoint,
                } = client;
                readers.spawn(async move {
                    while let Some(event) = stream.coming_event().await {
                        pass(&to, None, Some(event.data)).await;
                    }
                });
                let path = format!("/{endpoint}");
                Way::Sse { http, path }
            }
            Door::Lines => {
                let mut client = LineClient::launch(&daemon.setup);
                client.introduce(able("2025-11-25", capabilities, name)).await;
                let (process, stdin, mut stdout) = client.into_parts();
                readers.spawn(async move {
                    while let Ok(Some(line)) = stdout.next_line().await {
                        pass(&to, None, Some(line)).await;
                    }
                });
                Way::Lines {
                    stdin,
                    _process: process,
                }
            }
        };
        Self {
            door,
            way,
            n_asked: 0,
            sender,
            heard,
            readers,
        }
    }

    /// Sends a request. Over Streamable HTTP, gives the number of its exchange, whose end is heard as well.
    pub(crate) async fn ask(&mut self, text: String) -> Option<usize> {
        let Way::Http(client) = &self.way else {
            self.tell(&text).await;
            return None;
        };
        let (client, to, exchange) = (Arc::clone(client), self.sender.clone(), self.n_asked);
        self.n_asked += 1;
        self.readers.spawn(async move {
            let mut reply = client.post(&text).await;
            if reply.is_stream() {
                while let Some(event) = reply.coming_event().await {
                    pass(&to, Some(exchange), Some(event.data)).await;
                }
            } else {
                let body = reply.text().await;
                pass(&to, Some(exchange), Some(body)).await;
            }
            pass(&to, Some(exchange), None).await;
        });
        Some(exchange)
    }

    /// Sends a notification or an answer, which must be taken in.
    pub(crate) async fn tell(&mut self, text: &str) {
        match &mut self.way {
            Way::Http(client) => assert_eq!(client.post(text).await.status, 202, "{text}"),
            Way::Sse { http, path } => {
                let reply = http.send("POST", path, &[JSON], text.as_bytes()).await;
                assert_eq!(reply.status, 202, "{text}");
            }
            Way::Lines { stdin, .. } => {
                stdin.write_all(format!("{text}\n").as_bytes()).await.unwrap();
                stdin.flush().await.unwrap();
            }
        }
    }

    /// What is heard next.
    pub(crate) async fn next(&mut self) -> Heard {
        soon("something to hear", self.heard.recv())
            .await
            .expect("the peer holds a sender itself")
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> String {
        loop {
            if let Some(text) = self.next().await.text {
                return text;
            }
        }
    }

    /// What has been heard already.
    pub(crate) fn already(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }
}

async fn pass(to: &mpsc::Sender<Heard>, exchange: Option<usize>, text: Option<String>) {
    // The test may be over.
    drop(to.send(Heard { exchange, text }).await);
}
