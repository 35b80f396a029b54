//! A client for the tests: says lines to a demo and reads what comes back, over real pipes.

use std::io::{self, BufRead, BufReader, PipeWriter, Write};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::server::DemoServer;
use super::wire;

/// How long a test waits for what must come. Nothing waits so long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// One conversation with a demo.
pub(super) struct Talk {
    input: Option<PipeWriter>,
    heard: Receiver<Value>,
    served: Option<JoinHandle<io::Result<()>>>,
}

impl Talk {
    pub(super) fn with(mut server: impl DemoServer + Send + 'static) -> Self {
        let (their_input, input) = io::pipe().unwrap();
        let (output, their_output) = io::pipe().unwrap();
        let served = thread::spawn(move || {
            wire::serve(
                &mut server,
                &mut BufReader::new(their_input),
                Box::new(their_output),
            )
        });
        let (tell, heard) = mpsc::sync_channel(10_000);
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let message = serde_json::from_str(&line.unwrap()).unwrap();
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            input: Some(input),
            heard,
            served: Some(served),
        }
    }

    /// Says hello with these capabilities.
    pub(super) fn hello(
        server: impl DemoServer + Send + 'static,
        revision: &str,
        capabilities: Value,
    ) -> Self {
        let mut talk = Self::with(server);
        let params = json!({ "protocolVersion": revision, "capabilities": capabilities,
            "clientInfo": { "name": "talk", "version": "1" } });
        assert_eq!(
            talk.ask("initialize", params)["result"]["protocolVersion"],
            revision
        );
        talk.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        talk
    }

    pub(super) fn say(&mut self, message: &Value) {
        writeln!(self.input.as_ref().unwrap(), "{message}").unwrap();
    }

    pub(super) fn request(&mut self, id: Value, method: &str, params: Value) {
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
    }

    pub(super) fn tool(&mut self, id: Value, name: &str, arguments: Value) {
        self.request(id, "tools/call", json!({ "name": name, "arguments": arguments }));
    }

    pub(super) fn cancel(&mut self, id: Value) {
        self.say(
            &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } }),
        );
    }

    /// The next message.
    pub(super) fn hear(&mut self) -> Value {
        self.heard.recv_timeout(PATIENCE).unwrap()
    }

    /// Everything up to the first message that is wanted, and that one.
    pub(super) fn hear_until(&mut self, wanted: impl Fn(&Value) -> bool) -> (Vec<Value>, Value) {
        let mut before = Vec::new();
        loop {
            let message = self.hear();
            if wanted(&message) {
                return (before, message);
            }
            before.push(message);
        }
    }

    /// Asks, and returns the answer; what else is heard meanwhile is dropped.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.request(json!("ask"), method, params);
        self.hear_until(|message| message["id"] == "ask" && message.get("method").is_none())
            .1
    }

    /// The result of a tool.
    pub(super) fn call(&mut self, name: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": name, "arguments": arguments }))["result"].take()
    }

    /// Closes the demo's input, and waits for its end.
    pub(super) fn hang_up(&mut self) -> io::Result<()> {
        self.input = None;
        self.served.take().unwrap().join().unwrap()
    }

    /// Everything that was said and not heard yet, after the end.
    pub(super) fn rest(&mut self) -> Vec<Value> {
        self.heard.iter().collect()
    }
}

/// Says everything, hangs up, and returns all that was said.
pub(super) fn at_once(server: impl DemoServer + Send + 'static, lines: &str) -> Vec<Value> {
    let mut talk = Talk::with(server);
    talk.input.as_ref().unwrap().write_all(lines.as_bytes()).unwrap();
    talk.hang_up().unwrap();
    talk.rest()
}
