//! This client in each way that it can begin, and servers of the SDKs in every era: the checks of `../clients/eras.py`.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use rmcp::model::{CallToolRequest, ClientRequest};
use rmcp::service::{PeerRequestOptions, Subscription};
use serde_json::{Map, Value, json};

use crate::client::{Begin, Client, WAIT, begin, text_of, typed, until, value};
use crate::report::CHECK;
use crate::{Checked, holds, same};

const MODES: [(&str, Begin); 3] = [("legacy", Begin::Handshake), ("auto", Begin::Auto), ("2026-07-28", Begin::Discover)];
const KINDS: [&str; 2] = ["http", "stdio"];
const N_STEPS: usize = 5;
/// What was taken back may still ask for a while, and so it is the last feature of all.
const FEATURES: [&str; 13] = [
    "list", "call", "read", "prompt", "progress", "elicitation", "two rounds", "sampling", "roots", "logs",
    "list changed", "updated", "cancel",
];

/// What is made or said for one check bears a number that no other has.
static N_TAGS: AtomicUsize = AtomicUsize::new(0);

struct Cell {
    client: usize,
    server: String,
    passed: Vec<&'static str>,
    failures: Vec<String>,
}

/// Whether everything has passed.
pub async fn all(case: &str, gateway: &Value, servers: &Map<String, Value>) -> Result<bool, Box<dyn std::error::Error>> {
    let mut clients = Vec::new();
    for (mode, how) in MODES {
        for kind in KINDS {
            let client = begin(gateway, kind, how).await?;
            *client.service().roots.lock().unwrap() = vec![json!({ "uri": format!("file:///{mode}/{kind}"), "name": "the folder" })];
            clients.push((mode, kind, client));
        }
    }
    let cell = |client: usize, server: &String| Cell { client, server: server.clone(), passed: Vec::new(), failures: Vec::new() };
    let mut cells: Vec<Cell> = (0..clients.len()).flat_map(|client| servers.keys().map(move |server| cell(client, server))).collect();
    for feature in FEATURES {
        for cell in &mut cells {
            let (mode, _, client) = &clients[cell.client];
            let has = servers[&cell.server]["has"].as_array().is_some_and(|has| has.contains(&json!(feature)));
            if !has {
                continue;
            }
            let checked = tokio::time::timeout(CHECK, check(feature, client, &cell.server, *mode != "legacy")).await;
            match checked.unwrap_or_else(|_| Err("not in time".into())) {
                Ok(_) => cell.passed.push(feature),
                Err(error) => cell.failures.push(format!("{feature}: {error}")),
            }
        }
    }
    for cell in &cells {
        let (mode, kind, _) = clients[cell.client];
        told(case, cell, mode, kind);
    }
    for (_, _, client) in clients {
        client.cancel().await?;
    }
    Ok(cells.iter().all(|cell| cell.failures.is_empty()))
}

fn told(case: &str, cell: &Cell, mode: &str, kind: &str) {
    let what = format!("{case}: {mode} {kind}, {}: {}", cell.server, cell.passed.join(", "));
    let verdict = if cell.failures.is_empty() {
        println!("ok   {what}");
        "pass"
    } else {
        let why: String = cell.failures.join("; ").replace('\n', " ").chars().take(600).collect();
        println!("FAIL {what}: {why}");
        "fail"
    };
    let Some(path) = std::env::var_os("ERAS_OUT").filter(|path| !path.is_empty()) else {
        return;
    };
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("ERAS_OUT");
    writeln!(file, "{}\trmcp\t{mode}\t{kind}\t{verdict}\t{}", cell.server, cell.passed.join(",")).expect("ERAS_OUT");
}

