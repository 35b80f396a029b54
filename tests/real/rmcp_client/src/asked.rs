//! Features in which the client asks: lists, calls, progress, cancelling, big and many calls.

use futures::future::join_all;
use rmcp::model::{CallToolRequest, ClientRequest};
use rmcp::service::{PeerRequestOptions, RequestHandle};
use rmcp::{RoleClient, ServiceError};
use serde_json::{Value, json};

use crate::client::{Client, call, text_of, typed, until, value};
use crate::report::Report;
use crate::tape::Tape;
use crate::{Checked, holds, same};

const N_PARALLEL: usize = 100;
const PAYLOAD_BYTES: usize = 5 << 20;
const LONG: &str = "trigger-long-running-operation";

pub async fn all(report: &mut Report, tape: &Tape, client: &Client, kind: &str) {
    report.feature("list", list(tape, client)).await;
    report.feature("call", calls(client)).await;
    report.feature("read", read(tape, client)).await;
    report.feature("prompt", prompt(client)).await;
    report.feature("complete", complete(client)).await;
    report.feature("progress", progress(client)).await;
    report.feature("cancel", cancel(tape, client, kind)).await;
    report.feature("payload-5MiB", payload(client, kind)).await;
    report.feature("parallel-100", parallel(client, kind)).await;
}

async fn list(tape: &Tape, client: &Client) -> Checked {
    let said = tape.said("every");
    let newest = |member: &str| -> Vec<Value> {
        let answer = said.iter().rev().find(|one| one["result"][member].is_array());
        answer.map(|one| one["result"][member].as_array().cloned().unwrap_or_default()).unwrap_or_default()
    };
    let tools: Vec<Value> = client.list_all_tools().await?.iter().map(value).collect();
    let ours: Vec<&Value> = tools.iter().filter(|tool| text(tool, "name").starts_with("every__")).collect();
    let known = newest("tools");
    holds!(known.len() >= 12, known.len());
    same!(ours.len(), known.len());
    for (tool, known) in ours.iter().zip(&known) {
        same!(text(tool, "name"), format!("every__{}", text(known, "name")));
        same!(tool["inputSchema"], known["inputSchema"]);
        same!(tool["description"], known["description"]);
    }
    let both = |uris: Vec<String>| [uris.clone(), uris.iter().map(|uri| format!("{uri}?mcp-server=own")).collect()].concat();
    let uris = |all: &[Value]| all.iter().map(|one| text(one, "uri")).collect::<Vec<_>>();
    let resources: Vec<Value> = client.list_all_resources().await?.iter().map(value).collect();
    same!(uris(&resources), both(uris(&newest("resources"))));
    let templates: Vec<Value> = client.list_all_resource_templates().await?.iter().map(value).collect();
    let known = newest("resourceTemplates");
    for (template, known) in templates.iter().zip(&known) {
        same!(template["uriTemplate"], known["uriTemplate"]);
    }
    holds!(templates.len() >= known.len() && !known.is_empty(), templates);
    let prompts: Vec<String> = client.list_all_prompts().await?.iter().map(|prompt| prompt.name.clone()).collect();
    let names = newest("prompts");
    let due: Vec<String> = ["every", "own"].iter().flat_map(|server| names.iter().map(move |one| format!("{server}__{}", text(one, "name")))).collect();
    same!(prompts, due);
    Ok(format!("{} tools, {} resources, {} templates, {} prompts", tools.len(), resources.len(), templates.len(), prompts.len()))
}

