//! Lines that are no TOML: told once each, with what is probably meant.

use std::collections::BTreeSet;

/// The lines of a text that the parser refused.
#[derive(Debug, Default)]
pub(super) struct SyntaxFaults {
    /// Line, counted from 1, and sentence.
    pub(super) told: Vec<(usize, String)>,
    lines: BTreeSet<usize>,
    places: Vec<usize>,
}

impl SyntaxFaults {
    /// Puts the parser's errors into words.
    pub(super) fn of(text: &str, errors: &[toml::de::Error]) -> Self {
        let mut faults = Self::default();
        let mut last = (0, "");
        for error in errors {
            let span = error.span().unwrap_or_default();
            let line = line_of(text, span.start);
            // One bracket that is not closed makes every line after it an error.
            let echoes = error.message() == last.1
                && line <= last.0 + 1
                && ["missing comma", "duplicate key"]
                    .iter()
                    .any(|echo| error.message().starts_with(echo));
            last = (line, error.message());
            faults.places.push(span.start);
            if faults.lines.insert(line) && !echoes {
                // Not the error's own `Display`: it quotes the line, which may hold a secret.
                faults
                    .told
                    .push((line, format!("not valid TOML: {}", sentence(text, line, error))));
            }
        }
        faults
    }

    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.places.is_empty()
    }

    /// Whether what stands here is only the parser's guess.
    pub(super) fn touch(&self, text: &str, start: usize, end: usize) -> bool {
        self.places.iter().any(|place| (start..=end).contains(place))
            || self.lines.contains(&line_of(text, start))
    }
}

/// Counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn sentence(text: &str, line: usize, error: &toml::de::Error) -> String {
    let said = error.message();
    if text.trim_start().starts_with('{') {
        return "this looks like JSON; bring such a file in with `mcpctl import FILE`".to_owned();
    }
    if said == "duplicate key" {
        // The name of a key is no secret.
        let name = error.span().and_then(|span| text.get(span)).unwrap_or_default();
        return format!("{name} stands here for the second time; keep one");
    }
    if said.starts_with("missing comma") {
        return format!("{said}; is a bracket `]` missing on a line before?");
    }
    let value = text.lines().nth(line - 1).and_then(|line| line.split_once('='));
    let starts_like_text = value.is_some_and(|(_, value)| {
        let value = value.trim_start();
        value.starts_with(|c: char| c.is_ascii_alphabetic() || "/.~$@".contains(c))
    });
    if starts_like_text {
        "a text must stand in quotes".to_owned()
    } else {
        said.to_owned()
    }
}
