//! The members of a JSON object, found without parsing the values. Only for text that is known to be valid.

use memchr::memchr2;

/// The text of the member `key` of an object, which may be any value; `None` when it is not there.
pub fn member<'a>(object: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut at = blank(object, 0);
    if object.get(at) != Some(&b'{') {
        return None;
    }
    at = blank(object, at + 1);
    while object.get(at) == Some(&b'"') {
        let key_ends = string(object, at);
        let is_it = object.get(at + 1..key_ends - 1) == Some(key.as_bytes());
        let colon = blank(object, key_ends);
        let begins = blank(object, colon + 1);
        let ends = value(object, begins);
        if is_it {
            return object.get(begins..ends);
        }
        at = blank(object, ends);
        at = blank(object, at + 1);
    }
    None
}

/// The inside of a string without escapes.
pub fn unquoted(string: &[u8]) -> &[u8] {
    string
        .strip_prefix(b"\"")
        .and_then(|text| text.strip_suffix(b"\""))
        .unwrap_or_default()
}

fn blank(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Where the string that begins here ends.
fn string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// Where the value that begins here ends.
fn value(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string(text, at);
                if depth == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' if depth == 0 => return at,
            byte if depth == 0 && byte.is_ascii_whitespace() => return at,
            _other => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_behind_nested_values_and_strings_with_escapes() {
        let text = br#" { "a" : {"id":1,"x":["}",{}]} , "s":"\"id\":2,\\","id": 7 ,"n":null}"#;
        for (key, wanted) in [
            ("id", "7"),
            ("s", r#""\"id\":2,\\""#),
            ("n", "null"),
            ("a", r#"{"id":1,"x":["}",{}]}"#),
        ] {
            assert_eq!(member(text, key), Some(wanted.as_bytes()), "{key}");
        }
        assert_eq!(member(text, "x"), None);
        assert_eq!(member(b"{}", "x"), None);
        assert_eq!(member(b"[1]", "x"), None);
    }
}
