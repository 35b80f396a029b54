//! Calls that ask nothing: how their answers come, and how they are taken back.

use serde_json::{Value, json};

use super::{asker, heard, taken_back};
use crate::harness::bare::{Bare, calling};
use crate::harness::http::Reply;
use crate::harness::{Daemon, fake, text_of};

/// All that comes on a stream.
async fn messages(reply: Reply) -> Vec<Value> {
    assert!(reply.is_stream());
    let events = reply.events().await;
    assert!(events.iter().all(|event| event.id.is_none()), "{events:?}");
    let read = |event: &crate::harness::http::Event| serde_json::from_str(&event.data).unwrap();
    events.iter().map(read).collect()
}

#[tokio::test]
async fn an_answer_is_json_unless_something_is_said_before_it_and_a_token_keeps_its_type() {
    let children = [
        asker(),
        fake("m").arg("--era", "modern").tools("echo,progress,raw_error"),
    ];
    let daemon = Daemon::start(&children).await;
    let client = Bare::new(&daemon.address);
    for server in ["a", "m"] {
        let plain = client
            .begin(
                0,
                "tools/call",
                calling(&format!("{server}__echo"), json!({ "x": 1.0 })),
            )
            .await;
        assert_eq!((plain.status, plain.is_stream()), (200, false));
        let plain = plain.json().await;
        assert_eq!((&plain["id"], text_of(&plain)), (&json!(0), r#"{"x":1.0}"#));
        for token in [json!("7"), json!(7), json!(0), json!("")] {
            let mut params = calling(&format!("{server}__progress"), json!({ "n": 2 }));
            params["_meta"] = json!({ "progressToken": token });
            let all = messages(client.begin("x", "tools/call", params).await).await;
            assert_eq!(all.len(), 3, "{all:?}");
            for (n, note) in (1..).zip(&all[..2]) {
                assert_eq!(note["params"]["progressToken"], token, "{note}");
                assert_eq!(note["params"]["progress"], n);
            }
            assert_eq!(all[2]["id"], "x");
        }
        // Nobody asked for progress.
        let silent = client
            .begin(
                1,
                "tools/call",
                calling(&format!("{server}__progress"), json!({})),
            )
            .await;
        assert!(!silent.is_stream());
        let error = json!({ "error": { "code": -32602, "message": "no", "data": { "x": 1 } } });
        let refused = client
            .begin(1, "tools/call", calling(&format!("{server}__raw_error"), error))
            .await;
        assert_eq!(
            refused.status, 200,
            "what a server finds is no fault of the transport"
        );
        assert_eq!(refused.json().await["error"]["data"], json!({ "x": 1 }));
    }
    daemon.end().await;
}

#[tokio::test]
async fn closing_the_response_is_taking_the_call_back() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    // Before anything has come.
    let answer = client.begin(1, "tools/call", calling("a__hang", json!({})));
    tokio::select! {
        _reply = answer => panic!("it hangs"),
        () = daemon.setup.called("a", "hang") => {}
    }
    taken_back(&daemon, "a", 1).await;
    // In the middle of a stream.
    let mut params = calling("a__progress", json!({ "n": 1000, "ms": 50 }));
    params["_meta"] = json!({ "progressToken": 1 });
    let mut reply = client.begin(2, "tools/call", params).await;
    assert_eq!(reply.next_json().await["method"], "notifications/progress");
    drop(reply);
    taken_back(&daemon, "a", 2).await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn nothing_is_logged_to_who_has_not_asked_and_to_who_has_only_on_that_request() {
    let children = [asker(), fake("m").arg("--era", "modern").tools("log")];
    let daemon = Daemon::start(&children).await;
    let client = Bare::new(&daemon.address);
    for server in ["a", "m"] {
        let call = |level: Option<&str>, said: &str| {
            let mut params = calling(&format!("{server}__log"), json!({ "level": said }));
            if let Some(level) = level {
                params["_meta"] = json!({ "io.modelcontextprotocol/logLevel": level });
            }
            params
        };
        for (level, said, is_told) in [
            (None, "error", false),
            (Some("info"), "info", true),
            (None, "error", false),
            (Some("error"), "warning", false),
            (Some("warning"), "warning", true),
        ] {
            let reply = client.begin(1, "tools/call", call(level, said)).await;
            assert_eq!(reply.is_stream(), is_told, "{server} {level:?} {said}");
            if is_told {
                let all = messages(reply).await;
                assert_eq!(all.len(), 2, "{all:?}");
                assert_eq!(all[0]["method"], "notifications/message");
                assert_eq!(all[0]["params"]["level"], said);
            }
        }
        let unknown = client.begin(1, "tools/call", call(Some("loud"), "info")).await;
        assert_eq!(unknown.status, 400);
        assert_eq!(unknown.json().await["error"]["code"], -32602);
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_resource_that_is_not_there_is_a_bad_parameter() {
    let children = [fake("a")
        .arg("--resources", "x://1")
        .arg("--unlisted", "x://2")
        .arg(
            "--read-error",
            r#"{"code":-32002,"message":"gone","data":{"uri":"x://1"}}"#,
        )];
    let daemon = Daemon::start(&children).await;
    let client = Bare::new(&daemon.address);
    for uri in ["x://1", "y://nobody"] {
        let reply = client.begin(1, "resources/read", json!({ "uri": uri })).await;
        assert_eq!(reply.status, 200);
        let answer = reply.json().await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert_eq!(answer["error"]["data"]["uri"], uri, "{answer}");
    }
    assert_eq!(heard(&daemon, "a", "resources/read").len(), 1);
    daemon.end().await;
}
