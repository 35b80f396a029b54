//! The same as a property: whatever JSON goes in comes out as the same bytes, in every place where a value may stand,
//! through every door.
//!
//! Two things are not the sender's. What is ours to mint: ids, the progress token, the name and URI, the name of the
//! server before a logger and before an elicitation's message. And a line's end between tokens: towards a child, on a
//! line and in an event it is a blank, because there a message is one line; so texts are compared [`on_one_line`].
//! White space around a value that is passed belongs to the text it stood in, and goes with that.

use serde_json::{Value, json};

use crate::harness::dice::seeds;
use crate::harness::peer::DOORS;
use crate::harness::text::{Maker, on_one_line};
use crate::harness::{Daemon, Dice, Door, Peer, fake, text_of};

/// Values in each place, for each door.
const N_VALUES: usize = 30;
/// Stands for the wire id in what the child has to see.
const WIRE_ID: &str = "<wire id>";

/// One client, and what is tried on it.
struct Trial {
    peer: Peer,
    dice: Dice,
    seed: u64,
    n_asked: usize,
    /// What the child has to have seen: by a mark in it, the line.
    seen: Vec<(String, String)>,
}

impl Trial {
    async fn new(daemon: &Daemon, door: Door, seed: u64) -> Self {
        let capabilities = json!({ "sampling": {}, "elicitation": {} });
        Self {
            peer: Peer::new(daemon, door, &capabilities, "it").await,
            dice: Dice::new(seed),
            seed,
            n_asked: 0,
            seen: Vec::new(),
        }
    }

