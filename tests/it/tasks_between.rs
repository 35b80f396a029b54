//! Tasks between clients and children that know tasks of different kinds: those of 2025-11-25, and those of the
//! extension of 2026-07-28.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::bare::{Bare, bare, calling};
use crate::harness::fake::Fake;
use crate::harness::{Daemon, HttpClient, LineClient, able, call, fake, names_of, request, text_of, until};

const RELATED: &str = "io.modelcontextprotocol/related-task";
const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// A child with tasks of 2025-11-25.
fn older() -> Fake {
    fake("a").tools("may_work,must_work,echo").flag("--tasks")
}

/// A child with the extension.
fn newer() -> Fake {
    older().arg("--era", "modern")
}

/// A client that takes tasks of the extension.
fn taker(daemon: &Daemon) -> Bare {
    let able = json!({
        "elicitation": { "form": {} }, "roots": {}, "extensions": { EXTENSION: {} },
    });
    Bare::able(&daemon.address, able)
}

/// A client of 2025-11-25.
async fn asker(daemon: &Daemon) -> HttpClient {
    daemon
        .introduced(able("2025-11-25", &json!({ "elicitation": {} }), "it"))
        .await
}

fn form(message: &str) -> Value {
    json!({ "method": "elicitation/create", "params": { "message": message, "requestedSchema": {} } })
}

/// A call that wants a task of 2025-11-25.
fn making(id: u64, tool: &str, arguments: Value) -> String {
    let params = json!({ "name": tool, "arguments": arguments, "task": { "ttl": 60_000 } });
    request(id, "tools/call", params)
}

async fn made(client: &HttpClient, tool: &str, arguments: Value) -> String {
    let made: Value = serde_json::from_str(&client.ask(&making(1, tool, arguments)).await).unwrap();
    let task = &made["result"]["task"];
    for absent in ["resultType", "ttlMs", "pollIntervalMs", "inputRequests"] {
        assert!(
            task.get(absent).is_none() && made["result"].get(absent).is_none(),
            "{made}"
        );
    }
    let id = task["taskId"]
        .as_str()
        .unwrap_or_else(|| panic!("no task in {made}"));
    assert!(!id.starts_with("task-"), "{made}");
    id.to_owned()
}

async fn taken(client: &Bare, arguments: Value) -> String {
    let made = client.call("a__must_work", arguments).await;
    assert_eq!(made["result"]["resultType"], "task", "{made}");
    made["result"]["taskId"].as_str().unwrap().to_owned()
}

async fn get(client: &Bare, task: &str) -> Value {
    let told = client.ask("tasks/get", json!({ "taskId": task })).await;
    assert_eq!(told["result"]["resultType"], "complete", "{told}");
    told["result"].clone()
}

/// Looks until the task stands so.
async fn stands(client: &Bare, task: &str, status: &str) -> Value {
    until("a task that stands so", async || {
        let told = get(client, task).await;
        (told["status"] == status).then_some(told)
    })
    .await
}

async fn updated(client: &Bare, task: &str, answers: Value) -> Value {
    client
        .ask(
            "tasks/update",
            json!({ "taskId": task, "inputResponses": answers }),
        )
        .await
}

