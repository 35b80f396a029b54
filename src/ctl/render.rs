//! The only place that prints: text for people, or one JSON value with `--json`.
//!
//! Colours only on a terminal, and not when NO_COLOR is set.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Where the output goes, and how it looks.
pub(super) struct Out {
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    json: bool,
    look: Look,
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Out")
            .field("json", &self.json)
            .field("look", &self.look)
            .finish_non_exhaustive()
    }
}

/// How text for people looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Columns of the terminal; `None` when the output is no terminal, and nothing is cut.
    pub(super) width: Option<usize>,
    /// Whether states are coloured.
    pub(super) colour: bool,
}

impl Out {
    /// The real output of this process.
    pub(super) fn of_process(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let look = Look {
            width: terminal.then(terminal_width).flatten(),
            colour: terminal && !no_colour && !dumb,
        };
        Self {
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            json,
            look,
        }
    }

    /// Whether one JSON value is wanted.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    pub(super) fn look(&self) -> Look {
        self.look
    }

    /// Text for people, with a line end added; nothing with `--json`.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { self.line(text) }
    }

    /// Either the value with `--json`, or the text for people.
    pub(super) fn either<T: Serialize + ?Sized>(&mut self, value: &T, text: &str) -> io::Result<()> {
        if self.json {
            self.value(value)
        } else {
            self.line(text)
        }
    }

    /// The one JSON value; nothing without `--json`.
    pub(super) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        if self.json { self.value(value) } else { Ok(()) }
    }

    /// A value on one line, whatever the mode: a line of a stream.
    pub(super) fn json_line<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.line(&text)
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        self.line(&text)
    }

    fn line(&mut self, text: &str) -> io::Result<()> {
        // In one piece, so that two writers of one terminal do not mix lines.
        self.stdout
            .write_all(format!("{}\n", text.trim_end_matches('\n')).as_bytes())?;
        self.stdout.flush()
    }

    /// A remark beside the result, on stderr. That it cannot be written is nobody's concern.
    pub(super) fn remark(&mut self, text: &str) {
        self.stderr
            .write_all(format!("{text}\n").as_bytes())
            .and_then(|()| self.stderr.flush())
            .ok();
    }

    /// A question, on stderr, without a line end.
    pub(super) fn ask(&mut self, text: &str) {
        self.stderr
            .write_all(text.as_bytes())
            .and_then(|()| self.stderr.flush())
            .ok();
    }
}

#[cfg(target_os = "linux")]
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(not(target_os = "linux"))]
fn terminal_width() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}
