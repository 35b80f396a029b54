//! What waits for a client outside its calls: lists that changed, resources that changed, messages.
//!
//! Bounded without waiting: changes are remembered once each, however often they happen, and of too many messages
//! the oldest go. Each message is given out exactly once, to whichever of the client's streams asks first.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::rpc::message::notification_line;
use crate::rpc::{Raw, mcp};

/// Messages that may wait for one client.
pub const N_MESSAGES_MAX: usize = 256;
/// Changed resources that may wait for one client.
pub const N_UPDATED_MAX: usize = 4096;

/// What waits for one client.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    changed: BTreeSet<&'static str>,
    updated: BTreeSet<String>,
    messages: VecDeque<Bytes>,
    n_dropped: u64,
}

impl Outbox {
    /// A list changed: the method of the notification.
    pub fn list_changed(&self, method: &'static str) {
        self.waiting().changed.insert(method);
        self.bell.notify_one();
    }

    /// A resource changed: its exposed URI.
    pub fn resource_updated(&self, uri: &str) {
        let mut waiting = self.waiting();
        if waiting.updated.len() < N_UPDATED_MAX {
            waiting.updated.insert(uri.to_owned());
        } else {
            waiting.n_dropped += 1;
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// A message, complete but for framing.
    pub fn message(&self, line: Bytes) {
        let mut waiting = self.waiting();
        if waiting.messages.len() >= N_MESSAGES_MAX {
            waiting.messages.pop_front();
            waiting.n_dropped += 1;
        }
        waiting.messages.push_back(line);
        drop(waiting);
        self.bell.notify_one();
    }

    /// Messages that were dropped because the client did not fetch them.
    pub fn n_dropped(&self) -> u64 {
        self.waiting().n_dropped
    }

    /// The next message, if one waits.
    pub fn pop(&self) -> Option<Bytes> {
        let mut waiting = self.waiting();
        if let Some(method) = waiting.changed.pop_first() {
            return Some(notification_line(method, None));
        }
        if let Some(uri) = waiting.updated.pop_first() {
            let params = Raw::of(&serde_json::json!({ "uri": uri }));
            return Some(notification_line(mcp::method::RESOURCE_UPDATED, Some(&params)));
        }
        waiting.messages.pop_front()
    }

    /// Waits for the next changed resource: its exposed URI. All else is left where it is.
    ///
    /// # Cancel safety
    /// Safe: a change is taken only when this returns.
    pub async fn next_updated(&self) -> String {
        loop {
            let rung = self.bell.notified();
            let next = self.waiting().updated.pop_first();
            if let Some(uri) = next {
                self.bell.notify_one();
                return uri;
            }
            rung.await;
        }
    }

    /// Waits for the next message.
    ///
    /// # Cancel safety
    /// Safe: a message is taken only when this returns.
    pub async fn next(&self) -> Bytes {
        loop {
            let rung = self.bell.notified();
            if let Some(line) = self.pop() {
                // Another stream may be waiting for the next one.
                self.bell.notify_one();
                return line;
            }
            rung.await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_told_once_however_often_it_happens() {
        let outbox = Outbox::default();
        for _ in 0..1000 {
            outbox.list_changed(mcp::method::TOOLS_CHANGED);
            outbox.resource_updated("a://b");
        }
        assert_eq!(
            outbox.next().await,
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#
        );
        assert!(outbox.next().await.ends_with(br#""params":{"uri":"a://b"}}"#));
        assert!(outbox.pop().is_none());
    }

    #[tokio::test]
    async fn of_too_many_messages_the_oldest_go() {
        let outbox = Outbox::default();
        for n in 0..=N_MESSAGES_MAX {
            outbox.message(n.to_string().into());
        }
        assert_eq!((outbox.n_dropped(), outbox.next().await), (1, Bytes::from("1")));
    }

    #[tokio::test]
    async fn two_streams_share_the_messages_and_none_is_given_twice() {
        let outbox = Outbox::default();
        outbox.message("a".into());
        outbox.message("b".into());
        let (one, two) = tokio::join!(outbox.next(), outbox.next());
        assert_ne!(one, two);
    }
}
