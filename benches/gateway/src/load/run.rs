//! Calls over many connections: each sends the next request when its last one is answered.

use std::io::{ErrorKind, Read, Write};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Failed;
use crate::histogram::Histogram;
use crate::http::{Client, Place, request};
use crate::options::Options;
use crate::response::Response;
use crate::streams::Streams;
use crate::target::{self, Template};
use crate::usage;

/// An answer that does not come within this ends the measurement.
const SILENCE: Duration = Duration::from_secs(30);

struct Connection {
    stream: TcpStream,
    template: Template,
    n_written: usize,
    input: Vec<u8>,
    n_read: usize,
    response: Response,
    began: Instant,
}

pub fn measure(options: &Options) -> Result<String, Failed> {
    let place = Place::of(&options.url)?;
    let names = target::found(&place, options)?;
    let mut loop_ = Loop::new(options, &place, &names)?;
    let memory = |pid: Option<u32>| pid.map_or(Ok(0), usage::memory);
    let idle = memory(options.pid)?;
    let before = loop_.run(options)?;
    if options.n_streams == 0 {
        return Ok(format!(
            "{{{before},\"idle_kib\":{idle},\"loaded_kib\":{}}}",
            memory(options.pid)?
        ));
    }
    let alone = memory(options.pid)?;
    let streams = Streams::open(&place, options.n_streams)?;
    let with_streams = memory(options.pid)?;
    let meanwhile = loop_.run(options)?;
    let n_open = streams.count_open();
    Ok(format!(
        "{{\"alone\":{{{before}}},\"meanwhile\":{{{meanwhile}}},\"open_ms\":{:.3},\"streams\":{n_open},\"alone_kib\":{alone},\"streams_kib\":{with_streams}}}",
        streams.took.as_secs_f64() * 1000.0
    ))
}

struct Loop {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    n_bytes_wanted: usize,
}

