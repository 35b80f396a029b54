//! The wire of a demo: one JSON-RPC message per line, in and out.
//!
//! Answers what is the same for every demo (`initialize`, `ping`, `logging/setLevel`) and hands the rest on.
//! Quick requests are answered here, in their order. A long one gets a thread of its own, so that the next line
//! is read at once: it may be a cancellation, the answer to a question, or the end.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::thread;

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, Peer};
use super::calls::{Calls, NotBegun, RUNNING_MAX};
use super::fault::Fault;
use super::message::{Incoming, Line, read_line, read_params};
use super::outlet::Outlet;
use super::reply::Reply;
use super::server::{DemoServer, LogLevel, Params, Work, object, required_text};

/// Longest line that is read as a message. Unit: bytes. A longer one is skipped and answered with an error.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The revisions a demo speaks, newest first.
const REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", BATCHING, "2024-11-05"];

/// The one revision in which a server must take batches. Source: MCP 2025-03-26, basic, "Batching".
const BATCHING: &str = "2025-03-26";

/// Talks to one client until the input ends.
///
/// Requests that are still worked on then get no answer. Their threads are told to stop, but not waited for: one
/// may be stuck in a write that nobody reads, and the end of the input must end the process.
pub(super) fn serve(
    server: &mut dyn DemoServer,
    input: &mut dyn BufRead,
    output: Box<dyn Write + Send>,
) -> io::Result<()> {
    let mut wire = Wire {
        outlet: Outlet::new(output),
        calls: Calls::default(),
        peer: Arc::default(),
    };
    server.begin(&wire.outlet);
    let ended = wire.read_all(server, input);
    wire.outlet.close();
    wire.calls.cancel_all();
    ended
}

/// One conversation.
struct Wire {
    outlet: Outlet,
    calls: Calls,
    peer: Arc<Peer>,
}

impl Wire {
    fn read_all(&mut self, server: &mut dyn DemoServer, input: &mut dyn BufRead) -> io::Result<()> {
        while let Some(line) = read_line(input, LINE_BYTES_MAX)? {
            self.take_line(server, &line);
            if let Some(failed) = self.outlet.take_failure() {
                return Err(failed);
            }
        }
        Ok(())
    }

    fn take_line(&mut self, server: &mut dyn DemoServer, line: &Line) {
        let reply = Reply::alone(&self.outlet);
        let Line::Whole(bytes) = line else {
            let why = format!("the line is longer than {LINE_BYTES_MAX} bytes");
            return reply.refuse(&Value::Null, Fault::invalid_request(&why));
        };
        if bytes.trim_ascii().is_empty() {
            return;
        }
        match serde_json::from_slice(bytes) {
            Err(why) => reply.refuse(&Value::Null, Fault::parse(&why.to_string())),
            Ok(Value::Array(batch)) if self.peer.revision == BATCHING && !batch.is_empty() => {
                let reply = Reply::together(&self.outlet);
                for message in batch {
                    self.take_message(server, message, &reply);
                }
            }
            Ok(message) => self.take_message(server, message, &reply),
        }
    }

    fn take_message(&mut self, server: &mut dyn DemoServer, message: Value, reply: &Reply) {
        match Incoming::read(message) {
            Err(why) => reply.refuse(&Value::Null, Fault::invalid_request(why)),
            Ok(Incoming::Notification { method, params }) => self.take_notification(&method, params.as_ref()),
            Ok(Incoming::Answer { id, said }) => self.calls.deliver(&id, said),
            Ok(Incoming::Request { id, method, params }) => {
                let taken = read_params(params)
                    .and_then(|params| self.take_request(server, &id, &method, &params, reply));
                match taken {
                    Ok(Some(result)) => reply.answer(&id, result),
                    Ok(None) => {}
                    Err(fault) => reply.refuse(&id, fault),
                }
            }
        }
    }

    fn take_notification(&self, method: &str, params: Option<&Value>) {
        if method == "notifications/cancelled"
            && let Some(id) = params.and_then(|params| params.get("requestId"))
        {
            self.calls.cancel(id);
        }
    }

