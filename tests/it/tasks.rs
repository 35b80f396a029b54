//! Tasks of 2025-11-25: made, asked after, waited for, listed and cancelled under ids of the gateway, by their owner
//! only; and driven to their end for clients that know none.

use serde_json::{Value, json};

use crate::harness::fake::Fake;
use crate::harness::{Daemon, HttpClient, LineClient, able, call, fake, names_of, request, text_of};

const RELATED: &str = "io.modelcontextprotocol/related-task";

fn worker() -> Fake {
    fake("a")
        .tools("may_work,must_work,echo,ask,hang")
        .flag("--tasks")
}

/// A call that wants a task.
fn making(id: impl Into<Value>, tool: &str, arguments: Value) -> String {
    let params = json!({
        "name": tool, "arguments": arguments, "task": { "ttl": 60_000.0 }, "_meta": { "progressToken": "t" },
    });
    request(id, "tools/call", params)
}

fn on(id: u64, method: &str, task: &str) -> String {
    request(id, method, json!({ "taskId": task }))
}

fn id_of(made: &Value) -> String {
    made["result"]["task"]["taskId"]
        .as_str()
        .unwrap_or_else(|| panic!("no task in {made}"))
        .to_owned()
}

async fn line(daemon: &Daemon, revision: &str) -> LineClient {
    let mut client = LineClient::launch(&daemon.setup);
    client
        .introduce(able(revision, &json!({ "elicitation": {}, "tasks": {} }), "it"))
        .await;
    client
}

async fn http(daemon: &Daemon, revision: &str) -> HttpClient {
    daemon
        .introduced(able(revision, &json!({ "elicitation": {} }), "it"))
        .await
}

