//! Whose a child's own message is, where its trace context says so. Pure.
//!
//! The span that the call was given is an exact match; the trace alone is one when no other call in flight is of the
//! same trace. What matches nothing says nothing, and is attributed as if it were not there.

use std::sync::Arc;

use super::attribute::{self, Attribution};
use crate::child::Lane;
use crate::child::ghosts::Candidates;
use crate::rpc::Raw;
use crate::rpc::object::Object;
use crate::rpc::trace::Trace;

/// Decides from the message's own trace context, else from the calls in flight on the child, newest last.
pub fn attribute(candidates: &Candidates, params: Option<&Raw>) -> Attribution {
    match trace_of(params).and_then(|trace| call_of(candidates, &trace)) {
        Some(lane) => Attribution::Call(lane),
        None => attribute::attribute(candidates),
    }
}

fn trace_of(params: Option<&Raw>) -> Option<Trace> {
    // A look at the text is enough for almost every message.
    let params = params.filter(|params| params.as_str().contains("\"traceparent\""))?;
    let meta = Object::of(params)?.get("_meta")?;
    Trace::parse(&Object::of(&meta)?.get_string("traceparent")?)
}

fn call_of(candidates: &Candidates, trace: &Trace) -> Option<Arc<Lane>> {
    let live = &candidates.live;
    let all = || live.iter().filter_map(|lane| Some((lane, lane.trace.get()?)));
    if let Some((lane, _)) = all().find(|(_, call)| call.span_id == trace.span_id) {
        return Some(Arc::clone(lane));
    }
    let mut same = all().filter(|(_, call)| call.trace_id == trace.trace_id);
    let (Some((only, _)), None) = (same.next(), same.next()) else {
        return None;
    };
    // A call that was given up may be of the same trace: of those it is not known.
    candidates.may_all_be_of(&only.peer).then(|| Arc::clone(only))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::rpc::RequestId;

    const ONE: &str = "00-0000000000000000000000000000000a-0000000000000001-01";
    const TWO: &str = "00-0000000000000000000000000000000b-0000000000000002-01";
    const THREE: &str = "00-0000000000000000000000000000000b-0000000000000003-01";

    fn lane(id: u64, trace: Option<&str>) -> Arc<Lane> {
        let lane = Lane::new(SessionId::random(), RequestId::number(id), None);
        if let Some(trace) = trace {
            lane.trace.set(Trace::parse(trace).unwrap()).unwrap();
        }
        Arc::new(lane)
    }

    fn found(candidates: &[Arc<Lane>], params: &str) -> Option<RequestId> {
        let params = Raw::parse(&params.to_owned().into()).unwrap();
        let candidates = Candidates {
            live: candidates.to_vec(),
            given_up: Vec::new(),
        };
        match attribute(&candidates, Some(&params)) {
            Attribution::Call(lane) => Some(lane.request.clone()),
            Attribution::Ambiguous | Attribution::Unsolicited => None,
        }
    }

    fn said(traceparent: &str) -> String {
        format!(r#"{{"level":"info","_meta":{{"traceparent":"{traceparent}"}}}}"#)
    }

    #[test]
    fn a_span_is_one_call_and_a_trace_is_one_where_no_other_call_has_it() {
        let all = [
            lane(1, Some(ONE)),
            lane(2, Some(TWO)),
            lane(3, Some(THREE)),
            lane(4, None),
        ];
        assert_eq!(found(&all, &said(ONE)), Some(RequestId::number(1)));
        assert_eq!(found(&all, &said(TWO)), Some(RequestId::number(2)));
        // A span of the server's own within the call's trace.
        let own = |trace: &str| said(&format!("{}-00000000000000ff-01", trace.get(..35).unwrap()));
        assert_eq!(found(&all, &own(ONE)), Some(RequestId::number(1)));
        assert_eq!(found(&all, &own(TWO)), None, "two calls are of this trace");
    }

    #[test]
    fn what_matches_nothing_changes_nothing() {
        let all = [lane(1, Some(ONE)), lane(2, Some(TWO))];
        let stranger = "00-000000000000000000000000000000ff-00000000000000ff-01";
        for params in [said(stranger), said("nonsense"), "{}".to_owned(), "[]".to_owned()] {
            assert_eq!(found(&all, &params), None, "{params}");
            assert_eq!(
                found(&all[..1], &params),
                Some(RequestId::number(1)),
                "the only call, as ever: {params}"
            );
        }
        // It has to stand where it belongs.
        let elsewhere = format!(r#"{{"data":{{"traceparent":"{ONE}"}},"_meta":{{}}}}"#);
        assert_eq!(found(&all, &elsewhere), None);
        assert!(matches!(
            attribute(&Candidates::default(), None),
            Attribution::Unsolicited
        ));
    }
}
