//! The same over lines: a client that launches the shim, and speaks without a handshake.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{accepted, asker, form, heard, interview, taken_back, told};
use crate::harness::bare::{bare, calling, coming_back, keys_of};
use crate::harness::{Daemon, LineClient, Setup, fake, greeting, request, soon, text_of, until};

fn able() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": {} })
}

fn say(id: impl Into<Value>, method: &str, params: Value) -> String {
    bare(id, method, &able(), params)
}

fn cancel(id: impl Into<Value>) -> String {
    let params = json!({ "requestId": id.into() });
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }).to_string()
}

#[tokio::test]
async fn both_eras_on_one_connection_in_any_order() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let mut client = LineClient::launch(&daemon.setup);
    let bare_list = request(0, "tools/list", json!({}));
    let refused = client.ask_json(&bare_list).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert!(refused["error"]["data"]["supported"].is_array(), "{refused}");
    // A client that probes may not wait for the answer.
    client.send(&say("d", "server/discover", json!({}))).await;
    client
        .send(&request(1, "initialize", greeting("2025-11-25")))
        .await;
    let (one, two) = (client.next_json().await, client.next_json().await);
    assert_eq!((&one["id"], &two["id"]), (&json!("d"), &json!(1)));
    assert_eq!(one["result"]["supportedVersions"][0], "2026-07-28");
    assert_eq!(two["result"]["protocolVersion"], "2025-11-25");
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
        .await;
    let legacy = client
        .ask_json(&request(2, "tools/call", calling("a__echo", json!({}))))
        .await;
    let modern = client
        .ask_json(&say(3, "tools/call", calling("a__echo", json!({}))))
        .await;
    assert!(legacy["result"].get("resultType").is_none(), "{legacy}");
    assert_eq!(modern["result"]["resultType"], "complete");
    let unknown = client.ask_json(&say(4, "no/such", json!({}))).await;
    assert_eq!(unknown["error"]["code"], -32601);
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn calls_are_parked_taken_up_and_taken_back() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut client = LineClient::launch(&daemon.setup);
    let mut params = calling("a__progress", json!({ "n": 2 }));
    params["_meta"] = json!({ "progressToken": "7" });
    client.send(&say(1, "tools/call", params)).await;
    let (said, done) = client.until_answer(1).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert_eq!(said[0]["params"]["progressToken"], "7");
    assert_eq!(done["result"]["resultType"], "complete");
    let params = interview(json!([{ "k": form("1") }, { "k": form("2") }]));
    let mut asked = client.ask_json(&say(2, "tools/call", params.clone())).await;
    // The id of a request that is over may be used again.
    for n in 1..=2 {
        let back = coming_back(&params, &asked, json!({ keys_of(&asked).remove(0): accepted(n) }));
        asked = client.ask_json(&say(2, "tools/call", back)).await;
    }
    assert_eq!(told(&asked)["rounds"], 2);
    client
        .send(&say(3, "tools/call", calling("a__hang", json!({}))))
        .await;
    daemon.setup.called("a", "hang").await;
    client.send(&cancel(3)).await;
    taken_back(&daemon, "a", 1).await;
    // A call that is taken back after its client has come back to it.
    let params = calling(
        "a__interview",
        json!({ "rounds": [{ "k": form("3") }, {}], "answer_open": "never" }),
    );
    let asked = client.ask_json(&say(4, "tools/call", params.clone())).await;
    let back = coming_back(
        &params,
        &asked,
        json!({ keys_of(&asked).remove(0): accepted(77) }),
    );
    client.send(&say(5, "tools/call", back)).await;
    daemon.setup.noted("a", r#""content":{"n":77}"#).await;
    client.send(&cancel(5)).await;
    taken_back(&daemon, "a", 2).await;
    let echo = client
        .ask_json(&say(7, "tools/call", calling("a__echo", json!({}))))
        .await;
    assert_eq!(
        (&echo["id"], text_of(&echo)),
        (&json!(7), "{}"),
        "nothing of what was taken back"
    );
    assert_eq!(heard(&daemon, "a", "tools/call").len(), 5);
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_stream_of_changes_ends_when_it_is_taken_back_or_the_client_has_said_its_last_word() {
    let daemon = Daemon::start(&[fake("a").tools("echo,grow")]).await;
    let mut client = LineClient::launch(&daemon.setup);
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    for id in [json!("one"), json!(2)] {
        let first = client
            .ask_json(&say(id.clone(), "subscriptions/listen", filter.clone()))
            .await;
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(
            first["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
            id
        );
    }
    client.send(&cancel("one")).await;
    client
        .send(&say(
            3,
            "tools/call",
            calling("a__grow", json!({ "name": "fresh" })),
        ))
        .await;
    let (a, b) = (client.next_json().await, client.next_json().await);
    let (note, done) = if a["id"] == 3 { (b, a) } else { (a, b) };
    assert_eq!(done["result"]["resultType"], "complete");
    assert_eq!(note["method"], "notifications/tools/list_changed");
    assert_eq!(
        note["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"],
        2
    );
    let (last, code) = soon("the end of the shim", client.finish()).await;
    assert_eq!((last.len(), code), (1, 0), "{last:?}");
    let last: Value = serde_json::from_str(&last[0]).unwrap();
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&json!(2), &json!("complete"))
    );
    daemon.end().await;
}

