//! Routing: answers and messages that must reach nobody but their own (R).

use std::io::Write;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Case, case};
use crate::harness::{Daemon, LineClient, able, call, fake, request, text_of, until};

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "R01",
        provoked: "two clients use the same id at once, 2,000 times, and the child answers in the other order",
        promised: "each gets its own answer",
        test: "faults::routing::r01_two_clients_with_one_id_get_their_own_answers_every_time",
    },
    Case {
        id: "R02",
        provoked: "a client uses the text `\"1\"` and the number `1` as ids at once",
        promised: "two answers, each under the id of its own type",
        test: "identity::a_text_and_a_number_that_look_alike_are_two_ids_at_once",
    },
    Case {
        id: "R03",
        provoked: "a child answers 50 calls, the last first",
        promised: "every call gets its own answer",
        test: "faults::routing::r03_fifty_answers_in_the_other_order_find_their_calls",
    },
    Case {
        id: "R04",
        provoked: "a child answers under an id that was never given",
        promised: "nobody gets it; its caller is told at its own timeout (1002), and calls of others go on; it is counted in `status` and `why`",
        test: "faults::routing::r04_an_answer_under_a_wrong_id_reaches_nobody",
    },
    Case {
        id: "R05",
        provoked: "a child answers twice, the same and something else",
        promised: "the first answer counts; the others reach nobody, and are counted in `status` and `why`",
        test: "faults::routing::r05_of_answers_that_contradict_each_other_the_first_counts",
    },
    Case {
        id: "R06",
        provoked: "answers to nothing, with ids never given, with `null` and with none",
        promised: "dropped and counted; the call and the child go on",
        test: "faults::routing::r06_answers_to_nothing_are_dropped",
    },
    Case {
        id: "R07",
        provoked: "an answer whose id is a text for a number, stands twice, or is written `ID`",
        promised: "it is not taken for an answer; the caller is told at its timeout (1002) where no other comes",
        test: "faults::routing::r07_an_id_of_another_type_or_another_spelling_is_another_id",
    },
    Case {
        id: "R08",
        provoked: "an answer with `result` and `error`, with neither, or without `jsonrpc`",
        promised: "the caller is told at once that it is no valid message (1007); the child lives",
        test: "faults::routing::r08_an_answer_that_is_none_is_told_to_its_caller_at_once",
    },
    Case {
        id: "R09",
        provoked: "progress under tokens that nobody gave, progress after the answer, and 20,000 steps without a pause",
        promised: "only the caller's own steps reach it, growing and before the answer; a reader that is too slow misses steps, never the answer",
        test: "faults::routing::r09_only_its_own_progress_reaches_a_caller_and_none_after_the_answer",
    },
    Case {
        id: "R10",
        provoked: "a child asks for sampling, folders, a ping and something unknown, under an id that the client has in use",
        promised: "a ping is answered by the gateway, what is unknown or was not offered is refused (-32601), the rest reaches the calling client under an id of ours",
        test: "faults::routing::r10_what_a_child_asks_reaches_its_caller_under_another_id_or_is_refused",
    },
    Case {
        id: "R11",
        provoked: "a child says 10,000 times without a pause that its tools have changed",
        promised: "the client is told at most 4 times a second, and reads the last state",
        test: "faults::routing::r11_a_storm_of_changes_is_told_a_few_times_and_the_last_state_is_read",
    },
    Case {
        id: "R12",
        provoked: "a child tells of a resource that nobody subscribed to, or that is another child's",
        promised: "nobody is told",
        test: "faults::routing::r12_news_of_a_resource_come_from_its_own_child_only",
    },
    Case {
        id: "R13",
        provoked: "a child dies while clients subscribe to its resources",
        promised: "the next process is asked again, and who subscribes is told once that it may have missed something",
        test: "resources::a_subscription_survives_the_death_of_the_process",
    },
    Case {
        id: "R14",
        provoked: "the pipe of a dead process answers a call of the process after it",
        promised: "nobody reads it; the call gets the answer of its own process",
        test: "faults::routing::r14_the_pipe_of_a_dead_process_answers_nobody",
    },
];

#[tokio::test]
async fn r01_two_clients_with_one_id_get_their_own_answers_every_time() {
    case("R01");
    let daemon = Daemon::start(&[fake("a").tools("out_of_order")]).await;
    let mut one = LineClient::greeted(&daemon.setup).await;
    let mut two = LineClient::greeted(&daemon.setup).await;
    for round in 0..2000 {
        // The child answers neither before it has both.
        let asked = |who| call(1, "a__out_of_order", json!({ "who": who, "round": round }));
        one.send(&asked("one")).await;
        two.send(&asked("two")).await;
        for (client, who) in [(&mut one, "one"), (&mut two, "two")] {
            let answer = client.next_json().await;
            assert_eq!(answer["id"], 1);
            let told: Value = serde_json::from_str(text_of(&answer)).unwrap();
            assert_eq!(told, json!({ "who": who, "round": round }));
        }
    }
    daemon.end().await;
}

