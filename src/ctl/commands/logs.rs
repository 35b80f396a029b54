//! `mcpctl logs NAME [-f]`.

use crate::ctl::args::LogsArgs;
use crate::ctl::client::Pieces;
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ctl::text::escaped;

/// A line longer than this is printed in parts, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Shows what a server wrote to stderr; with `-f` until Ctrl-C.
pub(super) async fn run(args: &LogsArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let path = format!(
        "/api/servers/{}/logs?lines={}&follow={}",
        args.name, args.lines, args.follow
    );
    let mut pieces = context.client.stream(&path).await?;
    if out.is_json() && !args.follow {
        let mut all = Vec::new();
        copy(&mut pieces, |line| {
            all.push(line);
            Ok(())
        })
        .await?;
        return Ok(out.json(&all)?);
    }
    // One JSON text a line while following: one value would never end.
    let as_json = out.is_json();
    let copying = copy(&mut pieces, |line| {
        let printed = if as_json {
            out.json_line(&line)
        } else {
            out.say(&line)
        };
        printed.map_err(Failure::from)
    });
    tokio::select! {
        // First, so that a flood of lines cannot keep Ctrl-C from being heard.
        biased;
        interrupted = tokio::signal::ctrl_c(), if args.follow => {
            interrupted.map_err(|error| Failure::Refused(format!("Ctrl-C cannot be waited for: {error}")))
        }
        copied = copying => copied,
    }
}

async fn copy(
    pieces: &mut Pieces,
    mut print: impl FnMut(String) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut lines = Lines::default();
    while let Some(piece) = pieces.next().await? {
        for line in lines.take(&piece) {
            print(line)?;
        }
    }
    lines.rest().map_or(Ok(()), print)
}

/// Pieces of bytes as whole lines: a piece may end inside a line, or inside a character.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, piece: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") || self.begun.len() > LINE_BYTES_MAX {
                whole.extend(self.rest());
            }
        }
        whole
    }

    fn rest(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.begun);
        let text = String::from_utf8_lossy(&bytes);
        (!bytes.is_empty()).then(|| escaped(text.trim_end_matches(['\n', '\r'])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_survive_any_cut() {
        let text = "eins\nzwölf\n\ndrei".as_bytes();
        for at in 0..text.len() {
            let mut lines = Lines::default();
            let (a, b) = text.split_at(at);
            let mut all = lines.take(a);
            all.extend(lines.take(b));
            all.extend(lines.rest());
            assert_eq!(all, ["eins", "zwölf", "", "drei"], "cut at {at}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let mut lines = Lines::default();
        let printed: usize = (0..5)
            .map(|_| lines.take(&vec![b'x'; LINE_BYTES_MAX]).len())
            .sum();
        assert_eq!(printed, 2);
        assert!(lines.begun.len() <= LINE_BYTES_MAX);
    }
}
