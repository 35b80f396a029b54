//! Tables for people: aligned, cut or wrapped at the width of the terminal, harmless.

use super::render::Look;
use super::text::escaped;

/// Rows under a header, aligned.
#[derive(Debug, Clone)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Whether the last column goes on in further lines instead of being cut.
    wraps: bool,
}

/// Fewest columns in which a wrapped text is still readable; with less it gets lines of its own.
const WRAP_COLUMNS_MIN: usize = 30;

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        Self {
            rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()],
            wraps: false,
        }
    }

    /// A table whose last column is never cut: what stands there matters.
    pub(super) fn wrapping(header: &[&str]) -> Self {
        Self {
            wraps: true,
            ..Self::new(header)
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
            let line = match look.width {
                None => aligned(row, &widths),
                Some(width) if self.wraps => wrapped(row, &widths, width),
                Some(width) => cut(&aligned(row, &widths), width),
            };
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

/// A row whose last cell goes on below itself, or, where there is no room, on lines of its own.
fn wrapped(row: &[String], widths: &[usize], width: usize) -> String {
    let Some((last, others)) = row.split_last() else {
        return String::new();
    };
    let head = aligned(others, widths);
    let beside: usize = widths.iter().take(others.len()).map(|column| column + 2).sum();
    if last.is_empty() {
        return cut(&head, width);
    }
    let has_room = beside + WRAP_COLUMNS_MIN <= width;
    let indent = if has_room { beside } else { 4 };
    let first = if has_room {
        format!("{head:indent$}")
    } else {
        format!("{}\n    ", cut(&head, width))
    };
    let lines = broken_at_words(last, width.saturating_sub(indent).max(1));
    first + &lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// Lines of at most `width` characters, except for words that are longer.
fn broken_at_words(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
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
    fn a_wrapping_table_shows_the_whole_of_its_last_column() {
        let mut table = Table::wrapping(&["NAME", "NOTE"]);
        table.row(&["git", "a note that is longer than the terminal is wide"]);
        table.row(&["files", ""]);
        let look = |width| Look {
            width: Some(width),
            colour: false,
        };
        assert_eq!(
            table.text(look(40)),
            "NAME   NOTE\ngit    a note that is longer than the\n       terminal is wide\nfiles\n"
        );
        assert_eq!(
            table.text(look(30)),
            "NAME\n    NOTE\ngit\n    a note that is longer than\n    the terminal is wide\nfiles\n"
        );
    }
}
