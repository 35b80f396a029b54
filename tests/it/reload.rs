//! The servers file, edited while the daemon runs.

use serde_json::json;

use crate::harness::{Daemon, Setup, call, fake, text_of, until};

#[tokio::test]
async fn an_edit_touches_only_what_it_changes_and_no_call_elsewhere() {
    let daemon = Daemon::start(&[fake("a").tools("sleep,echo"), fake("b"), fake("c")]).await;
    let client = daemon.http().await;
    let (a, b, c) = (
        daemon.child_pid("a").await,
        daemon.child_pid("b").await,
        daemon.child_pid("c").await,
    );
    let asked = call(1, "a__sleep", json!({ "ms": 4000 }));
    let (reply, ()) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("a", "sleep").await;
        daemon
            .setup
            .declare(&[fake("a").tools("sleep,echo"), fake("b").tools("other"), fake("d")]);
        daemon.ready("d").await;
        until("another process of b", async || {
            let server = daemon.server("b").await;
            (server["state"] == "ready" && server["pid"] != json!(b)).then_some(())
        })
        .await;
        until("the end of c", async || {
            (!daemon.setup.processes().contains(&c)).then_some(())
        })
        .await;
        assert_eq!(daemon.child_pid("a").await, a);
        assert_eq!(
            daemon.server("a").await["n_inflight"],
            1,
            "too late for this test"
        );
    });
    assert_eq!(text_of(&reply.json().await), r#"{"ms":4000}"#);
    assert_eq!(daemon.child_pid("a").await, a);
    assert!(daemon.server("c").await.is_null());
    daemon.end().await;
}

#[tokio::test]
async fn the_order_in_the_file_is_the_order_of_the_list() {
    let daemon = Daemon::start(&[fake("a"), fake("b")]).await;
    let client = daemon.http().await;
    let pids = [daemon.child_pid("a").await, daemon.child_pid("b").await];
    let tools = async || {
        let answer = client.request("tools/list", json!({})).await;
        crate::harness::names_of(&answer, "tools", "name")
    };
    assert_eq!(tools().await, ["a__echo", "b__echo"]);
    daemon.setup.declare(&[fake("b"), fake("a")]);
    until("the other order", async || {
        (tools().await == ["b__echo", "a__echo"]).then_some(())
    })
    .await;
    assert_eq!(
        [daemon.child_pid("a").await, daemon.child_pid("b").await],
        pids,
        "nobody was restarted"
    );
    daemon.end().await;
}

/// Three faults, each on its line.
const FAULTS: &str = r#"
[servers.x]
command = 5

[servers.y]
comand = "typo"

[servers.z]
command = "true"
call_timeout = "soon"
"#;

#[tokio::test]
async fn a_file_with_faults_changes_nothing_and_every_fault_is_told_until_it_is_mended() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let pid = daemon.child_pid("a").await;
    let good = std::fs::read_to_string(daemon.path().join("servers.toml")).unwrap();
    daemon.setup.project.write("servers.toml", FAULTS);
    let problems = async || {
        let daemon = daemon.api("GET", "/api/daemon", "").await.json().await;
        daemon["problems"].as_array().unwrap().clone()
    };
    until("three problems or more", async || {
        (problems().await.len() >= 3).then_some(())
    })
    .await;
    let told = problems().await;
    for (line, what) in [(3, "command"), (6, "comand"), (10, "call_timeout")] {
        let found = told
            .iter()
            .filter_map(|one| one.as_str())
            .any(|one| one.contains(what) && one.contains(&format!("servers.toml:{line}")));
        assert!(found, "line {line}, {what}: {told:?}");
    }
    let status = daemon.mcpctl_json(&["status"]).await.to_string();
    assert!(status.contains("call_timeout"), "{status}");
    assert_eq!(daemon.child_pid("a").await, pid);
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.setup.project.write("servers.toml", &good);
    until("no problems", async || problems().await.is_empty().then_some(())).await;
    assert_eq!(daemon.child_pid("a").await, pid);
    daemon.end().await;
}

#[tokio::test]
async fn a_daemon_does_not_start_on_a_file_with_faults_and_tells_all_of_them() {
    let setup = Setup::new(&[]);
    setup.project.write("servers.toml", FAULTS);
    let ran = setup.refused().await;
    ran.said(2, &["servers.toml:3", "servers.toml:6", "servers.toml:10"]);
    let lines: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("mcp-wrapper: "))
        .collect();
    assert!(lines.len() >= 3, "{ran:?}");
}

#[tokio::test]
async fn a_variable_comes_from_the_env_file_and_a_missing_one_is_told() {
    let setup = Setup::new(&[]);
    setup.project.write(".env", "SECRET_WORD=sesame\n");
    let table = fake("a").tools("env").table(setup.path(), &setup.mark);
    let table = table.replace("env = {", "env = { WORD = \"${SECRET_WORD}\",");
    setup.project.write("servers.toml", &table);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    let answer = client.call("a__env", json!({})).await;
    assert!(text_of(&answer).contains("WORD=sesame"), "{answer}");
    let shown = daemon.mcpctl(&["status", "a"]).await;
    assert!(!format!("{shown:?}").contains("sesame"), "{shown:?}");
    daemon.end().await;
}

#[tokio::test]
async fn a_child_sees_nothing_of_the_daemons_environment_that_was_not_given_to_it() {
    let setup = Setup::new(&[fake("a").tools("env")]).variable("SOME_SECRET", "do-not-pass");
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    let answer = client.call("a__env", json!({})).await;
    let text = text_of(&answer);
    assert!(
        !text.contains("do-not-pass") && !text.contains("MCP_PORT"),
        "{text}"
    );
    assert!(
        text.contains("PATH=/usr/bin:/bin") && text.contains("HOME="),
        "{text}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_is_edited_keeps_its_tools_on_offer() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let client = daemon.http().await;
    let before = daemon.child_pid("a").await;
    daemon.setup.declare(&[fake("a").key("cwd", "\"/tmp\"")]);
    until("another process of it", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["pid"] != json!(before)).then_some(())
    })
    .await;
    until("its tools again", async || {
        let answer = client.request("tools/list", json!({})).await;
        (crate::harness::names_of(&answer, "tools", "name") == ["a__echo"]).then_some(())
    })
    .await;
    let answer = client.call("a__echo", json!({ "x": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"x":1}"#);
    daemon.end().await;
}

#[tokio::test]
async fn a_servers_file_that_is_no_plain_file_is_refused_and_nothing_waits_for_it() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let file = daemon.path().join("servers.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    until("the fault", async || {
        let status = daemon.mcpctl_json(&["status"]).await;
        status["daemon"]["problems"]
            .to_string()
            .contains("no plain file")
            .then_some(())
    })
    .await;
    assert_eq!(daemon.server("a").await["state"], "ready");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, text).unwrap();
    until("no fault", async || {
        let status = daemon.mcpctl_json(&["status"]).await;
        (status["daemon"]["problems"] == json!([])).then_some(())
    })
    .await;
    daemon.end().await;
}
