//! Bytes to lines: the chunks make no difference, and a model says what the lines are.

use mcp_wrapper::rpc::frame::{Line, Splitter, TOO_LONG_KEPT_BYTES};

use crate::any::Any;

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let max = 1 + any.below(200) * if any.byte() % 4 == 0 { 50 } else { 1 };
    let chunks: Vec<usize> = (0..4).map(|_| 1 + any.below(255)).collect();
    let text = any.0;
    let lines = split(text, &chunks, max);
    assert_eq!(lines, split(text, &[usize::MAX], max));
    let mut found = lines.iter();
    let mut rest = text.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    rest.pop();
    for line in rest {
        if line.len() > max {
            let Some(Line::TooLong { head, tail, n_bytes }) = found.next() else {
                panic!("a line of {} bytes passed a limit of {max}", line.len());
            };
            assert_eq!(*n_bytes, line.len());
            assert!(line.starts_with(head) && line.ends_with(tail));
            assert!(
                head.len() <= TOO_LONG_KEPT_BYTES && tail.len() <= TOO_LONG_KEPT_BYTES && !tail.is_empty()
            );
            continue;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.trim_ascii().is_empty() {
            assert_eq!(found.next(), Some(&Line::Whole(line.to_vec().into())));
        }
    }
    assert_eq!(found.next(), None);
}

fn split(mut text: &[u8], chunks: &[usize], max: usize) -> Vec<Line> {
    let mut splitter = Splitter::new(max, usize::MAX);
    let mut lines = Vec::new();
    for n in chunks.iter().cycle() {
        if text.is_empty() {
            break;
        }
        let (chunk, rest) = text.split_at((*n).min(text.len()));
        splitter.room().extend_from_slice(chunk);
        text = rest;
        while let Some(line) = splitter.next_line().expect("no line is too long for ever") {
            lines.push(line);
        }
    }
    lines
}
