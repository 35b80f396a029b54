//! Tasks, which only 2025-11-25 has: with clients that know them, and with clients that do not.

use serde_json::{Value, json};

use super::cell::{Cell, Outcome, V11};
use super::peer::Peer;
use crate::harness::{names_of, text_of};

pub(crate) async fn tasks(cell: Cell) -> Outcome {
    if cell.child < V11 {
        return Outcome::NotDefined("servers of this revision have no tasks");
    }
    if cell.is_bare() || cell.has_bare_child() {
        return Outcome::NotYet("tasks of 2026-07-28 are another extension, which is not translated yet");
    }
    let mut peer = cell.able().await;
    let listed = peer.ask("tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    let tool = |name: &str| tools.iter().find(|tool| tool["name"] == cell.tool(name)).unwrap();
    let support = [&tool("must_work")["execution"], &tool("may_work")["execution"]];
    if cell.client < V11 {
        assert_eq!(support, [&Value::Null, &Value::Null], "{listed}");
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
        return Outcome::Pass("t°");
    }
    assert_eq!(
        support.map(|said| &said["taskSupport"]),
        [&json!("required"), &json!("optional")]
    );
    let done = made(&cell, &mut peer, json!({ "n": 1 })).await;
    let result = peer.ask("tasks/result", json!({ "taskId": done })).await;
    assert_eq!(text_of(&result), r#"{"n":1}"#);
    assert_eq!(
        result["result"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"],
        json!(done)
    );
    let stands = peer.ask("tasks/get", json!({ "taskId": done })).await;
    assert_eq!(
        (&stands["result"]["taskId"], &stands["result"]["status"]),
        (&json!(done), &json!("completed"))
    );
    let held = made(&cell, &mut peer, json!({ "hold": 1 })).await;
    let all = peer.ask("tasks/list", json!({})).await;
    assert_eq!(names_of(&all, "tasks", "taskId"), [done.as_str(), held.as_str()]);
    let stopped = peer.ask("tasks/cancel", json!({ "taskId": held })).await;
    assert_eq!(stopped["result"]["status"], "cancelled", "{stopped}");
    let mut other = cell.able().await;
    let strange = other.ask("tasks/get", json!({ "taskId": done })).await;
    assert_eq!(strange["error"]["code"], -32602, "{strange}");
    Outcome::Pass("T")
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
