//! Tasks: those of 2025-11-25 and those of the extension of 2026-07-28, with clients that know the one, the other, or
//! none, and children that have the one or the other.

use serde_json::{Value, json};

use super::cell::{Cell, Outcome, V11};
use super::peer::{Came, Peer};
use crate::harness::{names_of, request, text_of};

const RELATED: &str = "io.modelcontextprotocol/related-task";
const EXTENSION: &str = "io.modelcontextprotocol/tasks";

pub(crate) async fn tasks(cell: Cell) -> Outcome {
    if cell.child < V11 {
        return Outcome::NotDefined("servers of this revision have no tasks");
    }
    if cell.is_bare() {
        of_the_extension(&cell).await;
        return Outcome::Pass("T");
    }
    let mut peer = cell.able().await;
    let listed = peer.ask("tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    let tool = |name: &str| tools.iter().find(|tool| tool["name"] == cell.tool(name)).unwrap();
    let support = [&tool("must_work")["execution"], &tool("may_work")["execution"]];
    if cell.client < V11 {
        assert_eq!(support, [&Value::Null, &Value::Null], "{listed}");
        driven(&cell, &mut peer).await;
        return Outcome::Pass("t°");
    }
    let of_must = if cell.has_bare_child() {
        "optional"
    } else {
        "required"
    };
    assert_eq!(
        support.map(|said| &said["taskSupport"]),
        [&json!(of_must), &json!("optional")]
    );
    driven_for_who_wants_none(&cell, &mut peer).await;
    of_the_handshake(&cell, &mut peer).await;
    Outcome::Pass("T")
}

/// A client that knows no tasks.
async fn driven(cell: &Cell, peer: &mut Peer) {
    for (name, more) in [
        ("must_work", json!({})),
        ("may_work", json!({ "task": { "ttl": 60_000 } })),
    ] {
        let mut params = json!({ "name": cell.tool(name), "arguments": { "n": 1 } });
        params
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = peer.ask("tools/call", params).await;
        assert_eq!(text_of(&answer), r#"{"n":1}"#);
        assert!(answer["result"].get("_meta").is_none(), "{answer}");
    }
}

/// A client that knows tasks, and asks for none.
async fn driven_for_who_wants_none(cell: &Cell, peer: &mut Peer) {
    let answer = peer.call(&cell.tool("must_work"), json!({ "n": 2 })).await;
    assert_eq!(text_of(&answer), r#"{"n":2}"#);
    assert!(answer["result"].get("_meta").is_none(), "{answer}");
}

// === 2025-11-25 ===

async fn of_the_handshake(cell: &Cell, peer: &mut Peer) {
    let done = made(cell, peer, json!({ "n": 1 })).await;
    let result = peer.ask("tasks/result", json!({ "taskId": done })).await;
    assert_eq!(text_of(&result), r#"{"n":1}"#);
    assert_eq!(result["result"]["_meta"][RELATED]["taskId"], json!(done));
    let stands = peer.ask("tasks/get", json!({ "taskId": done })).await;
    assert_eq!(
        (&stands["result"]["taskId"], &stands["result"]["status"]),
        (&json!(done), &json!("completed"))
    );
    let failed = made(
        cell,
        peer,
        json!({ "error": { "code": 7, "message": "no", "data": [1.0] } }),
    )
    .await;
    let error = peer.ask("tasks/result", json!({ "taskId": failed })).await;
    assert_eq!(
        error["error"],
        json!({ "code": 7, "message": "no", "data": [1.0] })
    );
    let asked = asked_in_a_task(cell, peer).await;
    let held = made(cell, peer, json!({ "hold": 1 })).await;
    let all = peer.ask("tasks/list", json!({})).await;
    assert_eq!(
        names_of(&all, "tasks", "taskId"),
        [&done, &failed, &asked, &held].map(String::as_str)
    );
    let stopped = peer.ask("tasks/cancel", json!({ "taskId": held })).await;
    assert_eq!(stopped["result"]["status"], "cancelled", "{stopped}");
    let again = peer.ask("tasks/cancel", json!({ "taskId": held })).await;
    assert_eq!(again["error"]["code"], -32602, "{again}");
    let mut other = cell.able().await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let strange = other.ask(method, json!({ "taskId": done })).await;
        assert_eq!(strange["error"]["code"], -32602, "{strange}");
    }
}

/// The client is asked where it waits for the end, by a request that names the task as it knows it.
async fn asked_in_a_task(cell: &Cell, peer: &mut Peer) -> String {
    let asks = json!({ "ask": { "method": "roots/list", "params": {} } });
    let params = json!({ "name": cell.tool("may_work"), "arguments": asks, "task": { "ttl": 60_000 } });
    let reply = |question: &Came| {
        let task = &question.json()["params"]["_meta"][RELATED];
        format!(
            r#"{{"jsonrpc":"2.0","id":{},"result":{{"roots":[{{"uri":"file:///a"}}],"_meta":{{"{RELATED}":{task}}}}}}}"#,
            question.id().unwrap()
        )
    };
    peer.send(&request("makes", "tools/call", params)).await;
    // It may be asked as soon as it knows of the task.
    let mut came = peer.up_to("\"makes\"", reply).await;
    let task = came.last().unwrap().json()["result"]["task"]["taskId"].clone();
    let task = task.as_str().unwrap().to_owned();
    peer.send(&request("waits", "tasks/result", json!({ "taskId": task })))
        .await;
    came.extend(peer.up_to("\"waits\"", reply).await);
    let questions: Vec<&Came> = came.iter().filter(|came| came.is_question()).collect();
    assert_eq!(questions.len(), 1, "{came:?}");
    let question = questions[0].json();
    assert_eq!(question["params"]["_meta"][RELATED], json!({ "taskId": task }));
    let result = came.last().unwrap().json();
    assert!(text_of(&result).contains("roots/list"), "{result}");
    task
}

/// Makes a task, and gives its id, which is not the child's.
async fn made(cell: &Cell, peer: &mut Peer, arguments: Value) -> String {
    let params = json!({ "name": cell.tool("may_work"), "arguments": arguments, "task": { "ttl": 60_000 } });
    let made = peer.ask("tools/call", params).await;
    let id = made["result"]["task"]["taskId"]
        .as_str()
        .unwrap_or_else(|| panic!("no task in {made}"));
    assert!(!id.starts_with("task-"), "{made}");
    id.to_owned()
}

// === The extension of 2026-07-28 ===

async fn of_the_extension(cell: &Cell) {
    let mut able = cell.abilities();
    able["extensions"] = json!({ EXTENSION: {} });
    let mut peer = Peer::open(cell, &able).await;
    let listed = peer.ask("tools/list", json!({})).await;
    assert!(!listed.to_string().contains("taskSupport"), "{listed}");
    without_the_extension(cell).await;

    let made = created(cell, &mut peer, json!({ "n": 1 })).await;
    let over = stands(&mut peer, &made, "completed").await;
    assert_eq!(text_of(&over), r#"{"n":1}"#);
    assert!(!over.to_string().contains(RELATED), "{over}");
    let failing = json!({ "error": { "code": 7, "message": "no", "data": [1.0] } });
    let failed = created(cell, &mut peer, failing.clone()).await;
    let failed = stands(&mut peer, &failed, "failed").await;
    assert_eq!(failed["error"], failing["error"]);
    // A tool's own failure is no failure of the task.
    let own = json!({ "result": { "content": [], "isError": true } });
    let unwell = created(cell, &mut peer, own).await;
    let unwell = stands(&mut peer, &unwell, "completed").await;
    assert_eq!(unwell["result"]["isError"], true, "{unwell}");

    let asks = json!({ "ask": { "method": "roots/list", "params": {} } });
    let asking = created(cell, &mut peer, asks).await;
    let asked = stands(&mut peer, &asking, "input_required").await;
    let requests = asked["inputRequests"].as_object().unwrap();
    let (key, question) = requests.iter().next().unwrap();
    assert_eq!(question["method"], "roots/list");
    assert!(!question.to_string().contains(RELATED), "{question}");
    let answers = json!({ key: { "roots": [{ "uri": "file:///a" }] }, "unasked": {} });
    let params = json!({ "taskId": asking, "inputResponses": answers });
    let update = peer.ask("tasks/update", params).await;
    assert_eq!(update["result"]["resultType"], "complete", "{update}");
    stands(&mut peer, &asking, "completed").await;

    let held = created(cell, &mut peer, json!({ "hold": 1 })).await;
    for _twice in 0..2 {
        let stopped = peer.ask("tasks/cancel", json!({ "taskId": held })).await;
        assert_eq!(stopped["result"]["resultType"], "complete", "{stopped}");
        assert!(stopped["result"].get("taskId").is_none(), "{stopped}");
    }
    stands(&mut peer, &held, "cancelled").await;
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = json!({ "taskId": "task-1", "inputResponses": {} });
        let strange = peer.ask(method, params).await;
        assert_eq!(strange["error"]["code"], -32602, "{strange}");
    }
}

async fn without_the_extension(cell: &Cell) {
    let mut peer = cell.able().await;
    let may = peer.call(&cell.tool("may_work"), json!({ "n": 2 })).await;
    assert_eq!(text_of(&may), r#"{"n":2}"#);
    let must = peer.call(&cell.tool("must_work"), json!({ "n": 2 })).await;
    if cell.has_bare_child() {
        let required = &must["error"]["data"]["requiredCapabilities"];
        assert_eq!(must["error"]["code"], -32021, "{must}");
        assert_eq!(required["extensions"], json!({ EXTENSION: {} }));
    } else {
        assert_eq!(text_of(&must), r#"{"n":2}"#);
    }
    let refused = peer.ask("tasks/get", json!({ "taskId": "task-1" })).await;
    assert_eq!(refused["error"]["code"], -32021, "before the id is looked at");
}

/// Makes a task, and gives its id, which is not the child's.
async fn created(cell: &Cell, peer: &mut Peer, arguments: Value) -> String {
    let made = peer.call(&cell.tool("must_work"), arguments).await;
    let task = &made["result"];
    assert_eq!(task["resultType"], "task", "{made}");
    assert_eq!(task["status"], "working", "{made}");
    assert!(task["pollIntervalMs"].as_u64() > Some(0), "{made}");
    for absent in ["task", "result", "error", "inputRequests", "requestState"] {
        assert!(task.get(absent).is_none(), "{absent} in {made}");
    }
    let id = task["taskId"].as_str().unwrap();
    assert!(!id.starts_with("task-"), "{made}");
    id.to_owned()
}

/// Looks at a task until it stands so.
async fn stands(peer: &mut Peer, task: &str, status: &str) -> Value {
    loop {
        let told = peer.ask("tasks/get", json!({ "taskId": task })).await;
        let stands = &told["result"];
        assert_eq!(stands["taskId"], task, "{told}");
        if stands["status"] == status {
            return stands.clone();
        }
        assert!(
            ["working", "input_required"].contains(&stands["status"].as_str().unwrap()),
            "{told}"
        );
        tokio::task::yield_now().await;
    }
}