    fn maker(&mut self) -> Maker<'_> {
        let breaks = self.peer.door != Door::Lines;
        Maker {
            dice: &mut self.dice,
            breaks,
        }
    }

    fn value(&mut self) -> String {
        self.maker().value()
    }

    fn object(&mut self) -> String {
        self.maker().object()
    }

    fn string(&mut self) -> String {
        self.maker().string()
    }

    #[track_caller]
    fn same(&self, got: &str, wanted: &str) {
        let door = self.peer.door;
        assert_eq!(
            on_one_line(got),
            on_one_line(wanted),
            "seed {}, {door:?}",
            self.seed
        );
    }

    /// Sends a request. Gives its answer, and what came before it; `reply` makes the answer to a question.
    async fn ask(&mut self, method: &str, params: &str, reply: &str) -> (String, Vec<String>) {
        self.n_asked += 1;
        let id = format!("\"{:?}-{}\"", self.peer.door, self.n_asked);
        let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let exchange = self.peer.ask(text).await;
        let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"#);
        let mut before = Vec::new();
        loop {
            let message = self.peer.message().await;
            if let Some(outcome) = message.strip_prefix(&start) {
                if exchange.is_some() {
                    let end = self.peer.next().await;
                    assert!(end.text.is_none(), "after the answer: {end:?}");
                }
                return (outcome.to_owned(), before);
            }
            if let Some(asked) = question_id(&message) {
                let answer = format!(r#"{{"jsonrpc":"2.0","id":{asked},{reply}}}"#);
                self.peer.tell(&answer).await;
            }
            before.push(message);
        }
    }

    /// Calls the tool with these arguments.
    async fn call(&mut self, arguments: &str, reply: &str) -> (String, Vec<String>) {
        let params = format!(r#"{{"name":"a__echo","arguments":{arguments}}}"#);
        self.ask("tools/call", &params, reply).await
    }

    /// A request with values in all places: the child has to see `params` with its own name for the thing.
    async fn passes(&mut self, method: &str, exposed: &str, own: &str, argument: &str) {
        let mark = format!("mark-{:?}-{}-", self.peer.door, self.n_asked);
        let (unknown, argument_value, meta) = (self.value(), self.object(), self.value());
        let answer = self.object();
        let of = |name: &str, token: &str| {
            format!(
                r#"{{"x-mark":"{mark}","x-unknown":{unknown},{name},"{argument}":{argument_value},"_meta":{{"x.example/m":{meta},"progressToken":{token}}},"x-answer":{answer}}}"#
            )
        };
        let (outcome, before) = self.ask(method, &of(exposed, "\"t\""), "").await;
        assert!(before.is_empty(), "{before:?}");
        let token = if method == "completion/complete" {
            "\"t\""
        } else {
            WIRE_ID
        };
        let seen = of(own, token);
        self.seen.push((
            mark,
            format!(r#"{{"jsonrpc":"2.0","id":{WIRE_ID},"method":"{method}","params":{seen}}}"#),
        ));
        match method {
            // What a tool answers is tried apart; here it echoes.
            "tools/call" => {
                let outcome = format!("{{{outcome}");
                let outcome: Value = serde_json::from_str(&outcome).unwrap();
                self.same(text_of(&outcome), &argument_value);
            }
            _another => self.same(&outcome, &format!(r#""result":{answer}}}"#)),
        }
    }

    async fn results(&mut self) {
        let (content, structured, meta, rest) = (self.value(), self.value(), self.value(), self.value());
        let result = format!(
            r#"{{"content":[{content}],"structuredContent":{structured},"_meta":{meta},"x":{rest},"isError":null}}"#
        );
        for result in [result, self.object()] {
            let (outcome, _) = self
                .call(&format!(r#"{{"do":"raw","result":{result}}}"#), "")
                .await;
            self.same(&outcome, &format!(r#""result":{result}}}"#));
        }
        let (message, data) = (self.string(), self.value());
        let error = format!(r#"{{"code":-32050,"message":{message},"data":{data},"x":1.0}}"#);
        let (outcome, _) = self
            .call(&format!(r#"{{"do":"raw_error","error":{error}}}"#), "")
            .await;
        self.same(&outcome, &format!(r#""error":{error}}}"#));
    }

    async fn questions(&mut self, method: &str) {
        let (message, rest, reply) = (self.string(), self.value(), self.value());
        let schema = self.object();
        let params = format!(r#"{{"message":{message},"requestedSchema":{schema},"x":{rest}}}"#);
        let reply = if self.dice.one_in(2) {
            format!(r#""result":{reply}"#)
        } else {
            format!(r#""error":{{"code":-1,"message":{message},"data":{reply}}}"#)
        };
        let arguments = format!(r#"{{"do":"ask","method":"{method}","params":{params}}}"#);
        let (outcome, before) = self.call(&arguments, &reply).await;
        let [question] = before.as_slice() else {
            panic!("one question: {before:?}")
        };
        let asked = question_id(question).unwrap();
        let seen = match method {
            "elicitation/create" => params.replacen(r#"{"message":""#, r#"{"message":"[a] "#, 1),
            _another => params,
        };
        let wanted = format!(r#"{{"jsonrpc":"2.0","id":{asked},"method":"{method}","params":{seen}}}"#);
        self.same(question, &wanted);
        let outcome: Value = serde_json::from_str(&format!("{{{outcome}")).unwrap();
        let (id, told) = text_of(&outcome)
            .strip_prefix(r#"{"jsonrpc":"2.0","id":"ask-"#)
            .and_then(|rest| rest.split_once("\","))
            .unwrap();
        assert!(id.parse::<u64>().is_ok(), "{id}");
        self.same(told, &format!("{reply}}}"));
    }

    async fn news(&mut self) {
        let (data, logger) = (self.value(), self.string());
        let arguments = format!(r#"{{"do":"log","level":"error","data":{data},"logger":{logger}}}"#);
        let (_, before) = self.call(&arguments, "").await;
        let logger = logger.replacen('"', "\"a/", 1);
        let params = format!(r#"{{"data":{data},"level":"error","logger":{logger}}}"#);
        let wanted = format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{params}}}"#);
        self.same(&before.join("\n"), &wanted);

        let message = self.value();
        let token = self
            .dice
            .pick(&["0", "\"0\"", "7.0", "\"\\u0061\"", "\"\"", "-1"]);
        let params = format!(
            r#"{{"name":"a__echo","_meta":{{"progressToken":{token}}},"arguments":{{"do":"progress","n":1,"message":{message}}}}}"#
        );
        let (_, before) = self.ask("tools/call", &params, "").await;
        let params = format!(r#"{{"progressToken":{token},"progress":1,"total":1,"message":{message}}}"#);
        let wanted = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#);
        self.same(&before.join("\n"), &wanted);
    }

    /// From a process of one's own, also what MCP does not know.
    async fn unknown_notification(&mut self) {
        let params = self.object();
        let arguments = format!(r#"{{"do":"notify","method":"notifications/x-\u0079","params":{params}}}"#);
        let call = format!(r#"{{"name":"own__echo","arguments":{arguments}}}"#);
        let (_, mut before) = self.ask("tools/call", &call, "").await;
        // It belongs to no call, so it may come after the answer.
        if before.is_empty() {
            before.push(self.peer.message().await);
        }
        let wanted = format!(r#"{{"jsonrpc":"2.0","method":"notifications/x-y","params":{params}}}"#);
        self.same(&before.join("\n"), &wanted);
    }

    /// What the child has seen is what it had to see.
    fn check(&self, journal: &[String]) {
        for (mark, wanted) in &self.seen {
            let line = journal
                .iter()
                .find(|line| line.starts_with("in ") && line.contains(mark));
            let line = line.unwrap_or_else(|| panic!("seed {}: no {mark} in the journal", self.seed));
            let line = line.strip_prefix("in ").unwrap();
            let id = line.strip_prefix(r#"{"jsonrpc":"2.0","id":"#).unwrap();
            let (id, _) = id.split_once(',').unwrap();
            self.same(&without_our_span(line), &wanted.replace(WIRE_ID, id));
        }
    }
}

/// The line without the trace context that is ours to set, after our progress token, where processes are shared.
fn without_our_span(line: &str) -> String {
    const KEY: &str = r#","traceparent":"00-"#;
    // Trace, span and flags, and the closing quote (W3C Trace Context, "traceparent header").
    const N_REST: usize = 32 + 1 + 16 + 1 + 2 + 1;
    match line.split_once(KEY) {
        Some((before, rest)) => format!("{before}{}", &rest[N_REST..]),
        None => line.to_owned(),
    }
}

/// The id of a request of ours.
fn question_id(message: &str) -> Option<&str> {
    let (id, rest) = message
        .strip_prefix(r#"{"jsonrpc":"2.0","id":"#)?
        .split_once(',')?;
    rest.starts_with("\"method\":").then_some(id)
}

#[tokio::test]
async fn any_value_keeps_its_bytes_in_every_place_and_through_every_door() {
    let children = [
        fake("a")
            .arg("--prompts", "p")
            .arg("--resources", "file:///a.txt"),
        fake("own").key("sharing", "\"per-session\""),
    ];
    for seed in seeds(&[11, 12]) {
        let daemon = Daemon::start(&children).await;
        for door in DOORS {
            let mut trial = Trial::new(&daemon, door, seed).await;
            for _ in 0..N_VALUES {
                let (exposed, own) = (r#""name":"a__echo""#, r#""name":"echo""#);
                trial.passes("tools/call", exposed, own, "arguments").await;
                let (exposed, own) = (r#""name":"a__p""#, r#""name":"p""#);
                trial.passes("prompts/get", exposed, own, "arguments").await;
                let uri = r#""uri":"file:///a.txt""#;
                trial.passes("resources/read", uri, uri, "x-more").await;
                let exposed = r#""ref":{"type":"ref/prompt","name":"a__p"}"#;
                let own = r#""ref":{"type":"ref/prompt","name":"p"}"#;
                trial
                    .passes("completion/complete", exposed, own, "argument")
                    .await;
                trial.results().await;
                trial.questions("sampling/createMessage").await;
                if door != Door::Sse {
                    trial.questions("elicitation/create").await;
                }
                trial.news().await;
                trial.unknown_notification().await;
            }
            trial.check(&daemon.setup.journal("a"));
        }
        daemon.end().await;
    }
}

#[tokio::test]
async fn what_cannot_be_passed_is_refused_and_reaches_no_child() {
    let daemon = Daemon::start(&[fake("a").arg("--resources", "file:///a.txt")]).await;
    let client = daemon.http().await;
    for (code, part) in [
        // No text that could name anything.
        (
            -32602,
            r#""id":1,"method":"tools/call","params":{"name":"\ud800","x":"bad"}"#,
        ),
        (
            -32602,
            r#""id":1,"method":"tools/call","params":{"name":1.0,"x":"bad"}"#,
        ),
        (-32602, r#""id":1,"method":"tools/call","params":[1.0,"bad"]"#),
        (
            -32602,
            r#""id":1,"method":"resources/read","params":{"uri":"\udc00","x":"bad"}"#,
        ),
        (
            -32600,
            r#""id":"\ud800","method":"tools/call","params":{"name":"a__echo","x":"bad"}"#,
        ),
        (
            -32600,
            r#""id":1,"method":"\ud800","params":{"name":"a__echo","x":"bad"}"#,
        ),
        // Which of two counts is not ours to say, where it is ours to route.
        (
            -32600,
            r#""id":1,"id":1,"method":"tools/call","params":{"name":"a__echo","x":"bad"}"#,
        ),
        // No JSON.
        (
            -32700,
            r#""id":1,"method":"tools/call","params":{"name":"a__echo","x":01,"y":"bad"}"#,
        ),
        (
            -32700,
            r#""id":1,"method":"tools/call","params":{"name":"a__echo","x":NaN,"y":"bad"}"#,
        ),
        (
            -32700,
            "\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a__echo\",\"x\":\"bad\n\"}",
        ),
    ] {
        let answer = client
            .post(&format!(r#"{{"jsonrpc":"2.0",{part}}}"#))
            .await
            .json()
            .await;
        assert_eq!(answer["error"]["code"], code, "{part}: {answer}");
        assert!(
            answer["error"]["message"]
                .as_str()
                .is_some_and(|why| why.len() > 10),
            "{answer}"
        );
    }
    client.call("a__echo", json!({})).await;
    let journal = daemon.setup.journal("a");
    assert!(!journal.iter().any(|line| line.contains("\"bad")), "{journal:?}");
    daemon.end().await;
}
