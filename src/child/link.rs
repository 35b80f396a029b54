//! The two pipes to one process as its callers see them: ids out, answers in.
//!
//! Shared by callers, the writer and the reader. A call is one entry in the pending table and one line in a
//! bounded queue, both under one lock, so that the queue holds ids in order and "was a byte of it written?" is
//! one comparison. Nobody waits in here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::error::CallError;
use super::ghosts::{Candidates, GHOST_KEPT, Ghosts};
use super::hold::{Hold, Work};
use super::lane::Lane;
use super::modern;
use super::orphans::Orphans;
use super::outgoing::{OutLine, Params};
use super::pending::{Found, Pending, Waiter};
use super::sending::{ReplyTo, Sending, Witness};
use crate::event::Cause;
use crate::ids::{Generation, SessionId, WireId};
use crate::rpc::message::notification_line;
use crate::rpc::object::Object;
use crate::rpc::{Outcome, Raw, mcp};

/// Sees the answer to a ping that was sent behind a cancellation.
#[derive(Debug)]
struct Heard;

impl Witness for Heard {
    fn answered(&self, link: &Link, id: WireId, _any: &Outcome) {
        link.table().given_up.heard(id, Instant::now());
    }
}

/// The two pipes to one process.
#[derive(Debug)]
pub struct Link {
    /// Which process.
    pub generation: Generation,
    pending: Mutex<Table>,
    lines: mpsc::Sender<OutLine>,
    /// The highest wire id of which a byte may have been written.
    begun: AtomicU64,
    /// Rung when the last call in flight has ended, or the last hold.
    pub idle: Arc<Notify>,
    /// Rung when a call is put in flight after a time without.
    pub busy: Notify,
    /// Whether something was heard since the last probe.
    heard: AtomicBool,
    born: Instant,
    last_call_ms: AtomicU64,
    holds: Arc<()>,
    works: Arc<()>,
    /// Set when it turned out to need no handshake.
    modern: OnceLock<Modern>,
}

/// A process to whom each request says all that it has to know.
#[derive(Debug)]
struct Modern {
    has_roots: bool,
}

#[derive(Debug, Default)]
struct Table {
    calls: Pending<ReplyTo>,
    given_up: Ghosts,
    orphans: Orphans,
    /// Calls that are streams: they have no end of their own, and are no work in flight. Each with who waits for its
    /// acknowledgement.
    streams: HashMap<WireId, Option<oneshot::Sender<Raw>>>,
    /// The newest stream that was acknowledged.
    newest_stream: Option<WireId>,
    /// Set when the process is gone: nothing is taken in any more.
    closed: Option<Cause>,
}

/// A stream of changes that a process was asked for.
#[derive(Debug)]
pub struct Listen {
    /// Our id of it, and the server's name for it.
    pub id: WireId,
    /// What the server has acknowledged: its parameters.
    pub acknowledged: oneshot::Receiver<Raw>,
    /// Its end.
    pub ended: oneshot::Receiver<Result<Outcome, CallError>>,
}

/// Ids of one process before those of the next, where they must not meet.
const N_IDS: u64 = 1_000_000;
/// A stream has no end of its own; one of a year is none that anybody has.
const STREAM_PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

impl Table {
    /// Calls in flight, without streams.
    fn n_inflight(&self) -> usize {
        self.calls.len().saturating_sub(self.streams.len())
    }

    /// Nobody waits for this call any more, but the child may go on with it. Whether the child is to be told.
    fn give_up(&mut self, id: WireId, reply: &ReplyTo, now: Instant) -> bool {
        let witness = reply.witness.as_ref();
        let is_told = !witness.is_some_and(|it| it.is_of_what_outlives());
        if let Some(lane) = &reply.lane {
            let newest = is_told.then(|| self.calls.newest());
            self.given_up.add(id, lane.peer.clone(), newest, now);
        }
        if let Some(orphan) = witness.filter(|it| !is_told || it.may_outlive()) {
            self.orphans.add(id, Arc::clone(orphan));
        }
        is_told
    }
}

