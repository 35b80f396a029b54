//! What an earlier run, another version or anybody else has written: session states, ids of events, trace headers.

use mcp_wrapper::registry::sessions::KeptSession;
use mcp_wrapper::rpc::trace::Trace;
use mcp_wrapper::rpc::{Raw, RequestId};
use mcp_wrapper::session::keep::Recalled;
use mcp_wrapper::session::replay::{Lost, Streams};

use crate::any::{Any, bytes};

const PARTS: &[&str] = &[
    "0123456789abcdef0123456789abcdef",
    "-",
    ":",
    "1",
    "22",
    "6122",
    "+",
    "00",
    "ff",
    "18446744073709551616",
];

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let state = match any.byte() % 3 {
        0 => any.text(200),
        1 => any.object(4),
        _nearly => format!(
            r#"{{"revision":"2025-11-25","client_info":{},"capabilities":{},"initialized":true,"level":{},"subscribed":[{{"server":{},"owner":"{}","own":{},"exposed":""}}]}}"#,
            any.json(3),
            any.json(3),
            any.pick(&["null", "\"debug\"", "\"x\""]),
            any.pick(&["\"a\"", "\"a b\"", "1"]),
            any.pick(&["shared", "session", "client", "x"]),
            any.json(1)
        ),
    };
    let kept = KeptSession {
        id: any.pick(&["x", ID]).to_owned(),
        state,
        idle_ms: i64::from(any.byte()) - 128,
    };
    if let Some(recalled) = Recalled::read(&kept) {
        assert_eq!(recalled.id.as_str(), ID);
        assert!(Raw::parse(&recalled.profile.capabilities.bytes()).is_ok());
    }
    let event: String = if any.byte() % 3 == 0 {
        any.text(80)
    } else {
        (0..any.below(9)).map(|_| any.pick(PARTS)).collect()
    };
    if let Some(Lost::Call(id)) = Streams::lost(&event) {
        assert!(Raw::parse(&id.raw().bytes()).is_ok());
    }
    let streams = Streams::default();
    assert!(streams.find(&event).is_none(), "nobody guesses a stream");
    let id = any.json(0);
    let of_call = Raw::parse(&bytes(&id))
        .ok()
        .and_then(|raw| RequestId::parse(raw).ok());
    let log = streams.open(of_call.as_ref());
    let n = log.push(bytes("{}"));
    let (found, number) = streams.find(&log.event_id(n)).expect("it is there");
    assert_eq!(
        (found.event_id(number), found.is_of_call()),
        (log.event_id(n), of_call.is_some())
    );
    assert!(
        streams.find(&log.event_id(n + 1)).is_none(),
        "it was not sent yet"
    );
    if let Some(trace) = Trace::parse(&any.text(80)) {
        assert_eq!(trace.to_string().len(), 55);
    }
}

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
