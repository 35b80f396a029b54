//! Names that the operator chose: for tools and prompts, changed while the servers run.

use serde_json::{Value, json};

use crate::harness::fake::MARK;
use crate::harness::{Daemon, HttpClient, fake, names_of, text_of, until};

async fn tools(client: &HttpClient) -> Vec<String> {
    names_of(&client.request("tools/list", json!({})).await, "tools", "name")
}

#[tokio::test]
async fn a_tool_and_a_prompt_are_seen_and_called_under_the_names_that_were_chosen() {
    let named = |names: &str| {
        fake("a")
            .tools("echo,pid")
            .arg("--prompts", "p")
            .key("aliases", names)
    };
    let daemon = Daemon::start(&[named(r#"{ echo = "say", p = "ask-me" }"#)]).await;
    let client = daemon.http().await;
    let process = daemon.child_pid("a").await;
    assert_eq!(tools(&client).await, ["say", "a__pid"]);
    assert_eq!(
        text_of(&client.call("say", json!({ "x": 1 })).await),
        r#"{"x":1}"#
    );
    daemon.setup.noted("a", r#""name":"echo""#).await;
    assert_eq!(
        client.call("a__echo", json!({})).await["error"]["code"],
        -32602,
        "it has one name only"
    );
    let got = client.request("prompts/get", json!({ "name": "ask-me" })).await;
    assert_eq!(
        got["result"]["messages"][0]["content"]["text"], "prompt p {}",
        "{got}"
    );
    // Another name: the client is told, and the process stays.
    let mut stream = client.stream().await;
    daemon.setup.declare(&[named(r#"{ echo = "tell" }"#)]);
    let told = stream.next_json().await;
    assert!(
        told["method"].as_str().unwrap().ends_with("/list_changed"),
        "{told}"
    );
    until("the new name", async || {
        (tools(&client).await == ["tell", "a__pid"]).then_some(())
    })
    .await;
    let pid = client.call("a__pid", json!({})).await;
    assert_eq!(text_of(&pid), process.to_string(), "nobody was restarted");
    daemon.end().await;
}

#[tokio::test]
async fn a_chosen_name_is_taken_from_others_and_status_names_both() {
    let daemon = Daemon::start(&[
        fake("a").tools("echo,pid").key("prefix", "\"\""),
        fake("b").tools("pid").key("aliases", r#"{ pid = "pid" }"#),
        fake("c")
            .tools("pid")
            .key("aliases", r#"{ pid = "pid", typo = "t" }"#),
    ])
    .await;
    let client = daemon.http().await;
    assert_eq!(tools(&client).await, ["echo", "pid", "c__pid"]);
    let pid = client.call("pid", json!({})).await;
    assert_eq!(text_of(&pid), daemon.child_pid("b").await.to_string());
    for (server, words) in [
        ("a", ["`pid`", "`b`"]),
        ("c", ["an alias of `b`", "no tool or prompt `typo`"]),
    ] {
        let warnings = daemon.server(server).await["warnings"].to_string();
        assert!(words.iter().all(|word| warnings.contains(word)), "{warnings}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_name_that_hosts_refuse_is_told_with_its_line_and_changes_nothing() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let good = std::fs::read_to_string(daemon.path().join("servers.toml")).unwrap();
    daemon
        .setup
        .declare(&[fake("a").key("aliases", r#"{ echo = "e.c.h.o" }"#)]);
    let bad = std::fs::read_to_string(daemon.path().join("servers.toml")).unwrap();
    let line = bad.lines().position(|line| line.starts_with("aliases")).unwrap() + 1;
    let told = until("a problem", async || {
        let daemon = daemon.api("GET", "/api/daemon", "").await.json().await;
        daemon["problems"]
            .as_array()?
            .first()?
            .as_str()
            .map(str::to_owned)
    })
    .await;
    assert!(
        told.contains(&format!("servers.toml:{line}: servers.a.aliases: echo must be")),
        "{told}"
    );
    assert_eq!(tools(&daemon.http().await).await, ["a__echo"]);
    daemon.setup.project.write("servers.toml", &good);
    daemon.end().await;
}

#[tokio::test]
async fn a_server_is_added_with_names_and_folders_of_its_own() {
    let daemon = Daemon::start(&[]).await;
    let child = env!("CARGO_BIN_EXE_fake-child");
    let mark = format!("{}={}", MARK, daemon.setup.mark);
    let added = [
        "add", "x", "--alias", "echo=say", "--root", "/srv/a b", "--env", &mark, "--",
    ];
    let ran = daemon.mcpctl(&[added.as_slice(), &[child]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    daemon.ready("x").await;
    assert_eq!(tools(&daemon.http().await).await, ["say"]);
    let listed = daemon.mcpctl_json(&["list"]).await;
    assert_eq!(
        (&listed[0]["aliases"], &listed[0]["roots"]),
        (&json!({ "echo": "say" }), &json!(["/srv/a b"])),
        "{listed}"
    );
    let refused = ["add", "y", "--alias", "echo=s.y", "--", "true"];
    let ran = daemon.mcpctl(&refused).await;
    assert!(ran.code == 2 && ran.stderr.contains("echo must be"), "{ran:?}");
    assert_eq!(daemon.server("y").await, Value::Null);
    daemon.end().await;
}
