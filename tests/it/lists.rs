//! Lists: merged in order, whole, renamed, true after every change, and there before the child is.

use serde_json::{Value, json};

use crate::harness::{
    Daemon, HttpClient, LineClient, Setup, SseClient, call, fake, names_of, text_of, until,
};

async fn tools(client: &HttpClient) -> Vec<String> {
    names_of(&client.request("tools/list", json!({})).await, "tools", "name")
}

#[tokio::test]
async fn tools_stand_in_the_order_of_the_servers_and_every_page_of_each_is_read() {
    let daemon = Daemon::start(&[
        fake("z")
            .tools("t1,t2,t3,t4,t5")
            .arg("--page-size", "2")
            .flag("--empty-cursor"),
        fake("a").tools("t1,t2,t3").arg("--page-size", "1"),
        fake("m").tools("only").key("prefix", "\"\""),
        fake("p").tools("x").key("prefix", "\"other\""),
    ])
    .await;
    let client = daemon.http().await;
    let wanted = [
        "z__t1", "z__t2", "z__t3", "z__t4", "z__t5", "a__t1", "a__t2", "a__t3", "only", "other__x",
    ];
    assert_eq!(tools(&client).await, wanted);
    for name in wanted {
        assert_eq!(
            text_of(&client.call(name, json!({ "n": name })).await),
            json!({ "n": name }).to_string()
        );
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_tool_is_listed_as_its_child_wrote_it_but_for_its_name() {
    let setup = Setup::new(&[]);
    let list = r#"[{"zeta":null,"name":"t","inputSchema":{"type":"object","x":9007199254740993},"_meta":{"a":1.0}}]"#;
    setup.project.write("list.json", list);
    let file = setup.path().join("list.json").display().to_string();
    setup.declare(&[fake("a").arg("--raw-tool-list", &file)]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    let answer = client
        .ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
        .await;
    let wanted = list.replace(r#""name":"t""#, r#""name":"a__t""#);
    assert_eq!(
        answer,
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{wanted}}}}}"#)
    );
    daemon.end().await;
}

#[tokio::test]
async fn of_two_tools_with_one_name_the_first_stays_and_the_operator_is_told() {
    let bare = |name: &str| fake(name).tools("same").key("prefix", "\"\"");
    let daemon = Daemon::start(&[bare("a"), bare("b").not_awaited()]).await;
    let server = until("a warning", async || {
        let server = daemon.mcpctl_json(&["status", "b"]).await;
        let found = server.to_string().contains("`same` is already offered by `a`");
        found.then_some(server)
    })
    .await;
    assert!(server.to_string().contains("another prefix"), "{server}");
    let client = daemon.http().await;
    assert_eq!(tools(&client).await, ["same"]);
    text_of(&client.call("same", json!({ "nonce": "x" })).await);
    assert_eq!(
        (daemon.setup.effects("a").len(), daemon.setup.effects("b").len()),
        (1, 0)
    );
    daemon.end().await;
}

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

#[tokio::test]
async fn a_changed_list_is_told_once_to_every_client_and_reads_anew() {
    let daemon = Daemon::start(&[fake("a").tools("grow,grow_unchanged,updated")]).await;
    let http = daemon.http().await;
    let mut stream = http.stream().await;
    let mut sse = SseClient::greeted(&daemon.address).await;
    let mut line = LineClient::greeted(&daemon.setup).await;
    for (n, name) in ["new1", "new2"].into_iter().enumerate() {
        // An unchanged list between two changes must not be told.
        text_of(&http.call("a__grow_unchanged", json!({})).await);
        let n_lists = daemon
            .setup
            .journal("a")
            .iter()
            .filter(|line| line.contains("in ") && line.contains("tools/list"))
            .count();
        until("that the list was read again", async || {
            let now = daemon
                .setup
                .journal("a")
                .iter()
                .filter(|line| line.contains("in ") && line.contains("tools/list"))
                .count();
            (now > n_lists || n_lists > 2 * n + 1).then_some(())
        })
        .await;
        text_of(&http.call("a__grow", json!({ "name": name })).await);
        assert_eq!(stream.next_event().await.unwrap().data, CHANGED);
        assert!(
            tools(&http).await.contains(&format!("a__{name}")),
            "told before it was read"
        );
        assert_eq!(sse.next().await, CHANGED);
        assert_eq!(line.next().await, CHANGED);
    }
    // Nothing else is under way: the next thing on each stream is the answer to this.
    let asked = call(9, "a__new2", json!({ "last": 1 }));
    for answer in [sse.ask(&asked).await, line.ask(&asked).await] {
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["id"], 9, "{answer}");
    }
    assert_eq!(http.mcp("DELETE", &[], "").await.status, 204);
    assert_eq!(stream.events().await, []);
    daemon.end().await;
}

