//! Sealed states: what opens, and what does not.

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000_000;

fn keys(seed: u8) -> Keys {
    Keys::from_bytes(&[seed; KEY_BYTES]).unwrap()
}

fn state() -> State {
    State {
        kind: Kind::Park,
        park: 7,
        round: 1,
        nonce: [3; 16],
        server: "files".to_owned(),
        generation: 2,
        method: "tools/call".to_owned(),
        target: "files__ask".to_owned(),
        arguments_digest: [4; 16],
        principal: principal_digest("somebody"),
        issued_at_ms: NOW,
        expires_at_ms: NOW + 600_000,
        inner: Some("their \u{0} state".to_owned()),
        answers: None,
    }
}

#[test]
fn a_state_comes_back_as_it_was_given() {
    let text = keys(1).seal(&state()).unwrap();
    assert!(text.starts_with("g1.") && text.len() < 500, "{text}");
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    );
    assert_eq!(keys(1).open(&text, NOW), Ok(state()));
}

#[test]
fn a_sealed_text_shows_nothing() {
    let body = URL_SAFE_NO_PAD
        .decode(keys(1).seal(&state()).unwrap().strip_prefix("g1.").unwrap())
        .unwrap();
    for secret in ["files", "tools/call", "their"] {
        assert!(
            !body.windows(secret.len()).any(|part| part == secret.as_bytes()),
            "{secret}"
        );
    }
    assert!(!format!("{:?}", keys(77)).contains("77"));
}

#[test]
fn whatever_character_is_changed_it_does_not_open() {
    let text = keys(1).seal(&state()).unwrap();
    for at in 0..text.len() {
        for other in [b'A', b'B', b'-', b'_', b'.', b'=', b' ', b'\n'] {
            let mut changed = text.clone().into_bytes();
            if changed[at] == other {
                continue;
            }
            changed[at] = other;
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                matches!(
                    keys(1).open(&changed, NOW),
                    Err(Refused::Garbled | Refused::Unauthentic)
                ),
                "{at} {changed}"
            );
        }
    }
}

#[test]
fn whatever_bit_is_changed_it_is_not_authentic() {
    let text = keys(1).seal(&state()).unwrap();
    let body = URL_SAFE_NO_PAD
        .decode(text.strip_prefix(PREFIX).unwrap())
        .unwrap();
    for at in 0..body.len() * 8 {
        let mut changed = body.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(changed));
        assert_eq!(keys(1).open(&changed, NOW), Err(Refused::Unauthentic), "bit {at}");
    }
}

#[test]
fn parts_and_other_texts_do_not_open() {
    let text = keys(1).seal(&state()).unwrap();
    for n in 0..text.len() {
        assert!(keys(1).open(&text[..n], NOW).is_err(), "{n} characters");
    }
    let padded = format!("{text}=");
    let longer = format!("{text}AAAA");
    let upper = text.replacen("g1.", "G1.", 1);
    let next = text.replacen("g1.", "g2.", 1);
    for other in [
        "",
        "g1.",
        "g1",
        "x",
        padded.as_str(),
        &longer,
        &upper,
        &next,
        &format!(" {text}"),
    ] {
        assert!(
            matches!(
                keys(1).open(other, NOW),
                Err(Refused::Garbled | Refused::Unauthentic)
            ),
            "{other}"
        );
    }
}

#[test]
fn the_last_character_has_one_spelling() {
    // Unused bits at the end of base64 would otherwise give one state several texts.
    for n in 0..3 {
        let one = State {
            target: "x".repeat(n),
            ..state()
        };
        let text = keys(1).seal(&one).unwrap();
        let alphabet = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']);
        let n_open = alphabet
            .filter(|last| {
                keys(1)
                    .open(&format!("{}{last}", &text[..text.len() - 1]), NOW)
                    .is_ok()
            })
            .count();
        assert_eq!(n_open, 1);
    }
}