#[tokio::test]
async fn a_task_is_made_watched_and_its_result_fetched_under_our_id() {
    let daemon = Daemon::start(&[worker()]).await;
    let mut client = LineClient::launch(&daemon.setup);
    let greeting = client.introduce(able("2025-11-25", &json!({}), "it")).await;
    let declared = json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
    assert_eq!(greeting["result"]["capabilities"]["tasks"], declared);
    client
        .send(&making(
            1,
            "a__may_work",
            json!({ "progress": 2, "log": "boo", "n": 1e15 }),
        ))
        .await;
    let (mut heard, made) = client.until_answer(1).await;
    let ours = id_of(&made);
    assert!(ours != "task-1" && ours.len() >= 32, "{made}");
    assert_eq!(
        made["result"]["z"].to_string(),
        "10.0",
        "what is not ours stays: {made}"
    );
    client.send(&on(2, "tasks/result", &ours)).await;
    let (more, result) = client.until_answer(2).await;
    heard.extend(more);
    assert_eq!(result["result"]["_meta"][RELATED], json!({ "taskId": ours }));
    assert!(text_of(&result).contains("\"boo\""), "{result}");
    let all_of = |method: &str| -> Vec<&Value> {
        heard
            .iter()
            .filter(|said| said["method"] == method)
            .map(|said| &said["params"])
            .collect()
    };
    let steps: Vec<_> = all_of("notifications/progress")
        .iter()
        .map(|told| told["progress"].clone())
        .collect();
    assert_eq!(steps, [1, 2], "the token lives as long as the task: {heard:?}");
    assert!(
        all_of("notifications/progress")
            .iter()
            .all(|told| told["progressToken"] == "t")
    );
    let logged = all_of("notifications/message");
    assert_eq!(
        (&logged[0]["data"], &logged[0]["_meta"][RELATED]["taskId"]),
        (&json!("boo"), &json!(ours))
    );
    let stands = client.ask_json(&on(3, "tasks/get", &ours)).await;
    assert_eq!(
        (&stands["result"]["taskId"], &stands["result"]["status"]),
        (&json!(ours), &json!("completed"))
    );
    assert_eq!(stands["result"]["ttl"].to_string(), "60000.0");
    let journal = daemon.setup.journal("a").join("\n");
    assert!(
        journal.contains(r#""method":"tasks/get","params":{"taskId":"task-1"}"#),
        "{journal}"
    );
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_status_reaches_the_owner_on_its_stream_and_nobody_else() {
    let daemon = Daemon::start(&[worker()]).await;
    let (owner, other) = (
        http(&daemon, "2025-11-25").await,
        http(&daemon, "2025-11-25").await,
    );
    let mut stream = owner.stream().await;
    let mut others = other.stream().await;
    let made: Value =
        serde_json::from_str(&owner.ask(&making(1, "a__may_work", json!({ "ms": 50 }))).await).unwrap();
    let told = stream.next_json().await;
    assert_eq!(told["method"], "notifications/tasks/status");
    assert_eq!(
        (&told["params"]["taskId"], &told["params"]["status"]),
        (&json!(id_of(&made)), &json!("completed"))
    );
    // What comes next on the other's stream is its own.
    let updated: Value =
        serde_json::from_str(&other.ask(&making(1, "a__may_work", json!({ "ms": 50 }))).await).unwrap();
    assert_eq!(
        others.next_json().await["params"]["taskId"],
        json!(id_of(&updated))
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_task_is_nobody_elses_to_see_to_fetch_or_to_cancel() {
    let daemon = Daemon::start(&[worker()]).await;
    let (owner, other) = (
        http(&daemon, "2025-11-25").await,
        http(&daemon, "2025-11-25").await,
    );
    let made = owner.ask(&making(1, "a__may_work", json!({ "hold": 1 }))).await;
    let ours = id_of(&serde_json::from_str(&made).unwrap());
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        for task in [ours.as_str(), "task-1", "", "nonsense"] {
            let answer = other.request(method, json!({ "taskId": task })).await;
            assert_eq!(answer["error"]["code"], -32602, "{method} {task}: {answer}");
        }
        assert_eq!(other.request(method, json!({})).await["error"]["code"], -32602);
    }
    assert_eq!(
        other.request("tasks/list", json!({})).await["result"],
        json!({ "tasks": [] })
    );
    let own = owner.request("tasks/list", json!({})).await;
    assert_eq!(names_of(&own, "tasks", "taskId"), [ours.as_str()]);
    assert_eq!(own["result"]["tasks"][0]["status"], "working");
    let stopped = owner.request("tasks/cancel", json!({ "taskId": ours })).await;
    assert_eq!(
        (&stopped["result"]["taskId"], &stopped["result"]["status"]),
        (&json!(ours), &json!("cancelled"))
    );
    let again = owner.request("tasks/cancel", json!({ "taskId": ours })).await;
    assert_eq!(again["error"]["code"], -32602, "{again}");
    let wrong = owner.request("tasks/list", json!({ "cursor": "x" })).await;
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    daemon.end().await;
}

#[tokio::test]
async fn what_a_task_asks_reaches_its_owner_even_while_calls_of_others_are_in_flight() {
    let daemon = Daemon::start(&[worker()]).await;
    let other = http(&daemon, "2025-11-25").await;
    let hanging = call(9, "a__hang", json!({}));
    let hangs = other.post(&hanging);
    let asks = json!({ "ask": { "method": "elicitation/create", "params": { "message": "Sure?", "requestedSchema": {} } } });
    let checks = async {
        daemon.setup.called("a", "hang").await;
        let mut client = line(&daemon, "2025-11-25").await;
        client.send(&making(1, "a__may_work", asks)).await;
        let (mut heard, made) = client.until_answer(1).await;
        let ours = id_of(&made);
        client.send(&on(2, "tasks/result", &ours)).await;
        let question = loop {
            if let Some(question) = heard.iter().find(|said| said["method"] == "elicitation/create") {
                break question.clone();
            }
            heard.push(client.next_json().await);
        };
        assert_eq!(question["params"]["_meta"][RELATED], json!({ "taskId": ours }));
        assert_eq!(question["params"]["message"], "[a] Sure?");
        let id = &question["id"];
        client
            .send(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"decline","_meta":{{"{RELATED}":{{"taskId":"{ours}"}}}}}}}}"#
            ))
            .await;
        let (_, result) = client.until_answer(2).await;
        assert!(text_of(&result).contains("Sure?"), "{result}");
        let heard = daemon.setup.noted("a", "heard ").await;
        assert!(
            heard.contains(
                r#"{"action":"decline","_meta":{"io.modelcontextprotocol/related-task":{"taskId":"task-1"}}}"#
            ),
            "{heard}"
        );
        client.finish().await;
    };
    tokio::select! {
        () = checks => {}
        _reply = async { hangs.await.answer().await } => panic!("a call that hangs was answered"),
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_question_that_names_no_task_is_nobodys_while_a_task_and_a_call_of_two_clients_run() {
    let daemon = Daemon::start(&[worker()]).await;
    let owner = http(&daemon, "2025-11-25").await;
    owner.ask(&making(1, "a__may_work", json!({ "hold": 1 }))).await;
    let other = http(&daemon, "2025-11-25").await;
    let asks = json!({ "method": "elicitation/create", "params": { "message": "?", "requestedSchema": {} } });
    let told = other.call("a__ask", asks.clone()).await;
    assert!(
        text_of(&told).contains(r#""result":{"action":"cancel"}"#),
        "{told}"
    );
    // The same for the owner of both is certain.
    let mut reply = owner.post(&call(5, "a__ask", asks)).await;
    let question = reply.next_json().await;
    assert_eq!(question["method"], "elicitation/create");
    let answer = format!(
        r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept"}}}}"#,
        question["id"]
    );
    assert_eq!(owner.post(&answer).await.status, 202);
    assert!(text_of(&reply.next_json().await).contains("accept"));
    daemon.end().await;
}

#[tokio::test]
async fn a_tool_that_runs_as_a_task_only_is_driven_for_clients_that_want_none() {
    let daemon = Daemon::start(&[worker()]).await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = line(&daemon, revision).await;
        let asks = json!({ "ask": { "method": "elicitation/create", "params": { "message": "Sure?", "requestedSchema": {} } }, "progress": 2 });
        let params = json!({ "name": "a__must_work", "arguments": asks, "_meta": { "progressToken": 0 } });
        client.send(&request(7, "tools/call", params)).await;
        let question = client.next_json().await;
        assert_eq!(question["method"], "elicitation/create", "{question}");
        assert_eq!(
            question["params"].get("_meta"),
            None,
            "{revision}: this client knows of no task: {question}"
        );
        client
            .send(&format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"cancel"}}}}"#,
                question["id"]
            ))
            .await;
        let (heard, result) = client.until_answer(7).await;
        assert!(
            text_of(&result).contains("Sure?") && result["result"].get("_meta").is_none(),
            "{result}"
        );
        let steps: Vec<_> = heard
            .iter()
            .map(|told| (&told["method"], &told["params"]["progressToken"]))
            .collect();
        assert_eq!(
            steps,
            vec![(&json!("notifications/progress"), &json!(0)); 2],
            "{heard:?}"
        );
        let listed = client.ask_json(&request(8, "tools/list", json!({}))).await;
        assert_eq!(
            listed.to_string().contains("taskSupport"),
            revision == "2025-11-25",
            "{listed}"
        );
        client.finish().await;
    }
    let client = http(&daemon, "2025-06-18").await;
    let failed = client
        .call(
            "a__must_work",
            json!({ "error": { "code": 7, "message": "no", "data": [1.0] } }),
        )
        .await;
    assert_eq!(
        failed["error"],
        json!({ "code": 7, "message": "no", "data": [1.0] })
    );
    let plain: Value =
        serde_json::from_str(&client.ask(&making(1, "a__may_work", json!({ "x": 1 }))).await).unwrap();
    assert_eq!(
        text_of(&plain),
        r#"{"x":1}"#,
        "to this revision `task` means nothing"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_driven_task_ends_with_its_call() {
    let daemon = Daemon::start(&[worker()]).await;
    let mut client = line(&daemon, "2025-06-18").await;
    client.send(&call(7, "a__must_work", json!({ "hold": 1 }))).await;
    daemon.setup.noted("a", r#""method":"tasks/result""#).await;
    client
        .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#)
        .await;
    daemon.setup.noted("a", "task cancelled task-1").await;
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_task_whose_call_is_taken_back_before_it_is_made_ends_as_soon_as_it_is() {
    let daemon = Daemon::start(&[worker()]).await;
    let once = daemon.setup.project.path().join("now");
    let arguments = json!({ "hold": 1, "once": once });
    for (n, revision, say) in [
        (1, "2025-11-25", making(7, "a__may_work", arguments.clone())),
        (2, "2025-06-18", call(7, "a__must_work", arguments.clone())),
    ] {
        let mut client = line(&daemon, revision).await;
        client.send(&say).await;
        daemon
            .setup
            .called("a", if n == 1 { "may_work" } else { "must_work" })
            .await;
        client
            .send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#)
            .await;
        // Behind the cancellation: once it is answered that was taken in.
        let listed = client.ask_json(&request(8, "ping", json!({}))).await;
        assert!(listed["result"].is_object(), "{listed}");
        std::fs::write(&once, "").unwrap();
        daemon.setup.noted("a", &format!("task cancelled task-{n}")).await;
        std::fs::remove_file(&once).unwrap();
        client.finish().await;
    }
    let journal = daemon.setup.journal("a").join("\n");
    assert!(
        !journal.contains("notifications/cancelled"),
        "a task is ended by its id, and by nothing else: {journal}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_session_that_ends_takes_its_tasks_with_it() {
    let daemon = Daemon::start(&[worker()]).await;
    let client = http(&daemon, "2025-11-25").await;
    client.ask(&making(1, "a__may_work", json!({ "hold": 1 }))).await;
    assert!(matches!(client.mcp("DELETE", &[], "").await.status, 200..=299));
    daemon.setup.noted("a", "task cancelled task-1").await;
    daemon.end().await;
}

#[tokio::test]
async fn a_task_ends_with_its_process_and_its_name_is_not_the_next_ones() {
    let daemon = Daemon::start(&[worker()]).await;
    let (owner, other) = (
        http(&daemon, "2025-11-25").await,
        http(&daemon, "2025-11-25").await,
    );
    let made = owner.ask(&making(1, "a__may_work", json!({ "hold": 1 }))).await;
    let old = id_of(&serde_json::from_str(&made).unwrap());
    let mut waits = Box::pin(owner.request("tasks/result", json!({ "taskId": old })));
    tokio::select! {
        answer = &mut waits => panic!("{answer}"),
        _noted = daemon.setup.noted("a", r#""method":"tasks/result""#) => {}
    }
    let before = daemon.child_pid("a").await;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(before),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let gone = waits.await;
    assert_eq!(gone["error"]["code"], 1001, "{gone}");
    let made = other.ask(&making(1, "a__may_work", json!({ "hold": 1 }))).await;
    assert!(made.contains("taskId"), "{made}");
    let answer = owner.request("tasks/get", json!({ "taskId": old })).await;
    assert_eq!(
        answer["error"]["code"], -32602,
        "the new process gives the same name: {answer}"
    );
    assert_eq!(
        owner.request("tasks/list", json!({})).await["result"]["tasks"],
        json!([])
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_task_that_is_over_or_gone_holds_up_nobody_elses_questions() {
    let daemon = Daemon::start(&[worker()]).await;
    let (owner, other) = (
        http(&daemon, "2025-11-25").await,
        http(&daemon, "2025-11-25").await,
    );
    let asks = json!({ "method": "elicitation/create", "params": { "message": "?", "requestedSchema": {} } });
    let asked = async || {
        let mut reply = other.post(&call(5, "a__ask", asks.clone())).await;
        let question = reply.next_json().await;
        assert_eq!(question["method"], "elicitation/create", "{question}");
        let answer = format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"action":"accept"}}}}"#,
            question["id"]
        );
        assert_eq!(other.post(&answer).await.status, 202);
        assert!(text_of(&reply.next_json().await).contains("accept"));
    };
    // One whose result was fetched, without a word on its status to the gateway.
    let made = owner.ask(&making(1, "a__may_work", json!({}))).await;
    let ours = id_of(&serde_json::from_str(&made).unwrap());
    assert!(owner.request("tasks/result", json!({ "taskId": ours })).await["result"].is_object());
    asked().await;
    // One whose process died.
    owner.ask(&making(2, "a__may_work", json!({ "hold": 1 }))).await;
    let before = daemon.child_pid("a").await;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(before),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    crate::harness::until("another process", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["pid"] != json!(before)).then_some(())
    })
    .await;
    asked().await;
    daemon.end().await;
}
