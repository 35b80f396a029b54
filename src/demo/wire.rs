//! The wire of a demo: one JSON-RPC message per line, in and out, one request at a time.
//!
//! Answers what is the same for every demo (`initialize`, `ping`, `logging/setLevel`) and hands the rest on.
//! It owns both directions, so that a demo that asks its client something can read the answer from here.

use std::io::{self, BufRead, Read, Write};

use serde::Deserialize;
use serde_json::{Value, json};

use super::fault::Fault;
use super::server::{Client, DemoServer, LogLevel, Params, required_text};

/// Longest line that is read as a message. Unit: bytes. A longer one is skipped and answered with an error.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The revisions a demo speaks, newest first.
const REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", BATCHING, "2024-11-05"];

/// The one revision in which a server must take batches. Source: MCP 2025-03-26, basic, "Batching".
const BATCHING: &str = "2025-03-26";

/// Talks to one client until the input ends.
pub(super) fn serve(
    server: &mut dyn DemoServer,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> io::Result<()> {
    let mut wire = Wire {
        output,
        revision: "",
        log_level: None,
        broken: None,
    };
    while let Some(line) = read_line(input, LINE_BYTES_MAX)? {
        if let Some(answer) = wire.answer_line(server, &line) {
            wire.write(&answer);
        }
        if let Some(broken) = wire.broken.take() {
            return Err(broken);
        }
    }
    Ok(())
}

/// What was read up to a line's end.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

fn read_line(input: &mut dyn BufRead, bytes_max: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    Read::take(&mut *input, limit.saturating_add(1)).read_until(b'\n', &mut line)?;
    if line.len() > bytes_max && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    Ok((!line.is_empty()).then_some(Line::Whole(line)))
}

/// One conversation.
struct Wire<'io> {
    output: &'io mut dyn Write,
    /// The revision agreed on; empty before `initialize`.
    revision: &'static str,
    log_level: Option<LogLevel>,
    /// The first failed write: nothing that is written after it would arrive.
    broken: Option<io::Error>,
}

impl Client for Wire<'_> {
    fn notify(&mut self, method: &str, params: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn log_level(&self) -> Option<LogLevel> {
        self.log_level
    }
}

impl Wire<'_> {
    fn write(&mut self, message: &Value) {
        if self.broken.is_some() {
            return;
        }
        let written = writeln!(self.output, "{message}").and_then(|()| self.output.flush());
        self.broken = written.err();
    }

    fn answer_line(&mut self, server: &mut dyn DemoServer, line: &Line) -> Option<Value> {
        let Line::Whole(bytes) = line else {
            let why = format!("the line is longer than {LINE_BYTES_MAX} bytes");
            return Some(refused(&Value::Null, Fault::invalid_request(&why)));
        };
        if bytes.trim_ascii().is_empty() {
            return None;
        }
        match serde_json::from_slice(bytes) {
            Err(why) => Some(refused(&Value::Null, Fault::parse(&why.to_string()))),
            Ok(Value::Array(batch)) if self.revision == BATCHING && !batch.is_empty() => {
                let answers: Vec<Value> = batch
                    .into_iter()
                    .filter_map(|message| self.answer_message(server, message))
                    .collect();
                (!answers.is_empty()).then_some(Value::Array(answers))
            }
            Ok(message) => self.answer_message(server, message),
        }
    }

    fn answer_message(&mut self, server: &mut dyn DemoServer, message: Value) -> Option<Value> {
        match Incoming::read(message) {
            Err(why) => Some(refused(&Value::Null, Fault::invalid_request(why))),
            Ok(Incoming::NothingToAnswer) => None,
            Ok(Incoming::Request { id, method, params }) => {
                let answer =
                    read_params(params).and_then(|params| self.answer_request(server, &method, &params));
                Some(match answer {
                    Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
                    Err(fault) => refused(&id, fault),
                })
            }
        }
    }

    fn answer_request(
        &mut self,
        server: &mut dyn DemoServer,
        method: &str,
        params: &Params,
    ) -> Result<Value, Fault> {
        match method {
            "initialize" => self.initialize(server, params),
            "ping" => Ok(json!({})),
            "logging/setLevel" => self.set_log_level(params),
            _ => server.answer(method, params, self),
        }
    }

    /// Source: MCP 2025-11-25, lifecycle, "Version Negotiation": the client's revision if known, else our newest.
    fn initialize(&mut self, server: &dyn DemoServer, params: &Params) -> Result<Value, Fault> {
        let asked = required_text(params, "protocolVersion")?;
        let [newest, ..] = REVISIONS;
        self.revision = REVISIONS
            .into_iter()
            .find(|known| *known == asked)
            .unwrap_or(newest);
        let about = server.about();
        let mut capabilities = about.capabilities;
        capabilities.insert("logging".to_owned(), json!({}));
        Ok(json!({
            "protocolVersion": self.revision,
            "capabilities": capabilities,
            "serverInfo": { "name": about.name, "title": about.title, "version": env!("CARGO_PKG_VERSION") },
            "instructions": about.instructions,
        }))
    }

    fn set_log_level(&mut self, params: &Params) -> Result<Value, Fault> {
        let level = params.get("level").cloned().unwrap_or(Value::Null);
        self.log_level =
            Some(LogLevel::deserialize(&level).map_err(|why| Fault::params(format!("`level`: {why}")))?);
        Ok(json!({}))
    }
}