#[tokio::test]
async fn r03_fifty_answers_in_the_other_order_find_their_calls() {
    case("R03");
    let daemon = Daemon::start(&[fake("a").tools("out_of_order")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    for n in 0..50 {
        client
            .send(&call(n, "a__out_of_order", json!({ "count": 50, "n": n })))
            .await;
    }
    let mut order = Vec::new();
    for _ in 0..50 {
        let answer = client.next_json().await;
        let told: Value = serde_json::from_str(text_of(&answer)).unwrap();
        assert_eq!(told["n"], answer["id"]);
        order.push(answer["id"].as_u64().unwrap());
    }
    order.sort_unstable();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
    daemon.end().await;
}

#[tokio::test]
async fn r04_an_answer_under_a_wrong_id_reaches_nobody() {
    case("R04");
    let daemon = Daemon::start(&[fake("a")
        .tools("wrong_id,hang,echo")
        .key("call_timeout", "\"1500ms\"")])
    .await;
    let client = daemon.http().await;
    let mut other = LineClient::greeted(&daemon.setup).await;
    other.send(&call(1, "a__hang", json!({}))).await;
    daemon.setup.called("a", "hang").await;
    let answer = client.call("a__wrong_id", json!({ "secret": 1 })).await;
    assert_eq!(answer["error"]["code"], 1002, "{answer}");
    let answer = other.next_json().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["code"]),
        (&json!(1), &json!(1002)),
        "its own timeout, and no answer of another's: {answer}"
    );
    let answer = other.ask_json(&call(2, "a__echo", json!({}))).await;
    assert_eq!(answer["id"], 2, "{answer}");
    assert_eq!(daemon.server("a").await["generation"], 1);
    assert_eq!(strays(&daemon).await, (1, 0));
    let told = "answers   1 to nothing that was asked; nobody got them";
    daemon.tells(&["why", "a"], &[told]).await;
    daemon.end().await;
}

/// Answers of the server `a` to nothing that was asked, and to what was answered already.
async fn strays(daemon: &Daemon) -> (u64, u64) {
    let server = daemon.server("a").await;
    let count = |name: &str| server[name].as_u64().unwrap();
    (count("n_unasked_answers"), count("n_repeated_answers"))
}

