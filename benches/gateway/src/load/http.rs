//! A blocking client for what happens around a measurement: handshakes and lists.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use gateway_bench::answers::MODERN;

use crate::Failed;
use crate::response::{Response, header};

/// Nothing of ours takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a gateway listens.
#[derive(Debug, Clone)]
pub struct Place {
    pub address: String,
    pub path: String,
}

impl Place {
    pub fn of(url: &str) -> Result<Self, Failed> {
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| format!("{url} is no http:// address"))?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self {
            address: address.to_owned(),
            path: format!("/{path}"),
        })
    }
}

/// What goes with each request besides its body.
#[derive(Debug, Clone, Default)]
pub struct Said {
    pub session: Option<String>,
    /// `Mcp-Method` and `Mcp-Name`: then the request is of 2026-07-28.
    pub modern: Option<(String, Option<String>)>,
}

/// A whole request.
pub fn request(place: &Place, said: &Said, body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n",
        place.path,
        place.address,
        body.len()
    );
    if let Some(session) = &said.session {
        head += &format!("mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n");
    }
    if let Some((method, name)) = &said.modern {
        head += &format!("mcp-protocol-version: {MODERN}\r\nmcp-method: {method}\r\n");
        if let Some(name) = name {
            head += &format!("mcp-name: {name}\r\n");
        }
    }
    let mut request = (head + "\r\n").into_bytes();
    request.extend_from_slice(body);
    request
}

/// One connection.
pub struct Client {
    pub place: Place,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub fn new(place: &Place) -> Result<Self, Failed> {
        let stream =
            TcpStream::connect(&place.address).map_err(|error| format!("{}: {error}", place.address))?;
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
        ready.map_err(|error| error.to_string())?;
        Ok(Self {
            place: place.clone(),
            stream,
            input: Vec::new(),
        })
    }

    /// Sends a request; its head and its body.
    pub fn ask(&mut self, said: &Said, body: &[u8]) -> Result<(u16, String, Vec<u8>), Failed> {
        self.stream
            .write_all(&request(&self.place, said, body))
            .map_err(|error| error.to_string())?;
        self.input.clear();
        let mut response = Response::default();
        let mut piece = vec![0; 64 * 1024];
        while !response.is_complete(&self.input)? {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err("the connection ended in a response".to_owned()),
                Ok(n) => self.input.extend_from_slice(&piece[..n]),
                Err(error) => return Err(format!("no response: {error}")),
            }
        }
        let body = response.body(&self.input).to_vec();
        let head = self.input[..self.input.len() - body.len()].to_vec();
        Ok((response.status, String::from_utf8_lossy(&head).into_owned(), body))
    }

    /// Shakes hands; the session.
    pub fn open(&mut self) -> Result<Said, Failed> {
        let body = br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#;
        let (status, head, said) = self.ask(&Said::default(), body)?;
        if status != 200 {
            return Err(format!(
                "the handshake: {status} {}",
                String::from_utf8_lossy(&said)
            ));
        }
        let session = Said {
            session: header(&head, "mcp-session-id").map(str::to_owned),
            modern: None,
        };
        self.ask(
            &session,
            br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        )?;
        Ok(session)
    }
}
