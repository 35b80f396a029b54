//! Subscriptions of 2026-07-28: each `subscriptions/listen` names what it wants to hear, is acknowledged, and hears it with
//! its own id, until the client cancels it or the server ends it.
//!
//! What there is to hear comes of the deeds `grow`, `shrink`, `updated` (`uri`) and `changed` (`what`: `tools`, `prompts` or
//! `resources`, whose list is as it was); `end_listens` ends all (`how`: `result`, `cancelled` or `both`).
//!
//! | line of the journal | what it says |
//! | --- | --- |
//! | `listen 7 {…}` | opened, with what was asked for |
//! | `listen cancelled 7` | by the client |
//! | `listen ended 7` | by this server |

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use crate::methods::Members;
use crate::modern;
use crate::world::World;

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// The open ones by their ids, each with what was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Listens {
    all: Mutex<BTreeMap<String, Map<String, Value>>>,
}

/// Opens one, and acknowledges it.
pub(crate) fn open(world: &World, id: &str, params: &Members<'_>) {
    let wanted = params.get("notifications").map(|raw| raw.get());
    let Some(wanted) = wanted.and_then(|raw| serde_json::from_str::<Map<String, Value>>(raw).ok()) else {
        return world.refuse(id, -32602, "`notifications` is no object");
    };
    let capabilities = world.speech.said(id).capabilities;
    if wanted.contains_key("taskIds") && !capabilities["extensions"][modern::TASKS].is_object() {
        let required = json!({ "extensions": { modern::TASKS: {} } });
        return modern::refuse_incapable(world, id, &required);
    }
    world.journal.note(&format!("listen {id} {}", json!(wanted)));
    let honoured: Map<String, Value> = wanted
        .into_iter()
        .filter(|(kind, value)| *value != json!(false) && honours(world, kind))
        .collect();
    let params = format!(
        r#"{{{},"notifications":{}}}"#,
        tagged(id),
        Value::Object(honoured.clone())
    );
    // Held while it is written: nothing comes before the acknowledgement.
    let mut all = world.listens.all.lock().unwrap();
    world.notify_verbatim("notifications/subscriptions/acknowledged", &params);
    all.insert(id.to_owned(), honoured);
}

fn honours(world: &World, kind: &str) -> bool {
    let options = &world.options;
    if let Some(kinds) = &options.listen_honours {
        return kinds.iter().any(|known| known == kind);
    }
    match kind {
        "toolsListChanged" => true,
        "promptsListChanged" => !options.prompts.is_empty(),
        "resourcesListChanged" | "resourceSubscriptions" => options.has_resources(),
        "taskIds" => options.tasks,
        _ => false,
    }
}

/// The member `_meta` that says to which one a message belongs.
fn tagged(id: &str) -> String {
    format!(r#""_meta":{{"{SUBSCRIPTION}":{id}}}"#)
}

impl Listens {
    /// Tells all who want to hear it. `about` is the URI or the task, where there is one.
    pub(crate) fn tell(&self, world: &World, method: &str, about: Option<&str>, params: &str) {
        let all = self.all.lock().unwrap();
        for (id, wanted) in &*all {
            if wants(wanted, method, about) {
                let params = modern::with_members(params, &[tagged(id)]);
                world.notify_verbatim(method, &params);
            }
        }
    }

    /// The client wants to hear no more.
    pub(crate) fn cancel(&self, world: &World, id: &str) {
        if self.all.lock().unwrap().remove(id).is_some() {
            world.journal.note(&format!("listen cancelled {id}"));
        }
    }

    /// Ends all: with a `result`, with `cancelled`, or with `both`.
    pub(crate) fn end(&self, world: &World, how: &str) {
        let all = std::mem::take(&mut *self.all.lock().unwrap());
        for id in all.keys() {
            world.journal.note(&format!("listen ended {id}"));
            if how != "cancelled" {
                let result = format!(r#"{{"resultType":"complete",{}}}"#, tagged(id));
                world.answer(id, result.as_bytes());
            }
            if how != "result" {
                let params = format!(r#"{{"requestId":{id},"reason":"the server ends it"}}"#);
                world.notify_verbatim("notifications/cancelled", &params);
            }
        }
    }
}

fn wants(wanted: &Map<String, Value>, method: &str, about: Option<&str>) -> bool {
    let flag = |name: &str| wanted.get(name) == Some(&json!(true));
    let named = |name: &str| {
        let all = wanted.get(name).and_then(Value::as_array);
        all.is_some_and(|all| all.iter().any(|one| one.as_str() == about))
    };
    match method {
        "notifications/tools/list_changed" => flag("toolsListChanged"),
        "notifications/prompts/list_changed" => flag("promptsListChanged"),
        "notifications/resources/list_changed" => flag("resourcesListChanged"),
        "notifications/resources/updated" => named("resourceSubscriptions"),
        "notifications/tasks" => named("taskIds"),
        _ => false,
    }
}

/// Whether a notification of this method is told to those who listen only.
pub(crate) fn is_for_listeners(method: &str) -> bool {
    method.ends_with("/list_changed") || method == "notifications/resources/updated"
}