#[tokio::test]
async fn a_tool_that_is_gone_is_off_the_list() {
    let daemon = Daemon::start(&[fake("a").tools("shrink,gone")]).await;
    let client = daemon.http().await;
    text_of(&client.call("a__shrink", json!({ "name": "gone" })).await);
    until("a shorter list", async || {
        (tools(&client).await == ["a__shrink"]).then_some(())
    })
    .await;
    let answer = client.call("a__gone", json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert!(
        answer["error"]["message"].as_str().unwrap().contains("a__gone"),
        "{answer}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_child_that_does_not_come_up_fails_no_list() {
    let daemon = Daemon::start(&[
        fake("a").flag("--hang-handshake").not_awaited(),
        fake("b"),
        fake("c").arg("--exit-at-start", "1").not_awaited(),
        fake("d").arg("--refuse-handshake", "no").not_awaited(),
    ])
    .await;
    let client = daemon.http().await;
    assert_eq!(tools(&client).await, ["b__echo"]);
    for (method, member) in [
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ] {
        assert_eq!(
            client.request(method, json!({})).await["result"],
            json!({ member: [] }),
            "{method}"
        );
    }
    daemon.end().await;
}

#[tokio::test]
async fn the_lists_of_the_last_run_are_there_before_the_child_is_and_a_call_waits_for_it() {
    let setup = Setup::new(&[]);
    let gate = setup.path().join("gate");
    std::fs::write(&gate, "").unwrap();
    let gated = fake("a").tools("echo,two");
    setup.declare(&[gated.arg("--gate", &gate.display().to_string())]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let setup = daemon.end_but_keep().await;
    std::fs::remove_file(&gate).unwrap();
    let daemon = setup.start().await;
    let client = daemon.http().await;
    assert_eq!(tools(&client).await, ["a__echo", "a__two"]);
    daemon.in_state("a", "handshaking").await;
    let mut line = LineClient::greeted(&daemon.setup).await;
    line.send(&call(1, "a__two", json!({ "w": 1 }))).await;
    let ping = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
    assert_eq!(line.ask_json(ping).await["id"], 2, "the call waits");
    assert_eq!(daemon.server("a").await["state"], "handshaking");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(text_of(&line.next_json().await), r#"{"w":1}"#);
    daemon.end().await;
}

#[tokio::test]
async fn a_server_on_demand_is_started_by_the_first_call_and_rests_again() {
    let setup = Setup::new(&[]);
    let lazy = fake("a")
        .key("autostart", "\"on-demand\"")
        .key("idle_stop", "\"500ms\"");
    // The first run learns its tools.
    setup.declare(&[fake("a").key("idle_stop", "\"500ms\"")]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let setup = daemon.end_but_keep().await;
    setup.declare(&[lazy]);
    let daemon = setup.start().await;
    let client = daemon.http().await;
    assert_eq!(daemon.server("a").await["state"], "idle");
    assert_eq!(tools(&client).await, ["a__echo"]);
    assert!(daemon.setup.processes().is_empty());
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.in_state("a", "idle").await;
    assert_eq!(
        tools(&client).await,
        ["a__echo"],
        "it rests, and is still on offer"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_cursor_that_nobody_gave_is_refused() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = daemon.http().await;
    for cursor in [json!(""), json!("page-0"), json!("at-2"), json!(7)] {
        let answer = client.request("tools/list", json!({ "cursor": cursor })).await;
        assert_eq!(answer["error"]["code"], -32602, "{cursor}: {answer}");
    }
    assert_eq!(tools(&client).await, ["a__echo"]);
    daemon.end().await;
}
