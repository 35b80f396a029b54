//! HTTP over the control socket: one connection a request.
//!
//! Knows the protocol, not the verbs. Every request but a tool call has a limit.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::failure::Failure;
use crate::api::Refusal;
use crate::tasks::Tasks;

/// The socket within the data folder.
const SOCKET: &str = "control.sock";
/// Longest path that goes into a socket address everywhere; the kernel's own limit is 107 on Linux, 103 on macOS.
const SOCKET_PATH_BYTES_MAX: usize = 100;
/// Patience for the kernel to connect us: the daemon's queue may be full for a moment.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Patience for what the daemon knows by heart.
const QUESTION_PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer, bytes: a tool's result may be large, but not without end.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// Patience for a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// This long.
    Limited(Duration),
    /// Until Ctrl-C.
    Endless,
}

/// The daemon of one data folder.
#[derive(Debug)]
pub(super) struct Client {
    data_dir: PathBuf,
    connections: Tasks,
}

impl Client {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            connections: Tasks::new(),
        }
    }

    /// Whether somebody holds the socket, were it one who refuses us.
    pub(super) async fn is_there(&self) -> bool {
        !matches!(self.connect().await, Err(Failure::NoDaemon { .. }))
    }

    /// Asks for something the daemon knows.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send(
            Method::GET,
            path,
            Bytes::new(),
            Patience::Limited(QUESTION_PATIENCE),
        );
        answer(response.await?, Patience::Limited(QUESTION_PATIENCE)).await
    }

    /// Asks the daemon to do something.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Patience,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::Refused(format!("the request cannot be written as JSON: {error}")))?;
        let response = self.send(Method::POST, path, Bytes::from(body), patience).await?;
        answer(response, patience).await
    }

    /// Asks the daemon to do something that needs no more words than its path.
    pub(super) async fn tell<T: DeserializeOwned>(
        &self,
        path: &str,
        patience: Patience,
    ) -> Result<T, Failure> {
        let response = self.send(Method::POST, path, Bytes::new(), patience).await?;
        answer(response, patience).await
    }

    /// Opens an answer that comes piece by piece.
    pub(super) async fn stream(&self, path: &str) -> Result<Pieces, Failure> {
        let response = self
            .send(
                Method::GET,
                path,
                Bytes::new(),
                Patience::Limited(QUESTION_PATIENCE),
            )
            .await?;
        if response.status().is_success() {
            Ok(Pieces {
                body: response.into_body(),
            })
        } else {
            Err(refusal(response, Patience::Limited(QUESTION_PATIENCE)).await)
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Patience,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // A fault of the connection reaches the request, too, and is told there.
        self.connections.spawn("control connection", async move {
            connection.await.ok();
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::Usage(format!("`{path}` cannot be asked for: {error}")))?;
        within(patience, sender.send_request(request))
            .await?
            .map_err(broken)
    }

    async fn connect(&self) -> Result<UnixStream, Failure> {
        match timeout(CONNECT_PATIENCE, connect_in(&self.data_dir)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.not_connected(&error)),
            Err(_) => Err(Failure::Refused(format!(
                "the daemon of {} does not take connections; look at its log, or restart it",
                self.data_dir.display()
            ))),
        }
    }

    fn not_connected(&self, error: &io::Error) -> Failure {
        use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound, PermissionDenied};
        let kind = error.kind();
        let folder = self.data_dir.display();
        if matches!(kind, NotFound | ConnectionRefused | NotADirectory) {
            Failure::NoDaemon {
                data_dir: self.data_dir.clone(),
            }
        } else if kind == PermissionDenied {
            Failure::Refused(format!(
                "you may not talk to the daemon of {folder}: it runs under another account; use that one"
            ))
        } else {
            Failure::Refused(format!("the daemon of {folder} cannot be reached: {error}"))
        }
    }
}

/// Connects, also where the path is too long for a socket address.
async fn connect_in(data_dir: &Path) -> io::Result<UnixStream> {
    let path = data_dir.join(SOCKET);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX || !cfg!(target_os = "linux") {
        return UnixStream::connect(path).await;
    }
    // The folder by its descriptor is a short path; it stays open until we are connected.
    let folder = File::open(data_dir)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&folder);
    UnixStream::connect(format!("/proc/self/fd/{number}/{SOCKET}")).await
}