#[test]
fn another_key_does_not_open_it_and_an_earlier_one_of_the_ring_does() {
    let old = keys(1);
    let text = old.seal(&state()).unwrap();
    assert_eq!(keys(2).open(&text, NOW), Err(Refused::Unauthentic));
    let mut ring = old.clone();
    for n in 1..KEYS_MAX {
        ring = ring.rotated().unwrap();
        assert_eq!(ring.open(&text, NOW), Ok(state()), "after {n} keys");
        assert_eq!(
            old.open(&ring.seal(&state()).unwrap(), NOW),
            Err(Refused::Unauthentic)
        );
        assert_eq!(ring.to_bytes().len(), (n + 1) * KEY_BYTES);
    }
    ring = ring.rotated().unwrap();
    assert_eq!(ring.to_bytes().len(), KEYS_MAX * KEY_BYTES);
    assert_eq!(ring.open(&text, NOW), Err(Refused::Unauthentic));
}

#[test]
fn a_key_of_the_same_name_is_not_taken_for_it() {
    let text = keys(1).seal(&state()).unwrap();
    let mut other = keys(2);
    other.ring[0].kid = keys(1).ring[0].kid;
    assert_eq!(other.open(&text, NOW), Err(Refused::Unauthentic));
    other.ring.push(keys(1).ring[0].clone());
    assert_eq!(other.open(&text, NOW), Ok(state()));
}

#[test]
fn a_ring_is_written_and_read_again() {
    let ring = Keys::random().unwrap().rotated().unwrap();
    let again = Keys::from_bytes(&ring.to_bytes()).unwrap();
    assert_eq!(again.open(&ring.seal(&state()).unwrap(), NOW), Ok(state()));
    assert_eq!(again.to_bytes(), ring.to_bytes());
    assert_ne!(
        Keys::random().unwrap().to_bytes(),
        Keys::random().unwrap().to_bytes()
    );
    for n in [0, 1, 31, 33, 63, 32 * (KEYS_MAX + 1)] {
        assert!(Keys::from_bytes(&vec![1; n]).is_none(), "{n} bytes");
    }
}

#[test]
fn a_state_opens_until_its_time_and_not_after() {
    let text = keys(1).seal(&state()).unwrap();
    let ends = NOW + 600_000;
    assert!(keys(1).open(&text, ends - 1).is_ok());
    for late in [ends, ends + 1, u64::MAX] {
        assert_eq!(keys(1).open(&text, late), Err(Refused::Expired));
    }
    // The clock of the machine may have been set back: that ends no conversation.
    assert!(keys(1).open(&text, 0).is_ok());
    // Who cannot open it hears nothing about its time.
    assert_eq!(keys(2).open(&text, ends), Err(Refused::Unauthentic));
}

#[test]
fn it_belongs_to_one_client_and_one_request() {
    let state = state();
    let check = |principal: &str, method: &str, target: &str, digest: u8| {
        matches(&state, principal_digest(principal), method, target, [digest; 16])
    };
    assert_eq!(check("somebody", "tools/call", "files__ask", 4), Ok(()));
    assert_eq!(
        check("somebody ", "tools/call", "files__ask", 4),
        Err(Refused::Principal)
    );
    assert_eq!(
        check("somebody", "prompts/get", "files__ask", 4),
        Err(Refused::Method)
    );
    assert_eq!(
        check("somebody", "tools/call", "files__ask2", 4),
        Err(Refused::Target)
    );
    assert_eq!(
        check("somebody", "tools/call", "files__ask", 5),
        Err(Refused::Arguments)
    );
    assert_eq!(check("", "", "", 0), Err(Refused::Principal));
}

#[test]
fn sizes_are_bounded() {
    let with = |inner: usize, answers: usize| {
        let state = State {
            inner: Some("i".repeat(inner)),
            answers: Some("a".repeat(answers)),
            ..state()
        };
        keys(1)
            .seal(&state)
            .map(|text| keys(1).open(&text, NOW) == Ok(state))
    };
    assert_eq!(with(0, ANSWERS_BYTES_MAX), Ok(true));
    assert_eq!(with(0, ANSWERS_BYTES_MAX + 1), Err(TooLarge));
    assert_eq!(with(48_000, 0), Ok(true));
    assert_eq!(with(49_000, 0), Err(TooLarge));
    assert_eq!(
        keys(1).open(&format!("g1.{}", "A".repeat(SEALED_BYTES_MAX)), NOW),
        Err(Refused::Garbled)
    );
}

