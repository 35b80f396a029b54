//! `echo-child`: the fastest stdio MCP server there is. One thread, one read for many requests, one write for many
//! answers; so what is measured behind a gateway is the gateway.
//!
//! `echo-child [--modern] [--tools N] [--start-ms MS]`

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use gateway_bench::answers::{Server, Then};

/// Room for one read, bytes: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// A line longer than this is nobody's: the child ends. Bytes.
const LINE_BYTES_MAX: usize = 128 << 20;

fn main() -> ExitCode {
    let mut server = Server {
        is_modern: false,
        n_tools: 2,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<usize>().ok());
        match argument.as_str() {
            "--modern" => server.is_modern = true,
            "--tools" => match number() {
                Some(n) => server.n_tools = n.min(100_000),
                None => return ExitCode::from(2),
            },
            "--start-ms" => match number() {
                Some(ms) => std::thread::sleep(Duration::from_millis(ms.min(60_000) as u64)),
                None => return ExitCode::from(2),
            },
            // Peers tell their children apart by what they are given.
            "--name" => drop(arguments.next()),
            _unknown => return ExitCode::from(2),
        }
    }
    match serve(&server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_gone) => ExitCode::FAILURE,
    }
}

fn serve(server: &Server) -> io::Result<()> {
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let mut input = vec![0; READ_BYTES];
    let (mut n_read, mut n_seen) = (0, 0);
    let mut output = Vec::with_capacity(READ_BYTES);
    loop {
        if input.len() - n_read < READ_BYTES / 2 {
            input.resize(input.len() * 2, 0);
        }
        match stdin.read(&mut input[n_read..])? {
            0 => return Ok(()),
            n => n_read += n,
        }
        let mut begins = 0;
        while let Some(found) = memchr::memchr(b'\n', &input[n_seen..n_read]) {
            let ends = n_seen + found;
            let before = output.len();
            if server.answer(&input[begins..ends], &mut output) == Then::Die {
                std::process::exit(1);
            }
            if output.len() > before {
                output.push(b'\n');
            }
            begins = ends + 1;
            n_seen = begins;
        }
        input.copy_within(begins..n_read, 0);
        n_read -= begins;
        n_seen = n_read;
        if n_read > LINE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        stdout.write_all(&output)?;
        stdout.flush()?;
        output.clear();
    }
}
