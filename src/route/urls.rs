//! Which client was told of which URL elicitation: it alone hears that the person is done.
//!
//! It may have been asked (`elicitation/create`), or told by an error that it has to open a URL first (`-32042`).
//! Source: MCP 2025-11-25, elicitation, "Completion Notifications for URL Mode Elicitation" and "URL Elicitation
//! Required Error".

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::ids::{Instance, SessionId};
use crate::rpc::Raw;
use crate::rpc::object::{Object, elements};

/// Elicitations whose end is passed on; the oldest goes first.
const N_MAX: usize = 1024;
/// The code of an error that asks to open a URL first.
pub const URL_NEEDED: &str = "-32042";

/// Who was told of which.
#[derive(Debug, Default)]
pub struct Urls {
    told: Mutex<VecDeque<(Instance, String, SessionId)>>,
    /// Those that are complete, each with its number.
    done: Mutex<VecDeque<(Instance, String, u64)>>,
    /// How many were completed.
    n_done: watch::Sender<u64>,
}

impl Urls {
    /// A client was told of this elicitation of a process line.
    pub fn note(&self, instance: &Instance, id: String, session: &SessionId) {
        let mut all = self.all();
        // A name that comes again is another one.
        all.retain(|(asking, known, _)| asking != instance || *known != id);
        if all.len() >= N_MAX {
            all.pop_front();
        }
        all.push_back((instance.clone(), id, session.clone()));
    }

    /// Who was told of it.
    pub fn session_of(&self, instance: &Instance, id: &str) -> Option<SessionId> {
        let all = self.all();
        let found = all
            .iter()
            .find(|(asking, known, _)| asking == instance && known == id);
        found.map(|(_, _, session)| session.clone())
    }

    /// What a client was told of.
    pub fn told(&self, session: &SessionId) -> Vec<(Instance, String)> {
        let all = self.all();
        let its = all.iter().filter(|(_, _, told)| told == session);
        its.map(|(instance, id, _)| (instance.clone(), id.clone()))
            .collect()
    }

    /// The person is done with this one.
    pub fn complete(&self, instance: &Instance, id: &str) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.retain(|(asking, known, _)| asking != instance || known != id);
        if done.len() >= N_MAX {
            done.pop_front();
        }
        // Counted under the lock: who sees the number finds what it counts.
        self.n_done.send_modify(|n| {
            *n += 1;
            done.push_back((instance.clone(), id.to_owned(), *n));
        });
    }

    /// How many were completed, now and from now on.
    pub fn n_done(&self) -> watch::Receiver<u64> {
        self.n_done.subscribe()
    }

    /// Whether all of these were completed after so many others.
    pub fn are_done_after(&self, n_done: u64, wanted: &[(Instance, String)]) -> bool {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let is_done = |(instance, id): &(Instance, String)| {
            let mut done = done.iter();
            done.any(|(asking, known, number)| asking == instance && known == id && *number > n_done)
        };
        wanted.iter().all(is_done)
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<(Instance, String, SessionId)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The elicitations that an error asks for first.
pub fn asked_for_by(error: &Raw) -> Vec<String> {
    let ids = || {
        let object = Object::of(error)?;
        let is_it = object.get("code").is_some_and(|code| code.as_str() == URL_NEEDED);
        let data = object.get("data").filter(|_| is_it)?;
        let all = Object::of(&data)?.get("elicitations")?;
        let id = |one: &Raw| Object::of(one)?.get_string("elicitationId");
        Some(elements(&all)?.iter().filter_map(id).collect())
    };
    ids().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServerName;

    #[test]
    fn the_end_of_an_elicitation_is_for_who_was_told_of_it_last() {
        let urls = Urls::default();
        let instance = |name| Instance::first(ServerName::parse(name).unwrap());
        let (one, two) = (SessionId::random(), SessionId::random());
        urls.note(&instance("a"), "1".to_owned(), &one);
        urls.note(&instance("b"), "1".to_owned(), &two);
        assert_eq!(urls.session_of(&instance("a"), "1"), Some(one));
        urls.note(&instance("a"), "1".to_owned(), &two);
        assert_eq!(urls.session_of(&instance("a"), "1"), Some(two));
        assert_eq!(urls.session_of(&instance("a"), "2"), None);
    }

    #[test]
    fn what_was_completed_before_does_not_count() {
        let urls = Urls::default();
        let instance = Instance::first(ServerName::parse("a").unwrap());
        let session = SessionId::random();
        for id in ["1", "2"] {
            urls.note(&instance, id.to_owned(), &session);
        }
        let wanted = urls.told(&session);
        assert_eq!(wanted.len(), 2);
        urls.complete(&instance, "1");
        let n_done = *urls.n_done().borrow();
        assert!(!urls.are_done_after(0, &wanted), "one of two");
        urls.complete(&instance, "2");
        assert!(urls.are_done_after(0, &wanted));
        assert!(!urls.are_done_after(n_done, &wanted), "the first was done before");
        urls.complete(&instance, "1");
        assert!(urls.are_done_after(n_done, &wanted));
    }

    #[test]
    fn an_error_names_the_elicitations_it_needs() {
        let raw = |text: &str| Raw::parse(&text.to_owned().into()).unwrap();
        let error =
            r#"{"code":-32042,"message":"m","data":{"elicitations":[{"elicitationId":"x"},{"url":"y"},7]}}"#;
        assert_eq!(asked_for_by(&raw(error)), ["x"]);
        assert!(asked_for_by(&raw(&error.replace("-32042", "-32000"))).is_empty());
        assert!(asked_for_by(&raw("{}")).is_empty());
    }
}
