//! Event streams: frames, heartbeats, and slow readers.
//!
//! A stream has a few frames of room; what waits longer stays in the session's outbox, where it is bounded and
//! coalesced. So a slow reader costs only itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::child::outgoing::append_on_one_line;

/// A stream without an event gets a comment this often, so that nothing between us and the client cuts it.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Frames that may be on their way to one reader.
const N_FRAMES_MAX: usize = 8;

/// A comment: no event, but a sign of life.
pub fn comment() -> Bytes {
    Bytes::from_static(b": \n\n")
}

/// One message as an event. Its data is one line, whatever white space its sender put between tokens.
pub fn frame(line: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(line.len() + 32);
    frame.extend_from_slice(b"event: message\ndata: ");
    append_on_one_line(line, &mut frame);
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

/// One message as an event with an id, so that the stream can be resumed after it.
pub fn frame_with_id(id: &str, line: &[u8]) -> Bytes {
    let mut frame = format!("id: {id}\n").into_bytes();
    frame.extend_from_slice(&self::frame(line));
    frame.into()
}

/// The event before the first: an id and no data, so that a stream can be resumed of which nothing has come yet.
/// Clients of earlier revisions than 2025-11-25 take its empty data for a broken message.
pub fn priming(id: &str) -> Bytes {
    const RETRY_MS: u32 = 1000;
    format!("id: {id}\nretry: {RETRY_MS}\ndata: \n\n").into()
}

/// The writing end, and the response that reads from it.
pub fn channel() -> (mpsc::Sender<Bytes>, Response) {
    let (frames, queue) = mpsc::channel(N_FRAMES_MAX);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (
        frames,
        (headers, Body::from_stream(Frames(queue))).into_response(),
    )
}

/// The writing end of a plain body, and the body.
pub fn plain_channel() -> (mpsc::Sender<Bytes>, Body) {
    let (pieces, queue) = mpsc::channel(N_FRAMES_MAX);
    (pieces, Body::from_stream(Frames(queue)))
}

struct Frames(mpsc::Receiver<Bytes>);

impl Stream for Frames {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_one_line_of_data() {
        assert_eq!(frame(b"{\"a\":\r\n1}"), "event: message\ndata: {\"a\":  1}\n\n");
    }
}