    /// The result; `None` when a thread is at work on it.
    fn take_request(
        &mut self,
        server: &mut dyn DemoServer,
        id: &Value,
        method: &str,
        params: &Params,
        reply: &Reply,
    ) -> Result<Option<Value>, Fault> {
        match method {
            "initialize" => self.initialize(server, params).map(Some),
            "ping" => Ok(Some(json!({}))),
            "logging/setLevel" => self.set_log_level(params).map(Some),
            _ => match server.long_work(method, params)? {
                Some(work) => self.start(work, id, params, reply).map(|()| None),
                None => server.answer(method, params, &mut self.outlet).map(Some),
            },
        }
    }

    fn start(&self, work: Work, id: &Value, params: &Params, reply: &Reply) -> Result<(), Fault> {
        let mailbox = self.calls.begin(id).map_err(|why| match why {
            NotBegun::SameId => Fault::invalid_request("a request with this `id` is still worked on"),
            NotBegun::Full => Fault::busy(format!(
                "{RUNNING_MAX} requests are worked on already; try again when one of them is answered"
            )),
        })?;
        let own_mailbox = Arc::clone(&mailbox);
        let mut call = Call::new(&self.outlet, &self.calls, mailbox, &self.peer, params);
        let (calls, reply, own_id) = (self.calls.clone(), reply.clone(), id.clone());
        let started = thread::Builder::new().name("call".to_owned()).spawn(move || {
            let done = work(&mut call);
            if let (true, Ok(result)) = (calls.finish(&own_id, &own_mailbox), done) {
                reply.answer(&own_id, result);
            }
        });
        // The handle goes: `serve` says why nobody waits for the thread.
        started.map(drop).map_err(|why| {
            self.calls.cancel(id);
            Fault::busy(format!("the system gives no thread for this request: {why}"))
        })
    }

    /// Source: MCP 2025-11-25, lifecycle, "Version Negotiation": the client's revision if known, else our newest.
    fn initialize(&mut self, server: &dyn DemoServer, params: &Params) -> Result<Value, Fault> {
        let asked = required_text(params, "protocolVersion")?;
        let [newest, ..] = REVISIONS;
        let revision = REVISIONS
            .into_iter()
            .find(|known| *known == asked)
            .unwrap_or(newest);
        self.peer = Arc::new(Peer {
            revision,
            capabilities: object(params, "capabilities")?,
        });
        let about = server.about();
        let mut capabilities = about.capabilities;
        capabilities.insert("logging".to_owned(), json!({}));
        Ok(json!({
            "protocolVersion": revision,
            "capabilities": capabilities,
            "serverInfo": { "name": about.name, "title": about.title, "version": env!("CARGO_PKG_VERSION") },
            "instructions": about.instructions,
        }))
    }

    fn set_log_level(&mut self, params: &Params) -> Result<Value, Fault> {
        let level = params.get("level").cloned().unwrap_or(Value::Null);
        let level = LogLevel::deserialize(&level).map_err(|why| Fault::params(format!("`level`: {why}")))?;
        self.outlet.set_log_level(level);
        Ok(json!({}))
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{About, Client};
    use super::super::talk;
    use super::*;

    /// Says which method it was asked, with the params it saw.
    struct Mirror;

    impl DemoServer for Mirror {
        fn about(&self) -> About {
            About {
                name: "mirror",
                title: "Mirror",
                instructions: "Look.".to_owned(),
                capabilities: Params::new(),
            }
        }

        fn answer(&mut self, method: &str, params: &Params, client: &mut dyn Client) -> Result<Value, Fault> {
            if method == "no/such" {
                return Err(Fault::no_method(method));
            }
            client.log(LogLevel::Info, "mirror", &json!("seen"));
            Ok(json!({ "method": method, "params": params }))
        }
    }

    fn talk(lines: &[&str]) -> Vec<Value> {
        talk::at_once(Mirror, &lines.join("\n"))
    }

    fn initialize(revision: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{revision}"}}}}"#
        )
    }