impl Link {
    /// The link of a process, and the queue that its writer empties.
    pub fn new(generation: Generation, n_lines_max: usize) -> (Arc<Self>, mpsc::Receiver<OutLine>) {
        let (lines, queue) = mpsc::channel(n_lines_max);
        let link = Self {
            generation,
            pending: Mutex::default(),
            lines,
            begun: AtomicU64::new(0),
            idle: Arc::default(),
            busy: Notify::new(),
            heard: AtomicBool::new(false),
            born: Instant::now(),
            last_call_ms: AtomicU64::new(0),
            holds: Arc::default(),
            works: Arc::default(),
            modern: OnceLock::new(),
        };
        (Arc::new(link), queue)
    }

    /// From now on each request says all that the process has to know. `has_roots`: the operator has named folders.
    pub(super) fn speak_modern(&self, has_roots: bool) {
        self.modern.get_or_init(|| Modern { has_roots });
        // A call may be made again by another process, and then under another id.
        let after = self.generation.0.saturating_sub(1).saturating_mul(N_IDS);
        self.table().calls.begin_after(WireId(after));
    }

    /// Whether the process needs no handshake, and keeps nothing of its clients.
    pub fn is_modern(&self) -> bool {
        self.modern.get().is_some()
    }

    /// The parameters as this process needs them.
    fn dressed(&self, method: &str, params: Params, lane: Option<&Lane>) -> Params {
        let Some(Modern { has_roots }) = self.modern.get() else {
            return params;
        };
        let caller = lane.and_then(|lane| lane.caller.as_deref());
        let level = lane.and_then(|lane| lane.log_level.get().copied());
        // Whoever asks about a task takes tasks.
        let listens_to_tasks = || {
            method == mcp::method::LISTEN && matches!(&params, Params::Plain(raw) if raw.holds("\"taskIds\""))
        };
        let takes_tasks =
            lane.is_some_and(Lane::takes_tasks) || mcp::method::is_about_task(method) || listens_to_tasks();
        let has_roots = *has_roots && lane.is_some();
        params.with_members(modern::members(caller, level, has_roots, takes_tasks))
    }

    /// Asks for a stream of changes. Never waits.
    ///
    /// # Errors
    /// `Gone` when the process is, `Overloaded` when its queue is full.
    pub fn listen(&self, params: Raw) -> Result<Listen, CallError> {
        let (ack, acknowledged) = oneshot::channel();
        let (sending, ended) = Sending::ours(mcp::method::LISTEN, Params::Plain(params), STREAM_PATIENCE);
        // Known as a stream before its first message can be read.
        let mut table = self.table();
        let id = self
            .send_with(&mut table, sending)
            .map_err(|(_unsent, error)| error)?;
        table.streams.insert(id, Some(ack));
        drop(table);
        self.ring_if_idle();
        Ok(Listen {
            id,
            acknowledged,
            ended,
        })
    }

    /// A stream was acknowledged: from now on it tells, and none before it.
    pub(super) fn acknowledged(&self, params: &Raw) {
        let Some(id) = stream_of(params) else { return };
        let mut table = self.table();
        let Some(waiter) = table.streams.get_mut(&id).map(Option::take) else {
            return;
        };
        table.newest_stream = table.newest_stream.max(Some(id));
        drop(table);
        if let Some(waiter) = waiter {
            drop(waiter.send(params.clone()));
        }
    }

    /// Whether a message belongs to a stream that another has replaced: that one tells it, too.
    pub(super) fn is_of_replaced_stream(&self, params: Option<&Raw>) -> bool {
        let id = params.and_then(stream_of);
        id.is_some_and(|id| self.table().newest_stream.is_some_and(|newest| id < newest))
    }

    /// Whether this is a stream that is open.
    pub(super) fn is_stream(&self, id: WireId) -> bool {
        self.table().streams.contains_key(&id)
    }

