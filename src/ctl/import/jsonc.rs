//! JSON as people write it into settings: with comments, trailing commas and a byte order mark.
//!
//! Only takes these away; what is left is for the real parser. Its positions stay true,
//! because what is taken away is replaced by spaces.

/// The same text as plain JSON, character for character in the same place.
pub(super) fn to_json(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    without_trailing_commas(&without_comments(text))
}

fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('"', _) => copy_string(&mut rest, &mut kept),
            ('/', Some('/')) => blank_until(&mut rest, &mut kept, |_, c| c == '\n'),
            ('/', Some('*')) => {
                // The `*` that opens must not be taken for the one that closes, as in `/*/`.
                rest.next();
                kept.push(' ');
                blank_until(&mut rest, &mut kept, |before, c| before == '*' && c == '/');
            }
            _ => kept.push(c),
        }
    }
    kept
}

/// Copies a string, the opening quote being read already, to its closing quote.
fn copy_string(rest: &mut impl Iterator<Item = char>, kept: &mut String) {
    kept.push('"');
    let mut is_escaped = false;
    for c in rest {
        kept.push(c);
        if c == '"' && !is_escaped {
            return;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
}

/// Writes spaces instead of what is read, up to and with the end; line ends stay.
fn blank_until(
    rest: &mut impl Iterator<Item = char>,
    kept: &mut String,
    is_end: impl Fn(char, char) -> bool,
) {
    kept.push(' ');
    let mut before = ' ';
    for c in rest {
        kept.push(if c == '\n' { '\n' } else { ' ' });
        if is_end(before, c) {
            return;
        }
        before = c;
    }
}

fn without_trailing_commas(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars();
    // A comma and the white space behind it wait here until it is known what comes next.
    let mut waiting = String::new();
    while let Some(c) = rest.next() {
        match c {
            ',' => {
                kept.push_str(&waiting);
                waiting = c.to_string();
            }
            c if c.is_whitespace() && !waiting.is_empty() => waiting.push(c),
            ']' | '}' => {
                kept.push_str(&std::mem::take(&mut waiting).replace(',', " "));
                kept.push(c);
            }
            c => {
                kept.push_str(&std::mem::take(&mut waiting));
                if c == '"' {
                    copy_string(&mut rest, &mut kept)
                } else {
                    kept.push(c)
                }
            }
        }
    }
    kept.push_str(&waiting);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_become_spaces() {
        let cases = [
            ("{\"a\": 1, // x\n}", "{\"a\": 1      \n}"),
            ("[1, /* 2, */ 3,]", "[1,          3 ]"),
            ("[/*/ x */1]", "[        1]"),
            ("\u{feff}{}", "{}"),
        ];
        for (given, expected) in cases {
            assert_eq!(to_json(given), expected, "{given}");
        }
    }

    #[test]
    fn strings_stay_as_they_are() {
        for text in [
            r#"["http://x", ",]", "/* no */", "\"//", "\\"]"#,
            r#"{"a,}": "\\\" //"}"#,
        ] {
            assert_eq!(to_json(text), text);
        }
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        for text in ["[1,,2]", "{\"a\"", "\"open", "/* open", "[,]x"] {
            assert!(
                serde_json::from_str::<serde_json::Value>(&to_json(text)).is_err(),
                "{text}"
            );
        }
    }
}
