//! A child's stderr: always drained, into a file of bounded size and a ring in memory.
//!
//! A child blocks when nobody reads its stderr, so this reads whatever happens to the file. Lines are escaped
//! before anybody sees them: a child must not be able to forge a log line or to drive a terminal.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::mask::Mask;
use super::reader::escape_onto;

/// Longest line that is kept, characters; the rest of it is dropped.
pub const LINE_CHARS_MAX: usize = 16 * 1024;
/// No more is held of a line before it is cut: that many characters need no more, bytes.
const LINE_BYTES_MAX: usize = 4 * LINE_CHARS_MAX;
/// What is read at once at most, bytes.
const READ_BYTES: usize = 16 * 1024;
/// What the ring holds at most, bytes.
pub const RING_BYTES_MAX: usize = 256 * 1024;
/// So many old files are kept, `<name>.log.1` and on.
pub const N_OLD_FILES: u32 = 2;
/// Beyond this many bytes in one second lines are dropped and counted.
pub const BYTES_PER_SECOND_MAX: usize = 1 << 20;

/// The last lines of one child, over all its processes.
#[derive(Debug, Default)]
pub struct Tail {
    ring: Mutex<Ring>,
    grown: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Arc<str>>,
    n_bytes: usize,
    /// The number of the line after the last: lines are numbered from 0.
    next: u64,
    /// Where the present process's lines begin.
    since_spawn: u64,
}

impl Tail {
    /// The last `n` lines, oldest first.
    pub fn last(&self, n: usize) -> Vec<String> {
        let ring = self.ring();
        ring.lines
            .iter()
            .skip(ring.lines.len().saturating_sub(n))
            .map(|line| line.to_string())
            .collect()
    }

    /// The last `n` lines of the present process, oldest first.
    pub fn last_of_process(&self, n: usize) -> Vec<String> {
        let ring = self.ring();
        let n_of_process = usize::try_from(ring.next - ring.since_spawn).unwrap_or(usize::MAX);
        drop(ring);
        self.last(n.min(n_of_process))
    }

    /// Lines from number `from` on that are still here, and the number to ask for next.
    pub fn since(&self, from: u64) -> (Vec<Arc<str>>, u64) {
        let ring = self.ring();
        let n_new = usize::try_from(ring.next.saturating_sub(from)).unwrap_or(usize::MAX);
        let n_skipped = ring.lines.len().saturating_sub(n_new);
        (ring.lines.iter().skip(n_skipped).cloned().collect(), ring.next)
    }

    /// The number of the next line.
    pub fn next_number(&self) -> u64 {
        self.ring().next
    }

    /// Waits until there are lines from number `from` on.
    pub async fn grown_beyond(&self, from: u64) {
        loop {
            let grown = self.grown.notified();
            if self.next_number() > from {
                return;
            }
            grown.await;
        }
    }

    /// A new process begins to speak.
    pub fn begin_process(&self) {
        let mut ring = self.ring();
        ring.since_spawn = ring.next;
    }

    fn push(&self, line: &str) {
        let mut ring = self.ring();
        ring.n_bytes += line.len();
        ring.next += 1;
        ring.lines.push_back(Arc::from(line));
        while ring.n_bytes > RING_BYTES_MAX {
            let Some(old) = ring.lines.pop_front() else { break };
            ring.n_bytes -= old.len();
        }
        drop(ring);
        self.grown.notify_waiters();
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a process's stderr is kept.
#[derive(Debug)]
pub struct Log {
    /// In memory.
    pub tail: Arc<Tail>,
    /// On the disk.
    pub file: PathBuf,
    /// All files together, bytes: at a third of it the file is renamed.
    pub bytes_max: u64,
    /// What is not to be seen in either.
    pub mask: Mask,
}

/// Reads until the stream ends. Says once when more comes than is kept.
pub async fn drain(mut stderr: impl AsyncRead + Unpin, log: Log, on_flood: impl FnOnce()) {
    let mut lines = Lines::default();
    let mut budget = Budget::new(Instant::now());
    let mut on_flood = Some(on_flood);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let n = match stderr.read(&mut buffer).await {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!(%error, "reading stderr failed");
                break;
            }
        };
        let mut kept = Kept::default();
        let now = Instant::now();
        let fresh = buffer.get(..n).unwrap_or_default();
        lines.feed(fresh, |line| kept.take(line, now, &log, &mut budget));
        kept.write(&log).await;
        if budget.n_dropped > 0
            && let Some(on_flood) = on_flood.take()
        {
            on_flood();
        }
    }
    let mut kept = Kept::default();
    lines.end(|line| kept.take(line, Instant::now(), &log, &mut budget));
    kept.write(&log).await;
}

/// Lines as they are kept, of one piece of what was read.
#[derive(Debug, Default)]
struct Kept(String);

