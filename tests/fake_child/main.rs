//! `fake-child`: a scripted MCP server for the integration tests.
//!
//! It answers, garbles, hangs, forks and crashes on cue. Flags (`options.rs`) say how it starts and what it
//! lists; the tool that is called, or the `do` member of its arguments, says what it does (`deeds.rs`).
//! It writes raw bytes exactly as told, and notes what happened to it in a journal file.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::exit,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test program of its own process: it has no runtime to block, and a wrong use of it should end it loudly"
)]

mod answers;
mod deeds;
mod era;
mod family;
mod framing;
mod greed;
mod hungry;
mod interview;
mod jobs;
mod jobs_modern;
mod journal;
mod listen;
mod methods;
mod mischief;
mod modern;
mod options;
mod probe;
mod questions;
mod rounds;
mod shapes;
mod world;

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use options::Options;
use world::World;

fn main() {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("fake-child: {why}");
            std::process::exit(2);
        }
    };
    // Before SIGTERM is blocked: a process inherits the mask of the thread that starts it.
    let grandchild = options.grandchild.then(spawn_grandchild);
    family::start(&options.family);
    let term = SigSet::from(Signal::SIGTERM);
    term.thread_block().expect("SIGTERM can be blocked");
    let world = Arc::new(World::new(options));
    world.journal.note(&format!("start {}", std::process::id()));
    if let Some(pid) = grandchild {
        world.journal.note(&format!("grandchild {pid}"));
    }
    hear_sigterm(Arc::clone(&world), term);
    misbehave_at_start(&world);
    read_until_end(&world);
}

/// It keeps our stdout and stderr, as the real process below a package runner does.
fn spawn_grandchild() -> u32 {
    let sleep = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn();
    sleep.expect("`sleep` can be started").id()
}

/// Exit code 143 is what a shell says of a process that SIGTERM ended.
fn hear_sigterm(world: Arc<World>, term: SigSet) {
    thread::spawn(move || {
        loop {
            term.wait().expect("SIGTERM can be waited for");
            world.journal.note("signal TERM");
            if !world.options.ignore_sigterm {
                thread::sleep(world.options.term_delay);
                world.leave(143);
            }
        }
    });
}

fn misbehave_at_start(world: &World) {
    let options = &world.options;
    if let Some(text) = &options.stderr_at_start {
        eprintln!("{text}");
    }
    if let (Some(times), Some(state)) = (options.fail_first, &options.state) {
        let failed: u64 = fs::read_to_string(state)
            .ok()
            .and_then(|n| n.trim().parse().ok())
            .unwrap_or(0);
        if failed < times {
            fs::write(state, (failed + 1).to_string()).expect("the state file can be written");
            world.leave(1);
        }
    }
    if let Some(code) = options.exit_at_start {
        world.leave(code);
    }
    thread::sleep(options.start_delay);
    while options.gate.as_ref().is_some_and(|gate| !gate.exists()) {
        thread::sleep(Duration::from_millis(5));
    }
    if options.bom {
        world.write_unfinished("\u{feff}".as_bytes());
    }
    for n in 0..options.noise.unwrap_or(0) {
        world.write(format!("noise {n}: this is not JSON").as_bytes());
    }
}

fn read_until_end(world: &Arc<World>) -> ! {
    let mut input: Box<dyn BufRead> = match world.options.slow_read {
        None => Box::new(io::stdin().lock()),
        Some(n) => Box::new(BufReader::with_capacity(n, Slow)),
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        world.journal.note_bytes("in", line);
        match methods::hear(world, line) {
            methods::Then::ReadOn => {}
            methods::Then::StopReading => stay(),
            methods::Then::CloseStdin => {
                close_stdin();
                stay();
            }
        }
    }
    world.journal.note("eof");
    if world.options.ignore_eof {
        stay();
    }
    world.leave(0)
}

/// A stdin that is read with pauses.
struct Slow;

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(1));
        // Not through the buffer of `Stdin`, which takes more than was asked for.
        Ok(nix::unistd::read(io::stdin(), buffer)?)
    }
}

/// Nobody can write to us any more: what was our end of the pipe is the null device.
fn close_stdin() {
    let null = fs::File::open("/dev/null").expect("/dev/null can be opened");
    nix::unistd::dup2_stdin(null).expect("fd 0 can be replaced");
}

/// Alive, but deaf on stdin; only a signal ends it.
fn stay() -> ! {
    loop {
        thread::park();
    }
}