#[test]
fn fields_do_not_run_into_each_other() {
    let of = |server: &str, method: &str, target: &str| State {
        server: server.to_owned(),
        method: method.to_owned(),
        target: target.to_owned(),
        ..state()
    };
    let all = [
        of("ab", "c", ""),
        of("a", "bc", ""),
        of("", "abc", ""),
        of("a", "b", "c"),
        of("abc", "", ""),
    ];
    for (at, one) in all.iter().enumerate() {
        for other in all.iter().skip(at + 1) {
            assert_ne!(one.to_bytes(), other.to_bytes());
            assert_ne!(keys(1).seal(one), keys(1).seal(other));
        }
    }
    let (inner, answers) = (Some("x".to_owned()), None);
    let one = State {
        inner: inner.clone(),
        answers: answers.clone(),
        ..state()
    };
    let other = State {
        inner: answers,
        answers: inner,
        ..state()
    };
    assert_eq!(
        keys(1).open(&keys(1).seal(&other).unwrap(), NOW),
        Ok(other.clone())
    );
    assert_ne!(one, other);
}

#[test]
fn a_payload_of_another_form_or_with_more_behind_it_is_none() {
    let bytes = state().to_bytes();
    assert_eq!(State::from_bytes(&bytes), Some(state()));
    for n in 0..bytes.len() {
        assert_eq!(State::from_bytes(&bytes[..n]), None, "{n} bytes");
    }
    assert_eq!(State::from_bytes(&[bytes.as_slice(), &[0]].concat()), None);
    for (at, byte) in [(0, 0), (0, 2), (1, 0), (1, 5)] {
        let mut other = bytes.clone();
        other[at] = byte;
        assert_eq!(State::from_bytes(&other), None);
    }
    let sealed = keys(1).ring[0].sealed(b"authentic, and none of ours").unwrap();
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed));
    assert_eq!(keys(1).open(&text, NOW), Err(Refused::Garbled));
}

fn any_state() -> impl Strategy<Value = State> {
    let kinds = [Kind::Park, Kind::Relay, Kind::Reissue, Kind::Replay];
    let text = || any::<String>();
    (
        (
            prop::sample::select(kinds.to_vec()),
            any::<u64>(),
            any::<u32>(),
            any::<[u8; 16]>(),
        ),
        (text(), any::<u64>(), text(), text()),
        (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u64>(), 1..u64::MAX),
        (prop::option::of(text()), prop::option::of(text())),
    )
        .prop_map(
            |((kind, park, round, nonce), (server, generation, method, target), more, (inner, answers))| {
                let (arguments_digest, principal, issued_at_ms, expires_at_ms) = more;
                State {
                    kind,
                    park,
                    round,
                    nonce,
                    server,
                    generation,
                    method,
                    target,
                    arguments_digest,
                    principal,
                    issued_at_ms,
                    expires_at_ms,
                    inner,
                    answers,
                }
            },
        )
}

proptest! {
    #[test]
    fn every_state_comes_back(state in any_state(), key in any::<[u8; 32]>()) {
        let keys = Keys::from_bytes(&key).unwrap();
        let text = keys.seal(&state).unwrap();
        prop_assert_eq!(&keys.open(&text, state.expires_at_ms - 1).unwrap(), &state);
        prop_assert_eq!(keys.open(&text, state.expires_at_ms), Err(Refused::Expired));
    }

    #[test]
    fn different_states_have_different_nonces(one in any_state(), other in any_state()) {
        prop_assume!(one != other);
        let nonce = |state: &State| keys(1).ring[0].sealed(&state.to_bytes()).unwrap()[4..28].to_vec();
        prop_assert_ne!(nonce(&one), nonce(&other));
        prop_assert_eq!(nonce(&one), nonce(&one));
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "(g1\\.)?[A-Za-z0-9_=.-]{0,200}") {
        prop_assert!(matches!(keys(1).open(&text, NOW), Err(Refused::Garbled | Refused::Unauthentic)));
    }
}
