//! What was sent on an event stream, kept for a while: a client that lost its connection asks for the rest by the
//! id of the last event it has seen, and gets the rest of that stream and of no other.
//!
//! Source: MCP 2025-11-25, transports, "Resumability and Redelivery".

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use crate::rpc::{Raw, RequestId};

/// Events that are kept of one stream.
pub const N_EVENTS_MAX: usize = 256;
/// Bytes that are kept of one stream; the last event is kept in any case.
pub const EVENT_BYTES_MAX: usize = 4 << 20;
/// Streams that are kept of one session.
pub const N_STREAMS_MAX: usize = 64;
/// A stream that has ended is kept so long.
pub const KEPT: Duration = Duration::from_secs(300);

/// The streams of one session.
#[derive(Debug, Default)]
pub struct Streams(Mutex<VecDeque<Arc<EventLog>>>);

/// What was sent on one stream.
#[derive(Debug)]
pub struct EventLog {
    /// Random, so that nobody can guess another's.
    id: String,
    log: Mutex<Log>,
    bell: Notify,
    /// Whether it carries one call, and ends with it.
    of_call: bool,
}

#[derive(Debug, Default)]
struct Log {
    events: VecDeque<(u64, Bytes)>,
    n_bytes: usize,
    n_last: u64,
    ended: Option<Instant>,
    /// How many connections have read it: only the newest still does.
    n_readers: u64,
}

/// A stream that went down with an earlier daemon.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// It carried this call, which got no answer.
    Call(RequestId),
    /// It carried what lies outside calls.
    Outside,
}

/// This run of the daemon: streams of another are known by it.
static RUN: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().simple().to_string());
/// A request id longer than this does not stand in a stream's id.
const REQUEST_BYTES_MAX: usize = 128;