    /// A request that changes nothing and that every server answers.
    pub(super) fn are_you_there(&self) -> &'static str {
        if self.is_modern() {
            mcp::method::DISCOVER
        } else {
            mcp::method::PING
        }
    }

    /// Nobody waits for this answer any more, and the process is not told: it may not know that it was asked. `late` hears
    /// the answer if one comes. `false`: it has come already.
    pub(super) fn forget(&self, id: WireId, late: Option<Arc<dyn Witness>>) -> bool {
        let mut table = self.table();
        let Some(waiter) = table.calls.cancel(id, Instant::now()) else {
            return false;
        };
        if let Some(late) = late {
            table.orphans.add(id, late);
        }
        drop(table);
        settle(waiter.reply, Err(CallError::Cancelled));
        self.ring_if_idle();
        true
    }

    /// Puts a call in flight. Never waits.
    ///
    /// # Errors
    /// The call comes back, with `Gone` when the process is, `Overloaded` when its queue is full.
    pub fn send(&self, sending: Sending) -> Result<WireId, (Box<Sending>, CallError)> {
        let mut table = self.table();
        let (is_use, n_before) = (sending.reply.place.is_some(), table.n_inflight());
        let id = self.send_with(&mut table, sending)?;
        drop(table);
        if is_use {
            self.note_use(Instant::now());
        }
        if n_before == 0 {
            self.busy.notify_one();
        }
        Ok(id)
    }

    fn send_with(&self, table: &mut Table, sending: Sending) -> Result<WireId, (Box<Sending>, CallError)> {
        let now = Instant::now();
        if let Some(cause) = &table.closed {
            let error = CallError::Gone {
                cause: cause.clone(),
                sent: false,
                retry_after: None,
            };
            return Err((Box::new(sending), error));
        }
        let slot = match self.lines.try_reserve() {
            Ok(slot) => slot,
            Err(refused) => return Err((Box::new(sending), self.unsent(&refused))),
        };
        let Sending {
            method,
            params,
            patience,
            hard_deadline,
            reply,
        } = sending;
        let params = self.dressed(method.as_str(), params, reply.lane.as_deref());
        let deadline = (now + patience).min(hard_deadline);
        let id = table.calls.insert(Waiter {
            deadline,
            patience,
            hard_deadline,
            reply,
        });
        slot.send(OutLine::Call { id, method, params });
        Ok(id)
    }

    fn unsent(&self, refused: &TrySendError<()>) -> CallError {
        match refused {
            TrySendError::Full(()) => CallError::Overloaded {
                n_max: self.lines.max_capacity(),
            },
            // Its writer has ended: the machine is about to hear of it.
            TrySendError::Closed(()) => CallError::Gone {
                cause: Cause::WriteStalled,
                sent: false,
                retry_after: None,
            },
        }
    }

    /// Whether nothing is taken in any more.
    pub fn is_closed(&self) -> bool {
        self.lines.is_closed() || self.table().closed.is_some()
    }

    /// Queues a line that wants no answer. `false` when the queue is full or the process gone.
    pub fn post(&self, line: Bytes) -> bool {
        self.lines.try_send(OutLine::Other(line)).is_ok()
    }

    /// The caller no longer wants the answer: the child is told, under its own id.
    pub fn cancel(&self, id: WireId, reason: &str) {
        let now = Instant::now();
        let mut table = self.table();
        let Some(waiter) = table.calls.cancel(id, now) else {
            return;
        };
        table.streams.remove(&id);
        let is_told = table.give_up(id, &waiter.reply, now);
        drop(table);
        if is_told && self.post(cancelled(id, reason)) {
            self.ask_whether_heard(waiter.reply.lane.is_some());
        }
        settle(waiter.reply, Err(CallError::Cancelled));
        self.ring_if_idle();
    }

    /// A ping behind a cancellation: once it is answered the child has heard of both.
    fn ask_whether_heard(&self, may_ask_or_log: bool) {
        if may_ask_or_log {
            self.send_and_see_heard(self.are_you_there(), Params::None);
        }
    }

    /// Ends what the answer to a call has begun for which nobody waits any more, by a request of this method. Until the
    /// child has heard that, what it asks or logs may belong to this session.
    pub fn end_what_began(&self, began: WireId, session: &SessionId, method: &'static str, params: Params) {
        let mut table = self.table();
        let newest = table.calls.newest();
        table
            .given_up
            .add(began, session.clone(), Some(newest), Instant::now());
        drop(table);
        self.send_and_see_heard(method, params);
    }

    /// A request whose answer tells only that the child has heard what was written before.
    fn send_and_see_heard(&self, method: &'static str, params: Params) {
        let (mut sending, _nobody_waits) = Sending::ours(method, params, GHOST_KEPT);
        sending.reply.witness = Some(Arc::new(Heard));
        if self.send(sending).is_err() {
            tracing::debug!(
                method,
                "no room to tell of a cancellation, or to ask whether it was heard"
            );
        }
    }

    /// An answer has come. Whether it was for anybody.
    pub fn answer(&self, id: WireId, outcome: Result<Outcome, CallError>) -> bool {
        let mut table = self.table();
        let found = table.calls.complete(id);
        table.streams.remove(&id);
        let orphan = match found {
            Found::Waiter(_) => None,
            Found::Late | Found::Unknown => {
                let orphan = table.orphans.take(id);
                let is_late = matches!(found, Found::Late) && orphan.is_none();
                table.given_up.answered(id, is_late, Instant::now());
                orphan
            }
        };
        drop(table);
        if let Some(orphan) = orphan {
            if let Ok(outcome) = &outcome {
                orphan.answered_late(self, id, outcome);
            }
            return true;
        }
        match found {
            Found::Waiter(waiter) => {
                if waiter.reply.place.is_some() {
                    self.note_use(Instant::now());
                }
                if let (Some(witness), Ok(outcome)) = (&waiter.reply.witness, &outcome) {
                    witness.answered(self, id, outcome);
                }
                settle(waiter.reply, outcome);
                self.ring_if_idle();
                true
            }
            Found::Late => true,
            Found::Unknown => false,
        }
    }

    /// Progress has come: on to the caller, under the caller's own token. `false` when no call in flight has this
    /// token.
    pub fn progress(&self, params: &Raw) -> bool {
        let Some(object) = Object::of(params) else {
            return true;
        };
        let token = object
            .get("progressToken")
            .and_then(|token| token.as_str().parse().ok());
        let value = object
            .get("progress")
            .and_then(|value| value.as_str().parse::<f64>().ok());
        let (Some(token), Some(value)) = (token, value) else {
            return true;
        };
        let mut table = self.table();
        let Some(reply) = table.calls.touch(WireId(token), Instant::now()) else {
            return false;
        };
        if value <= reply.last_progress {
            return true;
        }
        reply.last_progress = value;
        let lane = reply.lane.clone();
        drop(table);
        if let Some(lane) = lane
            && let Some(token) = lane.progress_token()
            && lane.has_grown_to(value)
        {
            let params = object.with("progressToken", &token);
            lane.push(notification_line(mcp::method::PROGRESS, Some(&params)));
        }
        true
    }

    /// Gives up every call whose time has come; the child is told.
    pub fn expire(&self, now: Instant) {
        let mut table = self.table();
        let due = table.calls.expire(now, |reply| {
            reply.lane.as_ref().is_some_and(|lane| lane.is_asking())
        });
        let due: Vec<_> = due
            .into_iter()
            .map(|(id, waiter)| (id, table.give_up(id, &waiter.reply, now), waiter))
            .collect();
        drop(table);
        let mut any_of_clients = false;
        for (id, is_told, waiter) in due {
            self.table().streams.remove(&id);
            if is_told {
                any_of_clients |= waiter.reply.lane.is_some();
                self.post(cancelled(id, "timeout"));
            }
            settle(
                waiter.reply,
                Err(CallError::TimedOut {
                    patience: waiter.patience,
                }),
            );
        }
        self.ask_whether_heard(any_of_clients);
        self.ring_if_idle();
    }

    /// The process is gone: everybody is told, and nothing is taken in any more.
    pub fn close(&self, cause: &Cause, retry_after: Option<Duration>) {
        let mut table = self.table();
        table.closed.get_or_insert_with(|| cause.clone());
        let all = table.calls.drain();
        table.streams.clear();
        drop(table);
        let begun = self.begun.load(Ordering::Acquire);
        for (id, waiter) in all {
            let sent = id.0 <= begun;
            settle(
                waiter.reply,
                Err(CallError::Gone {
                    cause: cause.clone(),
                    sent,
                    retry_after,
                }),
            );
        }
        self.idle.notify_one();
    }

    /// The writer is about to write this call.
    pub(super) fn begin(&self, id: WireId) {
        self.begun.fetch_max(id.0, Ordering::AcqRel);
    }

    /// The writer has failed before a byte of this call was written, and of those after it.
    pub(super) fn never_began(&self, id: WireId) {
        self.begun.fetch_min(id.0.saturating_sub(1), Ordering::AcqRel);
    }

    /// Something valid was heard from the process.
    pub(super) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether something was heard since this was asked last.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    /// The newest id; 0 before the first.
    pub(super) fn newest(&self) -> WireId {
        self.table().calls.newest()
    }

    /// Calls in flight.
    pub fn n_inflight(&self) -> usize {
        self.table().n_inflight()
    }

    /// Says that the process is in use.
    pub fn hold(&self) -> Hold {
        Hold::new(&self.holds)
    }

    /// Says that the process has something to finish.
    pub fn work(&self) -> Work {
        Work::new(&self.works, &self.idle)
    }

    /// Whether the process has something to finish that is no call in flight.
    pub fn is_at_work(&self) -> bool {
        Arc::strong_count(&self.works) > 1
    }

    /// Whether somebody holds the process.
    pub fn is_held(&self) -> bool {
        self.is_at_work() || Arc::strong_count(&self.holds) > 1
    }

    /// Whether the process is held, or a call is in flight that is not our own.
    pub(super) fn is_used(&self) -> bool {
        self.is_held() || self.is_called()
    }

    /// Whether a call is in flight that is not our own.
    pub(super) fn is_called(&self) -> bool {
        let table = self.table();
        table.calls.replies().any(|(_, reply)| reply.place.is_some())
    }

    /// How long nobody has called, since the last call began or was answered.
    pub fn quiet_for(&self, now: Instant) -> Duration {
        let age = self.age_ms(now);
        Duration::from_millis(age.saturating_sub(self.last_call_ms.load(Ordering::Relaxed)))
    }

    /// Whose call a message of the child's own may belong to.
    pub fn candidates(&self) -> Candidates {
        let mut table = self.table();
        let given_up = table.given_up.sessions(Instant::now());
        let mut lanes: Vec<_> = table
            .calls
            .replies()
            .filter_map(|(id, reply)| reply.lane.clone().map(|lane| (id, lane)))
            .collect();
        lanes.sort_by_key(|(id, _)| *id);
        Candidates {
            live: lanes.into_iter().map(|(_, lane)| lane).collect(),
            given_up,
        }
    }

    fn ring_if_idle(&self) {
        if self.table().n_inflight() == 0 {
            self.idle.notify_one();
        }
    }

    /// Our own pings and handshakes, which take no place among the calls, are no use that is made of it.
    fn note_use(&self, now: Instant) {
        self.last_call_ms.store(self.age_ms(now), Ordering::Relaxed);
    }

    fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that holds this lock waits, and a panic under it leaves the table whole.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream that a message names.