impl Kept {
    /// Keeps a line, while there is room in the present second. What is dropped costs no more than finding its end.
    fn take(&mut self, line: &[u8], now: Instant, log: &Log, budget: &mut Budget) {
        if budget.is_spent(now) {
            budget.n_dropped += 1;
            return;
        }
        let shown = shown(line, &log.mask);
        if !budget.allows(shown.len()) {
            return;
        }
        if let Some(n_dropped) = budget.dropped() {
            self.push(
                &format!(
                    "[mcp-wrapper: {n_dropped} lines dropped, more than {BYTES_PER_SECOND_MAX} bytes a second]"
                ),
                &log.tail,
            );
        }
        self.push(&shown, &log.tail);
    }

    fn push(&mut self, line: &str, tail: &Tail) {
        tail.push(line);
        self.0.push_str(line);
        self.0.push('\n');
    }

    async fn write(self, log: &Log) {
        let text = self.0;
        if text.is_empty() {
            return;
        }
        let (file, bytes_max) = (log.file.clone(), log.bytes_max / u64::from(N_OLD_FILES + 1));
        let written = tokio::task::spawn_blocking(move || append(&file, text.as_bytes(), bytes_max)).await;
        if let Ok(Err(error)) = written {
            tracing::debug!(%error, "a child's log file cannot be written; its lines are kept in memory only");
        }
    }
}

/// A line without secrets, escaped, and no longer than is kept.
fn shown(line: &[u8], mask: &Mask) -> String {
    let text = String::from_utf8_lossy(line);
    // Before it is cut or escaped: either would hide the secret from us, and not from a reader.
    let text = mask.hide(&text);
    let mut shown = String::with_capacity(text.len().min(LINE_CHARS_MAX));
    escape_onto(&mut shown, &text, LINE_CHARS_MAX);
    shown
}

fn append(file: &Path, text: &[u8], bytes_max: u64) -> std::io::Result<()> {
    let mut log = open(file)?;
    let n_before = log.metadata()?.len();
    let n_after = n_before.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
    if n_before > 0 && n_after > bytes_max {
        drop(log);
        rotate(file)?;
        log = open(file)?;
    }
    log.write_all(text)
}

fn open(file: &Path) -> std::io::Result<File> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(file)
}

fn rotate(file: &Path) -> std::io::Result<()> {
    let numbered = |n: u32| PathBuf::from(format!("{}.{n}", file.display()));
    for n in (1..N_OLD_FILES).rev() {
        if numbered(n).exists() {
            std::fs::rename(numbered(n), numbered(n + 1))?;
        }
    }
    std::fs::rename(file, numbered(1))
}

/// Bytes to lines of bounded length, whatever the chunks in which they come. Pure.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Lines {
    /// Hands over each line that is complete, without white space at its end; blank ones are none.
    fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            // The standard library's fastest search; reading memory cannot fail.
            let mut after = bytes;
            let n = after.skip_until(b'\n').unwrap_or(bytes.len());
            let (piece, rest) = bytes.split_at(n.min(bytes.len()));
            bytes = rest;
            if self.partial.is_empty() && piece.ends_with(b"\n") {
                hand_over(piece, &mut take);
                continue;
            }
            let room = LINE_BYTES_MAX.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                self.end(&mut take);
            }
        }
    }

    /// Hands over what is there of a line without its end.
    fn end(&mut self, mut take: impl FnMut(&[u8])) {
        hand_over(&self.partial, &mut take);
        self.partial.clear();
        // One long line is no reason to hold so much from now on.
        self.partial.shrink_to(LINE_CHARS_MAX);
    }
}

fn hand_over(line: &[u8], take: &mut impl FnMut(&[u8])) {
    let line = line.get(..LINE_BYTES_MAX).unwrap_or(line).trim_ascii_end();
    if !line.is_empty() {
        take(line);
    }
}

/// For the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzed {
    /// The lines of a stream that comes in these chunks, as they are kept.
    pub fn lines<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut lines, mut found) = (super::Lines::default(), Vec::new());
        let mut take = |line: &[u8]| found.push(super::shown(line, &super::Mask::default()));
        chunks.for_each(|chunk| lines.feed(chunk, &mut take));
        lines.end(take);
        found
    }
}

