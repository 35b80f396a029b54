//! Which server a client has a URI from: links and contents in results, and news of resources that no list names.
//!
//! A client may read what it was shown; who showed it can answer. Kept per session, the least recently used goes
//! first. Pure but for the lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::{ServerName, SessionId};
use crate::rpc::Raw;
use crate::rpc::object::{Object, elements};

/// URIs that are remembered for one session.
pub const N_OF_SESSION_MAX: usize = 1_000;
/// URIs that are remembered for all sessions together.
pub const N_ALL_MAX: usize = 50_000;
/// A result longer than this is not looked through, bytes.
pub const RESULT_BYTES_MAX: usize = 1 << 20;
/// A URI longer than this is not remembered, bytes.
const URI_BYTES_MAX: usize = 2_048;

/// What all sessions were shown.
#[derive(Debug, Default)]
pub struct Provenance(Mutex<Seen>);

impl Provenance {
    /// A session was shown a URI by a server.
    pub fn note(&self, session: &SessionId, server: &ServerName, uri: &str) {
        if uri.len() <= URI_BYTES_MAX {
            self.seen().note(session, server, uri);
        }
    }

    /// The server that has shown a URI to a session last.
    pub fn of(&self, session: &SessionId, uri: &str) -> Option<ServerName> {
        self.seen().of(session, uri)
    }