#[tokio::test]
async fn r05_of_answers_that_contradict_each_other_the_first_counts() {
    case("R05");
    let daemon = Daemon::start(&[fake("a").tools("twice,conflicting_duplicate,echo")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    for (id, tool) in [(1, "a__twice"), (3, "a__conflicting_duplicate")] {
        // All its answers are read before that of the call after it.
        for (id, tool) in [(id, tool), (id + 1, "a__echo")] {
            let answer = client.ask_json(&call(id, tool, json!({ "n": id }))).await;
            assert_eq!(answer["id"], id, "{answer}");
            assert_eq!(text_of(&answer), json!({ "n": id }).to_string());
        }
    }
    assert_eq!(strays(&daemon).await, (0, 3));
    let told = "3 to what was answered already; nobody got them";
    daemon.tells(&["status", "a"], &[told]).await;
    let (more, _) = client.finish().await;
    assert!(more.is_empty(), "{more:?}");
    daemon.end().await;
}

#[tokio::test]
async fn r06_answers_to_nothing_are_dropped() {
    case("R06");
    let daemon = Daemon::start(&[fake("a").tools("unsolicited_response,null_id_response,hang")]).await;
    let mut other = LineClient::greeted(&daemon.setup).await;
    other.send(&call(1, "a__hang", json!({}))).await;
    daemon.setup.called("a", "hang").await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    for (id, tool) in [(1, "a__unsolicited_response"), (2, "a__null_id_response")] {
        let answer = client.ask_json(&call(id, tool, json!({ "n": id }))).await;
        assert_eq!(answer["id"], id, "{answer}");
        assert_eq!(text_of(&answer), json!({ "n": id }).to_string());
    }
    let server = daemon.server("a").await;
    assert_eq!(
        (&server["generation"], &server["n_inflight"]),
        (&json!(1), &json!(1)),
        "the other call still waits: {server}"
    );
    assert_eq!(strays(&daemon).await, (10, 0));
    let (more, _) = client.finish().await;
    assert!(more.is_empty(), "{more:?}");
    drop(other);
    daemon.end().await;
}

#[tokio::test]
async fn r07_an_id_of_another_type_or_another_spelling_is_another_id() {
    case("R07");
    let daemon = Daemon::start(&[fake("a")
        .tools("id_type_confusion,dup_keys,case_keys")
        .key("call_timeout", "\"500ms\"")])
    .await;
    let client = daemon.http().await;
    let answer = client.call("a__id_type_confusion", json!({ "n": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    for tool in ["a__dup_keys", "a__case_keys"] {
        let answer = client.call(tool, json!({})).await;
        assert_eq!(answer["error"]["code"], 1002, "{tool}: {answer}");
    }
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

#[tokio::test]
async fn r08_an_answer_that_is_none_is_told_to_its_caller_at_once() {
    case("R08");
    let daemon = Daemon::start(&[fake("a").tools("result_and_error,neither,no_jsonrpc_member,echo")]).await;
    let client = daemon.http().await;
    // With a timeout of 60 s whatever is heard was told before.
    for tool in ["a__result_and_error", "a__neither", "a__no_jsonrpc_member"] {
        let answer = client.call(tool, json!({})).await;
        assert_eq!(answer["error"]["code"], 1007, "{tool}: {answer}");
    }
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

fn with_token(id: u64, tool: &str, arguments: Value) -> String {
    let meta = json!({ "progressToken": "mine" });
    request(
        id,
        "tools/call",
        json!({ "name": tool, "arguments": arguments, "_meta": meta }),
    )
}

#[tokio::test]
async fn r09_only_its_own_progress_reaches_a_caller_and_none_after_the_answer() {
    const N_STEPS: u64 = 20_000;
    case("R09");
    let daemon = Daemon::start(&[fake("a").tools("foreign_progress,progress_storm,sleep,echo")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    let mut other = LineClient::greeted(&daemon.setup).await;
    // It wants progress under the same token, and is told of none.
    other
        .send(&with_token(1, "a__sleep", json!({ "ms": 600_000 })))
        .await;
    daemon.setup.called("a", "sleep").await;
    client
        .send(&with_token(1, "a__foreign_progress", json!({})))
        .await;
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(client.next_json().await);
    }
    let steps: Vec<_> = heard
        .iter()
        .map(|message| &message["params"]["progress"])
        .collect();
    assert_eq!(steps, [&json!(1), &json!(2), &Value::Null], "{heard:?}");
    assert_eq!(heard[0]["params"]["progressToken"], "mine");
    assert_eq!(heard[2]["id"], 1);
    let answer = client.ask_json(&call(2, "a__echo", json!({}))).await;
    assert_eq!(answer["id"], 2, "nothing comes after the answer: {answer}");
    client
        .send(&with_token(3, "a__progress_storm", json!({ "n": N_STEPS })))
        .await;
    let (mut last, mut n_heard) = (0, 0);
    loop {
        let message = client.next_json().await;
        if message["id"] == 3 {
            break;
        }
        let step = message["params"]["progress"].as_u64().unwrap();
        assert!(step > last, "{step} after {last}");
        (last, n_heard) = (step, n_heard + 1);
    }
    assert!(
        last == N_STEPS,
        "the newest step is the last that is dropped: {last}"
    );
    eprintln!("{n_heard} of {N_STEPS} steps were passed on");
    let asked = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
    assert_eq!(other.ask_json(asked).await["id"], 2, "it heard nothing before");
    drop(other);
    daemon.end().await;
}

#[tokio::test]
async fn r10_what_a_child_asks_reaches_its_caller_under_another_id_or_is_refused() {
    case("R10");
    let daemon = Daemon::start(&[fake("a").tools("ask,echo")]).await;
    let mut bystander = LineClient::launch(&daemon.setup);
    let abilities = json!({ "sampling": {}, "roots": {} });
    bystander
        .introduce(able("2025-11-25", &abilities, "bystander"))
        .await;
    let mut client = LineClient::launch(&daemon.setup);
    client.introduce(able("2025-11-25", &abilities, "asked")).await;
    // The child's questions have the ids `ask-1`, `ask-2` …: the same as the calls.
    for (n, method) in [(1, "sampling/createMessage"), (2, "roots/list")] {
        let id = format!("ask-{n}");
        let params = json!({ "messages": [], "maxTokens": 1 });
        let asked = call(
            id.as_str(),
            "a__ask",
            json!({ "method": method, "params": params }),
        );
        let question = client.ask_json(&asked).await;
        assert_eq!(question["method"], method, "{question}");
        assert_ne!(question["id"], json!(id), "{question}");
        let result = json!({ "told": n });
        let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
        let answer = client.ask_json(&answer.to_string()).await;
        assert_eq!(answer["id"], json!(id), "{answer}");
        let heard: Value = serde_json::from_str(text_of(&answer)).unwrap();
        assert_eq!((&heard["id"], &heard["result"]), (&json!(id), &result), "{heard}");
    }
    for (method, code) in [
        ("ping", Value::Null),
        ("x/unknown", json!(-32601)),
        ("elicitation/create", json!(-32601)),
    ] {
        let asked = call("ask-1", "a__ask", json!({ "method": method }));
        let answer = client.ask_json(&asked).await;
        assert_eq!(answer["id"], "ask-1", "{method} was put to the client: {answer}");
        let heard: Value = serde_json::from_str(text_of(&answer)).unwrap();
        assert_eq!(heard["error"]["code"], code, "{method}: {heard}");
    }
    let answer = bystander.ask_json(&call("ask-1", "a__echo", json!({}))).await;
    assert_eq!(answer["id"], "ask-1", "it was asked nothing: {answer}");
    daemon.end().await;
}

#[tokio::test]
async fn r11_a_storm_of_changes_is_told_a_few_times_and_the_last_state_is_read() {
    const N: u64 = 10_000;
    case("R11");
    let daemon = Daemon::start(&[fake("a").tools("list_changed_storm,shrink")]).await;
    let client = daemon.http().await;
    let mut stream = client.stream().await;
    let begun = Instant::now();
    let answer = client.call("a__list_changed_storm", json!({ "n": N })).await;
    text_of(&answer);
    let newest = format!("a__grown_{N}");
    until("the last state", async || {
        let list = client.request("tools/list", json!({})).await;
        list.to_string().contains(&newest).then_some(())
    })
    .await;
    // A change of another kind comes after all that was told of the storm.
    text_of(&client.call("a__shrink", json!({ "name": "grown_100" })).await);
    until("the shorter list", async || {
        let list = client.request("tools/list", json!({})).await;
        (!list.to_string().contains("a__grown_100\"")).then_some(())
    })
    .await;
    let bound = 4 * (begun.elapsed().as_secs() + 1) + 1;
    assert_eq!(client.mcp("DELETE", &[], "").await.status, 204);
    let mut n_told = 0;
    while let Some(event) = stream.next_event().await {
        assert!(
            event.data.contains("notifications/tools/list_changed"),
            "{event:?}"
        );
        n_told += 1;
    }
    eprintln!("told {n_told} times, at most {bound}");
    assert!(
        (1..=bound).contains(&n_told),
        "told {n_told} times, at most {bound}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn r12_news_of_a_resource_come_from_its_own_child_only() {
    case("R12");
    let daemon = Daemon::start(&[
        fake("a").tools("updated").arg("--resources", "x://1,x://2"),
        fake("b").tools("updated").arg("--resources", "y://1"),
    ])
    .await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    let subscribe = request(1, "resources/subscribe", json!({ "uri": "x://1" }));
    assert_eq!(client.ask_json(&subscribe).await["result"], json!({}));
    for (id, tool, uri) in [
        (2, "b__updated", "x://1"),
        (3, "b__updated", "y://1"),
        (4, "a__updated", "x://2"),
        (5, "a__updated", "z://1"),
    ] {
        let answer = client.ask_json(&call(id, tool, json!({ "uri": uri }))).await;
        assert_eq!(answer["id"], id, "{uri} of {tool} was told: {answer}");
    }
    client
        .send(&call(6, "a__updated", json!({ "uri": "x://1" })))
        .await;
    let (first, second) = (client.next_json().await, client.next_json().await);
    // News and an answer go out side by side.
    let told = [&first, &second].map(|message| &message["params"]["uri"]);
    assert!(told.contains(&&json!("x://1")), "{first} {second}");
    daemon.end().await;
}

#[tokio::test]
async fn r14_the_pipe_of_a_dead_process_answers_nobody() {
    case("R14");
    let daemon = Daemon::start(&[fake("a").tools("sleep")]).await;
    let client = daemon.http().await;
    let pid = daemon.child_pid("a").await;
    // We hold its stdout open, as a process that it has left behind might.
    let stdout = std::fs::File::options()
        .write(true)
        .open(format!("/proc/{pid}/fd/1"));
    let mut stdout = stdout.unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    until("the next process", async || {
        let server = daemon.server("a").await;
        (server["generation"] == 2 && server["state"] == "ready").then_some(())
    })
    .await;
    let asked = call(1, "a__sleep", json!({ "ms": 1000 }));
    let (reply, written) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("a", "sleep").await;
        let lines: String = (1..200)
            .map(|id| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"forged\":true}}}}\n"))
            .collect();
        stdout.write_all(lines.as_bytes())
    });
    // Whether anybody still has the other end open does not matter.
    eprintln!("written to the old pipe: {written:?}");
    assert_eq!(text_of(&reply.json().await), r#"{"ms":1000}"#);
    daemon.end().await;
}