async fn check(feature: &str, client: &Client, server: &str, is_modern: bool) -> Checked {
    let tool = |name: &str| format!("{server}__{name}");
    let uri = format!("asking-{server}://fixed");
    let tag = format!("{server}-{}", N_TAGS.fetch_add(1, Ordering::Relaxed));
    match feature {
        "list" => {
            let names = names(client).await?;
            holds!(names.contains(&tool("echo")), names);
        }
        "call" => {
            let text = format!("grüße 🦀 {tag}");
            let said = text_of(client, &tool("echo"), json!({ "text": text })).await?;
            holds!(said.contains(&text), said);
        }
        "read" => {
            let came = value(&client.read_resource(typed(json!({ "uri": uri }))).await?);
            same!(came["contents"][0]["text"], json!("It stays."));
            same!(came["contents"][0]["uri"], json!(uri));
        }
        "prompt" => {
            let asked = json!({ "name": tool("plain"), "arguments": { "topic": tag } });
            let came = value(&client.get_prompt(typed(asked)).await?);
            same!(came["messages"][0]["content"]["text"], json!(format!("Tell me of {tag}.")));
        }
        "progress" => return progress(client, &tool("steps")).await,
        "elicitation" => {
            let name = format!("Ada {tag}");
            asked(client, &tool("greet"), json!({ "name": name }), &format!("Hello, {name}!"), 1).await?;
        }
        "two rounds" => {
            let name = format!("Ada {tag}");
            let form = json!({ "name": name, "color": "green" });
            asked(client, &tool("paint"), form, &format!("{name} likes green."), 2).await?;
        }
        "sampling" => {
            let content = json!({ "type": "text", "text": tag });
            let reply = json!({ "role": "assistant", "content": content, "model": "a model", "stopReason": "endTurn" });
            *client.service().sampling.lock().unwrap() = Some(reply);
            let said = text_of(client, &tool("ponder"), json!({})).await?;
            same!(said, format!("a model thinks: {tag}"));
        }
        "roots" => {
            let said = text_of(client, &tool("where"), json!({})).await?;
            let due = client.service().roots.lock().unwrap()[0]["uri"].clone();
            same!(json!(said), due);
        }
        "logs" => {
            let mut say = json!({ "name": tool("say"), "arguments": { "text": tag } });
            if is_modern {
                say["_meta"] = json!({ "io.modelcontextprotocol/logLevel": "warning" });
            } else {
                client.set_level(typed(json!({ "level": "warning" }))).await?;
            }
            client.call_tool(typed(say)).await?;
            let came = || -> Vec<Value> {
                let logs = client.service().logs.lock().unwrap();
                logs.iter().filter(|log| log["data"].to_string().contains(&tag)).map(|log| log["level"].clone()).collect()
            };
            until("a message", || !came().is_empty()).await?;
            same!(came(), vec![json!("warning")]);
        }
        "list changed" => {
            let name = format!("grown_{}", tag.replace('-', "_"));
            let grow = (tool("grow"), json!({ "name": name }));
            let heard = changed(client, is_modern, json!({ "toolsListChanged": true }), None, grow);
            let mut heard = heard.await?;
            loop {
                heard.next(client, |came| came["method"] == "notifications/tools/list_changed").await?;
                // What another client has made grow may be told of here first.
                if names(client).await?.contains(&tool(&name)) {
                    break;
                }
            }
        }
        "updated" => {
            let touch = (tool("touch"), json!({ "uri": uri }));
            let heard = changed(client, is_modern, json!({ "resourceSubscriptions": [uri] }), Some(&uri), touch);
            let of_it = |came: &Value| came["method"] == "notifications/resources/updated" && came["params"]["uri"] == uri;
            heard.await?.next(client, of_it).await?;
            if !is_modern {
                client.unsubscribe(typed(json!({ "uri": uri }))).await?;
            }
        }
        "cancel" => return cancel(client, &tool("wait"), &tool("was_taken_back"), &tag).await,
        other => return Err(format!("no feature {other}").into()),
    }
    Ok(String::new())
}

