//! Servers that start when they are needed and rest when they are not: what a client sees of that, and what keeps them.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::fake::{Fake, MARK, quoted};
use crate::harness::{
    Daemon, HttpClient, LineClient, Setup, able, call, fake, names_of, request, text_of, until,
};

/// A daemon that has seen the server's lists in an earlier run, and has it on demand now.
async fn resting(server: Fake) -> Daemon {
    let setup = Setup::new(std::slice::from_ref(&server));
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let setup = daemon.end_but_keep().await;
    setup.declare(&[server.key("autostart", "\"on-demand\"")]);
    let daemon = setup.start().await;
    daemon.in_state("a", "idle").await;
    daemon
}

async fn tools(client: &HttpClient) -> Vec<String> {
    names_of(&client.request("tools/list", json!({})).await, "tools", "name")
}

fn n_greeted(daemon: &Daemon) -> usize {
    let journal = daemon.setup.journal("a");
    journal
        .iter()
        .filter(|line| line.contains(r#""method":"initialize""#))
        .count()
}

#[tokio::test]
async fn a_hundred_calls_at_once_start_it_once_and_all_are_answered() {
    let daemon = resting(fake("a").arg("--start-delay", "500")).await;
    let n_before = n_greeted(&daemon);
    let client = Arc::new(daemon.http().await);
    let mut calls = JoinSet::new();
    for n in 0..100 {
        let client = Arc::clone(&client);
        calls.spawn(async move {
            let answer = client.call("a__echo", json!({ "n": n })).await;
            assert_eq!(text_of(&answer), format!(r#"{{"n":{n}}}"#));
        });
    }
    while let Some(called) = calls.join_next().await {
        called.unwrap();
    }
    assert_eq!(n_greeted(&daemon), n_before + 1);
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

/// What a client asks first, answered at once whatever the server does.
async fn at_once(daemon: &Daemon, wanted: &[&str]) {
    let client = daemon.http().await;
    assert_eq!(tools(&client).await, wanted);
    for (method, member) in [
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ] {
        let answer = client.request(method, json!({})).await;
        assert!(answer["result"][member].is_array(), "{answer}");
    }
}

#[tokio::test]
async fn a_start_that_takes_long_keeps_no_client_waiting_for_its_handshake_or_a_list() {
    let slow = |server: Fake| server.arg("--start-delay", "20000").key("queue_wait", "\"60s\"");
    // Never seen before: what the others offer is there at once.
    let daemon = Daemon::start(&[slow(fake("a")).not_awaited(), fake("b")]).await;
    at_once(&daemon, &["b__echo"]).await;
    assert_eq!(
        daemon.server("a").await["state"],
        "handshaking",
        "too late for this test"
    );
    daemon.end().await;
    // Seen before: its lists are there, while the first call waits for it. What delays it is no part of its
    // definition, so that its lists are still its own.
    let setup = Setup::new(&[]);
    let script = |first: &str| {
        let text = format!("{first}\nexec {}\n", env!("CARGO_BIN_EXE_fake-child"));
        setup.project.write("server.sh", &text);
    };
    let table = format!(
        "[servers.a]\ncommand = \"sh\"\nargs = [\"server.sh\"]\ncwd = {}\nenv = {{ {MARK} = {} }}\nqueue_wait = \"60s\"\neof_grace = \"300ms\"\n",
        quoted(&setup.path().display().to_string()),
        quoted(&setup.mark),
    );
    setup.project.write("servers.toml", &table);
    script(":");
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let setup = daemon.end_but_keep().await;
    setup.project.write("server.sh", "exec sleep 20\n");
    let lazy = format!("{table}autostart = \"on-demand\"\n");
    setup.project.write("servers.toml", &lazy);
    let daemon = setup.start().await;
    let client = daemon.http().await;
    let asked = call(1, "a__echo", json!({}));
    tokio::select! {
        _answered = client.post(&asked) => panic!("too late for this test"),
        () = async {
            daemon.in_state("a", "handshaking").await;
            at_once(&daemon, &["a__echo"]).await;
        } => {}
    }
    assert_eq!(
        daemon.server("a").await["state"],
        "handshaking",
        "too late for this test"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_process_with_a_task_that_runs_is_in_use() {
    let server = fake("a")
        .tools("echo,may_work")
        .flag("--tasks")
        .key("idle_stop", "\"200ms\"");
    let daemon = Daemon::start(&[server]).await;
    let mut owner = LineClient::launch(&daemon.setup);
    owner
        .introduce(able("2025-11-25", &json!({ "tasks": {} }), "it"))
        .await;
    let params = json!({ "name": "a__may_work", "arguments": { "ms": 1500 }, "task": { "ttl": 60_000 } });
    let made = owner.ask_json(&request(1, "tools/call", params)).await;
    let ours = made["result"]["task"]["taskId"].as_str().unwrap().to_owned();
    let generation = daemon.server("a").await["generation"].clone();
    let done = until("the end of the task", async || {
        let told = daemon.server("a").await;
        assert_eq!(told["generation"], generation, "{told}");
        (told["state"] == "idle").then_some(())
    });
    done.await;
    // It rests only after the task has ended: that was told before.
    let heard = loop {
        let told = owner.next_json().await;
        if told["method"] == "notifications/tasks/status" {
            break told;
        }
    };
    assert_eq!(
        (&heard["params"]["taskId"], &heard["params"]["status"]),
        (&json!(ours), &json!("completed"))
    );
    owner.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_subscription_wakes_its_server_after_the_daemons_restart() {
    let server = || {
        fake("a")
            .tools("updated")
            .arg("--resources", "x://1")
            .key("idle_stop", "\"200ms\"")
    };
    let daemon = resting(server()).await;
    let client = daemon.http().await;
    let answer = client
        .request("resources/subscribe", json!({ "uri": "x://1" }))
        .await;
    assert_eq!(answer["result"], json!({}), "{answer}");
    let port = daemon.address.rsplit(':').next().unwrap().to_owned();
    let setup = daemon.end_but_keep().await;
    let daemon = setup.variable("MCP_PORT", &port).start().await;
    daemon.in_state("a", "ready").await;
    let mut stream = client.stream().await;
    // Lists that read differently may be told before.
    while stream.next_json().await["params"]["uri"] != "x://1" {}
    daemon.end().await;
}

#[tokio::test]
async fn a_process_of_ones_own_has_the_level_of_its_own_client() {
    let server = fake("a").tools("pid").key("sharing", "\"per-session\"");
    let daemon = Daemon::start(&[server]).await;
    let (loud, quiet) = (daemon.http().await, daemon.http().await);
    for (client, level) in [(&loud, "debug"), (&quiet, "error")] {
        text_of(&client.call("a__pid", json!({})).await);
        let set = client
            .request("logging/setLevel", json!({ "level": level }))
            .await;
        assert!(set["result"].is_object(), "{set}");
    }
    let journal = daemon.setup.journal("a");
    let n_told = |level: &str| {
        let told = format!(r#""level":"{level}""#);
        let is_it = |line: &&String| line.starts_with("in ") && line.contains(&told);
        journal.iter().filter(is_it).count()
    };
    // The shared one, which tells the lists, hears of the lowest of all, at either setting; the own processes of the
    // level of their clients alone.
    assert_eq!((n_told("debug"), n_told("error")), (4, 1), "{journal:?}");
    daemon.end().await;
}
