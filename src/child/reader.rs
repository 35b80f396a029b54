//! A child's stdout: bytes to messages, and each message to whom it concerns.
//!
//! The reader never waits for a client, a caller or the child's own stdin, so that a full queue anywhere cannot
//! stop it. Lines that are no messages are counted and skipped. Reading errors in a row are met with patience:
//! the n-th waits 2^n seconds, at most 30; a good line resets the count; too many hand the child to its restart.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

use super::error::CallError;
use super::hub::{FromChild, Hub};
use super::link::Link;
use super::long_line;
use crate::event::Cause;
use crate::ids::WireId;
use crate::rpc::error::code;
use crate::rpc::frame::{Line, Splitter};
use crate::rpc::message::{Malformed, response_line};
use crate::rpc::object::Object;
use crate::rpc::{Incoming, Message, Notification, Raw, Request, RequestId, Response, RpcError, mcp};

/// Reading errors in a row before the child is given up.
pub const N_READ_ERRORS_MAX: u32 = 5;
const READ_BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Counts reading errors in a row. Pure.
#[derive(Debug, Default)]
pub struct Patience {
    n_errors: u32,
}

impl Patience {
    /// A good line has come.
    pub fn good(&mut self) {
        self.n_errors = 0;
    }

    /// Reading failed: how long to wait before the next attempt, or `None` to give up.
    pub fn bad(&mut self) -> Option<Duration> {
        self.n_errors += 1;
        if self.n_errors > N_READ_ERRORS_MAX {
            return None;
        }
        Some(Duration::from_secs(1 << self.n_errors).min(READ_BACKOFF_MAX))
    }
}

/// What the reader has counted, for status.
#[derive(Debug, Default)]
pub struct Noise {
    /// Lines on stdout that are no messages.
    pub n_lines: AtomicU64,
    /// Answers under ids that were never given, or under none.
    pub n_unasked: AtomicU64,
    /// Further answers to what was answered already.
    pub n_repeated: AtomicU64,
}

/// How reading came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The stream ended.
    Closed,
    /// The stream is of no more use.
    Broken(Cause),
    /// We were told to stop.
    Cancelled,
}

/// Reads one process's stdout.
#[derive(Debug)]
pub struct Reader {
    /// Where answers go.
    pub link: Arc<Link>,
    /// Where everything else goes.
    pub hub: Hub,
    /// Counts.
    pub noise: Arc<Noise>,
    /// Longest message, bytes.
    pub message_bytes_max: usize,
    /// Longest line that is skipped, bytes.
    pub discard_bytes_max: usize,
}

