//! Older clients: what their revision cannot carry becomes text, and everything else stays as it is.

use serde_json::{Value, json};

use crate::harness::{Daemon, LineClient, able, fake};

const RESULT: &str = r#"{"content":[{"type":"text","text":"t\u0061","n":1.0},{"type":"audio","data":"AAAAAAAA","mimeType":"audio/wav"},{"type":"resource_link","uri":"f://x","name":"x"}],"z":1e400}"#;
const URL_NEEDED: &str = r#"{"code":-32042,"message":"Log in first.","data":{"elicitations":[{"mode":"url","url":"https://x.example/in","elicitationId":"e","message":"m"}]}}"#;

fn doing(tool: &str, member: &str, value: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"{member}":{value}}}}}}}"#
    )
}

async fn answers(revision: &str, asked: &str) -> [String; 2] {
    let daemon = Daemon::start(&[fake("a").tools("raw,raw_error")]).await;
    let hands = able(revision, &json!({}), "it");
    let http = daemon.introduced(hands.clone()).await;
    let mut line = LineClient::launch(&daemon.setup);
    assert_eq!(line.introduce(hands).await["result"]["protocolVersion"], revision);
    let both = [http.ask(asked).await, line.ask(asked).await];
    daemon.end().await;
    both
}

#[tokio::test]
async fn newer_blocks_are_text_for_the_oldest_clients() {
    let asked = doing("a__raw", "result", RESULT);
    for answer in answers("2024-11-05", &asked).await {
        assert!(
            answer.contains(r#"[{"type":"text","text":"t\u0061","n":1.0},"#),
            "{answer}"
        );
        assert!(answer.ends_with(r#"],"z":1e400}}"#), "{answer}");
        let answer: Value = serde_json::from_str(&answer.replace("1e400", "1")).unwrap();
        let blocks = answer["result"]["content"].as_array().unwrap();
        assert_eq!(blocks.len(), 3);
        assert!(blocks.iter().all(|block| block["type"] == "text"), "{answer}");
        let said = blocks[1]["text"].as_str().unwrap();
        assert!(said.contains("audio/wav") && said.contains("6 bytes"), "{said}");
        assert_eq!(blocks[2]["text"], "x f://x");
    }
}

#[tokio::test]
async fn audio_stays_for_clients_that_know_it_and_links_become_text() {
    let asked = doing("a__raw", "result", RESULT);
    for answer in answers("2025-03-26", &asked).await {
        let audio = r#"{"type":"audio","data":"AAAAAAAA","mimeType":"audio/wav"}"#;
        assert!(answer.contains(audio), "{answer}");
        assert!(
            !answer.contains("resource_link") && answer.contains("x f://x"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn newer_clients_get_every_block_byte_for_byte() {
    let asked = doing("a__raw", "result", RESULT);
    for revision in ["2025-06-18", "2025-11-25"] {
        for answer in answers(revision, &asked).await {
            assert_eq!(
                answer,
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":{RESULT}}}"#),
                "{revision}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_that_must_be_opened_before_a_resource_is_read_is_named_in_the_error_for_older_clients() {
    let child = fake("a")
        .arg("--resources", "x://1")
        .arg("--read-error", URL_NEEDED);
    let daemon = Daemon::start(&[child]).await;
    for (revision, code) in [("2025-06-18", -32603), ("2025-11-25", -32042)] {
        let client = daemon.introduced(able(revision, &json!({}), "it")).await;
        let answer = client.request("resources/read", json!({ "uri": "x://1" })).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(answer.to_string().contains("https://x.example/in"), "{answer}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_model_is_asked_what_its_clients_revision_can_say() {
    let daemon = Daemon::start(&[fake("a").tools("ask")]).await;
    let can = json!({ "sampling": { "tools": {} } });
    let block = json!({ "type": "audio", "data": "AAAAAAAA", "mimeType": "audio/wav" });
    let asking = |content: &Value| {
        let params = json!({ "messages": [{ "role": "user", "content": content }], "maxTokens": 1 });
        let arguments = json!({ "method": "sampling/createMessage", "params": params });
        crate::harness::call(1, "a__ask", arguments)
    };
    // The content that a client is asked with; the call is over when this returns.
    let seen = async |revision: &str, content: &Value| {
        let client = daemon.introduced(able(revision, &can, "it")).await;
        let mut reply = client.post(&asking(content)).await;
        let question = reply.next_json().await;
        let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": {} });
        assert_eq!(client.post(&answer.to_string()).await.status, 202);
        reply.next_json().await;
        question["params"]["messages"][0]["content"].clone()
    };
    let oldest = seen("2024-11-05", &block).await;
    assert_eq!(oldest["type"], "text", "{oldest}");
    assert!(oldest["text"].as_str().unwrap().contains("audio/wav"), "{oldest}");
    assert_eq!(seen("2025-03-26", &block).await, block);
    assert_eq!(seen("2025-11-25", &json!([block])).await, json!([block]));
    let older = daemon.introduced(able("2025-06-18", &can, "it")).await;
    let reply = older.post(&asking(&json!([block]))).await;
    assert!(!reply.is_stream(), "the client was sent something");
    let answer = reply.json().await;
    let heard: Value = serde_json::from_str(crate::harness::text_of(&answer)).unwrap();
    assert_eq!(heard["error"]["code"], -32602, "{heard}");
    daemon.end().await;
}

#[tokio::test]
async fn what_was_filled_in_before_is_told_to_children_that_know_it() {
    for (revision, is_told) in [("2025-03-26", false), ("2025-06-18", true)] {
        let child = fake("a").arg("--prompts", "p").arg("--revision", revision);
        let daemon = Daemon::start(&[child]).await;
        let params = json!({
            "ref": { "type": "ref/prompt", "name": "a__p" },
            "argument": { "name": "k", "value": "v" },
            "context": { "arguments": { "other": "w" } },
        });
        let answer = daemon.http().await.request("completion/complete", params).await;
        assert_eq!(answer["result"]["completion"]["values"][0], "v1", "{answer}");
        let asked = daemon.setup.noted("a", "completion/complete").await;
        assert_eq!(asked.contains("context"), is_told, "{revision}: {asked}");
        daemon.end().await;
    }
}

#[tokio::test]
async fn a_page_that_must_be_opened_first_is_named_in_text_for_older_clients() {
    let asked = doing("a__raw_error", "error", URL_NEEDED);
    for answer in answers("2025-06-18", &asked).await {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let said = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(
            said.contains("Log in first.") && said.contains("https://x.example/in"),
            "{said}"
        );
    }
    for answer in answers("2025-11-25", &asked).await {
        assert_eq!(
            answer,
            format!(r#"{{"jsonrpc":"2.0","id":1,"error":{URL_NEEDED}}}"#)
        );
    }
}