fn stream_of(params: &Raw) -> Option<WireId> {
    let meta = Object::of(params)?.get("_meta")?;
    let id = Object::of(&meta)?.get(mcp::meta::SUBSCRIPTION_ID)?;
    id.as_str().parse().ok().map(WireId)
}

fn cancelled(id: WireId, reason: &str) -> Bytes {
    let params = Raw::of(&serde_json::json!({ "requestId": id.0, "reason": reason }));
    notification_line(mcp::method::CANCELLED, Some(&params))
}

/// Answers a call. A caller who has gone away does not mind.
fn settle(reply: ReplyTo, outcome: Result<Outcome, CallError>) {
    if reply.answer.send(outcome).is_err() {
        tracing::debug!("an answer came for a caller who is gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::lane::Lane;
    use crate::child::sending::Answer;
    use crate::event::Exit;
    use crate::rpc::RequestId;

    fn sending(lane: Option<Arc<Lane>>) -> (Sending, Answer) {
        let (mut sending, waits) = Sending::ours("m", Params::None, Duration::from_secs(60));
        sending.reply.lane = lane;
        (sending, waits)
    }

    #[tokio::test]
    async fn a_dead_process_answers_everybody_and_says_what_was_sent() {
        let (link, _queue) = Link::new(Generation(1), 8);
        let (first, first_waits) = sending(None);
        let (second, second_waits) = sending(None);
        let id = link.send(first).unwrap();
        link.send(second).unwrap();
        link.begin(id);
        let cause = Cause::Exited {
            exit: Exit::Signal(9),
        };
        link.close(&cause, None);
        let gone = |sent| {
            Err(CallError::Gone {
                cause: cause.clone(),
                sent,
                retry_after: None,
            })
        };
        assert_eq!(first_waits.await.unwrap().map(drop), gone(true));
        assert_eq!(second_waits.await.unwrap().map(drop), gone(false));
        assert!(link.send(sending(None).0).is_err());
    }

    #[tokio::test]
    async fn a_full_queue_is_an_answer_and_not_a_wait() {
        let (link, _queue) = Link::new(Generation(1), 1);
        link.send(sending(None).0).unwrap();
        let (_, error) = link.send(sending(None).0).unwrap_err();
        assert_eq!(error, CallError::Overloaded { n_max: 1 });
        assert_eq!(link.n_inflight(), 1);
    }

    #[tokio::test]
    async fn a_call_after_the_writer_has_ended_was_not_sent_and_is_no_overload() {
        let (link, queue) = Link::new(Generation(1), 8);
        assert!(!link.is_closed());
        drop(queue);
        assert!(link.is_closed());
        let (_, error) = link.send(sending(None).0).unwrap_err();
        assert!(matches!(error, CallError::Gone { sent: false, .. }), "{error:?}");
        assert_eq!(link.n_inflight(), 0);
    }

    #[tokio::test]
    async fn progress_goes_to_the_caller_under_the_callers_token_and_only_while_it_grows() {
        let token = Raw::of(&"7");
        let lane = Arc::new(Lane::new(SessionId::random(), RequestId::number(1), Some(token)));
        let (link, _queue) = Link::new(Generation(1), 8);
        link.send(sending(Some(Arc::clone(&lane))).0).unwrap();
        for text in [
            r#"{"progressToken":1,"progress":0.5,"x":null}"#,
            r#"{"progressToken":1,"progress":0.5}"#,
            r#"{"progressToken":2,"progress":9}"#,
        ] {
            link.progress(&Raw::parse(&Bytes::from_static(text.as_bytes())).unwrap());
        }
        let line = lane.pop().unwrap();
        assert!(
            line.ends_with(br#""params":{"progressToken":"7","progress":0.5,"x":null}}"#),
            "{line:?}"
        );
        assert!(lane.pop().is_none());
    }

    #[tokio::test]
    async fn a_call_that_was_given_up_still_counts_until_its_late_answer() {
        let (link, _queue) = Link::new(Generation(1), 8);
        let lane = |n| Arc::new(Lane::new(SessionId::random(), RequestId::number(n), None));
        let (one, two) = (lane(1), lane(1));
        let cancelled = link.send(sending(Some(Arc::clone(&one))).0).unwrap();
        let expired = link.send(sending(Some(Arc::clone(&one))).0).unwrap();
        link.cancel(cancelled, "");
        link.expire(Instant::now() + Duration::from_secs(60));
        link.send(sending(Some(Arc::clone(&two))).0).unwrap();
        for (late, n_left) in [(cancelled, 1), (expired, 0)] {
            let candidates = link.candidates();
            assert_eq!(candidates.live.len(), 1);
            assert!(!candidates.may_all_be_of(&two.session) && candidates.may_all_be_of(&one.session));
            link.answer(late, Ok(Ok(Raw::empty_object())));
            assert_eq!(link.candidates().given_up.len(), n_left);
        }
    }

    #[tokio::test]
    async fn a_cancelled_call_is_told_to_the_child_under_its_own_id_and_a_late_answer_is_swallowed() {
        let (link, mut queue) = Link::new(Generation(1), 8);
        let (call, waits) = sending(None);
        let id = link.send(call).unwrap();
        link.cancel(id, "changed my mind");
        assert!(matches!(waits.await.unwrap(), Err(CallError::Cancelled)));
        assert!(matches!(queue.recv().await, Some(OutLine::Call { .. })));
        let Some(OutLine::Other(line)) = queue.recv().await else {
            panic!()
        };
        assert!(
            line.windows(13).any(|part| part == br#""requestId":1"#),
            "{line:?}"
        );
        assert!(link.answer(id, Ok(Ok(Raw::empty_object()))), "late, but known");
        assert!(!link.answer(id, Ok(Ok(Raw::empty_object()))), "no longer known");
    }
}