/// The run, something that nobody can guess, and the call: who asks for the rest after a restart is told that the call
/// is lost.
fn stream_id(of_call: Option<&RequestId>) -> String {
    let random = Uuid::new_v4().simple();
    let call = of_call
        .map(|id| id.raw().as_bytes())
        .filter(|id| id.len() <= REQUEST_BYTES_MAX);
    match call {
        Some(id) => {
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}-{random}-{hex}", *RUN)
        }
        None => format!("{}-{random}", *RUN),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > 2 * REQUEST_BYTES_MAX || !text.is_ascii() {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// An event, with its number.
    Event(u64, Bytes),
    /// The stream has ended.
    Ended,
    /// Another connection reads it now.
    TakenOver,
}

impl Streams {
    /// A new stream: of this call, or of what lies outside calls.
    pub fn open(&self, of_call: Option<&RequestId>) -> Arc<EventLog> {
        let log = Arc::new(EventLog {
            id: stream_id(of_call),
            log: Mutex::default(),
            bell: Notify::new(),
            of_call: of_call.is_some(),
        });
        let mut all = self.all();
        let now = Instant::now();
        all.retain(|log| !log.is_stale(now));
        if all.len() >= N_STREAMS_MAX {
            // The oldest that has ended; else the oldest, which then can be read but not resumed.
            let doomed = all
                .iter()
                .position(|log| log.lock().ended.is_some())
                .unwrap_or_default();
            all.remove(doomed);
        }
        all.push_back(Arc::clone(&log));
        log
    }

    /// The stream and the number in the id of an event; `None` when it was never ours, or is forgotten.
    pub fn find(&self, event_id: &str) -> Option<(Arc<EventLog>, u64)> {
        let (stream, number) = event_id.split_once(':')?;
        let number = number.parse().ok()?;
        let log = self.all().iter().find(|log| log.id == stream).cloned()?;
        let was_sent = number <= log.lock().n_last;
        was_sent.then_some((log, number))
    }

    /// What a stream was that went down with an earlier daemon; `None` for every other id.
    pub fn lost(event_id: &str) -> Option<Lost> {
        let (stream, number) = event_id.split_once(':')?;
        number.parse::<u64>().ok()?;
        let mut parts = stream.split('-');
        let (run, random) = (parts.next()?, parts.next()?);
        let is_run = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if run == *RUN || !is_run(run) || !is_run(random) {
            return None;
        }
        match parts.next() {
            None => Some(Lost::Outside),
            Some(call) => {
                let text = from_hex(call)?;
                let id = Raw::parse(&text.into())
                    .ok()
                    .and_then(|raw| RequestId::parse(raw).ok())?;
                Some(Lost::Call(id))
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<EventLog>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventLog {
    /// The id of an event. Number 0 is the one before the first.
    pub fn event_id(&self, number: u64) -> String {
        format!("{}:{number}", self.id)
    }

    /// Whether it carries one call, and ends with it.
    pub fn is_of_call(&self) -> bool {
        self.of_call
    }

    /// Adds an event, and gives its number.
    pub fn push(&self, line: Bytes) -> u64 {
        let mut log = self.lock();
        log.n_last += 1;
        log.n_bytes += line.len();
        let number = log.n_last;
        log.events.push_back((number, line));
        while log.events.len() > N_EVENTS_MAX || (log.n_bytes > EVENT_BYTES_MAX && log.events.len() > 1) {
            let Some((_, old)) = log.events.pop_front() else {
                break;
            };
            log.n_bytes -= old.len();
        }
        drop(log);
        self.bell.notify_waiters();
        number
    }

    /// Nothing more comes.
    pub fn end(&self) {
        self.lock().ended = Some(Instant::now());
        self.bell.notify_waiters();
    }

    /// A connection begins to read; another that still reads stops.
    pub fn take_over(&self) -> u64 {
        let mut log = self.lock();
        log.n_readers += 1;
        let reader = log.n_readers;
        drop(log);
        self.bell.notify_waiters();
        reader
    }

    /// What comes after this event, if it is here.
    pub fn look(&self, reader: u64, after: u64) -> Option<Next> {
        let log = self.lock();
        if log.n_readers != reader {
            return Some(Next::TakenOver);
        }
        if let Some((number, line)) = log.events.iter().find(|(number, _)| *number > after) {
            return Some(Next::Event(*number, line.clone()));
        }
        log.ended.is_some().then_some(Next::Ended)
    }

    /// Waits for what comes after this event.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken away.
    pub async fn next(&self, reader: u64, after: u64) -> Next {
        loop {
            let rung = self.bell.notified();
            if let Some(next) = self.look(reader, after) {
                return next;
            }
            rung.await;
        }
    }

    fn is_stale(&self, now: Instant) -> bool {
        self.lock()
            .ended
            .is_some_and(|ended| now.saturating_duration_since(ended) > KEPT)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static CALL: LazyLock<Option<RequestId>> = LazyLock::new(|| Some(RequestId::number(7)));

    #[test]
    fn a_stream_of_an_earlier_run_is_known_for_what_it_carried() {
        let log = Streams::default().open(CALL.as_ref());
        assert_eq!(Streams::lost(&log.event_id(1)), None, "of this run");
        let earlier = log.event_id(1).replace(RUN.as_str(), &"a".repeat(32));
        assert_eq!(Streams::lost(&earlier), Some(Lost::Call(RequestId::number(7))));
        let outside = Streams::default().open(None).event_id(3);
        assert_eq!(
            Streams::lost(&outside.replace(RUN.as_str(), &"a".repeat(32))),
            Some(Lost::Outside)
        );
        let text = RequestId::parse(Raw::of(&"7")).unwrap();
        let earlier = Streams::default()
            .open(Some(&text))
            .event_id(0)
            .replace(RUN.as_str(), &"b".repeat(32));
        assert_eq!(
            Streams::lost(&earlier),
            Some(Lost::Call(text)),
            "its type is kept"
        );
        for wrong in [
            "",
            ":",
            "a:1",
            "a-b:1",
            &format!("{0}-{0}-zz:1", "a".repeat(32)),
            &format!("{0}-{0}:x", "a".repeat(32)),
        ] {
            assert_eq!(Streams::lost(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_rest_of_a_stream_is_read_again_and_of_no_other() {
        let streams = Streams::default();
        let (one, two) = (streams.open(CALL.as_ref()), streams.open(CALL.as_ref()));
        one.push("a".into());
        one.push("b".into());
        two.push("c".into());
        one.end();
        let (found, number) = streams.find(&one.event_id(1)).unwrap();
        let reader = found.take_over();
        assert_eq!(found.next(reader, number).await, Next::Event(2, "b".into()));
        assert_eq!(found.next(reader, 2).await, Next::Ended);
        assert!(streams.find("nonsense").is_none() && streams.find(&one.event_id(3)).is_none());
    }

    #[tokio::test]
    async fn of_two_connections_the_newer_reads() {
        let log = Streams::default().open(None);
        let first = log.take_over();
        let reading = log.next(first, 0);
        let second = log.take_over();
        assert_eq!(reading.await, Next::TakenOver);
        log.push("x".into());
        assert_eq!(log.next(second, 0).await, Next::Event(1, "x".into()));
    }

    #[test]
    fn the_log_is_bounded_and_the_last_event_stays() {
        let log = Streams::default().open(CALL.as_ref());
        for _ in 0..=N_EVENTS_MAX {
            log.push("x".into());
        }
        let reader = log.take_over();
        assert_eq!(log.look(reader, 0), Some(Next::Event(2, "x".into())));
        let big = Bytes::from(vec![b'y'; 2 * EVENT_BYTES_MAX]);
        let number = log.push(big.clone());
        assert_eq!(log.look(reader, 0), Some(Next::Event(number, big)));
    }

    #[tokio::test(start_paused = true)]
    async fn old_streams_are_forgotten() {
        let streams = Streams::default();
        let old = streams.open(CALL.as_ref());
        old.end();
        tokio::time::advance(KEPT * 2).await;
        for _ in 0..N_STREAMS_MAX + 5 {
            streams.open(CALL.as_ref());
        }
        assert!(streams.find(&old.event_id(0)).is_none());
        assert_eq!(streams.all().len(), N_STREAMS_MAX);
    }
}
