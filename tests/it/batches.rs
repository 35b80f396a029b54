//! Batches of 2025-03-26 whose calls report and ask: what comes before the answers goes out on the client's streams.

use serde_json::{Value, json};

use crate::harness::{Daemon, HttpClient, LineClient, able, fake, text_of};

const REPORTS: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__progress","arguments":{"n":3},"_meta":{"progressToken":"1"}}},{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"name":"a__echo","arguments":{"n":1}}}]"#;
const ASKS: &str = r#"[{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"a__ask","arguments":{"method":"sampling/createMessage","params":{"messages":[],"x":1.0}}}},{"jsonrpc":"2.0","id":3,"method":"ping"}]"#;
const ANSWER: &str = r#""result":{"role":"assistant","x":1.0}"#;

fn sampler() -> Value {
    able("2025-03-26", &json!({ "sampling": {} }), "it")
}

async fn daemon() -> Daemon {
    Daemon::start(&[fake("a").tools("progress,ask,echo")]).await
}

#[track_caller]
fn is_step(message: &Value, n: u64) {
    assert_eq!(message["method"], "notifications/progress", "{message}");
    let wanted = json!({ "progressToken": "1", "progress": n, "total": 3 });
    assert_eq!(message["params"], wanted);
}

fn of<'a>(answers: &'a [Value], id: &Value) -> &'a Value {
    answers.iter().find(|answer| answer["id"] == *id).unwrap()
}

#[tokio::test]
async fn calls_of_a_batch_report_and_ask_on_the_clients_event_stream() {
    let daemon = daemon().await;
    let client = daemon.introduced(sampler()).await;
    let mut stream = client.stream().await;
    let reported = client.post(REPORTS).await.json().await;
    let answers = reported.as_array().unwrap();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(text_of(of(answers, &json!(1))), r#"{"n":3}"#);
    assert_eq!(text_of(of(answers, &json!("1"))), r#"{"n":1}"#);
    for n in 1..=3 {
        is_step(&stream.next_json().await, n);
    }
    let (reply, ()) = tokio::join!(client.post(ASKS), answer_one(&client, &mut stream));
    let asked = reply.json().await;
    let answers = asked.as_array().unwrap();
    assert_eq!(answers.len(), 2, "{answers:?}");
    let told = text_of(of(answers, &json!(2)));
    assert_eq!(told, format!(r#"{{"jsonrpc":"2.0","id":"ask-1",{ANSWER}}}"#));
    daemon.end().await;
}

/// The answer comes in a batch as well.
async fn answer_one(client: &HttpClient, stream: &mut crate::harness::http::Reply) {
    let question = stream.next_json().await;
    assert_eq!(question["params"], json!({ "messages": [], "x": 1.0 }));
    let answer = format!(r#"[{{"jsonrpc":"2.0","id":{},{ANSWER}}}]"#, question["id"]);
    assert_eq!(client.post(&answer).await.status, 202);
}

#[tokio::test]
async fn calls_of_a_batch_report_and_ask_on_a_line() {
    let daemon = daemon().await;
    let mut client = LineClient::launch(&daemon.setup);
    client.introduce(sampler()).await;
    client.send(REPORTS).await;
    let mut steps = Vec::new();
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let message = client.next_json().await;
        if message["method"].is_null() {
            answers.push(message);
        } else {
            assert!(answers.iter().all(|answer| answer["id"] != 1), "{answers:?}");
            steps.push(message);
        }
    }
    assert_eq!(steps.len(), 3);
    for (step, n) in steps.iter().zip(1..) {
        is_step(step, n);
    }
    client.send(ASKS).await;
    let mut lines = [client.next_json().await, client.next_json().await];
    lines.sort_by_key(|line| line["method"].is_null());
    let [question, pong] = lines;
    assert_eq!(pong["id"], 3);
    let answer = format!(r#"[{{"jsonrpc":"2.0","id":{},{ANSWER}}}]"#, question["id"]);
    let told = client.ask_json(&answer).await;
    assert_eq!(told["id"], 2);
    assert_eq!(
        text_of(&told),
        format!(r#"{{"jsonrpc":"2.0","id":"ask-1",{ANSWER}}}"#)
    );
    daemon.end().await;
}
