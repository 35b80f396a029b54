//! How far it goes: rounds, calls that wait at once, doors, keys, time.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{accepted, asker, form, heard, interview, told};
use crate::harness::bare::{Bare, bare, calling, coming_back, keys_of};
use crate::harness::fake::Fake;
use crate::harness::{Daemon, LineClient, fake, until};

fn key(asked: &Value) -> String {
    keys_of(asked).remove(0)
}

fn able() -> Value {
    json!({ "elicitation": {} })
}

#[tokio::test]
async fn the_eleventh_round_is_refused_to_the_server_which_may_answer_without() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let rounds: Vec<Value> = (1..=12).map(|n| json!({ "k": form(&n.to_string()) })).collect();
    let params = interview(json!(rounds));
    let mut asked = client.ask("tools/call", params.clone()).await;
    for n in 1..=10 {
        asked = client
            .back(&params, &asked, json!({ key(&asked): accepted(n) }))
            .await;
    }
    let answers: Vec<Value> = (1..=10)
        .map(accepted)
        .chain(std::iter::repeat_n(json!({ "action": "cancel" }), 2))
        .map(|answer| json!({ "k": answer }))
        .collect();
    assert_eq!(told(&asked)["answers"], json!(answers));
    daemon.end().await;
}

const N_SERVERS: u64 = 8;
const N_CALLS: u64 = 1_000;

fn many() -> Vec<Fake> {
    (0..N_SERVERS)
        .map(|n| {
            fake(&format!("s{n}"))
                .tools("interview")
                .key("inflight_max", "250")
        })
        .collect()
}

/// Each call has a question of its own.
fn one_of_many(n: u64) -> Value {
    let question = form(&n.to_string());
    calling(
        &format!("s{}__interview", n % N_SERVERS),
        json!({ "rounds": [{ "k": question }] }),
    )
}

async fn parked(daemon: &Daemon) -> u64 {
    let status: Value = daemon.api("GET", "/api/daemon", "").await.json().await;
    let all = status["parked"].as_array().unwrap();
    all.iter().map(|of| of["n"].as_u64().unwrap()).sum()
}

/// Resident memory of the daemon in KiB.
fn resident_kib(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_calls_wait_at_once_and_each_gets_its_own_answer() {
    let daemon = Daemon::start(&many()).await;
    let mut client = LineClient::launch(&daemon.setup);
    client
        .ask_json(&bare("first", "server/discover", &able(), json!({})))
        .await;
    let before = resident_kib(&daemon);
    let mut asked = HashMap::new();
    // One a server at a time: its question is certainly that of its newest call.
    for first in (0..N_CALLS).step_by(usize::try_from(N_SERVERS).unwrap()) {
        for n in first..first + N_SERVERS {
            let call = bare(n, "tools/call", &able(), one_of_many(n));
            client.send(&call).await;
        }
        for _ in 0..N_SERVERS {
            let one = client.next_json().await;
            let n = one["id"].as_u64().unwrap();
            let message = &one["result"]["inputRequests"][key(&one)]["params"]["message"];
            assert_eq!(*message, format!("[s{}] {n}", n % N_SERVERS));
            asked.insert(n, one);
        }
    }
    assert_eq!(parked(&daemon).await, N_CALLS);
    let each_kib = resident_kib(&daemon).saturating_sub(before) / N_CALLS;
    assert!(each_kib < 64, "{each_kib} KiB for each call that waits");
    // In another order than they began.
    let order: Vec<u64> = (0..N_CALLS).map(|n| n * 367 % N_CALLS).collect();
    for some in order.chunks(40) {
        for n in some {
            let asked = asked.remove(n).unwrap();
            let back = coming_back(&one_of_many(*n), &asked, json!({ key(&asked): accepted(*n) }));
            client.send(&bare(*n, "tools/call", &able(), back)).await;
        }
        for _ in some {
            let done = client.next_json().await;
            let n = done["id"].as_u64().unwrap();
            assert_eq!(told(&done)["answers"], json!([{ "k": accepted(n) }]));
        }
    }
    assert_eq!((asked.len(), parked(&daemon).await), (0, 0));
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn what_was_given_over_one_door_is_nothing_over_another() {
    let daemon = Daemon::start(&[asker()]).await;
    let mut line = LineClient::launch(&daemon.setup);
    let http = Bare::able(&daemon.address, able());
    let params = interview(json!([{ "k": form("1") }]));
    let is_refused = |refused: &Value| {
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert_eq!(refused["error"]["data"]["reason"], "request_state", "{refused}");
    };
    let asked = line
        .ask_json(&bare(1, "tools/call", &able(), params.clone()))
        .await;
    let back = coming_back(&params, &asked, json!({ key(&asked): accepted(1) }));
    is_refused(&http.ask("tools/call", back.clone()).await);
    let done = line.ask_json(&bare(2, "tools/call", &able(), back)).await;
    assert_eq!(told(&done)["answers"], json!([{ "k": accepted(1) }]));

    let asked = http.ask("tools/call", params.clone()).await;
    let back = coming_back(&params, &asked, json!({ key(&asked): accepted(2) }));
    is_refused(&line.ask_json(&bare(3, "tools/call", &able(), back.clone())).await);
    let done = http.ask("tools/call", back).await;
    assert_eq!(told(&done)["answers"], json!([{ "k": accepted(2) }]));
    line.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_new_key_before_the_old_one_ends_nothing_and_without_the_old_one_nothing_opens() {
    let prompt = fake("p").arg("--prompts", "ask_elicitation");
    let mut daemon = Daemon::start(std::slice::from_ref(&prompt)).await;
    let params = json!({ "name": "p__ask_elicitation" });
    let file = daemon.path().join("data/seal.key");
    for (is_kept, n) in [(true, 1), (false, 2)] {
        let asked = Bare::new(&daemon.address)
            .ask("prompts/get", params.clone())
            .await;
        let setup = daemon.end_but_keep().await;
        let mut ring = vec![n; 32];
        if is_kept {
            ring.extend(std::fs::read(&file).unwrap());
        }
        std::fs::write(&file, ring).unwrap();
        daemon = setup.start().await;
        daemon.ready("p").await;
        let back = coming_back(&params, &asked, json!({ key(&asked): accepted(n.into()) }));
        let done = Bare::new(&daemon.address).ask("prompts/get", back).await;
        if is_kept {
            assert_eq!(done["result"]["resultType"], "complete", "{done}");
            assert!(done.to_string().contains(r#"\"n\":1"#), "{done}");
        } else {
            assert_eq!(done["error"]["data"]["reason"], "request_state", "{done}");
        }
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_asked_for_progress_on_its_question_hears_that_it_takes_time() {
    let daemon = Daemon::start(&[asker()]).await;
    let client = Bare::new(&daemon.address);
    let mut question = form("1");
    question["params"]["_meta"] = json!({ "progressToken": "mine" });
    let params = interview(json!([{ "k1": question, "k2": form("2") }]));
    let asked = client.ask("tools/call", params.clone()).await;
    assert!(!asked.to_string().contains("progressToken"), "{asked}");
    let progress = until("progress on the question", async || {
        heard(&daemon, "a", "notifications/progress").pop()
    });
    let expected = json!({ "progressToken": "mine", "progress": 1 });
    assert_eq!(progress.await["params"], expected);
    let keys = keys_of(&asked);
    let answers = json!({ &keys[0]: accepted(1), &keys[1]: accepted(1) });
    let done = client.back(&params, &asked, answers).await;
    assert_eq!(
        told(&done)["answers"],
        json!([{ "k1": accepted(1), "k2": accepted(1) }])
    );
    daemon.end().await;
}
