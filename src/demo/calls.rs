//! What is under way between a demo and its client: requests being worked on, and questions being asked.
//!
//! Each running request has a [`Mailbox`], where the thread that works on it finds what happened meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::outlet::lock;

/// How many requests may be worked on at once. One more is refused.
pub(super) const RUNNING_MAX: usize = 64;

/// The client does not want the answer any more, or is gone: leave off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

/// What the client said to a question: a result, or the sentence of its error.
pub(super) type Said = Result<Value, String>;

/// All that is under way. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    /// By the client's request id as JSON text, which keeps `7` and `"7"` apart.
    running: BTreeMap<String, Arc<Mailbox>>,
    /// By our own request id.
    questions: BTreeMap<u64, Arc<Mailbox>>,
    last_question: u64,
}

/// Why a request is not begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotBegun {
    SameId,
    Full,
}

impl Calls {
    /// A request is being worked on from now on.
    pub(super) fn begin(&self, id: &Value) -> Result<Arc<Mailbox>, NotBegun> {
        let mut table = lock(&self.table);
        if table.running.contains_key(&id.to_string()) {
            return Err(NotBegun::SameId);
        }
        if table.running.len() >= RUNNING_MAX {
            return Err(NotBegun::Full);
        }
        let mailbox = Arc::<Mailbox>::default();
        table.running.insert(id.to_string(), Arc::clone(&mailbox));
        Ok(mailbox)
    }

    /// The work is done. Says whether the answer is still wanted; it is at most once.
    ///
    /// After a cancellation the client may have used its id again, so the mailbox tells which request this is.
    pub(super) fn finish(&self, id: &Value, mailbox: &Arc<Mailbox>) -> bool {
        let (mut table, key) = (lock(&self.table), id.to_string());
        let is_ours = |running: &Arc<Mailbox>| Arc::ptr_eq(running, mailbox);
        table.running.get(&key).is_some_and(is_ours) && table.running.remove(&key).is_some()
    }

    /// The client does not want the answer. A request that is unknown, or answered already, is let be.
    pub(super) fn cancel(&self, id: &Value) {
        let cancelled = lock(&self.table).running.remove(&id.to_string());
        if let Some(mailbox) = cancelled {
            mailbox.stop();
        }
    }

    /// The client is gone.
    pub(super) fn cancel_all(&self) {
        let running = std::mem::take(&mut lock(&self.table).running);
        running.values().for_each(|mailbox| mailbox.stop());
    }

    /// An id for a question whose answer is to arrive in this mailbox.
    pub(super) fn begin_question(&self, mailbox: &Arc<Mailbox>) -> u64 {
        let mut table = lock(&self.table);
        table.last_question += 1;
        let id = table.last_question;
        table.questions.insert(id, Arc::clone(mailbox));
        id
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget_question(&self, id: u64) {
        lock(&self.table).questions.remove(&id);
    }

    /// The client's answer. One to no question of ours is let be.
    pub(super) fn deliver(&self, id: &Value, said: Said) {
        let asked = id
            .as_u64()
            .and_then(|id| Some((id, lock(&self.table).questions.remove(&id)?)));
        if let Some((id, mailbox)) = asked {
            mailbox.put(id, said);
        }
    }
}

/// What happened to a running request since its thread last looked.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mail: Mutex<Mail>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Mail {
    stopped: bool,
    said: Option<(u64, Said)>,
}

impl Mailbox {
    fn stop(&self) {
        lock(&self.mail).stopped = true;
        self.arrived.notify_all();
    }

    fn put(&self, id: u64, said: Said) {
        lock(&self.mail).said = Some((id, said));
        self.arrived.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        lock(&self.mail).stopped
    }

    /// Waits until `picked` finds something, at most for `patience`.
    fn wait<T>(
        &self,
        patience: Duration,
        mut picked: impl FnMut(&mut Mail) -> Option<T>,
    ) -> Result<Option<T>, Stopped> {
        let until = Instant::now() + patience;
        let mut mail = lock(&self.mail);
        loop {
            if mail.stopped {
                return Err(Stopped);
            }
            if let Some(found) = picked(&mut mail) {
                return Ok(Some(found));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let waited = self.arrived.wait_timeout(mail, left);
            (mail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets time pass.
    pub(super) fn pause(&self, time: Duration) -> Result<(), Stopped> {
        self.wait(time, |_| None::<()>).map(drop)
    }

    /// Waits for the answer to this question; `None` when patience ran out.
    pub(super) fn answer_to(&self, question: u64, patience: Duration) -> Result<Option<Said>, Stopped> {
        self.wait(patience, |mail| {
            mail.said.take_if(|(id, _)| *id == question).map(|(_, said)| said)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_is_wanted_once_and_not_after_it_was_cancelled() {
        let calls = Calls::default();
        let (seven, text) = (json!(7), json!("7"));
        let first = calls.begin(&seven).unwrap();
        let second = calls.begin(&text).unwrap();
        assert_eq!(calls.begin(&seven).unwrap_err(), NotBegun::SameId);
        calls.cancel(&seven);
        calls.cancel(&json!(8));
        assert_eq!((first.is_stopped(), second.is_stopped()), (true, false));
        assert_eq!(
            (
                calls.finish(&seven, &first),
                calls.finish(&text, &second),
                calls.finish(&text, &second)
            ),
            (false, true, false)
        );
    }

    #[test]
    fn an_id_that_is_used_again_after_a_cancellation_belongs_to_the_new_request() {
        let (calls, id) = (Calls::default(), json!("again"));
        let old = calls.begin(&id).unwrap();
        calls.cancel(&id);
        let new = calls.begin(&id).unwrap();
        assert!(!calls.finish(&id, &old));
        calls.cancel(&id);
        assert_eq!(new.pause(LONG), Err(Stopped));
        assert!(!calls.finish(&id, &new));
    }

    #[test]
    fn so_many_run_at_once_and_no_more() {
        let calls = Calls::default();
        let begun: Vec<_> = (0..RUNNING_MAX)
            .map(|id| calls.begin(&json!(id)).unwrap())
            .collect();
        assert_eq!(calls.begin(&json!("more")).unwrap_err(), NotBegun::Full);
        assert!(calls.finish(&json!(0), &begun[0]));
        let more = calls.begin(&json!("more")).unwrap();
        calls.cancel_all();
        assert_eq!(more.pause(LONG), Err(Stopped));
    }

    #[test]
    fn an_answer_reaches_the_one_who_asked_and_only_for_that_question() {
        let calls = Calls::default();
        let (mine, other) = (calls.begin(&json!(1)).unwrap(), calls.begin(&json!(2)).unwrap());
        let (old, new) = (calls.begin_question(&mine), calls.begin_question(&mine));
        let another = calls.begin_question(&other);
        calls.deliver(&json!(old), Ok(json!("old")));
        assert_eq!(mine.answer_to(new, Duration::ZERO), Ok(None));
        calls.deliver(&json!(new), Ok(json!("new")));
        calls.deliver(&json!(another), Err("no".to_owned()));
        calls.deliver(&json!("nonsense"), Ok(json!(0)));
        assert_eq!(mine.answer_to(new, LONG), Ok(Some(Ok(json!("new")))));
        assert_eq!(other.answer_to(another, LONG), Ok(Some(Err("no".to_owned()))));
        calls.forget_question(another);
        calls.deliver(&json!(another), Ok(json!("late")));
        assert_eq!(other.answer_to(another, Duration::ZERO), Ok(None));
    }
}
