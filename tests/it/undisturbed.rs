//! Many changes of declarations, by every way there is, while calls go to servers that they do not concern.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::harness::fake::{Fake, MARK};
use crate::harness::{Daemon, HttpClient, call, fake, text_of, until};

/// Servers that nothing is changed about.
fn others() -> [Fake; 2] {
    [fake("x").tools("echo,sleep"), fake("y").tools("echo,sleep")]
}

fn declared(more: Vec<Fake>) -> Vec<Fake> {
    others().into_iter().chain(more).collect()
}

/// Calls the others again and again, quick calls and slow ones at once; each must be answered as it should.
async fn hammer(client: &HttpClient, server: &str, is_over: &AtomicBool, n_calls: &AtomicUsize) {
    let quick = async {
        while !is_over.load(Ordering::Relaxed) {
            let n = n_calls.fetch_add(1, Ordering::Relaxed);
            let answer = client.call(&format!("{server}__echo"), json!({ "n": n })).await;
            assert_eq!(text_of(&answer), format!(r#"{{"n":{n}}}"#));
        }
    };
    let slow = async {
        while !is_over.load(Ordering::Relaxed) {
            let asked = call(json!("slow"), &format!("{server}__sleep"), json!({ "ms": 400 }));
            let answer: Value = client.post(&asked).await.json().await;
            assert_eq!(text_of(&answer), r#"{"ms":400}"#);
        }
    };
    tokio::join!(quick, slow);
}

/// Runs the changes while the others are called, and sees that nothing has happened to these.
async fn undisturbed(daemon: &Daemon, changes: Pin<Box<dyn Future<Output = ()> + '_>>) {
    let client = daemon.http().await;
    let (is_over, n_calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let before = [daemon.server("x").await, daemon.server("y").await];
    tokio::join!(
        hammer(&client, "x", &is_over, &n_calls),
        hammer(&client, "y", &is_over, &n_calls),
        async {
            changes.await;
            is_over.store(true, Ordering::Relaxed);
        }
    );
    let after = [daemon.server("x").await, daemon.server("y").await];
    for (before, after) in before.iter().zip(&after) {
        for fact in ["pid", "generation", "n_failures"] {
            assert_eq!(before[fact], after[fact], "{fact}: {before} {after}");
        }
    }
    assert_eq!(after[0]["generation"], 1);
    let n_calls = n_calls.load(Ordering::Relaxed);
    assert!(n_calls >= 50, "only {n_calls} calls went to the others");
}

#[tokio::test]
async fn by_fifty_edits_of_the_file() {
    let daemon = Daemon::start(&declared(vec![fake("b")])).await;
    undisturbed(
        &daemon,
        Box::pin(async {
            for n in 0..25 {
                // One server is changed, one comes and goes; half of it by the signal.
                let name = format!("it {n}");
                let mut servers = vec![fake("b").arg("--name", &name)];
                if n % 2 == 0 {
                    servers.insert(0, fake("c"));
                }
                daemon.setup.declare(&declared(servers));
                if n % 3 == 0 {
                    kill(daemon.pid(), Signal::SIGHUP).unwrap();
                } else {
                    let told = daemon.api("POST", "/api/reload", "").await.json().await;
                    assert_eq!(told["problems"], json!([]));
                }
                until("the changed server, and the other there or not", async || {
                    let (b, c) = (daemon.server("b").await, daemon.server("c").await);
                    let is_there = c["state"] == "ready";
                    let has_come = if n % 2 == 0 { is_there } else { c.is_null() };
                    (has_come && b["server_info"].to_string().contains(&name)).then_some(())
                })
                .await;
                // And a faulty file between, which changes nothing.
                daemon
                    .setup
                    .project
                    .write("servers.toml", "[servers.b]\ncommand = 5\n");
                let told = daemon.api("POST", "/api/reload", "").await.json().await;
                assert_eq!(told["changes"], json!([]), "{told}");
                assert!(told["problems"].to_string().contains("servers.toml:2"), "{told}");
            }
        }),
    )
    .await;
    let log = daemon.path().join("logs");
    let text: String = std::fs::read_dir(log)
        .unwrap()
        .filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok())
        .collect();
    assert!(
        text.contains("ERROR") && text.contains("servers.toml:2"),
        "a fault is told in the log"
    );
    let status = daemon.mcpctl(&["status"]).await;
    assert!(status.stdout.contains("Problem: "), "{status:?}");
    daemon.end().await;
}

#[tokio::test]
async fn by_a_file_that_is_empty_or_away_until_somebody_writes_it() {
    let daemon = Daemon::start(&declared(Vec::new())).await;
    let file = daemon.path().join("servers.toml");
    undisturbed(
        &daemon,
        Box::pin(async {
            let reloaded = async || -> Value { daemon.api("POST", "/api/reload", "").await.json().await };
            for text in [Some(""), Some(" \n"), None] {
                match text {
                    Some(text) => std::fs::write(&file, text).unwrap(),
                    None => std::fs::remove_file(&file).unwrap(),
                }
                let told = reloaded().await;
                assert_eq!(told["changes"], json!([]), "{told}");
                assert!(
                    told["problems"].to_string().contains("is empty or gone"),
                    "{told}"
                );
                daemon.setup.declare(&declared(Vec::new()));
                let told = reloaded().await;
                assert_eq!((&told["changes"], &told["problems"]), (&json!([]), &json!([])));
            }
            // Slow calls and quick ones have come and gone since.
            let n_noted = || {
                daemon
                    .setup
                    .journal("x")
                    .iter()
                    .filter(|line| line.contains("sleep"))
                    .count()
            };
            until("calls", async || (n_noted() >= 8).then_some(())).await;
        }),
    )
    .await;
    // Said in words it is believed.
    std::fs::write(&file, "# none\n").unwrap();
    until("no servers", async || {
        daemon.server("x").await.is_null().then_some(())
    })
    .await;
    daemon.end().await;
}

#[tokio::test]
async fn by_fifty_changes_of_the_registry() {
    let daemon = Daemon::start(&declared(vec![fake("b")])).await;
    let program = env!("CARGO_BIN_EXE_fake-child");
    let mark = format!("{MARK}={}", daemon.setup.mark);
    undisturbed(
        &daemon,
        Box::pin(async {
            for n in 0..50 {
                let verb: Vec<&str> = match n % 5 {
                    0 => vec!["add", "r", "--env", &mark, "--", program],
                    1 => vec!["disable", "r"],
                    2 => vec!["enable", "r"],
                    3 => vec![
                        "add",
                        "r",
                        "--replace",
                        "--env",
                        &mark,
                        "--",
                        program,
                        "--tools",
                        "other",
                    ],
                    _ => vec!["remove", "r"],
                };
                let ran = daemon.mcpctl(&verb).await;
                assert_eq!(ran.code, 0, "{verb:?}: {ran:?}");
            }
        }),
    )
    .await;
    assert!(daemon.server("r").await.is_null());
    daemon.end().await;
}