#[tokio::test]
async fn a_child_of_the_older_kind_asks_in_the_task_and_no_key_stands_for_two_questions() {
    let daemon = Daemon::start(&[older()]).await;
    let client = taker(&daemon);
    let rounds = json!([{ "x": form("One?"), "y": form("Two?") }, { "x": form("Three?") }]);
    let task = taken(&client, json!({ "rounds": rounds, "progress": 2, "log": "boo" })).await;
    let asked = until("both questions", async || {
        let asked = get(&client, &task).await;
        let n = asked["inputRequests"].as_object().map(serde_json::Map::len);
        (n == Some(2)).then_some(asked)
    })
    .await;
    assert_eq!(asked["status"], "input_required");
    let requests = asked["inputRequests"].as_object().unwrap();
    let (first, second) = (
        requests.keys().next().unwrap().clone(),
        requests.keys().nth(1).unwrap().clone(),
    );
    let mut messages: Vec<&str> = requests
        .values()
        .map(|question| question["params"]["message"].as_str().unwrap())
        .collect();
    messages.sort_unstable();
    assert_eq!(messages, ["[a] One?", "[a] Two?"]);
    assert!(!asked.to_string().contains(RELATED), "{asked}");

    let wrong = updated(&client, &task, json!({ &first: { "action": "perhaps" } })).await;
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    let unasked = updated(&client, &task, json!({ "other": { "action": "accept" } })).await;
    assert_eq!(unasked["result"]["resultType"], "complete", "{unasked}");
    updated(&client, &task, json!({ &first: { "action": "accept" } })).await;
    let left = get(&client, &task).await;
    assert_eq!(left["status"], "input_required");
    assert_eq!(
        left["inputRequests"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>(),
        [&second]
    );
    updated(
        &client,
        &task,
        json!({ &second: { "action": "decline" }, &first: { "action": "cancel" } }),
    )
    .await;
    let third = stands(&client, &task, "input_required").await;
    let requests = third["inputRequests"].as_object().unwrap();
    let key = requests.keys().next().unwrap();
    assert!(*key != first && *key != second, "{third}");
    updated(&client, &task, json!({ key: { "action": "accept" } })).await;
    let over = stands(&client, &task, "completed").await;
    assert!(
        text_of(&over).contains("rounds") && !over.to_string().contains(RELATED),
        "{over}"
    );
    let heard = daemon.setup.noted("a", "decline").await;
    assert!(
        heard.contains(r#""taskId":"task-1""#),
        "the child knows it by its own name: {heard}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn those_who_listen_to_a_task_are_told_of_it_as_they_would_find_it() {
    let daemon = Daemon::start(&[older()]).await;
    let client = taker(&daemon);
    let task = taken(&client, json!({ "rounds": [{ "x": form("Sure?") }] })).await;
    stands(&client, &task, "input_required").await;
    let listening = |ids: Value| json!({ "notifications": { "taskIds": ids } });
    let unable = Bare::new(&daemon.address);
    let refused = unable
        .begin(1, "subscriptions/listen", listening(json!([task])))
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json().await["error"]["code"], -32021);
    let mut stream = client
        .begin(7, "subscriptions/listen", listening(json!([task, "nobodys"])))
        .await;
    let honoured = stream.next_json().await;
    assert_eq!(honoured["params"]["notifications"], json!({ "taskIds": [task] }));
    let told = stream.next_json().await;
    assert_eq!(told["method"], "notifications/tasks");
    assert_eq!(told["params"]["_meta"][SUBSCRIPTION], 7);
    let mut as_found = get(&client, &task).await;
    as_found.as_object_mut().unwrap().remove("resultType");
    as_found["_meta"] = told["params"]["_meta"].clone();
    assert_eq!(told["params"], as_found);
    let key = told["params"]["inputRequests"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap();
    updated(&client, &task, json!({ key: { "action": "accept" } })).await;
    let over = loop {
        let told = stream.next_json().await;
        assert_eq!(told["params"]["taskId"], task.as_str());
        if told["params"]["status"] == "completed" {
            break told;
        }
        assert!(told["params"]["result"].is_null(), "{told}");
    };
    assert!(over["params"]["result"]["content"].is_array(), "{over}");
    daemon.end().await;
}

#[tokio::test]
async fn a_task_of_a_server_that_knows_the_kind_is_told_of_by_that_server_to_who_listens() {
    let daemon = Daemon::start(&[newer()]).await;
    let client = taker(&daemon);
    let round = json!({ "x": form("Sure?") });
    let task = taken(&client, json!({ "rounds": [round, round] })).await;
    let other = taken(&client, json!({ "hold": 1 })).await;
    stands(&client, &task, "input_required").await;
    let listening = |ids: Value| json!({ "notifications": { "taskIds": ids } });
    let unable = Bare::new(&daemon.address);
    let refused = unable
        .begin(1, "subscriptions/listen", listening(json!([task])))
        .await;
    assert_eq!(refused.json().await["error"]["code"], -32021);
    let mut stream = client
        .begin(7, "subscriptions/listen", listening(json!(["nobodys", task])))
        .await;
    let honoured = stream.next_json().await;
    assert_eq!(honoured["params"]["notifications"], json!({ "taskIds": [task] }));
    // The server knows it by its own name, and is listened to on one stream.
    daemon.setup.noted("a", r#""taskIds":["task-1"]"#).await;
    let mut second = client
        .begin(8, "subscriptions/listen", listening(json!([task, other])))
        .await;
    assert_eq!(
        second.next_json().await["params"]["notifications"],
        json!({ "taskIds": [task, other] })
    );
    for _round in 1..=2 {
        let asked = stands(&client, &task, "input_required").await;
        let key = asked["inputRequests"]
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .clone();
        updated(&client, &task, json!({ key: { "action": "accept" } })).await;
    }
    for (stream, id) in [(&mut stream, 7), (&mut second, 8)] {
        let over = loop {
            let told = stream.next_json().await;
            assert_eq!(told["method"], "notifications/tasks");
            assert_eq!(told["params"]["taskId"], task.as_str(), "{told}");
            assert_eq!(told["params"]["_meta"][SUBSCRIPTION], id, "{told}");
            if told["params"]["status"] == "completed" {
                break told;
            }
        };
        let mut as_found = get(&client, &task).await;
        as_found.as_object_mut().unwrap().remove("resultType");
        as_found["_meta"] = over["params"]["_meta"].clone();
        assert_eq!(over["params"], as_found);
    }
    // Once nobody listens any more the server is not listened to for it.
    drop((stream, second));
    until("a stream without tasks", async || {
        let journal = daemon.setup.journal("a");
        let last = journal
            .iter()
            .rfind(|line| line.starts_with("listen ") && line.contains('{'))?;
        (!last.contains("taskIds")).then_some(())
    })
    .await;
    daemon.end().await;
}

#[tokio::test]
async fn a_hosted_task_is_its_clients_alone_can_be_cancelled_and_fails_with_its_process() {
    let daemon = Daemon::start(&[older()]).await;
    let client = taker(&daemon);
    let task = taken(&client, json!({ "hold": 1 })).await;
    let mut line = LineClient::launch(&daemon.setup);
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = json!({ "taskId": task, "inputResponses": {} });
        let strange = line.ask_json(&bare(1, method, &client.able, params)).await;
        assert_eq!(strange["error"]["code"], -32602, "{strange}");
    }
    line.finish().await;
    for _twice in 0..2 {
        let stopped = client.ask("tasks/cancel", json!({ "taskId": task })).await;
        assert_eq!(stopped["result"]["resultType"], "complete", "{stopped}");
        assert!(stopped["result"].get("status").is_none(), "{stopped}");
    }
    daemon.setup.noted("a", "task cancelled task-1").await;
    assert_eq!(get(&client, &task).await["status"], "cancelled");

    let lost = taken(&client, json!({ "hold": 1 })).await;
    kill(Pid::from_raw(daemon.child_pid("a").await), Signal::SIGKILL).unwrap();
    let failed = stands(&client, &lost, "failed").await;
    assert_eq!(failed["error"]["code"], 1001, "{failed}");
    assert_eq!(
        get(&client, &task).await["status"],
        "cancelled",
        "what is over stays so"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_client_of_the_older_kind_is_asked_where_it_waits_for_the_end() {
    let daemon = Daemon::start(&[newer()]).await;
    let client = asker(&daemon).await;
    let mut stream = client.stream().await;
    let rounds = json!([{ "x": form("One?") }, { "x": form("Two?") }]);
    let task = made(
        &client,
        "a__must_work",
        json!({ "rounds": rounds, "pollIntervalMs": 20 }),
    )
    .await;
    // Nobody is asked before somebody waits; how the task stands is told all the same.
    let told = stream.next_json().await;
    assert_eq!(told["method"], "notifications/tasks/status", "{told}");
    assert_eq!(
        (&told["params"]["taskId"], &told["params"]["status"]),
        (&json!(task), &json!("input_required"))
    );
    assert_eq!(told["params"]["pollInterval"], 20, "{told}");
    let shown = client.request("tasks/get", json!({ "taskId": task })).await;
    assert_eq!(shown["result"]["status"], "input_required", "{shown}");
    assert!(shown["result"].get("inputRequests").is_none(), "{shown}");

    let mut waits = client
        .post(&request(9, "tasks/result", json!({ "taskId": task })))
        .await;
    for message in ["[a] One?", "[a] Two?"] {
        let question = loop {
            let said = waits.next_json().await;
            if said["method"] != "notifications/tasks/status" {
                break said;
            }
        };
        assert_eq!(question["method"], "elicitation/create", "{question}");
        assert_eq!(question["params"]["message"], message);
        assert_eq!(question["params"]["_meta"][RELATED], json!({ "taskId": task }));
        let id = &question["id"];
        let answer = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept","_meta":{{"{RELATED}":{{"taskId":"{task}"}},"z":1.0}}}}}}"#
        );
        assert_eq!(client.post(&answer).await.status, 202);
    }
    let result = loop {
        let said = waits.next_json().await;
        if said["id"] == 9 {
            break said;
        }
    };
    assert_eq!(result["result"]["_meta"][RELATED], json!({ "taskId": task }));
    assert!(text_of(&result).contains("rounds") && result["result"].get("resultType").is_none());
    let heard = daemon.setup.noted("a", "heard i2-x=").await;
    assert!(
        heard.contains(r#"{"action":"accept","_meta":{"z":1.0}}"#),
        "{heard}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_client_of_the_older_kind_has_a_task_of_whatever_it_asked_one_for() {
    let daemon = Daemon::start(&[newer()]).await;
    let client = asker(&daemon).await;
    // This tool answers at once, whoever asks.
    let plain = made(&client, "a__echo", json!({ "n": 1 })).await;
    let failed = json!({ "result": { "content": [], "isError": true } });
    let unwell = made(&client, "a__may_work", failed).await;
    let result = client.request("tasks/result", json!({ "taskId": plain })).await;
    assert_eq!(text_of(&result), r#"{"n":1}"#);
    assert_eq!(result["result"]["_meta"][RELATED]["taskId"], json!(plain));
    let result = client.request("tasks/result", json!({ "taskId": unwell })).await;
    assert_eq!(result["result"]["isError"], true, "{result}");
    let stands = client.request("tasks/get", json!({ "taskId": unwell })).await;
    assert_eq!(stands["result"]["status"], "failed", "{stands}");
    assert_eq!(stands["result"]["ttl"], 60_000, "{stands}");
    let held = made(&client, "a__may_work", json!({ "hold": 1 })).await;
    let all = client.request("tasks/list", json!({})).await;
    assert_eq!(
        names_of(&all, "tasks", "taskId"),
        [&plain, &unwell, &held].map(String::as_str)
    );
    let other = asker(&daemon).await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let strange = other.request(method, json!({ "taskId": held })).await;
        assert_eq!(strange["error"]["code"], -32602, "{strange}");
    }
    assert_eq!(
        other.request("tasks/list", json!({})).await["result"],
        json!({ "tasks": [] })
    );
    let stopped = client.request("tasks/cancel", json!({ "taskId": held })).await;
    assert_eq!(stopped["result"]["status"], "cancelled", "{stopped}");
    daemon.setup.noted("a", "task cancelled task-2").await;
    let result = client.request("tasks/result", json!({ "taskId": held })).await;
    assert_eq!(result["error"]["code"], -32603, "{result}");

    client.ask(&making(5, "a__may_work", json!({ "hold": 1 }))).await;
    assert!(matches!(client.mcp("DELETE", &[], "").await.status, 200..=299));
    daemon.setup.noted("a", "task cancelled task-3").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_tool_that_is_a_task_only_is_driven_for_clients_that_know_none() {
    let daemon = Daemon::start(&[newer()]).await;
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let client = daemon
            .introduced(able(revision, &json!({ "elicitation": {} }), "it"))
            .await;
        let asks = if revision == "2024-11-05" {
            json!([])
        } else {
            json!([{ "x": form("Sure?") }])
        };
        let mut reply = client
            .post(&call(
                5,
                "a__must_work",
                json!({ "rounds": asks, "pollIntervalMs": 20 }),
            ))
            .await;
        if revision != "2024-11-05" {
            let question = reply.next_json().await;
            assert_eq!(question["params"]["message"], "[a] Sure?", "{question}");
            assert!(question["params"].get("_meta").is_none(), "{question}");
            let id = &question["id"];
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"accept"}}}}"#);
            assert_eq!(client.post(&answer).await.status, 202);
        }
        let answer: Value = serde_json::from_str(&reply.answer().await).unwrap();
        assert!(text_of(&answer).contains("rounds"), "{answer}");
        assert!(answer["result"].get("resultType").is_none(), "{answer}");
    }
    let client = asker(&daemon).await;
    let error = json!({ "code": 7, "message": "no", "data": [1.0] });
    let failed = client.call("a__must_work", json!({ "error": error })).await;
    assert_eq!(failed["error"], error);
    // A client that takes its call back takes the task back.
    let held = call(6, "a__must_work", json!({ "hold": 1, "pollIntervalMs": 20 }));
    let mut line = LineClient::launch(&daemon.setup);
    line.introduce(able("2025-06-18", &json!({}), "it")).await;
    line.send(&held).await;
    daemon.setup.noted("a", "task task-5").await;
    line.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":6}}"#)
        .await;
    daemon.setup.noted("a", "task cancelled task-5").await;
    line.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_client_that_takes_tasks_gets_plain_answers_where_a_tool_can_give_them() {
    let daemon = Daemon::start(&[older()]).await;
    let client = taker(&daemon);
    let mut params = calling("a__may_work", json!({ "n": 1 }));
    // It means nothing in this revision.
    params["task"] = json!({ "ttl": 5 });
    let plain = client.ask("tools/call", params).await;
    assert_eq!(text_of(&plain), r#"{"n":1}"#);
    assert_eq!(plain["result"]["resultType"], "complete");
    assert!(plain["result"].get("taskId").is_none(), "{plain}");
    daemon.end().await;
}
