//! Calls through the pipes of a process: a child itself, or a door on stdin and stdout.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failed;
use crate::histogram::Histogram;
use crate::options::Options;
use crate::target::{self, Template};
use crate::usage;

pub fn measure(options: &Options) -> Result<String, Failed> {
    let (program, arguments) = options.command.split_first().ok_or("no command after --")?;
    let began = Instant::now();
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let measured = Pipes::of(&mut process).and_then(|mut pipes| through(&mut pipes, options, began));
    // Its stdin is closed by now: it ends by itself, and by force if it does not.
    let asked = Instant::now();
    while matches!(process.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(process.kill());
    drop(process.wait());
    measured
}

fn through(pipes: &mut Pipes, options: &Options, began: Instant) -> Result<String, Failed> {
    pipes.write(br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#)?;
    let greeted = pipes.line()?;
    let first = began.elapsed();
    if memchr::memmem::find(&greeted, b"\"result\"").is_none() {
        return Err(format!("the handshake: {}", String::from_utf8_lossy(&greeted)));
    }
    pipes.write(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)?;
    let name = loop {
        pipes.write(br#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)?;
        let mut line = pipes.line()?;
        while memchr::memmem::find(&line, b"\"id\":2").is_none() {
            line = pipes.line()?;
        }
        match target::exposed(&line, &options.tool).into_iter().next() {
            Some(name) => break name,
            None if began.elapsed() > options.patience => return Err("the tool is not on offer".to_owned()),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let calls = calls(pipes, options, &name)?;
    Ok(format!(
        "{{{calls},\"first_ms\":{:.3}}}",
        first.as_secs_f64() * 1000.0
    ))
}

fn calls(pipes: &mut Pipes, options: &Options, name: &str) -> Result<String, Failed> {
    let body = target::body(options, name);
    let mut waiting: Vec<(Template, Instant)> = (0..options.n_connections)
        .map(|n_th| (Template::new(&body, n_th), Instant::now()))
        .collect();
    let mut batch = Vec::new();
    for (template, _began) in &waiting {
        batch.extend_from_slice(&template.text);
        batch.push(b'\n');
    }
    batch.pop();
    pipes.write(&batch)?;
    let mut latencies = Histogram::new();
    let began = Instant::now();
    let (mut measured_from, mut used) = (None, 0.0);
    loop {
        // All answers that are here, then all requests that follow from them in one write.
        batch.clear();
        let mut line = Some(pipes.line()?);
        while let Some(text) = line {
            let at = memchr::memmem::find(&text, b"\"id\":").ok_or("an answer without an id")? + 5;
            let id = std::str::from_utf8(text.get(at..at + 10).unwrap_or_default()).ok();
            let id = id
                .and_then(|id| id.parse::<u64>().ok())
                .ok_or("an answer under a strange id")?;
            let n_th = usize::try_from((id - 1_000_000_000) / 1_000_000).unwrap_or(usize::MAX);
            let (template, sent) = waiting.get_mut(n_th).ok_or("an answer under a strange id")?;
            template.check(&text, 0)?;
            latencies.add(sent.elapsed());
            template.next();
            batch.extend_from_slice(&template.text);
            batch.push(b'\n');
            *sent = Instant::now();
            line = pipes.line_that_is_here();
        }
        match measured_from {
            None if began.elapsed() >= options.warm => {
                latencies.clear();
                used = options.pid.map_or(Ok(0.0), usage::processor)?;
                measured_from = Some(Instant::now());
            }
            Some(from) if from.elapsed() >= options.lasts => {
                let used = options.pid.map_or(Ok(0.0), usage::processor)? - used;
                return Ok(format!(
                    "\"calls\":{},\"rate\":{:.1},\"p50_us\":{:.2},\"p99_us\":{:.2},\"cpu_us\":{:.3}",
                    latencies.n,
                    latencies.n as f64 / from.elapsed().as_secs_f64(),
                    latencies.at(0.5),
                    latencies.at(0.99),
                    used * 1e6 / latencies.n as f64
                ));
            }
            _other => {}
        }
        batch.pop();
        pipes.write(&batch)?;
    }
}

/// Both ends of a process; dropped, its stdin is closed.
struct Pipes {
    stdin: std::process::ChildStdin,
    stdout: std::process::ChildStdout,
    input: Vec<u8>,
    begins: usize,
}

impl Pipes {
    fn of(process: &mut std::process::Child) -> Result<Self, Failed> {
        let stdin = process.stdin.take().ok_or("no stdin")?;
        let stdout = process.stdout.take().ok_or("no stdout")?;
        Ok(Self {
            stdin,
            stdout,
            input: Vec::new(),
            begins: 0,
        })
    }

    fn write(&mut self, line: &[u8]) -> Result<(), Failed> {
        let line = [line, b"\n"].concat();
        self.stdin
            .write_all(&line)
            .map_err(|error| format!("writing: {error}"))
    }

    fn line_that_is_here(&mut self) -> Option<Vec<u8>> {
        let rest = &self.input[self.begins..];
        let end = memchr::memchr(b'\n', rest)?;
        let line = rest[..end].to_vec();
        self.begins += end + 1;
        Some(line)
    }

    /// A process that says nothing ends with its own limits, or by the hand of whoever has started this.
    fn line(&mut self) -> Result<Vec<u8>, Failed> {
        loop {
            if let Some(line) = self.line_that_is_here() {
                return Ok(line);
            }
            self.input.drain(..self.begins);
            self.begins = 0;
            let n_before = self.input.len();
            self.input.resize(n_before + 64 * 1024, 0);
            let n = self
                .stdout
                .read(&mut self.input[n_before..])
                .map_err(|error| format!("reading: {error}"))?;
            self.input.truncate(n_before + n);
            if n == 0 {
                return Err("the process has ended".to_owned());
            }
        }
    }
}