    #[test]
    fn a_known_revision_is_answered_with_itself_and_an_unknown_one_with_the_newest() {
        for known in REVISIONS {
            assert_eq!(talk(&[&initialize(known)])[0]["result"]["protocolVersion"], known);
        }
        for unknown in ["2023-01-01", "2026-07-28", ""] {
            let answer = &talk(&[&initialize(unknown)])[0];
            assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
            assert_eq!(answer["result"]["serverInfo"]["name"], "mirror");
            assert_eq!(answer["result"]["capabilities"], json!({ "logging": {} }));
            assert_eq!(answer["result"]["instructions"], "Look.");
        }
        let answer = &talk(&[r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#])[0];
        assert_eq!(answer["error"]["code"], -32602);
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_right_code() {
        for (line, id, code) in [
            ("{nonsense", Value::Null, -32700),
            ("[]", Value::Null, -32600),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
                Value::Null,
                -32600,
            ),
            ("7", Value::Null, -32600),
            (r#"{"id":1,"method":"ping"}"#, Value::Null, -32600),
            (r#"{"jsonrpc":"2.0","id":1}"#, Value::Null, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Value::Null, -32600),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
                Value::Null,
                -32600,
            ),
            (
                r#"{"jsonrpc":"2.0","id":4,"method":"x","params":[1]}"#,
                json!(4),
                -32602,
            ),
            (
                r#"{"jsonrpc":"2.0","id":"a","method":"no/such"}"#,
                json!("a"),
                -32601,
            ),
            (
                r#"{"jsonrpc":"2.0","id":5,"method":"logging/setLevel","params":{"level":"loud"}}"#,
                json!(5),
                -32602,
            ),
        ] {
            let answers = talk(&[line]);
            assert_eq!(answers.len(), 1, "{line}");
            assert_eq!(
                (&answers[0]["id"], &answers[0]["error"]["code"]),
                (&id, &json!(code)),
                "{line}"
            );
        }
    }

    #[test]
    fn notifications_answers_and_blank_lines_get_no_answer_and_the_next_request_does() {
        let answers = talk(&[
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":9,"result":{}}"#,
            "",
            "  \r",
            r#"{"jsonrpc":"2.0","id":"last","method":"ping"}"#,
        ]);
        assert_eq!(answers, [json!({ "jsonrpc": "2.0", "id": "last", "result": {} })]);
    }

    #[test]
    fn a_batch_is_taken_in_the_one_revision_that_demands_it() {
        let batch = r#"[{"jsonrpc":"2.0","id":2,"method":"ping"},{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":3,"method":"no/such"}]"#;
        let answers = talk(&[
            &initialize(BATCHING),
            batch,
            r#"[{"jsonrpc":"2.0","method":"n"}]"#,
        ]);
        assert_eq!(answers.len(), 2);
        assert_eq!(
            (&answers[1][0]["id"], &answers[1][1]["error"]["code"]),
            (&json!(2), &json!(-32601))
        );
        assert_eq!(
            talk(&[&initialize("2025-06-18"), batch])[1]["error"]["code"],
            -32600
        );
    }

    #[test]
    fn log_messages_come_only_after_the_level_was_set_and_reaches_them() {
        let ask = r#"{"jsonrpc":"2.0","id":2,"method":"x"}"#;
        let level = |l: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{{"level":"{l}"}}}}"#)
        };
        assert_eq!(talk(&[ask]).len(), 1);
        assert_eq!(talk(&[&level("warning"), ask]).len(), 2);
        for heard in ["debug", "info"] {
            let answers = talk(&[&level(heard), ask]);
            assert_eq!(answers[1]["method"], "notifications/message");
            assert_eq!(
                answers[1]["params"],
                json!({ "level": "info", "logger": "mirror", "data": "seen" })
            );
            assert_eq!(answers[2]["id"], 2);
        }
    }

    #[test]
    fn a_line_beyond_the_bound_is_refused_and_the_next_is_answered() {
        let long = "x".repeat(LINE_BYTES_MAX + 10);
        let answers = talk(&[&long, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#]);
        assert_eq!(answers[0]["error"]["code"], -32600);
        assert_eq!(answers[1]["id"], 1);
    }

    #[test]
    fn a_client_that_hung_up_ends_the_conversation() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut input = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.as_bytes();
        let ended = serve(&mut Mirror, &mut input, Box::new(Gone)).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::BrokenPipe);
    }
}
