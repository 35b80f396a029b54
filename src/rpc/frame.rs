//! Bytes to lines, whatever the chunks in which they come, within bounded memory.
//!
//! A message over stdio is one line (MCP 2025-11-25, transports, "stdio"). `\r\n`, blank lines and a byte order mark at
//! the start are tolerated.
//! A line over the limit is dropped while it is read, but its first and last bytes are kept: the id in them tells
//! whose answer it was.

use bytes::{Buf, Bytes, BytesMut};

/// How much is kept from each end of a line that is too long, bytes.
pub const TOO_LONG_KEPT_BYTES: usize = 4096;

/// Some programs begin their output with it; it is no part of the text (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// How much room is made for one read, bytes: a pipe hands over at most its 64 KiB.
const READ_BYTES: usize = 16 * 1024;

/// A line up to this is copied, so that the room can be read into again: making new room for each read costs far more.
/// Bytes.
const SHORT_BYTES: usize = 4 * 1024;

/// A line longer than this takes its room along when it goes, bytes. Otherwise each server would keep the room of its
/// longest line as long as it lives.
const LONG_BYTES: usize = 64 * 1024;

/// What came out of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line without its end, never blank.
    Whole(Bytes),
    /// A line over the limit; only its ends were kept.
    TooLong {
        /// Its first bytes.
        head: Bytes,
        /// Its last bytes.
        tail: Bytes,
        /// Its whole length.
        n_bytes: usize,
    },
}

/// A line went on beyond all patience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line without an end: more than {n_bytes_max} bytes")]
pub struct Endless {
    /// The limit.
    pub n_bytes_max: usize,
}

/// Splits a stream of bytes into lines.
#[derive(Debug)]
pub struct Splitter {
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no newline.
    n_scanned: usize,
    line_bytes_max: usize,
    discard_bytes_max: usize,
    too_long: Option<TooLong>,
    /// No line is complete yet.
    at_start: bool,
}

#[derive(Debug)]
struct TooLong {
    head: Bytes,
    n_bytes: usize,
}

impl Splitter {
    /// A splitter that keeps lines up to `line_bytes_max` and gives up on one over `discard_bytes_max`.
    pub fn new(line_bytes_max: usize, discard_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            n_scanned: 0,
            line_bytes_max,
            discard_bytes_max: discard_bytes_max.max(line_bytes_max),
            too_long: None,
            at_start: true,
        }
    }

    /// Where to read into. Has room; what was read is found by the next call of [`Self::next_line`].
    pub fn room(&mut self) -> &mut BytesMut {
        // Growing by halves keeps the copies of a long line few.
        let wanted = READ_BYTES
            .max(self.buffer.len() / 2)
            .min(self.line_bytes_max.max(READ_BYTES));
        self.buffer.reserve(wanted);
        &mut self.buffer
    }

    /// The next complete line, if it is here.
    ///
    /// # Errors
    /// `Endless`: the stream is of no more use.
    pub fn next_line(&mut self) -> Result<Option<Line>, Endless> {
        loop {
            let fresh = self.buffer.get(self.n_scanned..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', fresh).map(|at| self.n_scanned + at) else {
                self.n_scanned = self.buffer.len();
                self.shed()?;
                return Ok(None);
            };
            let line = self.cut(at);
            self.n_scanned = 0;
            if let Some(line) = self.complete(line) {
                return Ok(Some(line));
            }
        }
    }

    /// What is left when the stream has ended: half a line, or nothing.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes the line out of the buffer that ends here.
    fn cut(&mut self, at: usize) -> Bytes {
        if at <= SHORT_BYTES
            && let Some(line) = self.buffer.get(..at)
        {
            let line = Bytes::copy_from_slice(line);
            self.buffer.advance(at + 1);
            return line;
        }
        let line = self.buffer.split_to(at + 1).freeze();
        if at >= LONG_BYTES {
            // What came after it with the same read: as much as a pipe hands over, at most.
            self.buffer = BytesMut::from(self.buffer.as_ref());
        }
        line.slice(..at)
    }

    fn complete(&mut self, line: Bytes) -> Option<Line> {
        let is_first = std::mem::take(&mut self.at_start);
        if let Some(TooLong { head, n_bytes }) = self.too_long.take() {
            let n_bytes = n_bytes + line.len();
            let tail = line.slice(line.len().saturating_sub(TOO_LONG_KEPT_BYTES)..);
            return Some(Line::TooLong { head, tail, n_bytes });
        }
        if line.len() > self.line_bytes_max {
            let head = line.slice(..self.n_head_bytes().min(line.len()));
            let tail = line.slice(line.len().saturating_sub(TOO_LONG_KEPT_BYTES)..);
            return Some(Line::TooLong {
                head: copied(&head),
                tail: copied(&tail),
                n_bytes: line.len(),
            });
        }
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(kept) if is_first => line.slice_ref(kept),
            _other => line,
        };
        let line = line
            .strip_suffix(b"\r")
            .map_or_else(|| line.clone(), |kept| line.slice_ref(kept));
        (!line.trim_ascii().is_empty()).then_some(Line::Whole(line))
    }

    /// No more than is certainly there when a line is found to be too long, so that the chunks make no difference.
    fn n_head_bytes(&self) -> usize {
        TOO_LONG_KEPT_BYTES.min(self.line_bytes_max)
    }

    /// Drops the middle of a line that is over the limit already.
    fn shed(&mut self) -> Result<(), Endless> {
        if self.too_long.is_none() && self.buffer.len() > self.line_bytes_max {
            let head = self
                .buffer
                .get(..self.n_head_bytes().min(self.buffer.len()))
                .unwrap_or_default();
            self.too_long = Some(TooLong {
                head: Bytes::copy_from_slice(head),
                n_bytes: 0,
            });
        }
        let Some(too_long) = &mut self.too_long else {
            return Ok(());
        };
        let n_shed = self.buffer.len().saturating_sub(TOO_LONG_KEPT_BYTES);
        if n_shed == 0 {
            return Ok(());
        }
        too_long.n_bytes += n_shed;
        let n_bytes = too_long.n_bytes;
        let kept = self.buffer.get(n_shed..).unwrap_or_default();
        // A fresh small buffer: the big one is given back at once.
        self.buffer = BytesMut::from(kept);
        self.n_scanned = self.buffer.len();
        if n_bytes > self.discard_bytes_max {
            return Err(Endless {
                n_bytes_max: self.discard_bytes_max,
            });
        }
        Ok(())
    }
}