    /// A session is gone.
    pub fn forget(&self, session: &SessionId) {
        self.seen().forget(session);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Uses are counted; the lowest count is the least recent use.
#[derive(Debug, Default)]
struct Seen {
    n_uses: u64,
    sessions: HashMap<SessionId, OfSession>,
    /// Every URI of every session, by its last use.
    uses: BTreeMap<u64, SessionId>,
}

#[derive(Debug, Default)]
struct OfSession {
    uris: HashMap<Arc<str>, (ServerName, u64)>,
    uses: BTreeMap<u64, Arc<str>>,
}

impl Seen {
    fn note(&mut self, session: &SessionId, server: &ServerName, uri: &str) {
        self.n_uses += 1;
        let of_session = self.sessions.entry(session.clone()).or_default();
        let uri: Arc<str> = Arc::from(uri);
        let fresh = (server.clone(), self.n_uses);
        if let Some((_, last_use)) = of_session.uris.insert(Arc::clone(&uri), fresh) {
            of_session.uses.remove(&last_use);
            self.uses.remove(&last_use);
        }
        of_session.uses.insert(self.n_uses, uri);
        self.uses.insert(self.n_uses, session.clone());
        if of_session.uris.len() > N_OF_SESSION_MAX
            && let Some((last_use, oldest)) = of_session.uses.pop_first()
        {
            of_session.uris.remove(&oldest);
            self.uses.remove(&last_use);
        }
        if self.uses.len() > N_ALL_MAX {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((last_use, session)) = self.uses.pop_first() else {
            return;
        };
        let Some(of_session) = self.sessions.get_mut(&session) else {
            return;
        };
        if let Some(uri) = of_session.uses.remove(&last_use) {
            of_session.uris.remove(&uri);
        }
        if of_session.uris.is_empty() {
            self.sessions.remove(&session);
        }
    }

    fn of(&mut self, session: &SessionId, uri: &str) -> Option<ServerName> {
        let (server, _) = self.sessions.get(session)?.uris.get(uri)?;
        let server = server.clone();
        // It is used, so it stays.
        self.note(session, &server, uri);
        Some(server)
    }

    fn forget(&mut self, session: &SessionId) {
        let gone = self.sessions.remove(session);
        for last_use in gone.iter().flat_map(|gone| gone.uses.keys()) {
            self.uses.remove(last_use);
        }
    }
}

/// The URIs that a result of a tool, a prompt or a resource shows: of links, of embedded resources, of contents.
///
/// At most as many as are remembered of a session.
pub fn uris_in(result: &Raw) -> Vec<String> {
    // A look at the text is enough for almost every result.
    let may_hold_some = result.as_bytes().len() <= RESULT_BYTES_MAX && result.holds("\"uri\"");
    let Some(object) = may_hold_some.then(|| Object::of(result)).flatten() else {
        return Vec::new();
    };
    let list = |key: &str| object.get(key).as_ref().and_then(elements).unwrap_or_default();
    let contents = list("contents").into_iter().filter_map(|part| uri_of(&part));
    let blocks = list("content").into_iter().filter_map(|block| shown_by(&block));
    let messages = list("messages").into_iter().flat_map(|message| {
        let content = Object::of(&message).and_then(|message| message.get("content"));
        let blocks = match content {
            Some(content) if content.is_array() => elements(&content).unwrap_or_default(),
            one => one.into_iter().collect(),
        };
        blocks.into_iter().filter_map(|block| shown_by(&block))
    });
    contents
        .chain(blocks)
        .chain(messages)
        .take(N_OF_SESSION_MAX)
        .collect()
}

fn shown_by(block: &Raw) -> Option<String> {
    let object = Object::of(block)?;
    match object.get_string("type")?.as_str() {
        "resource_link" => object.get_string("uri"),
        "resource" => uri_of(&object.get("resource")?),
        _other => None,
    }
}

fn uri_of(part: &Raw) -> Option<String> {
    Object::of(part)?.get_string("uri")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server(name: &str) -> ServerName {
        ServerName::parse(name).unwrap()
    }

    fn uris(text: &str) -> Vec<String> {
        uris_in(&Raw::parse(&text.to_owned().into()).unwrap())
    }

    #[test]
    fn links_embedded_resources_and_contents_are_seen() {
        assert_eq!(
            uris(
                r#"{"content":[{"type":"text","text":"\"uri\"","uri":"no://"},{"type":"resource_link","uri":"a://1"},{"type":"resource","resource":{"uri":"a://2"}},5],"contents":[{"uri":"a://3"},null]}"#
            ),
            ["a://3", "a://1", "a://2"]
        );
        assert_eq!(
            uris(
                r#"{"messages":[{"content":{"type":"resource_link","uri":"a://1"}},{"content":[{"type":"resource_link","uri":"a://2"}]},{}]}"#
            ),
            ["a://1", "a://2"]
        );
        for nothing in ["[]", "{}", r#"{"uri":"a://1"}"#, r#"{"content":"uri"}"#] {
            assert!(uris(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn a_result_that_is_too_long_is_not_looked_through() {
        let filled = |n: usize| {
            let text = "x".repeat(n);
            uris(&format!(r#"{{"contents":[{{"uri":"a://1"}}],"text":"{text}"}}"#)).len()
        };
        assert_eq!((filled(10), filled(RESULT_BYTES_MAX)), (1, 0));
    }

    #[test]
    fn the_last_who_showed_it_counts_and_only_for_whom_it_was_shown_to() {
        let (seen, one, two) = (Provenance::default(), SessionId::random(), SessionId::random());
        seen.note(&one, &server("a"), "x://1");
        seen.note(&one, &server("b"), "x://1");
        assert_eq!(seen.of(&one, "x://1"), Some(server("b")));
        assert_eq!(seen.of(&two, "x://1"), None);
        seen.note(&one, &server("a"), &"x".repeat(URI_BYTES_MAX + 1));
        assert_eq!(seen.seen().uses.len(), 1);
        seen.forget(&one);
        assert_eq!(seen.of(&one, "x://1"), None);
        assert!(seen.seen().uses.is_empty() && seen.seen().sessions.is_empty());
    }

    #[test]
    fn of_one_session_the_least_recently_used_goes_first() {
        let (seen, one, a) = (Provenance::default(), SessionId::random(), server("a"));
        let uri = |n: usize| format!("x://{n}");
        for n in 0..N_OF_SESSION_MAX {
            seen.note(&one, &a, &uri(n));
        }
        assert!(seen.of(&one, &uri(0)).is_some(), "used again");
        seen.note(&one, &a, "x://new");
        assert!(seen.of(&one, &uri(0)).is_some());
        assert_eq!(seen.of(&one, &uri(1)), None);
        assert_eq!(seen.seen().uses.len(), N_OF_SESSION_MAX);
    }

    #[test]
    fn of_all_sessions_the_least_recently_used_goes_first() {
        let (seen, a) = (Provenance::default(), server("a"));
        let sessions: Vec<_> = (0..=N_ALL_MAX / N_OF_SESSION_MAX)
            .map(|_| SessionId::random())
            .collect();
        for session in &sessions {
            for n in 0..N_OF_SESSION_MAX {
                seen.note(session, &a, &n.to_string());
            }
        }
        assert_eq!(seen.seen().uses.len(), N_ALL_MAX);
        assert_eq!(seen.of(&sessions[0], "0"), None);
        assert!(!seen.seen().sessions.contains_key(&sessions[0]));
        assert!(seen.of(&sessions[1], "0").is_some());
    }

    proptest! {
        #[test]
        fn the_two_orders_always_agree(ops in prop::collection::vec((0_usize..3, 0_usize..9, 0_u8..4), 0..200)) {
            let sessions: Vec<_> = (0..3).map(|_| SessionId::random()).collect();
            let mut seen = Seen::default();
            for (session, uri, op) in ops {
                let (session, uri) = (&sessions[session], uri.to_string());
                match op {
                    0 => seen.forget(session),
                    1 => drop(seen.of(session, &uri)),
                    2 => seen.drop_oldest(),
                    _ => seen.note(session, &server("a"), &uri),
                }
                let n_uris: usize = seen.sessions.values().map(|of| of.uris.len()).sum();
                let n_uses: usize = seen.sessions.values().map(|of| of.uses.len()).sum();
                prop_assert_eq!((n_uris, n_uses), (seen.uses.len(), seen.uses.len()));
                for (last_use, session) in &seen.uses {
                    let of = &seen.sessions[session];
                    prop_assert_eq!(of.uris[&of.uses[last_use]].1, *last_use);
                }
            }
        }
    }
}