fn refused(id: &Value, fault: Fault) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": fault.into_json() })
}

/// JSON-RPC allows params by position; MCP does not.
fn read_params(params: Option<Value>) -> Result<Params, Fault> {
    match params {
        None | Some(Value::Null) => Ok(Params::new()),
        Some(Value::Object(params)) => Ok(params),
        Some(_) => Err(Fault::params("`params` must be an object")),
    }
}

/// A message of the client, as far as this end must tell them apart.
enum Incoming {
    Request {
        id: Value,
        method: String,
        params: Option<Value>,
    },
    /// A notification, or an answer to a question: no demo so far needs either.
    NothingToAnswer,
}

impl Incoming {
    fn read(message: Value) -> Result<Self, &'static str> {
        let Value::Object(mut members) = message else {
            return Err("a message is a JSON object");
        };
        if members.get("jsonrpc") != Some(&json!("2.0")) {
            return Err("`jsonrpc` must be \"2.0\"");
        }
        let method = match members.remove("method") {
            Some(Value::String(method)) => method,
            Some(_) => return Err("`method` must be a string"),
            None if members.contains_key("result") || members.contains_key("error") => {
                return Ok(Self::NothingToAnswer);
            }
            None => return Err("`method` is missing"),
        };
        match members.remove("id") {
            None => Ok(Self::NothingToAnswer),
            Some(id @ (Value::String(_) | Value::Number(_))) => Ok(Self::Request {
                id,
                method,
                params: members.remove("params"),
            }),
            Some(_) => Err("`id` must be a string or a number"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::About;
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
        let mut output = Vec::new();
        let input = lines.join("\n");
        serve(&mut Mirror, &mut input.as_bytes(), &mut output).unwrap();
        output
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect()
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
    fn a_line_beyond_the_bound_is_skipped_as_a_whole() {
        let mut input: &[u8] = b"12345678\n1234\n123456789";
        assert_eq!(read_line(&mut input, 4).unwrap(), Some(Line::TooLong));
        assert_eq!(
            read_line(&mut input, 4).unwrap(),
            Some(Line::Whole(b"1234\n".to_vec()))
        );
        assert_eq!(read_line(&mut input, 4).unwrap(), Some(Line::TooLong));
        assert_eq!(read_line(&mut input, 4).unwrap(), None);

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
        let ended = serve(&mut Mirror, &mut input, &mut Gone).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::BrokenPipe);
    }
}