fn copied(part: &Bytes) -> Bytes {
    Bytes::copy_from_slice(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]], max: usize) -> Vec<Line> {
        let mut splitter = Splitter::new(max, usize::MAX);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.room().extend_from_slice(chunk);
            while let Some(line) = splitter.next_line().unwrap() {
                lines.push(line);
            }
        }
        lines
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn blank_lines_and_carriage_returns_do_not_count() {
        assert_eq!(split(&[b"a\r\n\n  \n\r\nb\nc"], 100), [whole("a"), whole("b")]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line_and_only_of_that() {
        let text = "\u{feff}a\n\u{feff}b\n".as_bytes();
        let chunks: Vec<&[u8]> = text.chunks(1).collect();
        for chunks in [vec![text], chunks] {
            assert_eq!(split(&chunks, 100), [whole("a"), whole("\u{feff}b")]);
        }
        assert_eq!(split(&["\u{feff}\nb\n".as_bytes()], 100), [whole("b")]);
    }

    #[test]
    fn a_line_over_the_limit_keeps_its_ends_and_the_next_line_is_whole() {
        let long = [b"{\"id\":1,".as_slice(), &vec![b'x'; 100_000], b"}\nnext\n"].concat();
        for n_chunk in [1, 7, 4096, 200_000] {
            let chunks: Vec<&[u8]> = long.chunks(n_chunk).collect();
            let lines = split(&chunks, 10_000);
            let Line::TooLong { head, tail, n_bytes } = &lines[0] else {
                panic!("{lines:?}")
            };
            assert!(head.starts_with(b"{\"id\":1,x") && tail.ends_with(b"x}"));
            assert_eq!(
                (*n_bytes, &lines[1]),
                (100_009, &whole("next")),
                "chunks of {n_chunk}"
            );
        }
    }

    #[test]
    fn the_room_of_a_long_line_goes_with_the_line() {
        let mut splitter = Splitter::new(16 << 20, 16 << 20);
        for _piece in 0..400 {
            splitter.room().extend_from_slice(&[b'x'; 10_000]);
            assert_eq!(splitter.next_line(), Ok(None));
        }
        splitter.room().extend_from_slice(b"\nshort");
        let line = splitter.next_line().unwrap();
        assert!(matches!(line, Some(Line::Whole(line)) if line.len() == 4_000_000));
        assert_eq!(splitter.next_line(), Ok(None));
        let n_short = 100_000;
        for _line in 0..n_short {
            splitter.room().extend_from_slice(b" line\nshort");
            assert!(splitter.next_line().unwrap().is_some());
        }
        assert_eq!(splitter.rest(), b"short");
        let capacity = splitter.room().capacity();
        assert!(capacity <= LONG_BYTES, "{capacity} bytes are kept for 5");
    }

    #[test]
    fn a_line_without_an_end_is_given_up_and_takes_little_memory_until_then() {
        let mut splitter = Splitter::new(10_000, 1_000_000);
        let ended = (0..2_000).find_map(|_| {
            splitter.room().extend_from_slice(&[b'x'; 1_000]);
            let ended = splitter.next_line().err();
            assert!(splitter.buffer.capacity() < 100_000);
            ended
        });
        assert_eq!(
            ended,
            Some(Endless {
                n_bytes_max: 1_000_000
            })
        );
    }

    proptest! {
        #[test]
        fn the_chunks_make_no_difference(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b' '), any::<u8>()], 0..400),
            cuts in prop::collection::vec(1_usize..20, 1..80),
            max in 5_usize..60,
        ) {
            let mut rest = text.as_slice();
            let mut chunks: Vec<&[u8]> = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, others) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = others;
            }
            prop_assert_eq!(split(&chunks, max), split(&[&text], max));
        }
    }
}
