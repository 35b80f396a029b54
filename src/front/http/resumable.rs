//! One connection that reads an event stream from its log: from the beginning, or from where the last one broke off.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::events::{self, HEARTBEAT};
use crate::rpc::mcp::Revision;
use crate::session::Session;
use crate::session::replay::{EventLog, Next};

/// Sends what the log has after event number `after`, then what comes; until the stream has ended, another
/// connection reads it, or the client or the session is gone.
///
/// A stream outside calls is fed here, from the session's outbox: room first, and only then a message, so that what
/// cannot be sent stays there for another stream.
pub(super) async fn send(
    session: &Session,
    log: &EventLog,
    after: Option<u64>,
    frames: &mpsc::Sender<Bytes>,
) {
    let reader = log.take_over();
    let mut last = after.unwrap_or_default();
    let is_new = after.is_none();
    if is_new && frames.send(greeting(session, log)).await.is_err() {
        return;
    }
    loop {
        let Ok(room) = frames.reserve().await else { return };
        tokio::select! {
            biased;
            () = frames.closed() => return,
            next = log.next(reader, last) => match next {
                Next::Event(number, line) => {
                    last = number;
                    room.send(events::frame_with_id(&log.event_id(number), &line));
                }
                Next::Ended | Next::TakenOver => return,
            },
            () = session.over.cancelled() => return,
            line = session.client.outbox.next(), if !log.is_of_call() => {
                log.push(line);
            }
            () = tokio::time::sleep(HEARTBEAT) => room.send(events::comment()),
        }
    }
}

/// The first sign of life: some clients wait for the first byte before they believe in the stream.
fn greeting(session: &Session, log: &EventLog) -> Bytes {
    if session.revision() >= Revision::V2025_11_25 {
        return events::priming(&log.event_id(0));
    }
    events::comment()
}
