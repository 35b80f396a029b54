//! As a property: whatever a server does in a call, clients of both eras see the same happen, whichever era the server
//! speaks. Scripts come from a seed, which every failure names.

use serde_json::{Value, json};

use crate::harness::bare::{Bare, calling, coming_back};
use crate::harness::dice::seeds;
use crate::harness::http::Reply;
use crate::harness::{Daemon, Dice, HttpClient, able, fake, request};

const N_SCRIPTS: usize = 20;

/// What a client sees of one call.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Progress(Value),
    Log(Value),
    /// Questions with nothing between them, in the order of their names: some clients get them one by one, others
    /// together.
    Asked(Vec<String>),
    Result(Value),
    /// Its code, and its reason where it is the gateway's own.
    Error(Value, Value),
}

/// What happens in one call.
fn script(dice: &mut Dice) -> Value {
    let rounds: Vec<Value> = (0..dice.below(4))
        .map(|round| {
            let questions = (0..=dice.below(3)).map(|n| {
                let name = format!("r{round}q{n}");
                (name.clone(), question(&name, dice.one_in(2)))
            });
            Value::Object(questions.collect())
        })
        .collect();
    let mut script = json!({ "do": "interview", "rounds": rounds, "steps": dice.below(3) });
    if dice.one_in(2) {
        script["log"] = json!("warning");
    }
    script["then"] = json!(dice.pick(&["", "", "fail", "die"]));
    script
}

fn question(name: &str, is_form: bool) -> Value {
    if is_form {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "string" } } });
        return json!({ "method": "elicitation/create", "params": { "message": name, "requestedSchema": schema } });
    }
    let said = json!([{ "role": "user", "content": { "type": "text", "text": name } }]);
    json!({ "method": "sampling/createMessage", "params": { "messages": said, "maxTokens": 9 } })
}

/// The name of a question, and what this client says to it.
fn answered(question: &Value) -> (String, Value) {
    let params = &question["params"];
    if question["method"] == "sampling/createMessage" {
        let name = bare_name(&params["messages"][0]["content"]["text"]);
        let content = json!({ "type": "text", "text": format!("to {name}") });
        return (
            name,
            json!({ "role": "assistant", "content": content, "model": "m" }),
        );
    }
    let name = bare_name(&params["message"]);
    let answer = match name.ends_with('0') {
        true => json!({ "action": "accept", "content": { "n": name } }),
        false => json!({ "action": "decline" }),
    };
    (name, answer)
}

/// Without the server that it comes from, which the gateway puts before it.
fn bare_name(told: &Value) -> String {
    let told = told.as_str().unwrap();
    told.rsplit(' ').next().unwrap_or(told).to_owned()
}

/// One call as it is seen.
#[derive(Default)]
struct Book(Vec<Seen>);

impl Book {
    fn told(&mut self, message: &Value) {
        let params = &message["params"];
        self.0.push(match message["method"].as_str() {
            Some("notifications/progress") => Seen::Progress(params["progress"].clone()),
            Some("notifications/message") => Seen::Log(params["data"].clone()),
            other => panic!("{other:?}: {message}"),
        });
    }

    fn asked(&mut self, name: String) {
        if let Some(Seen::Asked(names)) = self.0.last_mut() {
            names.push(name);
            names.sort();
        } else {
            self.0.push(Seen::Asked(vec![name]));
        }
    }

    fn ended(&mut self, answer: &Value) {
        let error = &answer["error"];
        self.0.push(if error.is_null() {
            Seen::Result(answer["result"]["content"].clone())
        } else {
            Seen::Error(error["code"].clone(), error["data"]["reason"].clone())
        });
    }
}

/// What comes in answer to a request: the response is the last.
async fn next(reply: Reply) -> Vec<Value> {
    if !reply.is_stream() {
        return vec![reply.json().await];
    }
    let events = reply.events().await;
    let texts = events.iter().map(|event| event.data.as_str());
    texts
        .filter(|text| !text.is_empty())
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

/// As a client with a handshake sees it, which is asked while its call is open.
async fn with_handshake(client: &HttpClient, tool: &str, script: &Value) -> Vec<Seen> {
    let mut book = Book::default();
    let mut params = calling(tool, script.clone());
    params["_meta"] = json!({ "progressToken": "t" });
    let mut reply = client.post(&request("call", "tools/call", params)).await;
    if !reply.is_stream() {
        book.ended(&reply.json().await);
        return book.0;
    }
    loop {
        let message = reply.next_json().await;
        match (message.get("method"), message.get("id")) {
            (Some(_), Some(id)) => {
                let (name, answer) = answered(&message);
                book.asked(name);
                let answer = json!({ "jsonrpc": "2.0", "id": id, "result": answer });
                assert_eq!(client.post(&answer.to_string()).await.status, 202);
            }
            (Some(_), None) => book.told(&message),
            (None, _) => {
                book.ended(&message);
                return book.0;
            }
        }
    }
}

/// As a client without one sees it, which is asked in results.
async fn without_handshake(client: &Bare, tool: &str, script: &Value) -> Vec<Seen> {
    let mut book = Book::default();
    let mut params = calling(tool, script.clone());
    params["_meta"] = json!({ "progressToken": "t", "io.modelcontextprotocol/logLevel": "debug" });
    let mut again = params.clone();
    loop {
        let mut messages = next(client.begin(1, "tools/call", again).await).await;
        let answer = messages.pop().expect("a response");
        for message in &messages {
            book.told(message);
        }
        if answer["result"]["resultType"] != "input_required" {
            book.ended(&answer);
            return book.0;
        }
        let requests = answer["result"]["inputRequests"].as_object();
        let mut answers = json!({});
        for (key, question) in requests.into_iter().flatten() {
            let (name, said) = answered(question);
            book.asked(name);
            answers[key] = said;
        }
        again = coming_back(&params, &answer, answers);
    }
}

#[tokio::test]
async fn a_call_means_the_same_to_clients_of_both_eras() {
    for seed in seeds(&[201]) {
        let daemon = Daemon::start(&[
            fake("old").tools("echo").key("fail_burst", "1000"),
            fake("new")
                .arg("--era", "modern")
                .tools("echo")
                .key("fail_burst", "1000"),
        ])
        .await;
        let declared = json!({ "sampling": {}, "elicitation": {} });
        let old = daemon.introduced(able("2025-11-25", &declared, "it")).await;
        assert!(old.request("logging/setLevel", json!({ "level": "debug" })).await["result"].is_object());
        let new = Bare::able(&daemon.address, declared);
        let mut dice = Dice::new(seed);
        let mut n_kinds = [0; 3];
        for n in 0..N_SCRIPTS {
            let script = script(&mut dice);
            let seen = with_handshake(&old, "old__echo", &script).await;
            for seen in &seen {
                match seen {
                    Seen::Asked(_) => n_kinds[0] += 1,
                    Seen::Result(_) => n_kinds[1] += 1,
                    Seen::Error(..) => n_kinds[2] += 1,
                    Seen::Progress(_) | Seen::Log(_) => {}
                }
            }
            let context = format!("seed {seed}, script {n}: {script}");
            assert_eq!(
                without_handshake(&new, "old__echo", &script).await,
                seen,
                "{context}"
            );
            assert_eq!(
                with_handshake(&old, "new__echo", &script).await,
                seen,
                "{context}"
            );
            assert_eq!(
                without_handshake(&new, "new__echo", &script).await,
                seen,
                "{context}"
            );
        }
        assert!(n_kinds.iter().all(|&n| n > 0), "seed {seed}: {n_kinds:?}");
        daemon.end().await;
    }
}
