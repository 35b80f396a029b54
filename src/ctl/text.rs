//! Texts for people: harmless, pasteable, readable.
//!
//! What comes from children is escaped, so that no child can move the cursor or forge a line.

use std::fmt::Write as _;

/// A text of which no character can move the cursor, ring, or forge a line.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    text.chars().for_each(|c| push_safe(&mut safe, c));
    safe
}

fn push_safe(safe: &mut String, c: char) {
    match c {
        '\n' => safe.push_str("\\n"),
        '\t' => safe.push_str("    "),
        // Controls of both sets, and those that turn the direction of text.
        c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
            push_escape(safe, c);
        }
        c => safe.push(c),
    }
}

/// As [`escaped`], but lines stay lines: for texts that are printed as they are.
pub(super) fn escaped_lines(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| escaped(line.strip_suffix('\r').unwrap_or(line)))
        .collect();
    lines.join("\n")
}

fn push_escape(text: &mut String, c: char) {
    let code = u32::from(c);
    let written = if code < 0x100 {
        write!(text, "\\x{code:02x}")
    } else {
        write!(text, "\\u{{{code:x}}}")
    };
    // Writing to a String cannot fail.
    written.unwrap_or_default();
}

/// A command line on one line, arguments with spaces in quotes.
pub(super) fn command_line(command: &[String]) -> String {
    let words: Vec<String> = command
        .iter()
        .map(|word| {
            let plain = |c: char| !c.is_whitespace() && !"'\"\\$`;&|<>()*?#!".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect();
    words.join(" ")
}

/// A duration for people: the two largest parts, `1h 5m`.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let mut shown: Vec<String> = parts
        .iter()
        .skip_while(|(n, _)| *n == 0)
        .take(2)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect();
    if shown.is_empty() {
        shown.push(format!("{ms}ms"));
    }
    shown.join(" ")
}

/// A JSON text with line ends and indentation, each value exactly as it was written.
///
/// Not through a `Value`: that would change large numbers and the order of keys.
pub(super) fn indented_json(raw: &str) -> String {
    let mut laid = String::with_capacity(raw.len() * 2);
    let mut depth = 0_usize;
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => copy_string(&mut rest, &mut laid),
            '{' | '[' => {
                laid.push(c);
                while rest.next_if(|c| c.is_whitespace()).is_some() {}
                if let Some(close) = rest.next_if(|c| matches!(c, '}' | ']')) {
                    laid.push(close);
                } else {
                    depth += 1;
                    new_line(&mut laid, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut laid, depth);
                laid.push(c);
            }
            ',' => {
                laid.push(c);
                new_line(&mut laid, depth);
            }
            ':' => laid.push_str(": "),
            c if c.is_whitespace() => {}
            c => push_safe(&mut laid, c),
        }
    }
    laid
}

/// Copies a string, the opening quote being read already, to its closing quote.
fn copy_string(rest: &mut impl Iterator<Item = char>, laid: &mut String) {
    laid.push('"');
    let mut is_escaped = false;
    for c in rest {
        push_safe(laid, c);
        if c == '"' && !is_escaped {
            return;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
}

/// For the fuzz targets.
#[cfg(fuzzing)]
pub(in crate::ctl) mod fuzzed {
    /// As [`super::escaped`].
    pub fn escaped(text: &str) -> String {
        super::escaped(text)
    }

    /// As [`super::escaped_lines`].
    pub fn escaped_lines(text: &str) -> String {
        super::escaped_lines(text)
    }

    /// As [`super::indented_json`].
    pub fn indented_json(text: &str) -> String {
        super::indented_json(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_child_can_move_the_cursor_or_forge_a_line() {
        assert_eq!(
            escaped("a\x1b[2Jb\nc\u{202e}d\u{9b}"),
            "a\\x1b[2Jb\\nc\\u{202e}d\\x9b"
        );
        assert_eq!(escaped_lines("a\r\nb\x07"), "a\nb\\x07");
    }

    #[test]
    fn durations_show_their_two_largest_parts() {
        let cases = [
            (0, "0ms"),
            (999, "999ms"),
            (61_000, "1m 1s"),
            (3_600_000, "1h 0m"),
            (90_061_000, "1d 1h"),
        ];
        for (ms, expected) in cases {
            assert_eq!(duration(ms), expected);
        }
    }

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let command = ["sh", "-c", "echo $HOME 'x'"].map(str::to_owned);
        assert_eq!(command_line(&command), r"sh -c 'echo $HOME '\''x'\'''");
    }

    #[test]
    fn json_is_laid_out_without_a_change_of_its_values() {
        let raw = r#"{"z":1e400,"a":[ ],"b":[9007199254740993,{"c\"":"x,}"}],"d":{}}"#;
        let laid = indented_json(raw);
        assert_eq!(
            laid,
            "{\n  \"z\": 1e400,\n  \"a\": [],\n  \"b\": [\n    9007199254740993,\n    {\n      \"c\\\"\": \"x,}\"\n    }\n  ],\n  \"d\": {}\n}"
        );
    }
}