/// How much may be kept in the present second. Pure.
#[derive(Debug)]
struct Budget {
    second: Instant,
    n_bytes: usize,
    n_dropped: u64,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self {
            second: now,
            n_bytes: 0,
            n_dropped: 0,
        }
    }

    /// Whether nothing more is kept in this second, which a new one changes.
    fn is_spent(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.n_bytes = 0;
        }
        self.n_bytes > BYTES_PER_SECOND_MAX
    }

    fn allows(&mut self, n_bytes: usize) -> bool {
        self.n_bytes += n_bytes;
        let allowed = self.n_bytes <= BYTES_PER_SECOND_MAX;
        if !allowed {
            self.n_dropped += 1;
        }
        allowed
    }

    fn dropped(&mut self) -> Option<u64> {
        (self.n_dropped > 0).then(|| std::mem::take(&mut self.n_dropped))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of these chunks as they are kept, with what is left at the end.
    fn kept(chunks: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let mut take = |line: &[u8]| found.push(shown(line, &Mask::default()));
        for chunk in chunks {
            lines.feed(chunk, &mut take);
        }
        lines.end(take);
        found
    }

    #[test]
    fn lines_are_escaped_and_bounded_and_half_lines_wait() {
        assert_eq!(kept(&[b"a\x1b[31mb\r\n\nhal", b"f\n"]), ["a\\x1b[31mb", "half"]);
        assert_eq!(
            kept(&["a\tb\u{202e}c\u{2066}\n".as_bytes()]),
            ["a\tb\\u{202e}c\\u{2066}"]
        );
        let long = [vec![b'x'; 200_000], b"\nb\n".to_vec()].concat();
        for n_chunk in [1_000, 300_000] {
            let lines = kept(&long.chunks(n_chunk).collect::<Vec<_>>());
            assert_eq!((lines[0].len(), lines[1].as_str()), (LINE_CHARS_MAX, "b"));
        }
        assert!(kept(&[b" \t\n", b"\n"]).is_empty());
    }

    proptest! {
        #[test]
        fn the_chunks_make_no_difference_and_nothing_harmful_is_left(
            pieces in prop::collection::vec(prop_oneof!["[a-z\n\r\t ]{0,9}", ".{0,3}", "[\u{1b}\u{202a}-\u{202e}é]{1,2}"], 0..40),
            n_chunk in 1_usize..20,
        ) {
            let text = pieces.concat();
            let lines = kept(&text.as_bytes().chunks(n_chunk).collect::<Vec<_>>());
            prop_assert_eq!(&lines, &kept(&[text.as_bytes()]));
            let is_harmful = |c: char| (c.is_control() && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c);
            prop_assert!(!lines.concat().contains(is_harmful), "{:?}", lines);
            // What is harmless is kept as it is.
            if !text.contains(|c: char| is_harmful(c) && c != '\n') && !text.contains(['\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}']) {
                let expected: Vec<_> = text.lines().map(|line| line.trim_end_matches([' ', '\t', '\r', '\u{c}'])).filter(|line| !line.is_empty()).collect();
                prop_assert_eq!(lines, expected);
            }
        }
    }

    #[test]
    fn a_flood_is_cut_and_counted() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!(!budget.is_spent(start) && budget.allows(BYTES_PER_SECOND_MAX));
        assert!(!budget.is_spent(start) && !budget.allows(1));
        assert!(budget.is_spent(start));
        assert!(!budget.is_spent(start + Duration::from_secs(1)) && budget.allows(1));
        assert_eq!((budget.dropped(), budget.dropped()), (Some(1), None));
    }

    #[test]
    fn the_ring_is_bounded_and_numbers_go_on() {
        let tail = Tail::default();
        for n in 0..3 {
            tail.push(&n.to_string());
        }
        let (_, next) = tail.since(0);
        for _ in 0..10 {
            tail.push(&"x".repeat(RING_BYTES_MAX / 4));
        }
        assert_eq!(tail.last(100).len(), 4);
        assert_eq!(tail.since(next).0.len(), 4);
        tail.begin_process();
        assert!(tail.last_of_process(9).is_empty());
        tail.push("new");
        assert_eq!(tail.last_of_process(9), ["new"]);
    }

    #[tokio::test]
    async fn the_file_is_rotated_by_size() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("children/a.log");
        append(&file, &[b'x'; 100], 100).unwrap();
        append(&file, b"one\n", 100).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"one\n");
        let len = |name: &str| {
            std::fs::metadata(folder.path().join("children").join(name))
                .unwrap()
                .len()
        };
        assert_eq!(len("a.log.1"), 100);
        for _ in 0..10 {
            append(&file, &[b'y'; 99], 100).unwrap();
        }
        let all = std::fs::read_dir(folder.path().join("children")).unwrap();
        let names: Vec<_> = all
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(
            names.iter().map(|name| len(name)).sum::<u64>(),
            3 * 99,
            "{names:?}"
        );
    }

    #[tokio::test]
    async fn a_flood_is_told_once_and_a_secret_is_kept_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let secret = "hunter2hunter2";
        let command = crate::config::spec::Command {
            program: String::new(),
            args: Vec::new(),
            env: [("KEY".to_owned(), crate::config::spec::Secret::new(secret))].into(),
            late: crate::config::spec::Late::default(),
            cwd: None,
            shown: Vec::new(),
            stop: None,
        };
        let log = Log {
            tail: Arc::default(),
            file: folder.path().join("a.log"),
            bytes_max: 3 << 20,
            mask: Mask::of(&command),
        };
        let (tail, file) = (Arc::clone(&log.tail), log.file.clone());
        let words = format!("\x1b[1m{secret}\x1b[0m {}\n", "x".repeat(1000)).repeat(8_000);
        let mut n_told = 0;
        drain(words.as_bytes(), log, || n_told += 1).await;
        assert_eq!(n_told, 1);
        let kept = std::fs::read_to_string(file).unwrap() + &tail.last(1000).join("\n");
        assert!(kept.contains("\\x1b[1m***\\x1b[0m") && !kept.contains(secret));
    }
}
