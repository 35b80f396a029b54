//! One spelling for all spellings of a JSON value, so that two texts of the same arguments are found equal. Pure.
//!
//! Close to the JSON Canonicalization Scheme (RFC 8785): members sorted by key, no white space, one way of escaping.
//! Numbers stay as they were written, because a server may tell `1` from `1.0` and a double does not hold every
//! number. What cannot be sorted or lies too deep stays as it was written too: then equal values may be found
//! different, never different ones equal.

use sha2::{Digest, Sha256};

use crate::rpc::Raw;
use crate::rpc::object::{Object, elements};

/// Levels of nesting that are rewritten; what lies deeper stays as it was written.
const DEPTH_MAX: usize = 64;

/// The first half of a SHA-256.
pub type Digest128 = [u8; 16];

/// The digest of a request's arguments; none are the same as none in an empty object.
pub fn arguments_digest(arguments: Option<&Raw>) -> Digest128 {
    let text = arguments.map_or_else(|| b"{}".to_vec(), canonical);
    digest("mcp-wrapper arguments", &text)
}

/// The digest of this text for this use: those of one use say nothing about those of another.
pub(super) fn digest(domain: &str, text: &[u8]) -> Digest128 {
    let mut hash = Sha256::new();
    hash.update(domain.as_bytes());
    // No domain holds a zero byte, so that none is the beginning of another with its text.
    hash.update([0]);
    hash.update(text);
    let all: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|at| all.get(at).copied().unwrap_or_default())
}

/// The value in its one spelling. As long as the text at most.
pub fn canonical(value: &Raw) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.as_bytes().len());
    write(&mut out, value, 0);
    out
}

fn write(out: &mut Vec<u8>, value: &Raw, depth: usize) {
    if depth >= DEPTH_MAX {
        out.extend_from_slice(value.as_bytes());
    } else if let Some(object) = Object::of(value) {
        write_object(out, value, &object, depth);
    } else if let Some(all) = elements(value) {
        out.push(b'[');
        for (at, element) in all.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(out, element, depth + 1);
        }
        out.push(b']');
    } else {
        match value.as_string() {
            Some(text) => out.extend_from_slice(Raw::of(&text).as_bytes()),
            // A number or a word; or a text that is none of characters, which has no other spelling for us.
            None => out.extend_from_slice(value.as_bytes()),
        }
    }
}

fn write_object(out: &mut Vec<u8>, value: &Raw, object: &Object<'_>, depth: usize) {
    if object.readable() != *value {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    let mut members: Vec<(String, Raw)> = object.iter().collect();
    // Stable: of a key that stands twice readers take the first or the last, so the order belongs to the value.
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    out.push(b'{');
    for (at, (key, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(Raw::of(key).as_bytes());
        out.push(b':');
        write(out, value, depth + 1);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    fn of(text: &str) -> String {
        String::from_utf8(canonical(&raw(text))).unwrap()
    }

    #[test]
    fn spellings_of_one_value_are_equal() {
        for (one, other) in [
            (
                r#"{"a":1,"b":[2,{"d":3,"c":4}]}"#,
                "{ \"b\": [2, {\"c\":4,\n\"d\":3}],\"a\":1 }",
            ),
            (r#"{"é/\"":"\u00e9\/\u000a"}"#, r#"{"\u00E9\/\u0022":"é/\n"}"#),
            (r#""\ud83d\ude00""#, "\"😀\""),
            ("{ }", "{}"),
            ("[ ]", "[]"),
        ] {
            assert_eq!(of(one), of(other));
            assert_eq!(
                arguments_digest(Some(&raw(one))),
                arguments_digest(Some(&raw(other)))
            );
        }
        assert_eq!(arguments_digest(None), arguments_digest(Some(&raw("{}"))));
    }

    #[test]
    fn what_a_server_may_tell_apart_is_different() {
        let all = [
            "{}",
            "[]",
            "null",
            "\"\"",
            "0",
            "-0",
            "1",
            "1.0",
            "1e0",
            "true",
            "\"1\"",
            "{\"a\":1}",
            "{\"a\":null}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":2,\"a\":1}",
            "{\"a\":2}",
            "[1,2]",
            "[2,1]",
            "[[1],2]",
            "[1,[2]]",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "{\"\\ud800\":1}",
            "{\"\\ud800\":2}",
            "{\"\":1}",
            "{\"\\u0000\":1}",
            "9007199254740993",
            "9007199254740992",
            "\"a\\u0000\"",
            "\"a\"",
            "{\"a\":{\"b\":1}}",
            "{\"a\":1,\"b\":1}",
        ];
        for (at, one) in all.iter().enumerate() {
            for other in all.iter().skip(at + 1) {
                assert_ne!(of(one), of(other), "{one} {other}");
                assert_ne!(
                    arguments_digest(Some(&raw(one))),
                    arguments_digest(Some(&raw(other)))
                );
            }
        }
    }

    #[test]
    fn depth_is_bounded_and_what_lies_deeper_counts() {
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(of(&deep("1")), deep("1"));
        assert_ne!(of(&deep("1")), of(&deep("2")));
        let at = |depth: usize| format!("{}{{ }}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!of(&at(DEPTH_MAX - 1)).contains(' ') && of(&at(DEPTH_MAX)).contains(' '));
    }

    #[test]
    fn a_digest_is_bound_to_its_use() {
        assert_ne!(digest("a", b"x"), digest("b", b"x"));
        assert_ne!(digest("a", b"x"), digest("a", b"y"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The same value with its members in the other order, spaces, and every character escaped.
    fn spelled_otherwise(value: &Value) -> String {
        let text = |text: &str| {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            format!("\"{units}\"")
        };
        match value {
            Value::String(inner) => text(inner),
            Value::Array(all) => {
                format!(
                    "[ {} ]",
                    all.iter().map(spelled_otherwise).collect::<Vec<_>>().join(" ,\t")
                )
            }
            Value::Object(map) => {
                let members = map
                    .iter()
                    .rev()
                    .map(|(key, value)| format!("{} : {}", text(key), spelled_otherwise(value)));
                format!("{{ {} }}", members.collect::<Vec<_>>().join("\n, "))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        }
    }

    proptest! {
        #[test]
        fn it_is_the_same_value_and_the_same_for_every_spelling(value in any_json()) {
            let text = canonical(&Raw::of(&value));
            prop_assert_eq!(&serde_json::from_slice::<Value>(&text).unwrap(), &value);
            let other = raw(&spelled_otherwise(&value));
            prop_assert_eq!(&canonical(&other), &text);
            prop_assert_eq!(canonical(&raw(std::str::from_utf8(&text).unwrap())), text);
        }

        #[test]
        fn different_values_are_different(one in any_json(), other in any_json()) {
            prop_assert_eq!(canonical(&Raw::of(&one)) == canonical(&Raw::of(&other)), one == other);
            prop_assert_ne!(canonical(&Raw::of(&json!([one]))), canonical(&Raw::of(&one)));
        }
    }
}
