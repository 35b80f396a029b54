//! Whose a child's own message is. Pure.
//!
//! A message of the handshake era names no request. With one call in flight, or with several of one session, the
//! owner is certain; with calls of different sessions it is not, and then nobody gets it.

use std::sync::Arc;

use crate::child::Lane;

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

/// Decides from the calls in flight on the child, newest last.
pub fn attribute(candidates: &[Arc<Lane>]) -> Attribution {
    let Some(newest) = candidates.last() else {
        return Attribution::Unsolicited;
    };
    if candidates.iter().all(|lane| lane.session == newest.session) {
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
        assert!(matches!(attribute(&[]), Attribution::Unsolicited));
        let Attribution::Call(newest) = attribute(&[lane(&one, 1), lane(&one, 2)]) else {
            panic!()
        };
        assert_eq!(newest.request, RequestId::number(2));
        assert!(matches!(
            attribute(&[lane(&one, 1), lane(&two, 1)]),
            Attribution::Ambiguous
        ));
    }
}
