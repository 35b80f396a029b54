//! Whose answer a line was that is too long to be kept, or no JSON: read from its two ends.
//!
//! Only the members of the message itself count, never what lies inside its payload: a result is full of other
//! people's ids, and the wrong caller must not be told.

/// The number under `id` of an answer of which only the first and the last bytes are known.
pub fn answered(head: &[u8], tail: &[u8]) -> Option<u64> {
    let mut all = members(head, 0..head.len(), 1);
    all.extend(members(tail, (0..tail.len()).rev(), -1));
    // The child's own request: its id is the child's, not ours.
    if all.iter().any(|(key, _)| *key == b"method") {
        return None;
    }
    all.iter()
        .find(|(key, _)| *key == b"id")
        .and_then(|(_, value)| number(value))
}

/// Bytes at each end of a line that is no JSON in which its members are looked for.
const END_BYTES: usize = 4 << 10;

/// The number under `id` of a line that is meant as an answer and is no JSON: cut short, with a raw line break in a
/// text, with `NaN` for a number.
///
/// What else the members seem to be cannot be trusted as in a whole line, so more is asked for: it begins as an object,
/// has a `result` or an `error`, and no two ids.
pub fn meant(line: &[u8]) -> Option<u64> {
    let line = line.trim_ascii();
    if !line.starts_with(b"{") {
        return None;
    }
    let head = line.get(..END_BYTES).unwrap_or(line);
    let tail = line.get(line.len().saturating_sub(END_BYTES)..).unwrap_or(line);
    let mut all = members(head, 0..head.len(), 1);
    all.extend(members(tail, (0..tail.len()).rev(), -1));
    let has = |wanted: &[&[u8]]| all.iter().any(|(key, _)| wanted.contains(key));
    if has(&[b"method"]) || !has(&[b"result", b"error"]) {
        return None;
    }
    let mut ids = all
        .iter()
        .filter(|(key, _)| *key == b"id")
        .map(|(_, value)| number(value));
    let id = ids.next()??;
    ids.all(|other| other == Some(id)).then_some(id)
}

/// Keys of the outermost object, each with the text from its value on. `step` is 1 forwards, -1 backwards.
fn members(piece: &[u8], positions: impl Iterator<Item = usize>, step: i32) -> Vec<(&[u8], &[u8])> {
    let (mut depth, mut quote, mut found) = (0, None::<usize>, Vec::new());
    for at in positions {
        match piece.get(at) {
            Some(b'"') if !is_escaped(piece, at) => match quote.take() {
                None => quote = Some(at),
                Some(other) if depth == 1 => found.extend(member(piece, at.min(other), at.max(other))),
                Some(_) => {}
            },
            Some(b'{' | b'[') if quote.is_none() => depth += step,
            Some(b'}' | b']') if quote.is_none() => depth -= step,
            _other => {}
        }
    }
    found
}

/// A string between these quotes is a key if a colon follows.
fn member(piece: &[u8], opens: usize, closes: usize) -> Option<(&[u8], &[u8])> {
    let key = piece.get(opens + 1..closes)?;
    let value = piece.get(closes + 1..)?.trim_ascii_start().strip_prefix(b":")?;
    Some((key, value.trim_ascii_start()))
}

/// Outside of strings there are no backslashes, so this needs no context.
fn is_escaped(piece: &[u8], at: usize) -> bool {
    let before = piece.get(..at).unwrap_or_default();
    let n_backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
    n_backslashes % 2 == 1
}

/// A whole number that is seen to its end.
fn number(value: &[u8]) -> Option<u64> {
    let n_digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = value.split_at_checked(n_digits)?;
    matches!(after.trim_ascii_start().first(), Some(b',' | b'}')).then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(head: &str, tail: &str) -> Option<u64> {
        answered(head.as_bytes(), tail.as_bytes())
    }

    #[test]
    fn the_id_stands_at_either_end() {
        assert_eq!(
            of(r#"{"jsonrpc":"2.0", "id" : 7 ,"result":"xxx"#, r#"xxx"}"#),
            Some(7)
        );
        assert_eq!(
            of(r#"{"result":{"a":["#, r#""]},"jsonrpc":"2.0","id":7}"#),
            Some(7)
        );
        assert_eq!(of(r#"{"result":"#, r#"\"}\\","id":7 } "#), Some(7));
    }

    #[test]
    fn ids_inside_the_payload_are_nobodys() {
        assert_eq!(
            of(r#"{"result":[{"id":5},{"id":6}"#, r#"{"id":8}],"id":7}"#),
            Some(7)
        );
        assert_eq!(of(r#"{"result":"{\"id\":5,"#, r#"\"id\":8}"}"#), None);
        assert_eq!(of(r#"{"result":{"a":"#, r#"{"id":8}}}"#), None);
    }

    #[test]
    fn an_answer_that_is_no_json_is_still_somebodys() {
        let of = |line: &str| meant(line.as_bytes());
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}"#), Some(7));
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","id":7,"result":{"text":"cut by a line"#),
            Some(7)
        );
        assert_eq!(of(r#" {"result":{"x":undefined,"id":5},"id":7}"#), Some(7));
        let long = "x".repeat(3 * END_BYTES);
        assert_eq!(
            of(&format!(r#"{{"error":{{"message":"{long}\q"}},"id":7}}"#)),
            Some(7)
        );
        assert_eq!(of(&format!(r#"{{"id":7,"result":"{long}\q"}}"#)), Some(7));
    }

    #[test]
    fn what_only_looks_like_an_answer_is_nobodys() {
        for line in [
            r#"{"id":7,"level":"info","msg":"no answer"#,
            r#"INFO {"id":7,"result":NaN}"#,
            r#"[{"id":7,"result":NaN}]"#,
            r#"{"id":7,"method":"m","result":NaN}"#,
            r#"{"id":"7","result":NaN}"#,
            r#"{"id":7.5,"result":NaN}"#,
            r#"{"id":7,"result":{}}{"id":8,"result":{}}"#,
            r#"{"result":{"id":7,"x":NaN}}"#,
            r#"{"id":7"#,
            "{",
            "",
        ] {
            assert_eq!(meant(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_request_a_text_and_half_a_number_are_no_ids_of_ours() {
        assert_eq!(
            of(r#"{"id":5,"method":"sampling/createMessage","params":"#, "}}"),
            None
        );
        assert_eq!(of(r#"{"id":"5","result":"#, "1}"), None);
        assert_eq!(of(r#"{"id":5.5,"result":"#, "1}"), None);
        assert_eq!(of(r#"{"result":1,"id":5"#, ""), None);
    }
}
