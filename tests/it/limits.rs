//! What a server may use, and what happens when it uses more.

use serde_json::{Value, json};

use crate::faults::case;
use crate::harness::{Daemon, fake, text_of, until};

async fn in_generation(daemon: &Daemon, n: u64) {
    until(format!("process {n}"), async || {
        let server = daemon.server("a").await;
        (server["generation"].as_u64()? >= n && server["state"] == "ready").then_some(())
    })
    .await;
}

async fn told(daemon: &Daemon, words: &[&str]) {
    until(format!("{words:?} in the events"), async || {
        let events = daemon.mcpctl(&["events", "a"]).await.stdout;
        words.iter().all(|word| events.contains(word)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn q01_a_server_over_its_memory_is_replaced_and_one_that_does_so_again_and_again_has_failed() {
    case("Q01");
    let greedy = fake("a")
        .tools("leak,echo")
        .key("memory_max", "\"96MiB\"")
        .key("fail_burst", "2");
    let daemon = Daemon::start(&[greedy, fake("b")]).await;
    let client = daemon.http().await;
    let answer = client.call("a__leak", json!({ "n": 300 })).await;
    assert_eq!(text_of(&answer), "300 MiB", "it may finish what it does");
    in_generation(&daemon, 2).await;
    for verb in ["events", "why"] {
        let words = [
            "gone: over its memory limit: ",
            " in 1 process, `memory_max` is 96 MiB",
            "starts again in",
        ];
        daemon.tells(&[verb, "a"], &words).await;
    }
    client.call("a__leak", json!({ "n": 300 })).await;
    let server = daemon.in_state("a", "failed").await;
    assert_eq!(server["n_failures"], 2, "{server}");
    let words = [
        "a: failed: over its memory limit",
        "next try",
        "raise `memory_max` for it",
    ];
    daemon.tells(&["why", "a"], &words).await;
    assert_eq!(
        daemon.server("b").await["generation"],
        1,
        "the other one is not concerned"
    );
    daemon.end().await;
}

#[tokio::test]
async fn what_a_server_has_started_counts_as_its_own_and_goes_with_it() {
    let daemon = Daemon::start(&[fake("a").tools("fork_many,echo").key("processes_max", "8")]).await;
    let client = daemon.http().await;
    client.call("a__fork_many", json!({ "n": 5 })).await;
    let measured = until("a measure of six processes", async || {
        let server = daemon.server("a").await;
        (server["n_processes"] == 6).then_some(server)
    });
    assert_eq!(measured.await["generation"], 1, "within its limit");
    client.call("a__fork_many", json!({ "n": 5 })).await;
    in_generation(&daemon, 2).await;
    told(
        &daemon,
        &["over its limit of processes: 11, `processes_max` is 8"],
    )
    .await;
    let alone = until("one process", async || {
        let server = daemon.server("a").await;
        (server["n_processes"] == 1).then_some(server)
    });
    assert!(alone.await["memory_bytes"].as_u64().unwrap() > 100_000);
    daemon.end().await;
}

#[tokio::test]
async fn the_kernel_keeps_a_server_from_more_files_core_dumps_and_the_share_of_others() {
    let bound = fake("a")
        .tools("limits,open_many")
        .key("files_max", "100")
        .key("nice", "7");
    let open = fake("b").tools("limits").key("core_dumps", "true");
    let daemon = Daemon::start(&[bound, open]).await;
    let client = daemon.http().await;
    let limits = client.call("a__limits", json!({})).await;
    assert_eq!(text_of(&limits), "files 100 100 core 0 0 nice 7");
    let other = client.call("b__limits", json!({})).await;
    let ours = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let line = ours
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let inherited = line.split_whitespace().nth(4).unwrap();
    assert!(
        text_of(&other).contains(&format!("core {inherited} ")),
        "{other} {line}"
    );
    let opened = client.call("a__open_many", json!({ "n": 1000 })).await;
    let n_opened: u64 = text_of(&opened).parse().unwrap();
    assert!((50..100).contains(&n_opened), "{n_opened}");
    told(&daemon, &["open files, `files_max` allows 100"]).await;
    assert_eq!(
        daemon.server("a").await["generation"],
        1,
        "it is told, and nothing is done"
    );
    daemon.end().await;
}

#[tokio::test]
async fn what_is_kept_of_stderr_is_bounded_and_a_flood_is_told() {
    let loud = fake("a").tools("stderr,echo").key("log_bytes_max", "\"192KiB\"");
    let daemon = Daemon::start(&[loud]).await;
    let client = daemon.http().await;
    let text = "x".repeat(1000);
    for _ in 0..3 {
        client
            .call("a__stderr", json!({ "lines": 3000, "text": text }))
            .await;
    }
    told(
        &daemon,
        &["writes more than 1048576 bytes a second to stderr: lines are dropped"],
    )
    .await;
    let folder = daemon.path().join("logs/children");
    let setup = daemon.end_but_keep().await;
    let sizes: Vec<u64> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() <= 192 << 10, "{sizes:?}");
    drop(setup);
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused_with_what_would() {
    let daemon = Daemon::start(&[fake("a")]).await;
    daemon
        .setup
        .declare(&[fake("a").key("memory_max", "\"512M\"").key("nice", "20")]);
    let reply: Value = daemon.api("POST", "/api/reload", "").await.json().await;
    let problems = reply["problems"].to_string().replace('\\', "");
    for words in ["memory_max", "\"512MiB\"", "or \"none\"", "nice", "from 0 to 19"] {
        assert!(problems.contains(words), "{words}: {problems}");
    }
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}
