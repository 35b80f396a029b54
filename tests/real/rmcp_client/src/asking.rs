//! Features in which the server speaks by itself: log messages, updates, and its own questions.

use serde_json::{Value, json};

use crate::asked::text;
use crate::client::{Client, call, text_of, typed, until, value};
use crate::report::Report;
use crate::{Checked, holds, same};

pub async fn all(report: &mut Report, client: &Client, kind: &str) {
    report.feature("log-level", log_level(client)).await;
    report.feature("sampling", sampling(client, kind)).await;
    report.feature("elicitation", elicitation(client, kind)).await;
    report.feature("roots", roots(client, kind)).await;
    report.feature("subscription", subscription(client)).await;
}

fn of_own(i: u32) -> String {
    format!("demo://resource/dynamic/text/{i}")
}

fn tagged(uri: &str) -> String {
    format!("{uri}?mcp-server=own")
}

/// This server logs every subscription at the level `info`, before it answers: one can see which was held back.
async fn log_level(client: &Client) -> Checked {
    let logged = |uri: &str| -> Vec<String> {
        let all = client.service().logs.lock().unwrap();
        let is_it = |one: &&Value| text(one, "data").contains(&format!("Subscribe Resource request for URI: {uri}"));
        all.iter().filter(is_it).map(|one| format!("{} {}", text(one, "level"), text(one, "logger"))).collect()
    };
    let uris = [61, 62, 63].map(of_own);
    // A process that starts for a subscription is subscribed twice: by it, and as every fresh process is.
    text_of(client, "own__echo", json!({ "message": "start" })).await?;
    for (level, uri) in ["info", "error", "debug"].iter().zip(&uris) {
        client.set_level(typed(json!({ "level": level }))).await?;
        client.subscribe(typed(json!({ "uri": tagged(uri) }))).await?;
        if *level != "error" {
            until(&format!("a message at {level}"), || !logged(uri).is_empty()).await?;
        }
    }
    same!(uris.clone().map(|uri| logged(&uri)), [vec!["info own".to_owned()], vec![], vec!["info own".to_owned()]]);
    for uri in &uris {
        client.unsubscribe(typed(json!({ "uri": tagged(uri) }))).await?;
    }
    Ok(String::new())
}

async fn sampling(client: &Client, kind: &str) -> Checked {
    let seen = client.service();
    let reply = json!({
        "role": "assistant", "content": { "type": "text", "text": format!("said by {kind}") }, "model": "a model", "stopReason": "endTurn",
    });
    *seen.sampling.lock().unwrap() = Some(reply.clone());
    let prompt = format!("grüße {kind}");
    let answer = text_of(client, "every__trigger-sampling-request", json!({ "prompt": prompt, "maxTokens": 77 })).await?;
    let asked = seen.samplings.lock().unwrap().clone();
    same!(asked.len(), 1);
    let context = format!("Resource trigger-sampling-request context: {prompt}");
    same!(asked[0]["messages"], json!([{ "role": "user", "content": { "type": "text", "text": context } }]));
    same!(asked[0]["systemPrompt"], json!("You are a helpful test server."));
    same!(asked[0]["maxTokens"], json!(77));
    let told: Value = serde_json::from_str(&answer[answer.find('{').ok_or("no JSON")?..])?;
    same!(told, reply);
    *seen.sampling.lock().unwrap() = None;
    let refused = value(&call(client, "every__trigger-sampling-request", json!({ "prompt": prompt })).await?);
    same!(refused["isError"], json!(true));
    holds!(refused.to_string().contains("the user said no"), refused);
    Ok(String::new())
}

async fn elicitation(client: &Client, kind: &str) -> Checked {
    let seen = client.service();
    let content = json!({ "name": format!("Ada of {kind}"), "check": true, "integer": 7 });
    *seen.elicitation.lock().unwrap() = Some(json!({ "action": "accept", "content": content }));
    let accepted = text_of(client, "every__trigger-elicitation-request", json!({})).await?;
    let asked = seen.elicitations.lock().unwrap().clone();
    same!(asked.len(), 1);
    holds!(text(&asked[0], "message").ends_with("Please provide inputs for the following fields:"), asked);
    same!(asked[0]["requestedSchema"]["required"], json!(["name"]));
    same!(asked[0]["requestedSchema"]["properties"]["integer"]["maximum"], json!(100));
    for due in [format!("- Name: Ada of {kind}\n"), "- Agreed to terms: true\n".to_owned(), "- Favorite Integer: 7\n".to_owned()] {
        holds!(accepted.contains(&due), accepted);
    }
    *seen.elicitation.lock().unwrap() = Some(json!({ "action": "decline" }));
    let declined = text_of(client, "every__trigger-elicitation-request", json!({})).await?;
    holds!(declined.contains("User declined"), declined);
    Ok(String::new())
}

async fn roots(client: &Client, kind: &str) -> Checked {
    let seen = client.service();
    let second = vec![json!({ "uri": "file:///second" }), json!({ "uri": "file:///third", "name": "the third" })];
    let first = vec![json!({ "uri": format!("file:///first/{kind}"), "name": format!("of {kind}") })];
    for (roots, due) in [
        (first, vec!["(1 total)".to_owned(), format!("1. of {kind}\n   URI: file:///first/{kind}")]),
        (second, vec!["(2 total)".to_owned(), "2. the third\n   URI: file:///third".to_owned()]),
    ] {
        let n_asked = *seen.n_roots_asked.lock().unwrap();
        *seen.roots.lock().unwrap() = roots;
        client.notify_roots_list_changed().await?;
        let end = std::time::Instant::now() + std::time::Duration::from_secs(15);
        loop {
            let listed = text_of(client, "own__get-roots-list", json!({})).await?;
            if due.iter().all(|due| listed.contains(due)) {
                break;
            }
            holds!(std::time::Instant::now() < end, listed);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        holds!(*seen.n_roots_asked.lock().unwrap() > n_asked, "nobody asked for roots");
    }
    Ok(String::new())
}

/// Turned on, the server tells every subscribed resource at once, in the order of the first subscriptions.
async fn subscription(client: &Client) -> Checked {
    let seen = client.service();
    let own: Vec<String> = [73, 74].map(of_own).iter().map(|uri| tagged(uri)).collect();
    for (server, uris) in [("every", [71, 72].map(of_own).to_vec()), ("own", own)] {
        let tool = format!("{server}__toggle-subscriber-updates");
        let came = |from: usize| -> Vec<String> {
            let all = seen.updates.lock().unwrap();
            all[from..].iter().map(|one| text(one, "uri")).filter(|uri| uris.contains(uri)).collect()
        };
        let now = || seen.updates.lock().unwrap().len();
        for uri in &uris {
            client.subscribe(typed(json!({ "uri": uri }))).await?;
        }
        let from = now();
        holds!(text_of(client, &tool, json!({})).await?.starts_with("Started"), server);
        until("both updates", || came(from).len() >= 2).await?;
        same!(came(from), uris);
        holds!(text_of(client, &tool, json!({})).await?.starts_with("Stopped"), server);
        client.unsubscribe(typed(json!({ "uri": uris[0] }))).await?;
        let from = now();
        holds!(text_of(client, &tool, json!({})).await?.starts_with("Started"), server);
        until("the update of what is left", || !came(from).is_empty()).await?;
        same!(came(from), uris[1..]);
        holds!(text_of(client, &tool, json!({})).await?.starts_with("Stopped"), server);
        client.unsubscribe(typed(json!({ "uri": uris[1] }))).await?;
    }
    Ok(String::new())
}