async fn names(client: &Client) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    Ok(client.list_all_tools().await?.iter().map(|tool| tool.name.to_string()).collect())
}

async fn asked(client: &Client, tool: &str, form: Value, due: &str, n_due: usize) -> Checked {
    let seen = client.service();
    *seen.elicitation.lock().unwrap() = Some(json!({ "action": "accept", "content": form }));
    seen.elicitations.lock().unwrap().clear();
    let said = text_of(client, tool, json!({})).await?;
    same!(said, due);
    let asked = seen.elicitations.lock().unwrap().clone();
    same!(asked.len(), n_due);
    holds!(asked[0]["message"].as_str().is_some_and(|message| message.ends_with("What is your name?")), asked);
    Ok(String::new())
}

async fn progress(client: &Client, tool: &str) -> Checked {
    let request = CallToolRequest::new(typed(json!({ "name": tool, "arguments": { "n": N_STEPS } })));
    let request = ClientRequest::CallToolRequest(request);
    let handle = client.send_cancellable_request(request, PeerRequestOptions::no_options()).await?;
    let token = value(&handle.progress_token);
    handle.await_response().await?;
    let heard = || -> Vec<Value> {
        let all = client.service().progress.lock().unwrap();
        all.iter().filter(|one| one["progressToken"] == token).map(|one| one["progress"].clone()).collect()
    };
    until("all progress", || heard().len() >= N_STEPS).await?;
    same!(heard(), (1..=N_STEPS).map(|step| json!(step as f64)).collect::<Vec<_>>());
    Ok(String::new())
}

/// What one listens to in the way of the era: a stream of its own, or whatever comes.
enum Heard {
    Stream(Subscription),
    Session,
}

impl Heard {
    /// Waits for the next change that is wanted.
    async fn next(&mut self, client: &Client, is_it: impl Fn(&Value) -> bool) -> Result<(), Box<dyn std::error::Error>> {
        let Self::Stream(stream) = self else {
            let changes = || client.service().changes.lock().unwrap();
            let found = || changes().iter().position(&is_it);
            until("the change", || found().is_some()).await?;
            let n_heard = found().map_or(0, |at| at + 1);
            changes().drain(..n_heard);
            return Ok(());
        };
        while let Some(came) = tokio::time::timeout(WAIT, stream.next()).await?? {
            if is_it(&value(&came)) {
                return Ok(());
            }
        }
        Err("the stream has ended".into())
    }
}

/// Listens, and then calls what makes the change.
async fn changed(
    client: &Client,
    is_modern: bool,
    filter: Value,
    uri: Option<&str>,
    (tool, args): (String, Value),
) -> Result<Heard, Box<dyn std::error::Error>> {
    client.service().changes.lock().unwrap().clear();
    let heard = if is_modern { Heard::Stream(client.listen(typed(filter)).await?) } else { Heard::Session };
    if let Some(uri) = uri.filter(|_| !is_modern) {
        client.subscribe(typed(json!({ "uri": uri }))).await?;
    }
    text_of(client, &tool, args).await?;
    Ok(heard)
}

async fn cancel(client: &Client, wait: &str, was_taken_back: &str, tag: &str) -> Checked {
    let request = CallToolRequest::new(typed(json!({ "name": wait, "arguments": { "tag": tag } })));
    let request = ClientRequest::CallToolRequest(request);
    let handle = client.send_cancellable_request(request, PeerRequestOptions::no_options()).await?;
    let token = value(&handle.progress_token);
    let has_begun = || client.service().progress.lock().unwrap().iter().any(|one| one["progressToken"] == token);
    until("the first step", has_begun).await?;
    handle.cancel(Some("enough".to_owned())).await?;
    let end = std::time::Instant::now() + WAIT;
    while !text_of(client, was_taken_back, json!({ "tag": tag })).await?.eq_ignore_ascii_case("true") {
        holds!(std::time::Instant::now() < end, "the server was not told");
    }
    Ok(String::new())
}
