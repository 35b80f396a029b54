//! Deeds that are wrong, or odd, in the bytes of a line only: lengths, ends, chunks, and what is no text.
//!
//! All run where the line was read, and hold stdout until they are done. What they write is in the journal as one
//! `out`, but for lines too long for it.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::methods::Members;
use crate::world::World;

/// Bytes of a long line that are written at once.
const CHUNK: usize = 64 * 1024;

/// Does what the call asks for. False when the deed is none of these.
pub(crate) fn run(world: &World, id: &str, deed: &str, members: &Members<'_>, arguments: &str) -> bool {
    let number = |name: &str, default: usize| {
        let given = members.get(name).and_then(|raw| raw.get().parse().ok());
        given.unwrap_or(default)
    };
    let answer = || answer(world, id, arguments);
    match deed {
        "invalid_utf8_line" => {
            world.write(b"\xff\xfe\x1b[31m no text");
            world.answer_text(id, arguments);
        }
        // Answers that are no JSON: what some languages write for a number that is none, a raw line break in a text,
        // and an end that is missing.
        "not_a_number" => {
            let line =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"_meta":{{"x/y":NaN}}}}}}"#);
            world.write(line.as_bytes());
        }
        "raw_line_break" => {
            let line = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[],\"x\":\"two\nlines\"}}}}"
            );
            world.write(line.as_bytes());
        }
        "cut_short" => {
            let answer = answer();
            world.write(&answer[..answer.len() - 3]);
        }
        // The beginning of a line of a log that is no answer, though it has the id of the call.
        "log_like" => {
            world.write(format!(r#"{{"level":"info","id":{id},"msg":NaN}}"#).as_bytes());
            world.answer_text(id, arguments);
        }
        "nul_bytes" => {
            world.write(b"\0\0\0\0");
            world.answer_text(id, arguments);
        }
        // An answer of `bytes` bytes and more.
        "huge_line" => long_line(id, Some(number("bytes", 1024))),
        "endless_line" => long_line(id, None),
        // The whole answer, but for the end of its line.
        "half_line_exit" => {
            world.write_unfinished(&answer());
            world.leave(1);
        }
        // Half of the answer, and after `ms` the rest.
        "half_line_stall" => {
            let answer = answer();
            let (half, rest) = answer.split_at(answer.len() / 2);
            let pause = Duration::from_millis(u64::try_from(number("ms", 100)).unwrap());
            pieces(world, &[half, rest, b"\n"], pause);
        }
        "byte_dribble" => {
            let line = [&answer(), b"\n".as_slice()].concat();
            let bytes: Vec<&[u8]> = line.chunks(1).collect();
            pieces(world, &bytes, Duration::from_micros(200));
        }
        // When `count` calls are there, all answers in one write, or in one array.
        "glued_lines" => together(world, answer(), number("count", 2), [b"", b"\n", b"\n"]),
        "batch_response" => together(world, answer(), number("count", 2), [b"[", b",", b"]\n"]),
        // A result that is `depth` levels deep, after a line that is as deep and has no end.
        "deep_json" => {
            let depth = number("depth", 100_000);
            world.write("[".repeat(depth).as_bytes());
            world.answer(
                id,
                format!(
                    r#"{{"content":[],"_meta":{{"x/deep":{}{}}}}}"#,
                    "[".repeat(depth),
                    "]".repeat(depth)
                )
                .as_bytes(),
            );
        }
        _ => return false,
    }
    true
}

/// The line of an answer, without its end.
fn answer(world: &World, id: &str, text: &str) -> Vec<u8> {
    let result = json!({ "content": [{ "type": "text", "text": text }] });
    world.answer_line(id, result.to_string().as_bytes())
}

/// Writes pieces one by one, so that each is read alone.
fn pieces(world: &World, all: &[&[u8]], pause: Duration) {
    let mut stdout = io::stdout().lock();
    world.journal.note_bytes("out", all.concat().trim_ascii_end());
    for piece in all {
        put(&mut stdout, piece);
        thread::sleep(pause);
    }
}

/// Keeps answers until there are so many, and writes them at once: `[before, between, after]`.
fn together(world: &World, answer: Vec<u8>, count: usize, around: [&[u8]; 3]) {
    let mut held = world.held_lines.lock().unwrap();
    held.push(answer);
    if held.len() >= count {
        let [before, between, after] = around;
        let all = held.join(between);
        held.clear();
        pieces(world, &[&[before, &all, after].concat()], Duration::ZERO);
    }
}

/// Never the whole line in memory: what is measured is the daemon. Without a length it has no end.
fn long_line(id: &str, n_bytes: Option<usize>) {
    let mut stdout = io::stdout().lock();
    let before = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#);
    put(&mut stdout, before.as_bytes());
    let chunk = vec![b'x'; CHUNK];
    let mut left = n_bytes.unwrap_or(usize::MAX);
    while left > 0 {
        let n = left.min(CHUNK);
        if !put(&mut stdout, &chunk[..n]) {
            return;
        }
        left -= n;
    }
    put(&mut stdout, b"\"}]}}\n");
}

/// False when nobody reads any more.
fn put(stdout: &mut impl Write, bytes: &[u8]) -> bool {
    stdout.write_all(bytes).and_then(|()| stdout.flush()).is_ok()
}