async fn calls(client: &Client) -> Checked {
    let message = "grüße 🦀 \u{2028} \"rmcp\"";
    let echoed = value(&call(client, "every__echo", json!({ "message": message })).await?);
    same!(echoed["content"], json!([{ "type": "text", "text": format!("Echo: {message}") }]));
    let structured = value(&call(client, "every__get-structured-content", json!({ "location": "Chicago" })).await?);
    let told: Value = serde_json::from_str(structured["content"][0]["text"].as_str().unwrap_or_default())?;
    same!(structured["structuredContent"], told);
    holds!(told["temperature"].is_number(), told);
    let wrong = value(&call(client, "every__get-sum", json!({ "a": "one", "b": 2 })).await?);
    same!(wrong["isError"], json!(true));
    holds!(wrong.to_string().contains("expected number"), wrong);
    match call(client, "every__absent", json!({})).await {
        Err(ServiceError::McpError(error)) => same!(error.code.0, -32602),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(String::new())
}

async fn read(tape: &Tape, client: &Client) -> Checked {
    let uri = "demo://resource/static/document/features.md";
    let came = value(&client.read_resource(typed(json!({ "uri": uri }))).await?);
    let said = tape.said("every");
    let due = said.iter().rev().find(|one| one["result"]["contents"][0]["uri"] == uri).ok_or("never read")?;
    same!(came["contents"], due["result"]["contents"]);
    let dynamic = value(&client.read_resource(typed(json!({ "uri": "demo://resource/dynamic/text/7" }))).await?);
    holds!(text(&dynamic["contents"][0], "text").starts_with("Resource 7: "), dynamic);
    match client.read_resource(typed(json!({ "uri": "demo://nowhere" }))).await {
        Err(ServiceError::McpError(error)) => same!(error.code.0, -32002),
        other => return Err(format!("{other:?}").into()),
    }
    Ok(String::new())
}

async fn prompt(client: &Client) -> Checked {
    let asked = json!({ "name": "own__args-prompt", "arguments": { "city": "Ulm", "state": "BW" } });
    let came = value(&client.get_prompt(typed(asked)).await?);
    same!(came["messages"], json!([{ "role": "user", "content": { "type": "text", "text": "What's weather in Ulm, BW?" } }]));
    Ok(String::new())
}

async fn complete(client: &Client) -> Checked {
    let name = "every__completable-prompt";
    same!(client.complete_prompt_simple(name, "department", "S").await?, ["Sales", "Support"]);
    let context = typed(json!({ "arguments": { "department": "Sales" } }));
    same!(client.complete_prompt_argument(name, "name", "E", Some(context)).await?.values, ["Eve"]);
    let template = "demo://resource/dynamic/text/{resourceId}";
    same!(client.complete_resource_simple(template, "resourceId", "7").await?, ["7"]);
    Ok(String::new())
}

/// A call whose progress token is known.
async fn long(client: &Client, args: &Value) -> Result<RequestHandle<RoleClient>, ServiceError> {
    let params = typed(json!({ "name": format!("every__{LONG}"), "arguments": args }));
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    client.send_cancellable_request(request, PeerRequestOptions::no_options()).await
}

fn heard(client: &Client, token: &Value) -> Vec<Value> {
    let all = client.service().progress.lock().unwrap();
    all.iter().filter(|one| one["progressToken"] == *token).cloned().collect()
}

async fn progress(client: &Client) -> Checked {
    let one = async |steps: usize| -> Checked {
        let handle = long(client, &json!({ "duration": 0.4, "steps": steps })).await?;
        let token = value(&handle.progress_token);
        let done = value(&handle.await_response().await?);
        holds!(done.to_string().contains(&format!("Steps: {steps}.")), done);
        // Notifications are handed over by tasks of their own.
        until("all progress", || heard(client, &token).len() >= steps).await?;
        let came: Vec<Value> = heard(client, &token);
        let steps_due: Vec<Value> = (1..=steps).map(|i| json!([i as f64, steps as f64])).collect();
        same!(came.iter().map(|one| json!([one["progress"], one["total"]])).collect::<Vec<_>>(), steps_due);
        Ok(String::new())
    };
    let (four, seven) = futures::join!(one(4), one(7));
    four.and(seven)
}

/// The server goes on with what was cancelled, and reports its progress: nobody may hear it any more.
async fn cancel(tape: &Tape, client: &Client, kind: &str) -> Checked {
    let args = json!({ "duration": if kind == "http" { 20.25 } else { 20.75 }, "steps": 200 });
    let handle = long(client, &args).await?;
    let token = value(&handle.progress_token);
    until("first progress", || !heard(client, &token).is_empty()).await?;
    handle.cancel(Some("enough".to_owned())).await?;
    let sent = tape.call_of("every", LONG, &args).ok_or("the call never reached the server")?;
    let is_told = |one: &Value| one["method"] == "notifications/cancelled" && one["params"]["requestId"] == sent["id"];
    until("the server is told", || tape.told("every").iter().any(is_told)).await?;
    let reported = || {
        let said = tape.said("every");
        said.iter().filter(|one| one["params"]["progressToken"] == sent["params"]["_meta"]["progressToken"]).count()
    };
    same!(text_of(client, "every__echo", json!({ "message": "after" })).await?, "Echo: after");
    let (heard_then, reported_then) = (heard(client, &token).len(), reported());
    until("more progress at the server", || reported() >= reported_then + 3).await?;
    same!(text_of(client, "every__echo", json!({ "message": "later" })).await?, "Echo: later");
    same!(heard(client, &token).len(), heard_then);
    holds!(!tape.said("every").iter().any(|one| one["id"] == sent["id"]), "an answer to what was cancelled");
    Ok(String::new())
}

async fn payload(client: &Client, kind: &str) -> Checked {
    let unit = format!("{kind} äöü 🦀 \\ \" \n");
    let message = unit.repeat(PAYLOAD_BYTES.div_ceil(unit.len()));
    let came = text_of(client, "every__echo", json!({ "message": message })).await?;
    holds!(came == format!("Echo: {message}"), came.len());
    Ok(String::new())
}

async fn parallel(client: &Client, kind: &str) -> Checked {
    let calls = (0..N_PARALLEL).map(|i| async move {
        let (tool, args, due) = if i % 2 == 0 {
            ("every__echo", json!({ "message": format!("{kind} {i}") }), format!("Echo: {kind} {i}"))
        } else {
            ("every__get-sum", json!({ "a": i, "b": 1000 }), format!("The sum of {i} and 1000 is {}.", i + 1000))
        };
        same!(text_of(client, tool, args).await?, due);
        Checked::Ok(String::new())
    });
    join_all(calls).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(String::new())
}

pub fn text(of: &Value, member: &str) -> String {
    of[member].as_str().unwrap_or_default().to_owned()
}
