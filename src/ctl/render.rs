//! The only place that prints: text and tables for people, or one JSON value with `--json`.
//!
//! What comes from children is escaped, so that no child can move the cursor or forge a line.
//! Colours only on a terminal, and not when NO_COLOR is set.

use std::fmt::Write as _;
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

/// Rows under a header, aligned.
#[derive(Debug, Clone)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self {
            rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()],
        }
    }

    /// Adds a row. Control characters are escaped here, once for all tables.
    pub(super) fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| escaped(cell)).collect());
    }

    /// The table as text: columns two spaces apart, lines cut at the width of the terminal.
    pub(super) fn text(&self, look: Look) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for (n, row) in self.rows.iter().enumerate() {
            let line = aligned(row, &widths);
            let line = look.width.map_or(line.clone(), |width| cut(&line, width));
            let line = if n == 0 {
                line
            } else {
                coloured_cells(&line, row, look)
            };
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        (0..columns).map(|column| widest(column).unwrap_or(0)).collect()
    }
}

fn aligned(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:width$}", width = *width))
        .collect();
    cells.join("  ").trim_end().to_owned()
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Colours the second cell when it is a state: all our tables have it there.
fn coloured_cells(line: &str, row: &[String], look: Look) -> String {
    let (Some(first), Some(state)) = (row.first(), row.get(1)) else {
        return line.to_owned();
    };
    let Some(at) = line.get(first.len()..).and_then(|rest| rest.find(state.as_str())) else {
        return line.to_owned();
    };
    let (before, rest) = line.split_at(first.len() + at);
    let (found, after) = rest.split_at(state.len());
    format!("{before}{}{after}", coloured_state(found, look))
}

/// A state in its colour: green is well, yellow on the way, red a fault.
pub(super) fn coloured_state(state: &str, look: Look) -> String {
    let code = match state {
        "ready" | "healthy" => "32",
        "spawning" | "handshaking" | "draining" | "stopping" | "starting" | "backoff" => "33",
        "failed" | "unresponsive" | "unhealthy" | "broken" => "31",
        "disabled" | "stopped" | "idle" => "2",
        _ => return state.to_owned(),
    };
    if look.colour {
        format!("\x1b[{code}m{state}\x1b[0m")
    } else {
        state.to_owned()
    }
}

/// A text of which no character can move the cursor, ring, or forge a line.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("    "),
            // Controls of both sets, and those that turn the direction of text.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                push_escape(&mut safe, c);
            }
            c => safe.push(c),
        }
    }
    safe
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look {
        width: None,
        colour: false,
    };

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "COMMAND"]);
        table.row(&["git", "ready", "uvx mcp-server-git"]);
        table.row(&["filesystem", "failed", "npx"]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            table().text(PLAIN),
            "NAME        STATE   COMMAND\ngit         ready   uvx mcp-server-git\nfilesystem  failed  npx\n"
        );
    }

    #[test]
    fn lines_are_cut_at_the_width_of_the_terminal() {
        let text = table().text(Look {
            width: Some(24),
            colour: false,
        });
        assert!(text.lines().all(|line| line.chars().count() <= 24), "{text}");
        assert!(text.contains("git         ready   uvx…"), "{text}");
    }

    #[test]
    fn only_states_are_coloured_and_only_when_wanted() {
        let text = table().text(Look {
            width: None,
            colour: true,
        });
        assert!(
            text.contains("git         \x1b[32mready\x1b[0m   uvx"),
            "{text:?}"
        );
        assert!(!table().text(PLAIN).contains('\x1b'));
    }

    #[test]
    fn a_server_named_like_a_state_does_not_confuse_the_colours() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(&["failed", "ready"]);
        assert!(
            table
                .text(Look {
                    width: None,
                    colour: true
                })
                .contains("failed  \x1b[32mready")
        );
    }

    #[test]
    fn no_child_can_move_the_cursor_or_forge_a_line() {
        assert_eq!(
            escaped("a\x1b[2Jb\nc\u{202e}d\u{9b}"),
            "a\\x1b[2Jb\\nc\\u{202e}d\\x9b"
        );
        assert_eq!(escaped_lines("a\r\nb\x07"), "a\nb\\x07");
        assert!(!table().text(PLAIN).contains('\u{7}'));
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
}
