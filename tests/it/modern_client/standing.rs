//! How good the lists are, as they say themselves.

use serde_json::{Value, json};

use super::heard;
use crate::harness::bare::Bare;
use crate::harness::{Daemon, fake, names_of, until};

const DEGRADED: &str = "mcp-wrapper/degraded";
const LISTS: [&str; 4] = [
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
];

/// What a result says of how good it is: its time, and whose part is lacking.
async fn standing(client: &Bare, method: &str) -> (u64, Value) {
    let answer = client.ask(method, json!({})).await;
    let result = &answer["result"];
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "mcp-wrapper"
    );
    (
        result["ttlMs"].as_u64().unwrap(),
        result["_meta"][DEGRADED].clone(),
    )
}

#[tokio::test]
async fn lists_are_short_lived_while_a_server_is_on_its_way_and_name_it() {
    let setup = crate::harness::Setup::new(&[]);
    let gate = setup.path().join("gate");
    let late = fake("late")
        .arg("--gate", &gate.display().to_string())
        .not_awaited();
    setup.declare(&[fake("a"), late]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let client = Bare::new(&daemon.address);
    let lacks_late = json!([{ "server": "late", "state": "starting" }]);
    until("only `late` lacking", async || {
        (standing(&client, "tools/list").await == (2_000, lacks_late.clone())).then_some(())
    })
    .await;
    for list in LISTS {
        assert_eq!(
            standing(&client, list).await,
            (2_000, lacks_late.clone()),
            "{list}"
        );
    }
    assert_eq!(standing(&client, "server/discover").await, (2_000, Value::Null));
    let tools = client.ask("tools/list", json!({})).await;
    assert_eq!(names_of(&tools, "tools", "name"), ["a__echo"]);

    daemon.setup.project.write("gate", "");
    until("lists without a lack", async || {
        let answer = client.ask("tools/list", json!({})).await;
        let is_well = answer["result"]["ttlMs"] == 60_000;
        // What is said to be good is whole.
        assert!(
            !is_well || names_of(&answer, "tools", "name").len() == 2,
            "{answer}"
        );
        is_well.then_some(())
    })
    .await;
    for list in LISTS {
        assert_eq!(standing(&client, list).await, (60_000, Value::Null), "{list}");
    }
    assert_eq!(standing(&client, "server/discover").await, (60_000, Value::Null));
    daemon.end().await;
}

#[tokio::test]
async fn lists_name_a_server_that_is_down_and_no_longer_one_that_nobody_wants() {
    let broken = fake("broken").arg("--exit-at-start", "1").not_awaited();
    let daemon = Daemon::start(&[fake("a"), broken]).await;
    let client = Bare::new(&daemon.address);
    daemon.in_state("broken", "failed").await;
    let down = json!([{ "server": "broken", "state": "failed" }]);
    until("only `broken` lacking", async || {
        (standing(&client, "tools/list").await == (2_000, down.clone())).then_some(())
    })
    .await;
    let stopped = daemon.mcpctl(&["stop", "broken"]).await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(standing(&client, "tools/list").await, (60_000, Value::Null));
    daemon.end().await;
}

#[tokio::test]
async fn who_tells_of_no_changes_makes_lists_shorter_lived() {
    let shake = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"prompts":{"listChanged":true}},"serverInfo":{"name":"a","version":"1"}}"#;
    let daemon = Daemon::start(&[fake("a").arg("--prompts", "p").arg("--raw-init", shake)]).await;
    let client = Bare::new(&daemon.address);
    until("lists without a lack", async || {
        (standing(&client, "tools/list").await == (15_000, Value::Null)).then_some(())
    })
    .await;
    assert_eq!(standing(&client, "prompts/list").await, (60_000, Value::Null));
    assert_eq!(standing(&client, "server/discover").await, (15_000, Value::Null));
    daemon.end().await;
}

#[tokio::test]
async fn a_list_whose_own_time_is_over_is_fetched_again_when_somebody_reads_it() {
    let daemon = Daemon::start(&[
        fake("m").arg("--era", "modern").arg("--ttl", "4000"),
        fake("short").arg("--era", "modern").arg("--ttl", "200"),
    ])
    .await;
    let asked = |server: &str| heard(&daemon, server, "tools/list").len();
    let client = Bare::new(&daemon.address);
    // A client with a handshake sees no time, and reads all the same.
    let older = daemon.http().await;
    let before = asked("short");
    until("a list asked for again", async || {
        older.request("tools/list", json!({})).await;
        (asked("short") > before).then_some(())
    })
    .await;
    until("one asked for again after a longer time", async || {
        let (ttl, _) = standing(&client, "tools/list").await;
        assert!(ttl <= 4_000, "{ttl}");
        (asked("m") > 1).then_some(())
    })
    .await;
    assert_eq!(heard(&daemon, "m", "resources/list").len(), 0, "it has none");
    daemon.end().await;
}