/// An answer that comes piece by piece.
#[derive(Debug)]
pub(super) struct Pieces {
    body: Incoming,
}

impl Pieces {
    /// The next piece; `None` at the end. Cancel safe: a piece is taken whole or not at all.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(piece) = frame.map_err(broken)?.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}

async fn answer<T: DeserializeOwned>(response: Response<Incoming>, patience: Patience) -> Result<T, Failure> {
    if !response.status().is_success() {
        return Err(refusal(response, patience).await);
    }
    let body = read(response, patience).await?;
    serde_json::from_slice(&body).map_err(|error| {
        Failure::Refused(format!(
            "the daemon's answer is not understood ({error}); is it another version than this mcpctl ({})?",
            env!("CARGO_PKG_VERSION")
        ))
    })
}

async fn refusal(response: Response<Incoming>, patience: Patience) -> Failure {
    let status = response.status();
    match read(response, patience).await {
        Ok(body) => Failure::Refused(refusal_text(status, &body)),
        Err(failure) => failure,
    }
}

fn refusal_text(status: StatusCode, body: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => refusal.error,
        Err(_) => {
            format!("the daemon refused it with status {status}; is it another version than this mcpctl?")
        }
    }
}

async fn read(response: Response<Incoming>, patience: Patience) -> Result<Bytes, Failure> {
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    let collected = within(patience, body.collect()).await?;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| Failure::Refused(format!("the daemon's answer broke off: {error}")))
}

async fn within<F: Future>(patience: Patience, future: F) -> Result<F::Output, Failure> {
    match patience {
        Patience::Endless => Ok(future.await),
        Patience::Limited(limit) => timeout(limit, future).await.map_err(|_| {
            Failure::Refused(format!(
                "the daemon did not answer within {}; it may be busy: try again, or look at its log",
                humantime::format_duration(limit)
            ))
        }),
    }
}

fn broken(error: hyper::Error) -> Failure {
    Failure::Refused(format!(
        "the conversation with the daemon broke off ({error}); it may have been stopped"
    ))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// A daemon that gives one answer to one request and hands out what it was asked.
    async fn serve_once(listener: UnixListener, answer: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let n = stream.read(&mut asked).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&asked[..n]).into_owned()
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn an_answer_arrives_typed() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let client = Client::new(folder.path().to_owned());
        let answer: &'static str = ok(r#"["a"]"#).leak();
        let (asked, told) = tokio::join!(
            serve_once(listener, answer),
            client.get::<Vec<String>>("/api/x?n=1")
        );
        assert_eq!(told.unwrap(), ["a"]);
        assert!(asked.starts_with("GET /api/x?n=1 HTTP/1.1\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_daemons_words() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let client = Client::new(folder.path().to_owned());
        let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 21\r\n\r\n{\"error\":\"no server\"}";
        let (_, told) = tokio::join!(serve_once(listener, answer), client.get::<Vec<String>>("/api/x"));
        let told = told.unwrap_err();
        assert_eq!((told.to_string().as_str(), told.exit_code()), ("no server", 1));
    }

    #[tokio::test]
    async fn an_absent_and_a_dead_socket_mean_that_no_daemon_runs() {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::new(folder.path().to_owned());
        assert_eq!(client.get::<()>("/api/daemon").await.unwrap_err().exit_code(), 3);
        drop(UnixListener::bind(folder.path().join(SOCKET)).unwrap());
        let told = client.get::<()>("/api/daemon").await.unwrap_err();
        assert_eq!(told.exit_code(), 3);
        assert!(told.to_string().contains("`mcp-wrapper`"), "{told}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_data_folder_with_a_very_long_path_works() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("x".repeat(120)).join("y".repeat(60));
        std::fs::create_dir_all(&folder).unwrap();
        let short = File::open(&folder).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&short);
        let listener = UnixListener::bind(format!("/proc/self/fd/{number}/{SOCKET}")).unwrap();
        let client = Client::new(folder);
        let answer: &'static str = ok("1").leak();
        let (_, told) = tokio::join!(serve_once(listener, answer), client.get::<u8>("/"));
        assert_eq!(told.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_says_nothing_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let client = Client::new(folder.path().to_owned());
        let told = client.get::<()>("/api/daemon").await.unwrap_err();
        assert!(told.to_string().contains("did not answer within 10s"), "{told}");
    }
}
