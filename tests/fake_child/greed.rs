//! Floods, and a taste for more than one's share. All but `stderr_escapes` go on until the process ends.
//!
//! | deed | what happens |
//! | --- | --- |
//! | `flood_stderr` | lines on stderr without a pause |
//! | `flood_stdout` | lines on stdout that are no messages, without a pause |
//! | `stderr_escapes` | control characters, a terminal's commands and a forged line on stderr |
//! | `close_stdin` | stdin is closed after the answer, and the process stays |
//! | `fd_leak` | files are opened until there are no more; the answer says how many |
//! | `cpu_spin` | two threads burn CPU |
//! | `fill_disk` | a file below `folder` grows until the disk is full; the answer says how many bytes went in |

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use crate::methods::Then;
use crate::world::World;

/// What `stderr_escapes` writes: a title for the terminal, red, a carriage return over what stood there, a line feed of
/// another alphabet, and something that looks like a line of the log itself.
const ESCAPES: &[u8] = b"\x1b]0;owned\x07\x1b[31mred\rover\x0b\x08\x00\xc2\x9b31m\xff\n\
    2026-01-01T00:00:00Z ERROR forged\x1b[2K\n";

/// Does it. `None` when the deed is none of these.
pub(crate) fn run(world: &World, id: &str, arguments: &str, deed: &str) -> Option<Then> {
    match deed {
        "flood_stderr" => flood(io::stderr()),
        // Not through the journal: it would grow as fast.
        "flood_stdout" => flood(io::stdout()),
        "stderr_escapes" => io::stderr().write_all(ESCAPES).expect("stderr can be written"),
        "close_stdin" => {
            world.answer_text(id, "closes its stdin");
            return Some(Then::CloseStdin);
        }
        "fd_leak" => {
            world.answer_text(id, &leak_files().to_string());
            return Some(Then::ReadOn);
        }
        "cpu_spin" => {
            for _ in 0..2 {
                thread::spawn(spin);
            }
        }
        "fill_disk" => {
            let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
            let folder = arguments["folder"].as_str().unwrap_or(".");
            world.answer_text(id, &fill(folder).to_string());
            return Some(Then::ReadOn);
        }
        _ => return None,
    }
    world.answer_text(id, arguments);
    Some(Then::ReadOn)
}

fn flood(mut to: impl Write + Send + 'static) {
    let mut line = b"flood: this is not JSON ".repeat(40);
    line.push(b'\n');
    // Whole lines at once, so that the answers between them stay whole too.
    thread::spawn(move || while to.write_all(&line).and_then(|()| to.flush()).is_ok() {});
}

fn spin() {
    static TURNS: AtomicU64 = AtomicU64::new(0);
    loop {
        TURNS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Opens files for good, at most 100,000.
fn leak_files() -> usize {
    let mut n = 0;
    while n < 100_000 {
        let Ok(file) = File::open("/dev/null") else { break };
        Box::leak(Box::new(file));
        n += 1;
    }
    n
}

/// Writes at most 64 MiB.
fn fill(folder: &str) -> usize {
    let block = [b'x'; 4096];
    let mut file = File::create(format!("{folder}/filler")).expect("a file can be made");
    let mut n = 0;
    while n < 64 << 20 {
        match file.write(&block) {
            Ok(more) if more > 0 => n += more,
            _full => break,
        }
    }
    n
}
