//! What a key does not see does not exist for it: in lists, calls, reads, completions, subscriptions and news.

use serde_json::{Value, json};

use super::{bare_holder, holder, key, names, stranger};
use crate::harness::fake::Fake;
use crate::harness::{Daemon, fake};

fn server(name: &str) -> Fake {
    fake(name)
        .tools("echo,log,grow,updated")
        .arg("--prompts", "greet")
        .arg("--resources", &format!("{name}://1,both://1"))
        .arg("--templates", &format!("{name}://t/{{id}}"))
        .arg("--instructions", &format!("I am {name}"))
}

/// What a client lists, with a handshake or without.
async fn listed(ask: impl AsyncFn(&str) -> Value) -> [Vec<String>; 4] {
    [
        names(&ask("tools/list").await, "tools", "name"),
        names(&ask("prompts/list").await, "prompts", "name"),
        names(&ask("resources/list").await, "resources", "uri"),
        names(
            &ask("resources/templates/list").await,
            "resourceTemplates",
            "uriTemplate",
        ),
    ]
}

fn all(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[tokio::test]
async fn lists_hold_what_a_key_sees_and_nothing_else() {
    let daemon = Daemon::start(&[server("a"), server("b")]).await;
    let of_b = ["b__echo", "b__log", "b__grow", "b__updated"];
    let resources = all(&["b://1", "both://1?mcp-server=b"]);
    let cases = [
        (
            vec!["servers", "--servers", "b"],
            [all(&of_b), all(&["b__greet"]), vec![], all(&["b://t/{id}"])],
            "I am b",
            "I am a",
        ),
        (
            vec!["tools", "--tools", "b__e*,a__log"],
            [all(&["a__log", "b__echo"]), vec![], vec![], vec![]],
            "I am",
            "nothing",
        ),
        (
            vec!["both", "--servers", "b", "--tools", "*__log"],
            [all(&["b__log"]), all(&["b__greet"]), vec![], all(&["b://t/{id}"])],
            "I am b",
            "I am a",
        ),
    ];
    let whole = listed(async |method| daemon.http().await.request(method, json!({})).await).await;
    let both = whole[2].iter().filter(|uri| uri.contains("both")).count();
    assert_eq!(both, 2, "one of them is tagged: {whole:?}");
    for (arguments, mut wanted, said, unsaid) in cases {
        let key = key(&daemon, &arguments).await;
        if !wanted[1].is_empty() {
            // Names are as they are for everybody.
            wanted[2] = whole[2]
                .iter()
                .filter(|uri| uri.starts_with("b:") || uri.contains("both"))
                .cloned()
                .collect();
            wanted[2].retain(|uri| uri != "both://1");
            assert_eq!(wanted[2].len(), resources.len());
        }
        let mut client = stranger(&daemon, &key);
        let greeted = client.initialize("2025-11-25").await;
        let bare = bare_holder(&daemon, &key);
        let legacy = listed(async |method| client.request(method, json!({})).await).await;
        let modern = listed(async |method| bare.ask(method, json!({})).await).await;
        assert_eq!(legacy, wanted, "{arguments:?}");
        assert_eq!(modern, wanted, "{arguments:?}");
        let discovered = bare.ask("server/discover", json!({})).await["result"].clone();
        for told in [greeted, discovered] {
            let told = told["instructions"].as_str().unwrap();
            assert!(told.contains(said) && !told.contains(unsaid), "{told}");
        }
        let health = super::open(&daemon, &key, "/health").await.json().await;
        assert!(
            health["status"].is_string() && health.get("servers").is_none(),
            "{health}"
        );
    }
    daemon.end().await;
}

/// The error to a request about something, with its name taken out.
async fn error(ask: impl AsyncFn(&str, Value) -> Value, method: &str, params: Value, name: &str) -> String {
    let answer = ask(method, params).await;
    assert!(
        answer["error"].is_object() || answer["result"]["isError"] == true,
        "{answer}"
    );
    let outcome = json!([answer["error"], answer["result"]]);
    outcome.to_string().replace(name, "NAME")
}

#[tokio::test]
async fn what_a_key_does_not_see_is_answered_as_what_nobody_offers() {
    let daemon = Daemon::start(&[server("a"), server("b")]).await;
    let key = key(&daemon, &["ci", "--servers", "b"]).await;
    let (client, bare) = (holder(&daemon, &key).await, bare_holder(&daemon, &key));
    let complete = |reference: Value| json!({ "ref": reference, "argument": { "name": "x", "value": "y" } });
    let prompt = |name: &str| complete(json!({ "type": "ref/prompt", "name": name }));
    let resource = |uri: &str| complete(json!({ "type": "ref/resource", "uri": uri }));
    for (method, hidden, unknown) in [
        (
            "tools/call",
            json!({ "name": "a__echo" }),
            json!({ "name": "c__echo" }),
        ),
        (
            "prompts/get",
            json!({ "name": "a__greet" }),
            json!({ "name": "c__greet" }),
        ),
        (
            "resources/read",
            json!({ "uri": "a://1" }),
            json!({ "uri": "z://1" }),
        ),
        (
            "resources/read",
            json!({ "uri": "a://t/7" }),
            json!({ "uri": "z://t/7" }),
        ),
        (
            "resources/read",
            json!({ "uri": "both://1?mcp-server=a" }),
            json!({ "uri": "both://1?mcp-server=z" }),
        ),
        ("completion/complete", prompt("a__greet"), prompt("c__greet")),
        (
            "completion/complete",
            resource("a://t/{id}"),
            resource("z://t/{id}"),
        ),
    ] {
        let named = |params: &Value| {
            let reference = params.get("ref").unwrap_or(params);
            let name = reference.get("uri").or(reference.get("name"));
            name.unwrap().as_str().unwrap().to_owned()
        };
        let legacy = async |method: &str, params: Value| client.request(method, params).await;
        let modern = async |method: &str, params: Value| bare.ask(method, params).await;
        let of = |params: &Value| (params.clone(), named(params));
        let ((hidden, its), (unknown, other)) = (of(&hidden), of(&unknown));
        assert_eq!(
            error(legacy, method, hidden.clone(), &its).await,
            error(legacy, method, unknown.clone(), &other).await,
            "{method} {hidden}"
        );
        assert_eq!(
            error(modern, method, hidden.clone(), &its).await,
            error(modern, method, unknown.clone(), &other).await,
            "{method} {hidden}"
        );
    }
    let hidden = json!({ "uri": "a://1" });
    assert!(client.request("resources/subscribe", hidden).await["error"].is_object());
    assert!(client.call("b__echo", json!({})).await["result"].is_object());
    let read = client.request("resources/read", json!({ "uri": "b://1" })).await;
    assert!(read["result"].is_object(), "{read}");
    let heard = daemon.setup.journal("a");
    for method in [
        "tools/call",
        "prompts/get",
        "resources/read",
        "completion/complete",
        "resources/subscribe",
    ] {
        assert!(
            !heard.iter().any(|line| line.contains(method)),
            "{method}: {heard:?}"
        );
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_server_that_is_down_or_declared_only_is_unknown_to_a_key_that_does_not_see_it() {
    let daemon = Daemon::start(&[
        server("a"),
        server("b"),
        fake("late").key("enabled", "false").not_awaited(),
    ])
    .await;
    let key = key(&daemon, &["ci", "--servers", "b"]).await;
    let client = holder(&daemon, &key).await;
    daemon.mcpctl(&["stop", "a"]).await.said(0, &["a"]);
    for name in ["a__echo", "late__echo"] {
        let told = client.call(name, json!({})).await.to_string();
        assert!(!told.contains("mcpctl") && !told.contains("server `"), "{told}");
        let whole = daemon.http().await.call(name, json!({})).await.to_string();
        assert!(whole.contains("stopped") || whole.contains("disabled"), "{whole}");
    }
    let health = super::open(&daemon, &key, "/health").await.text().await;
    assert!(!health.contains("\"a\""), "{health}");
    daemon.end().await;
}

#[tokio::test]
async fn news_of_what_a_key_does_not_see_do_not_reach_it() {
    let daemon = Daemon::start(&[server("a"), server("b")]).await;
    let key = key(&daemon, &["ci", "--servers", "b"]).await;
    let client = holder(&daemon, &key).await;
    client
        .request("resources/subscribe", json!({ "uri": "b://1" }))
        .await;
    let mut stream = client.stream().await;
    let bare = bare_holder(&daemon, &key);
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let mut changes = bare.begin(1, "subscriptions/listen", wanted).await;
    changes.next_json().await;
    let whole = daemon.http().await;
    let mut its_stream = whole.stream().await;
    assert!(whole.call("a__grow", json!({ "name": "more" })).await["result"].is_object());
    let told = its_stream.next_json().await;
    assert_eq!(told["method"], "notifications/tools/list_changed");
    // All are told at once: had it been told, that would come first.
    whole.call("b__updated", json!({ "uri": "b://1" })).await;
    let told = stream.next_json().await;
    assert_eq!(told["method"], "notifications/resources/updated", "{told}");
    whole.call("b__grow", json!({ "name": "more" })).await;
    for stream in [&mut stream, &mut changes] {
        let told = stream.next_json().await;
        assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    }
    let tools = names(&client.request("tools/list", json!({})).await, "tools", "name");
    assert!(
        tools.contains(&"b__more".to_owned()) && !tools.contains(&"a__more".to_owned()),
        "{tools:?}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn the_only_client_hears_no_log_of_a_server_that_its_key_does_not_see() {
    let daemon = Daemon::start(&[server("a"), server("b")]).await;
    // A message of no call: its call was the owner's, and is answered.
    let log = r#"{"at_once":"yes","level":"error"}"#;
    let said = async || daemon.mcpctl(&["call", "a__log", log]).await.said(0, &[]);
    let client = holder(&daemon, &key(&daemon, &["sees", "--servers", "a"]).await).await;
    let mut stream = client.stream().await;
    said().await;
    assert_eq!(stream.next_json().await["method"], "notifications/message");
    assert_eq!(client.mcp("DELETE", &[], "").await.status, 204);
    let client = holder(&daemon, &key(&daemon, &["ci", "--servers", "b"]).await).await;
    client
        .request("resources/subscribe", json!({ "uri": "b://1" }))
        .await;
    let mut stream = client.stream().await;
    said().await;
    // What the server says after it has come after what it said before.
    daemon.mcpctl(&["call", "a__echo"]).await.said(0, &[]);
    daemon
        .mcpctl(&["call", "b__updated", r#"{"uri":"b://1"}"#])
        .await
        .said(0, &[]);
    let told = stream.next_json().await;
    assert_eq!(told["method"], "notifications/resources/updated", "{told}");
    daemon.end().await;
}

#[tokio::test]
async fn how_long_an_answer_takes_tells_nothing_of_a_server_that_is_not_there() {
    let daemon = Daemon::start(&[
        fake("a"),
        fake("b")
            .flag("--hang-handshake")
            .key("queue_wait", "\"10m\"")
            .not_awaited(),
    ])
    .await;
    for arguments in [["a", "--servers", "a"], ["tools", "--tools", "a__*"]] {
        let client = holder(&daemon, &key(&daemon, &arguments).await).await;
        // Who may see it waits for its lists.
        for (method, params) in [
            ("tools/call", json!({ "name": "b__echo" })),
            ("prompts/get", json!({ "name": "b__p" })),
            ("resources/read", json!({ "uri": "zzz://1" })),
        ] {
            let answer = client.request(method, params).await;
            assert!(answer["error"].is_object(), "{method}: {answer}");
        }
    }
    daemon.end().await;
}
