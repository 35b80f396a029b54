//! What the shim itself says to a daemon that knows nothing of its client: a few requests at a time, and those that
//! were refused once more when the lists have changed. Pure.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::rpc::Raw;

/// Requests of our own without an answer at once.
const N_AT_ONCE_MAX: usize = 256;

/// Our own requests to one daemon.
#[derive(Debug, Default)]
pub(super) struct Again {
    n_said: u64,
    /// By the text of their ids, those without an answer.
    said: HashMap<String, Said>,
    /// URIs that are yet to be subscribed to.
    queue: VecDeque<Wanted>,
    /// URIs that the daemon does not know yet.
    refused: BTreeSet<String>,
    /// How often the daemon has told that its resources are others.
    n_changes: u64,
}

/// What one of our own requests is.
#[derive(Debug)]
enum Said {
    Hello,
    Level,
    Subscribe { wanted: Wanted, n_changes: u64 },
}

#[derive(Debug)]
struct Wanted {
    uri: String,
    was_refused: bool,
}

/// What follows from the answer to one of our own requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answered {
    /// The daemon knows the client again.
    Hello,
    /// A resource is subscribed to only now: something of it may have been missed.
    Late(String),
    Nothing,
}

impl Again {
    /// The id of the handshake.
    pub(super) fn hello(&mut self) -> Raw {
        self.say(Said::Hello)
    }

    /// The id of the request for a level.
    pub(super) fn level(&mut self) -> Raw {
        self.say(Said::Level)
    }

    /// This is to be subscribed to.
    pub(super) fn want(&mut self, uri: &str) {
        self.queue.push_back(Wanted {
            uri: uri.to_owned(),
            was_refused: false,
        });
    }

    /// Whether there is something to say, and room for it.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty() && self.said.len() < N_AT_ONCE_MAX
    }

    /// The next to subscribe to that is still `wanted`: the id, and the URI.
    pub(super) fn next(&mut self, wanted: impl Fn(&str) -> bool) -> Option<(Raw, String)> {
        while self.has_more() {
            let next = self.queue.pop_front().filter(|next| wanted(&next.uri));
            if let Some(next) = next {
                let uri = next.uri.clone();
                let n_changes = self.n_changes;
                let wanted = next;
                return Some((self.say(Said::Subscribe { wanted, n_changes }), uri));
            }
        }
        None
    }

    /// The daemon's resources are others: what it did not know it may know now.
    pub(super) fn resources_changed(&mut self) {
        self.n_changes += 1;
        let refused = std::mem::take(&mut self.refused);
        self.queue.extend(refused.into_iter().map(Wanted::again));
    }

    /// An answer has come; `None` when the request was not ours.
    pub(super) fn answered(&mut self, id: &str, is_good: bool) -> Option<Answered> {
        let said = self.said.remove(id)?;
        Some(match said {
            Said::Hello if is_good => Answered::Hello,
            Said::Subscribe { wanted, .. } if is_good && wanted.was_refused => Answered::Late(wanted.uri),
            Said::Subscribe { wanted, n_changes } if !is_good => {
                // It may have been refused before the change that was told meanwhile.
                if n_changes == self.n_changes {
                    self.refused.insert(wanted.uri);
                } else {
                    self.queue.push_back(Wanted::again(wanted.uri));
                }
                Answered::Nothing
            }
            Said::Hello | Said::Level | Said::Subscribe { .. } => Answered::Nothing,
        })
    }

    fn say(&mut self, said: Said) -> Raw {
        let id = Raw::of(&format!("mcp-wrapper-again-{}", self.n_said));
        self.n_said += 1;
        self.said.insert(id.as_str().to_owned(), said);
        id
    }
}

impl Wanted {
    fn again(uri: String) -> Self {
        Self {
            uri,
            was_refused: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say_all(again: &mut Again) -> Vec<(String, String)> {
        let next = || {
            let (id, uri) = again.next(|uri| uri != "unwanted")?;
            Some((id.as_str().to_owned(), uri))
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn not_too_much_is_said_at_once_and_each_answer_makes_room() {
        let mut again = Again::default();
        (0..N_AT_ONCE_MAX + 2).for_each(|n| again.want(&format!("x://{n}")));
        let first = say_all(&mut again);
        assert_eq!((first.len(), again.has_more()), (N_AT_ONCE_MAX, false));
        assert_eq!(again.answered(&first[7].0, true), Some(Answered::Nothing));
        assert_eq!(again.answered(&first[7].0, true), None, "each is answered once");
        assert_eq!(say_all(&mut again).len(), 1);
    }

    #[test]
    fn what_was_refused_is_said_again_once_the_resources_are_others() {
        let mut again = Again::default();
        ["a", "unwanted", "b"].iter().for_each(|uri| again.want(uri));
        let said = say_all(&mut again);
        assert_eq!(said.iter().map(|(_, uri)| uri).collect::<Vec<_>>(), ["a", "b"]);
        again.answered(&said[0].0, false);
        assert!(say_all(&mut again).is_empty());
        again.resources_changed();
        let more = say_all(&mut again);
        assert_eq!(more[0].1, "a");
        assert_eq!(
            again.answered(&more[0].0, true),
            Some(Answered::Late("a".to_owned()))
        );
        // Refused before the change, heard of after it.
        again.answered(&said[1].0, false);
        assert_eq!(say_all(&mut again)[0].1, "b");
        again.resources_changed();
        assert!(say_all(&mut again).is_empty());
    }
}
