//! Whose a child's own message is. Pure.
//!
//! A message of the handshake era names no request. With one call in flight, or with several of one session, the
//! owner is certain; with calls of different sessions it is not, and then nobody gets it. A call that was cancelled or has
//! timed out counts as long as the child may still work on it.

use std::sync::Arc;

use crate::child::Lane;
use crate::child::ghosts::Candidates;

/// Whose it is.
#[derive(Debug)]
pub enum Attribution {
    /// It belongs to this call, or to another call of the same session.
    Call(Arc<Lane>),
    /// Calls of different sessions are in flight.
    Ambiguous,
    /// No call is in flight.
    Unsolicited,
}

/// Decides from the calls on the child.
pub fn attribute(candidates: &Candidates) -> Attribution {
    let live = &candidates.live;
    let Some(newest) = live.last() else {
        return Attribution::Unsolicited;
    };
    let is_one_session = live.iter().all(|lane| lane.peer == newest.peer);
    if is_one_session && candidates.may_all_be_of(&newest.peer) {
        return Attribution::Call(Arc::clone(newest));
    }
    Attribution::Ambiguous
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::rpc::RequestId;

    fn lane(session: &SessionId, id: u64) -> Arc<Lane> {
        Arc::new(Lane::new(session.clone(), RequestId::number(id), None))
    }

    #[test]
    fn an_owner_is_certain_or_there_is_none() {
        let (one, two) = (SessionId::random(), SessionId::random());
        let of = |live: Vec<Arc<Lane>>, given_up: &[&SessionId]| {
            attribute(&Candidates {
                live,
                given_up: given_up.iter().copied().cloned().collect(),
            })
        };
        assert!(matches!(of(vec![], &[]), Attribution::Unsolicited));
        assert!(matches!(of(vec![], &[&one]), Attribution::Unsolicited));
        let Attribution::Call(newest) = of(vec![lane(&one, 1), lane(&one, 2)], &[&one]) else {
            panic!()
        };
        assert_eq!(newest.request, RequestId::number(2));
        assert!(matches!(
            of(vec![lane(&one, 1), lane(&two, 1)], &[]),
            Attribution::Ambiguous
        ));
        assert!(matches!(of(vec![lane(&one, 1)], &[&two]), Attribution::Ambiguous));
    }
}
