//! Sealed states: what nobody sealed does not open, and one spelling of arguments is one spelling.

use std::sync::LazyLock;

use bytes::Bytes;
use mcp_wrapper::bridge::canonical::{arguments_digest, canonical};
use mcp_wrapper::bridge::seal::{Keys, Kind, Refused, State, principal_digest};
use mcp_wrapper::rpc::Raw;

use crate::any::Any;

const NOW: u64 = 1_000;

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::from_bytes(&[7; 64]).expect("two keys"));

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let text = String::from_utf8_lossy(data);
    for given in [text.to_string(), format!("g1.{text}")] {
        assert!(matches!(
            KEYS.open(&given, NOW),
            Err(Refused::Garbled | Refused::Unauthentic)
        ));
    }
    let state = State {
        kind: any.pick(&[Kind::Park, Kind::Relay, Kind::Reissue, Kind::Replay]),
        park: u64::from(any.byte()),
        round: u32::from(any.byte()),
        nonce: [any.byte(); 16],
        server: any.text(8),
        generation: u64::from(any.byte()),
        method: any.text(8),
        target: any.text(16),
        arguments_digest: [any.byte(); 16],
        principal: principal_digest(&any.text(4)),
        issued_at_ms: 0,
        expires_at_ms: NOW + u64::from(any.byte()),
        inner: (any.byte() % 2 == 0).then(|| any.text(16)),
        answers: (any.byte() % 2 == 0).then(|| any.text(16)),
    };
    let sealed = KEYS.seal(&state).expect("it is small");
    let opened = KEYS.open(&sealed, NOW);
    if state.expires_at_ms > NOW {
        assert_eq!(opened.expect("it is in time"), state);
    } else {
        assert_eq!(opened, Err(Refused::Expired));
    }
    let mut changed = sealed.clone().into_bytes();
    let at = any.below(changed.len());
    changed[at] = any.byte();
    let changed = String::from_utf8_lossy(&changed);
    assert_eq!(KEYS.open(&changed, 0).is_ok(), changed == sealed);
    if let Ok(value) = Raw::parse(&Bytes::copy_from_slice(data)) {
        let text = canonical(&value);
        let again = Raw::parse(&Bytes::from(text.clone())).expect("it is JSON");
        assert_eq!(canonical(&again), text);
        assert_eq!(arguments_digest(Some(&again)), arguments_digest(Some(&value)));
    }
}
