//! Idle event streams, each of a session of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Failed;
use crate::http::{Client, Place};
use crate::response::Response;

/// Streams that are held open.
pub struct Streams {
    open: Vec<TcpStream>,
    /// From the first connection to the last head of a response.
    pub took: Duration,
}

impl Streams {
    pub fn open(place: &Place, n: usize) -> Result<Self, Failed> {
        let mut client = Client::new(place)?;
        let mut sessions = Vec::new();
        for _one in 0..n {
            let said = client.open()?;
            sessions.push(said.session.ok_or("the gateway gives no sessions")?);
        }
        let began = Instant::now();
        let mut open = Vec::new();
        for session in &sessions {
            let mut stream =
                TcpStream::connect(&place.address).map_err(|error| format!("a stream: {error}"))?;
            let request = format!(
                "GET {} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\nmcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n\r\n",
                place.path, place.address
            );
            stream
                .write_all(request.as_bytes())
                .map_err(|error| format!("a stream: {error}"))?;
            open.push(stream);
        }
        for stream in &mut open {
            stream
                .set_read_timeout(Some(Duration::from_secs(30)))
                .map_err(|error| error.to_string())?;
            let (mut input, mut piece, mut response) = (Vec::new(), [0; 4096], Response::default());
            while !response.head(&input)? {
                let n = stream
                    .read(&mut piece)
                    .map_err(|error| format!("a stream: {error}"))?;
                if n == 0 {
                    return Err("a stream ended at once".to_owned());
                }
                input.extend_from_slice(&piece[..n]);
            }
            if response.status != 200 {
                return Err(format!("a stream: {}", String::from_utf8_lossy(&input)));
            }
        }
        Ok(Self {
            open,
            took: began.elapsed(),
        })
    }

    /// Those that have not been closed.
    pub fn count_open(&self) -> usize {
        let is_open = |stream: &&TcpStream| {
            stream.set_nonblocking(true).is_ok() && !matches!(stream.peek(&mut [0; 1]), Ok(0))
        };
        self.open.iter().filter(is_open).count()
    }
}
