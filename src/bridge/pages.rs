//! Pages that a server with a handshake wants opened before a call is made (-32042): the client is asked in a result,
//! and the call is made again when it comes back.
//!
//! It may come back before the person is done. Then the server says the same once more, and the client's request waits
//! for the server's word that it is done, so that nobody is asked twice.
//! Source: MCP 2025-11-25, elicitation, "URL Elicitation Required Error".

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::ids::{Instance, SessionId};
use crate::route::Router;
use crate::route::urls::{Urls, asked_for_by};
use crate::rpc::mcp::method;
use crate::rpc::object::{Object, elements};
use crate::rpc::{Outcome, Raw};

/// So long a request waits for a person who is not done yet: less than what clients commonly wait for an answer (30 s).
pub(super) const HOLD: Duration = Duration::from_secs(25);
/// Times that a call is made again while one request waits.
const N_AGAIN_MAX: u32 = 5;

/// What one request has to do with pages.
#[derive(Debug)]
pub(super) struct Pages {
    urls: Arc<Urls>,
    /// The elicitations that the client was told of before, by the ids that the server gave them.
    told: Vec<String>,
    /// How many were completed before the call was made.
    n_done: u64,
    /// Until when it waits; set when it begins to.
    until: Option<Instant>,
    n_again: u32,
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Wait {
    urls: Arc<Urls>,
    wanted: Vec<(Instance, String)>,
    n_done: u64,
    until: Instant,
    /// What the server has said.
    pub(super) error: Raw,
}

impl Pages {
    /// For a request that is about to be carried out. `told` is what [`told`] gave when its client was asked.
    pub(super) fn of(router: &Router, told: Option<&str>) -> Self {
        let urls = Arc::clone(router.urls());
        Self {
            told: told
                .and_then(|told| serde_json::from_str(told).ok())
                .unwrap_or_default(),
            n_done: *urls.n_done().borrow(),
            urls,
            until: None,
            n_again: 0,
        }
    }

    /// The call is made again.
    pub(super) fn again(&mut self) {
        self.n_done = *self.urls.n_done().borrow();
        self.n_again += 1;
    }

    /// What to wait for before the client is asked again, if the person may just not be done yet: the server wants
    /// nothing but what the client was told of. `session`: of the call.
    pub(super) fn wait(&mut self, session: &SessionId, outcome: &Outcome, now: Instant) -> Option<Wait> {
        let error = outcome.as_ref().err().filter(|_| !self.told.is_empty())?;
        let asked = asked_for_by(error);
        let is_known = !asked.is_empty() && asked.iter().all(|id| self.told.contains(id));
        if !is_known || wanted_pages(error).len() != asked.len() || self.n_again >= N_AGAIN_MAX {
            return None;
        }
        let until = *self.until.get_or_insert(now + HOLD);
        let mut wanted = self.urls.told(session);
        wanted.retain(|(_, id)| asked.contains(id));
        (wanted.len() == asked.len() && now < until).then(|| Wait {
            urls: Arc::clone(&self.urls),
            wanted,
            n_done: self.n_done,
            until,
            error: error.clone(),
        })
    }
}

impl Wait {
    /// Waits until the person is done: `true`; or for too long.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn is_done(&self) -> bool {
        let mut n_done = self.urls.n_done();
        let is_done = n_done.wait_for(|_| self.urls.are_done_after(self.n_done, &self.wanted));
        matches!(tokio::time::timeout_at(self.until, is_done).await, Ok(Ok(_)))
    }
}

/// What is kept of the pages that a client is told of, until it comes back.
pub(super) fn told(error: &Raw) -> String {
    json!(asked_for_by(error)).to_string()
}

/// The pages that a server wants opened.
pub(super) fn wanted_pages(error: &Raw) -> Vec<Raw> {
    let wanted = || {
        let data = Object::of(error)?.get("data")?;
        elements(&Object::of(&data)?.get("elicitations")?)
    };
    wanted().unwrap_or_default()
}

