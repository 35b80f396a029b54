//! Editing members in place, with serde_json as the oracle.

use mcp_wrapper::rpc::Raw;
use mcp_wrapper::rpc::object::{Object, elements};
use serde_json::Value;

use crate::any::{Any, bytes, json_text};

const KEYS: &[&str] = &["a", "b", "", "name", "_meta", "uri", "é", "x\"\\"];

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let (key, other) = (any.pick(KEYS), any.pick(KEYS));
    let value =
        Raw::parse(&bytes(any.pick(&["1", "\"x\"", "null", "{\"a\":[]}", "1e400"]))).expect("it is JSON");
    let text = json_text(any.0);
    let Ok(raw) = Raw::parse(&text) else {
        assert!(serde_json::from_slice::<Value>(&text).is_err());
        return;
    };
    if let Some(parts) = elements(&raw) {
        assert!(raw.is_array());
        let parts: Vec<Raw> = parts;
        same(&Raw::array(&parts), &raw);
    }
    if let Some(text) = raw.prefixed("p ") {
        let wanted = raw.as_string().map(|text| format!("p {text}"));
        assert_eq!(text.as_string().map(|text| text.into_owned()), wanted);
    }
    let Some(object) = Object::of(&raw) else {
        assert!(!raw.is_object());
        return;
    };
    let with = valid(object.with(key, &value));
    let after = Object::of(&with).expect("still an object");
    assert_eq!(after.get(key).as_ref(), Some(&value));
    assert_eq!(after.doubled(&[key]), None);
    if other != key {
        assert_eq!(after.get(other), object.get(other));
    }
    let without = valid(object.without(&[key, other]));
    let fewer = Object::of(&without).expect("still an object");
    assert!(fewer.get(key).is_none() && fewer.get(other).is_none());
    let place = object.place(key);
    let parts: [&[u8]; 4] = [&place.before, &place.opening, value.as_bytes(), &place.after];
    assert_eq!(parts.concat(), with.as_bytes());
    let edited = object.edited(|_, _| Ok::<_, ()>(Some(value.clone())));
    let edited = valid(edited.expect("nothing fails"));
    let n = |raw: &Raw| Object::of(raw).map(|object| object.iter().count());
    assert_eq!(n(&edited), n(&raw));
    valid(object.readable());
    // The oracle holds neither numbers beyond doubles nor halves of characters.
    let (Ok(Value::Object(mut model)), Ok(value)) = (raw.read::<Value>(), value.read::<Value>()) else {
        return;
    };
    for (key, value) in &model {
        assert_eq!(
            object.get(key).and_then(|raw| raw.read::<Value>().ok()).as_ref(),
            Some(value)
        );
    }
    model.insert(key.to_owned(), value);
    assert_eq!(with.read::<Value>().ok(), Some(Value::Object(model.clone())));
    model.remove(key);
    model.remove(other);
    assert_eq!(without.read::<Value>().ok(), Some(Value::Object(model)));
}

fn valid(raw: Raw) -> Raw {
    assert_eq!(
        Raw::parse(&raw.bytes()).ok().as_ref(),
        Some(&raw),
        "valid JSON with no space around it"
    );
    raw
}

fn same(a: &Raw, b: &Raw) {
    if let (Ok(a), Ok(b)) = (a.read::<Value>(), b.read::<Value>()) {
        assert_eq!(a, b);
    }
}