impl Reader {
    /// Reads until the stream ends. `on_noise` gets the beginning of each line that is no message.
    pub async fn run(
        self,
        mut stdout: impl AsyncRead + Unpin,
        stop: CancellationToken,
        mut on_noise: impl FnMut(String),
    ) -> Ended {
        let mut splitter = Splitter::new(self.message_bytes_max, self.discard_bytes_max);
        let mut patience = Patience::default();
        loop {
            let read = tokio::select! {
                // First, so that a child that never stops talking can be stopped.
                biased;
                () = stop.cancelled() => return Ended::Cancelled,
                // Cancel-safe: what was read is in the buffer when this returns.
                read = stdout.read_buf(splitter.room()) => read,
            };
            match read {
                Ok(0) => {
                    self.half_line(splitter.rest());
                    return Ended::Closed;
                }
                Ok(_) => match self.lines(&mut splitter, &mut on_noise) {
                    Ok(0) => {}
                    Ok(_good) => patience.good(),
                    Err(why) => return Ended::Broken(Cause::Garbled { why }),
                },
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let Some(wait) = patience.bad() else {
                        return Ended::Broken(Cause::Garbled {
                            why: error.to_string(),
                        });
                    };
                    tracing::warn!(%error, ?wait, "reading stdout failed");
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ended::Cancelled,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// How many good lines there were.
    fn lines(&self, splitter: &mut Splitter, on_noise: &mut impl FnMut(String)) -> Result<u32, String> {
        let mut n_good = 0;
        loop {
            match splitter.next_line() {
                Ok(Some(Line::Whole(line))) => n_good += u32::from(self.line(&line, on_noise)),
                Ok(Some(Line::TooLong { head, tail, n_bytes })) => self.too_long(&head, &tail, n_bytes),
                Ok(None) => return Ok(n_good),
                Err(endless) => return Err(endless.to_string()),
            }
        }
    }

    /// Whether it is a message, or a batch of them.
    fn line(&self, line: &Bytes, on_noise: &mut impl FnMut(String)) -> bool {
        match Incoming::parse(line) {
            Ok(Incoming::One(message)) => self.message(message),
            Ok(Incoming::Batch(parts)) => {
                for part in parts {
                    match part {
                        Ok(message) => self.message(message),
                        Err(malformed) => self.malformed(line, &malformed, on_noise),
                    }
                }
            }
            Err(malformed) => {
                self.malformed(line, &malformed, on_noise);
                return false;
            }
        }
        true
    }

    fn message(&self, message: Message) {
        self.link.hear();
        match message {
            Message::Response(Response { id, outcome }) => {
                let known = id.as_ref().and_then(RequestId::as_u64).map(WireId);
                if !known.is_some_and(|id| self.link.answer(id, Ok(outcome))) {
                    self.stray(known);
                    tracing::debug!(?id, "an answer to nothing that was asked");
                }
            }
            Message::Notification(note) if self.is_progress_of_a_call(&note) => {}
            Message::Notification(note) if self.is_of_streams(&note) => {}
            Message::Notification(note) => {
                let candidates = self.link.candidates();
                self.hub.take(FromChild::Notification {
                    generation: self.link.generation,
                    candidates,
                    notification: note,
                });
            }
            Message::Request(request) => self.request(request),
        }
    }

    /// An answer that nobody waits for: to what was asked and is answered already, or to what was never asked.
    fn stray(&self, id: Option<WireId>) {
        let was_asked = id.is_some_and(|id| id != WireId(0) && id <= self.link.newest());
        let count = if was_asked {
            &self.noise.n_repeated
        } else {
            &self.noise.n_unasked
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Progress of a call in flight has found its way. What is left may be progress of a task, which outlives the
    /// call that made it.
    fn is_progress_of_a_call(&self, note: &Notification) -> bool {
        note.method.as_str() == mcp::method::PROGRESS
            && note
                .params
                .as_ref()
                .is_none_or(|params| self.link.progress(params))
    }

    /// What concerns the streams themselves that a server of 2026-07-28 tells its changes on, or was told already.
    fn is_of_streams(&self, note: &Notification) -> bool {
        if !self.link.is_modern() {
            return false;
        }
        let params = note.params.as_ref();
        match note.method.as_str() {
            mcp::method::ACKNOWLEDGED => {
                if let Some(params) = params {
                    self.link.acknowledged(params);
                }
                true
            }
            // It has nothing else to take back.
            mcp::method::CANCELLED => {
                let id = params
                    .and_then(Object::of)
                    .and_then(|params| params.get("requestId"));
                let id = id.and_then(|id| id.as_str().parse().ok()).map(WireId);
                if let Some(id) = id.filter(|id| self.link.is_stream(*id)) {
                    self.link.answer(id, Ok(Ok(Raw::empty_object())));
                }
                true
            }
            mcp::method::TOOLS_CHANGED
            | mcp::method::PROMPTS_CHANGED
            | mcp::method::RESOURCES_CHANGED
            | mcp::method::RESOURCE_UPDATED => self.link.is_of_replaced_stream(params),
            _other => false,
        }
    }

    fn request(&self, request: Request) {
        if self.is_echo(&request) {
            return;
        }
        if self.link.is_modern() {
            let asked = request.method.as_str();
            tracing::warn!(
                asked,
                "the server asks its client something by itself, which its revision forbids"
            );
            let refusal = Err(RpcError::unknown_method(asked).raw());
            self.link.post(response_line(Some(&request.id), &refusal));
            return;
        }
        if request.method.as_str() == mcp::method::PING {
            self.link
                .post(response_line(Some(&request.id), &Ok(Raw::empty_object())));
            return;
        }
        let id = request.id.clone();
        let item = FromChild::Request {
            link: Arc::clone(&self.link),
            candidates: self.link.candidates(),
            request,
        };
        if !self.hub.take(item) {
            let error = RpcError::new(
                code::INTERNAL_ERROR,
                "mcp-wrapper has too many of your requests to answer",
            );
            self.link.post(response_line(Some(&id), &Err(error.raw())));
        }
    }

    /// Only clients say these: it is our own that came back, from a program that repeats its input.
    fn is_echo(&self, request: &Request) -> bool {
        let why = "it sends back what it is sent, so it is no MCP server";
        matches!(
            request.method.as_str(),
            mcp::method::INITIALIZE | mcp::method::DISCOVER
        ) && request.id.as_u64().is_some_and(|id| {
            let error = CallError::BadAnswer { why: why.to_owned() };
            self.link.answer(WireId(id), Err(error))
        })
    }

    /// A line that is no message. Where its id can be made out, its caller is told at once instead of waiting.
    fn malformed(&self, line: &Bytes, malformed: &Malformed, on_noise: &mut impl FnMut(String)) {
        // The id of the child's own request is not one of ours.
        let own = malformed
            .id
            .clone()
            .filter(|_| malformed.is_response || has_no_method(line));
        let id = own.or_else(|| recovered_id(line));
        let id = id.as_ref().and_then(RequestId::as_u64);
        let is_json = malformed.error.code != code::PARSE_ERROR;
        let id = id.or_else(|| if is_json { None } else { long_line::meant(line) });
        let why = malformed.error.message.clone();
        if let Some(id) = id
            && self
                .link
                .answer(WireId(id), Err(CallError::BadAnswer { why: why.clone() }))
        {
            tracing::warn!(why, "an answer that is no valid message");
            return;
        }
        self.noise.n_lines.fetch_add(1, Ordering::Relaxed);
        let shown = shown(line);
        tracing::debug!(line = shown, "a line on stdout that is no message");
        on_noise(shown);
    }

    fn too_long(&self, head: &Bytes, tail: &Bytes, n_bytes: usize) {
        let error = CallError::TooLarge {
            n_bytes,
            n_bytes_max: self.message_bytes_max,
        };
        let id = long_line::answered(head, tail);
        let told = id.is_some_and(|id| self.link.answer(WireId(id), Err(error)));
        tracing::warn!(n_bytes, told, "a line longer than message_bytes_max was skipped");
    }

    fn half_line(&self, rest: &[u8]) {
        if !rest.trim_ascii().is_empty() {
            tracing::warn!(line = shown(rest), "stdout ended in the middle of a line");
        }
    }
}

fn has_no_method(line: &Bytes) -> bool {
    let raw = Raw::parse(line).ok();
    let object = raw.as_ref().and_then(Object::of);
    object.is_some_and(|object| object.get("method").is_none())
}

/// The id of a line that is valid JSON but for some invalid bytes inside a string.
fn recovered_id(line: &Bytes) -> Option<RequestId> {
    if std::str::from_utf8(line).is_ok() {
        return None;
    }
    let text = Bytes::from(String::from_utf8_lossy(line).into_owned());
    match Incoming::parse(&text).ok()? {
        Incoming::One(Message::Response(response)) => response.id,
        Incoming::One(_) | Incoming::Batch(_) => None,
    }
}

/// The beginning of a line as it may be shown: control characters escaped.
pub fn shown(line: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let text = String::from_utf8_lossy(line.get(..4 * CHARS_MAX).unwrap_or(line)).into_owned();
    let mut shown = String::new();
    escape_onto(&mut shown, &text, CHARS_MAX);
    if text.chars().count() > CHARS_MAX || line.len() > 4 * CHARS_MAX {
        shown.push('…');
    }
    shown
}

/// Adds the first characters of a text as they may stand in a log or on a terminal.
pub(super) fn escape_onto(shown: &mut String, text: &str, n_chars_max: usize) {
    // Nearly every line is printable ASCII throughout, and is copied in one piece.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    if text.len() <= n_chars_max && text.bytes().all(is_plain) {
        shown.push_str(text);
        return;
    }
    for character in text.chars().take(n_chars_max) {
        let code = u32::from(character);
        // Writing to a String cannot fail.
        if character.is_control() && character != '\t' {
            write!(shown, "\\x{code:02x}").unwrap_or_default();
        } else if is_turning(character) {
            write!(shown, "\\u{{{code:x}}}").unwrap_or_default();
        } else {
            shown.push(character);
        }
    }
}

/// Whether it turns the direction of what follows, and so can show a line as another one.
fn is_turning(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