/// The same as a client is asked for them in a result.
pub(super) fn input_requests(wanted: &[Raw]) -> Raw {
    let all = wanted.iter().zip(1u32..);
    all.fold(Raw::empty_object(), |requests, (params, n)| {
        let params =
            Object::of(params).map_or_else(|| params.clone(), |params| params.without(&["elicitationId"]));
        let request = Raw::of(&json!({ "method": method::ELICIT }));
        let request =
            Object::of(&request).map_or_else(|| request.clone(), |request| request.with("params", &params));
        Object::of(&requests).map_or_else(|| requests.clone(), |all| all.with(&format!("u{n}"), &request))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServerName;

    fn error(ids: &[&str]) -> Outcome {
        let all: Vec<_> = ids
            .iter()
            .map(|id| json!({ "elicitationId": id, "url": "https://x.example" }))
            .collect();
        Err(Raw::of(
            &json!({ "code": -32042, "message": "m", "data": { "elicitations": all } }),
        ))
    }

    fn pages(urls: &Arc<Urls>, told: &[&str]) -> Pages {
        Pages {
            urls: Arc::clone(urls),
            told: told.iter().map(|id| (*id).to_owned()).collect(),
            n_done: *urls.n_done().borrow(),
            until: None,
            n_again: 0,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_the_servers_word_and_not_for_ever() {
        let urls = Arc::new(Urls::default());
        let (session, instance) = (
            SessionId::random(),
            Instance::first(ServerName::parse("a").unwrap()),
        );
        let mut pages = pages(&urls, &["1", "2"]);
        let asked = error(&["1"]);
        let Err(text) = &asked else { panic!("an error") };
        for id in asked_for_by(text) {
            urls.note(&instance, id, &session);
        }
        let begun = Instant::now();
        let wait = pages.wait(&session, &asked, begun).unwrap();
        let (is_done, ()) = tokio::join!(wait.is_done(), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            urls.complete(&instance, "2");
            tokio::time::sleep(Duration::from_secs(3)).await;
            urls.complete(&instance, "1");
        });
        assert!(
            is_done && begun.elapsed() == Duration::from_secs(6),
            "{:?}",
            begun.elapsed()
        );
        pages.again();
        // What was done before says nothing of what is wanted once more, and all waiting together has its end.
        let wait = pages.wait(&session, &asked, Instant::now()).unwrap();
        assert!(!wait.is_done().await);
        assert_eq!(begun.elapsed(), HOLD);
        assert!(pages.wait(&session, &asked, Instant::now()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_word_that_is_faster_than_the_error_counts() {
        let urls = Arc::new(Urls::default());
        let (session, instance) = (
            SessionId::random(),
            Instance::first(ServerName::parse("a").unwrap()),
        );
        let mut pages = pages(&urls, &["1"]);
        urls.complete(&instance, "1");
        urls.note(&instance, "1".to_owned(), &session);
        let wait = pages.wait(&session, &error(&["1"]), Instant::now()).unwrap();
        assert!(wait.is_done().await);
    }

    #[test]
    fn who_was_not_told_before_is_asked_at_once() {
        let urls = Arc::new(Urls::default());
        let (session, instance) = (
            SessionId::random(),
            Instance::first(ServerName::parse("a").unwrap()),
        );
        for id in ["1", "2"] {
            urls.note(&instance, id.to_owned(), &session);
        }
        let now = Instant::now();
        let waits = |told: &[&str], asked: &Outcome| pages(&urls, told).wait(&session, asked, now).is_some();
        assert!(waits(&["1"], &error(&["1"])));
        assert!(!waits(&[], &error(&["1"])), "the first time");
        assert!(!waits(&["1"], &error(&["1", "2"])), "one more");
        assert!(!waits(&["1"], &error(&[])));
        assert!(!waits(&["3"], &error(&["3"])), "nobody knows whose");
        assert!(!waits(&["1"], &Ok(Raw::empty_object())));
        let nameless = json!({ "code": -32042, "data": { "elicitations": [{ "elicitationId": "1" }, {}] } });
        assert!(!waits(&["1"], &Err(Raw::of(&nameless))));
    }
}