impl Loop {
    fn new(options: &Options, place: &Place, names: &[String]) -> Result<Self, Failed> {
        let poll = Poll::new().map_err(|error| error.to_string())?;
        let address = place
            .address
            .to_socket_addrs()
            .map_err(|error| error.to_string())?
            .next();
        let address = address.ok_or_else(|| format!("{} is no address", place.address))?;
        let mut sessions = Vec::new();
        let mut client = Client::new(place)?;
        while !options.is_modern && sessions.len() < options.n_sessions.min(options.n_connections) {
            sessions.push(client.open()?);
        }
        let mut connections = Vec::new();
        for n_th in 0..options.n_connections {
            let name = &names[n_th % names.len().min(options.n_servers)];
            let session = (!sessions.is_empty()).then(|| &sessions[n_th % sessions.len()]);
            // The id has as many digits as it will have, so that the length in the head is right.
            let body = target::body(options, name);
            let body = Template::new(&body, n_th).text;
            let mut whole = request(place, &target::said(options, session, name), &body);
            let id_at = memchr::memmem::find(&whole, b"\"id\":").ok_or("no id")? + 5;
            whole.splice(id_at..id_at + 10, *b"@");
            let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut stream, Token(n_th), interest)
                .map_err(|error| error.to_string())?;
            stream.set_nodelay(true).unwrap_or_default();
            let template = Template::new(&whole, n_th);
            connections.push(Connection {
                stream,
                n_written: template.text.len(),
                template,
                input: vec![0; 64 * 1024],
                n_read: 0,
                response: Response::default(),
                began: Instant::now(),
            });
        }
        // So many bytes of text, at least; what is around them differs.
        let n_bytes_wanted = if options.method == "tools/call" {
            if options.n_bytes_wanted == 0 {
                options.n_bytes_sent
            } else {
                options.n_bytes_wanted
            }
        } else {
            0
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            connections,
            n_bytes_wanted,
        })
    }

    /// The members of a JSON object with what was measured. Every request in flight at the end is answered before.
    fn run(&mut self, options: &Options) -> Result<String, Failed> {
        let mut latencies = Histogram::new();
        let began = Instant::now();
        let (mut measured_from, mut used, mut switched) = (None, 0.0, 0);
        let mut ended = None;
        let mut n_busy = self.connections.len();
        for n_th in 0..self.connections.len() {
            self.connections[n_th].send(Instant::now())?;
        }
        while n_busy > 0 {
            self.poll
                .poll(&mut self.events, Some(SILENCE))
                .map_err(|error| error.to_string())?;
            if self.events.is_empty() {
                return Err(format!("no answer within {SILENCE:?}; {n_busy} requests wait"));
            }
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                if event.is_writable() {
                    connection.write()?;
                }
                if !event.is_readable() || !connection.read(self.n_bytes_wanted)? {
                    continue;
                }
                let now = Instant::now();
                latencies.add(now - connection.began);
                if ended.is_some() {
                    n_busy -= 1;
                    continue;
                }
                connection.send(now)?;
                let is_warm = now - began >= options.warm;
                match measured_from {
                    None if is_warm => {
                        latencies.clear();
                        used = options.pid.map_or(Ok(0.0), usage::processor)?;
                        switched = options.pid.map_or(0, usage::switches);
                        measured_from = Some(Instant::now());
                    }
                    Some(from) => {
                        let is_over = now - from >= options.lasts;
                        if if options.n_calls == 0 {
                            is_over
                        } else {
                            latencies.n >= options.n_calls
                        } {
                            let used = options.pid.map_or(Ok(0.0), usage::processor)? - used;
                            let switched = options.pid.map_or(0, usage::switches).saturating_sub(switched);
                            ended = Some((now - from, used, switched, latencies.n));
                            // Those of the others that are on their way are read, and the one that was just sent.
                            n_busy = self.connections.len();
                        }
                    }
                    None => {}
                }
            }
        }
        let (lasted, used, switched, n) = ended.ok_or("nothing was measured")?;
        Ok(format!(
            "\"calls\":{n},\"rate\":{:.1},\"p50_us\":{:.2},\"p99_us\":{:.2},\"p999_us\":{:.2},\"cpu_us\":{:.3},\"switches\":{:.3}",
            n as f64 / lasted.as_secs_f64(),
            latencies.at(0.5),
            latencies.at(0.99),
            latencies.at(0.999),
            used * 1e6 / n as f64,
            switched as f64 / n as f64,
        ))
    }
}

impl Connection {
    /// Sends the next request.
    fn send(&mut self, now: Instant) -> Result<(), Failed> {
        self.began = now;
        self.template.next();
        self.n_written = 0;
        self.write()
    }

    /// Writes what the socket takes of the request; nothing when it has all.
    fn write(&mut self) -> Result<(), Failed> {
        while self.n_written < self.template.text.len() {
            match self.stream.write(&self.template.text[self.n_written..]) {
                Ok(n) => self.n_written += n,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) => return Err(format!("writing: {error}")),
            }
        }
        Ok(())
    }

    /// Whether the answer is complete.
    fn read(&mut self, n_bytes_wanted: usize) -> Result<bool, Failed> {
        loop {
            if self.n_read == self.input.len() {
                self.input.resize(2 * self.n_read, 0);
            }
            match self.stream.read(&mut self.input[self.n_read..]) {
                Ok(0) => return Err("the gateway has closed a connection".to_owned()),
                Ok(n) => self.n_read += n,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(false);
                }
                Err(error) => return Err(format!("reading: {error}")),
            }
            let input = &self.input[..self.n_read];
            if !self.response.is_complete(input)? {
                continue;
            }
            if self.response.status != 200 {
                return Err(String::from_utf8_lossy(input).into_owned());
            }
            self.template.check(self.response.body(input), n_bytes_wanted)?;
            self.n_read = 0;
            self.response = Response::default();
            return Ok(true);
        }
    }
}