#[tokio::test]
async fn streams_of_changes_of_one_connection_are_bounded_and_one_that_ends_makes_room() {
    const N_MAX: u64 = 64;
    let daemon = Daemon::start(&[fake("a")]).await;
    let mut client = LineClient::launch(&daemon.setup);
    let listen = |id: u64| {
        let filter = json!({ "notifications": { "toolsListChanged": true } });
        say(id, "subscriptions/listen", filter)
    };
    for id in 0..N_MAX {
        let first = client.ask_json(&listen(id)).await;
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    }
    let refused = client.ask_json(&listen(N_MAX)).await;
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!(N_MAX), &json!(1004))
    );
    client.send(&cancel(3)).await;
    // A moment later there is room.
    let mut n_tries = 0;
    until("room for another", async || {
        n_tries += 1;
        let first = client.ask_json(&listen(1_000 + n_tries)).await;
        first["method"].is_string().then_some(())
    })
    .await;
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn when_the_daemon_dies_calls_have_an_error_streams_end_and_the_client_goes_on() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut client = LineClient::launch(&daemon.setup);
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    client.ask(&say(1, "subscriptions/listen", filter.clone())).await;
    let params = interview(json!([{ "k": form("1") }]));
    let asked = client.ask_json(&say(2, "tools/call", params.clone())).await;
    client
        .send(&say(3, "tools/call", calling("a__hang", json!({}))))
        .await;
    daemon.setup.called("a", "hang").await;
    let setup = daemon.killed().await;
    let (one, two) = (client.next_json().await, client.next_json().await);
    assert_eq!(one["method"], "notifications/cancelled", "{one}");
    assert_eq!(one["params"]["requestId"], 1);
    assert_eq!(
        (&two["id"], &two["error"]["data"]["reason"]),
        (&json!(3), &json!("daemon_restarted"))
    );
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let back = coming_back(&params, &asked, json!({ keys_of(&asked).remove(0): accepted(1) }));
    let lost = client.ask_json(&say(2, "tools/call", back)).await;
    assert_eq!(lost["result"]["isError"], true, "{lost}");
    let first = client.ask_json(&say(1, "subscriptions/listen", filter)).await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    // And one that goes neatly ends the stream with a result.
    let setup = daemon.end_but_keep().await;
    let last = client.next_json().await;
    assert_eq!(
        (&last["id"], &last["result"]["resultType"]),
        (&json!(1), &json!("complete"))
    );
    drop(setup);
}

#[tokio::test]
async fn what_was_made_again_after_a_loss_can_be_taken_back_too() {
    let setup = Setup::new(&[]);
    let list =
        r#"[{"name":"interview","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}]"#;
    setup.project.write("list.json", list);
    let file = setup.path().join("list.json").display().to_string();
    setup.declare(&[fake("a").arg("--raw-tool-list", &file)]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let mut client = LineClient::launch(&daemon.setup);
    let mut params = interview(json!([{ "k": form("1") }, {}]));
    params["arguments"]["answer_open"] = json!("never");
    let asked = client.ask_json(&say(1, "tools/call", params.clone())).await;
    let before = daemon.child_pid("a").await;
    kill(Pid::from_raw(before), Signal::SIGKILL).unwrap();
    until("another process", async || {
        let now = daemon.server("a").await;
        (now["state"] == "ready" && now["pid"].as_i64() != Some(before.into())).then_some(())
    })
    .await;
    assert_eq!(heard(&daemon, "a", "tools/call").len(), 1);
    let back = coming_back(&params, &asked, json!({ keys_of(&asked).remove(0): accepted(1) }));
    client.send(&say(2, "tools/call", back)).await;
    // The process that has never heard of it asks again, and gets the answer that is known.
    daemon.setup.noted("a", r#""action":"accept""#).await;
    assert_eq!(heard(&daemon, "a", "tools/call").len(), 2);
    client.send(&cancel(2)).await;
    taken_back(&daemon, "a", 1).await;
    let discovered = client.ask_json(&say(3, "server/discover", json!({}))).await;
    assert_eq!(discovered["id"], 3, "nothing of what was taken back");
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_call_that_waits_for_a_client_that_has_gone_is_taken_back() {
    let daemon = Daemon::start(&[asker()]).await;
    let params = interview(json!([{ "k": form("1") }]));
    let mut client = LineClient::launch(&daemon.setup);
    let asked = client.ask_json(&say(1, "tools/call", params.clone())).await;
    assert_eq!(keys_of(&asked).len(), 1);
    client.kill().await;
    taken_back(&daemon, "a", 1).await;
    daemon.end().await;
}
