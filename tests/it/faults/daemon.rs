//! The daemon itself: going down, coming up, and lists that are not what they should be (D).

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Case, case};
use crate::harness::http::Reply;
use crate::harness::{Daemon, HttpClient, LineClient, Setup, call, fake, names_of, request, text_of, until};

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "D01",
        provoked: "SIGTERM with 100 calls in flight, of which 30 are never answered",
        promised: "each call gets one answer or one error; the daemon ends with 0 and leaves no process",
        test: "faults::daemon::d01_a_hundred_calls_in_flight_all_come_to_one_end",
    },
    Case {
        id: "D02",
        provoked: "SIGTERM twice with a call that hangs; SIGKILL and a new start at once",
        promised: "the second SIGTERM ends the waiting and the call is told (1008); the new daemon serves, also while processes of the one before still go",
        test: "faults::daemon::d02_told_twice_it_goes_at_once_and_after_a_kill_it_starts_at_once",
    },
    Case {
        id: "D04",
        provoked: "a panic in the task of a child, in the one that reads it, in the one that keeps its process",
        promised: "its process goes, the panic is told as the cause, and it is started again as after any failure; other children do not notice, and no lock is lost",
        test: "crate::child::task_tests::d04_a_child_whose_own_task_panics_is_started_again",
    },
    Case {
        id: "D05",
        provoked: "a child changes its tools, and says so though it has changed nothing",
        promised: "each change is told once to every client, after it was read; what is no change is not told",
        test: "lists::a_changed_list_is_told_once_to_every_client_and_reads_anew",
    },
    Case {
        id: "D05b",
        provoked: "a tool that is new, one that is gone, and one that is another under its name after a restart",
        promised: "an event in the journal: the names, with a hash of what each was and is",
        test: "faults::daemon::d05b_what_has_changed_of_a_list_is_in_the_journal",
    },
    Case {
        id: "D06",
        provoked: "tools without a name or a schema, with control characters, twice; 20,000 tools; pages without an end; a list that is none",
        promised: "good tools are served, bad ones are left out with a warning; 1,000 pages are read at most; other servers do not notice",
        test: "faults::daemon::d06_of_lists_that_are_not_right_the_good_part_is_served",
    },
    Case {
        id: "D07",
        provoked: "a stream is resumed with its own id, with another session's, and with one that is forgotten",
        promised: "the rest, each event once; 400 and nothing of the other's; 400, and a new stream is to be had",
        test: "faults::daemon::d07_a_stream_is_resumed_by_its_own_id_only",
    },
];

#[tokio::test]
async fn d01_a_hundred_calls_in_flight_all_come_to_one_end() {
    const N_CALLS: u64 = 100;
    case("D01");
    let daemon = Daemon::start(&[
        fake("a").tools("sleep").key("inflight_max", "100"),
        fake("b").tools("hang").key("call_timeout", "\"3s\""),
    ])
    .await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    for id in 0..N_CALLS {
        let asked = match id % 10 {
            0..7 => call(id, "a__sleep", json!({ "ms": 1500 })),
            _ => call(id, "b__hang", json!({})),
        };
        client.send(&asked).await;
    }
    until("all calls in flight", async || {
        let n = [daemon.server("a").await, daemon.server("b").await]
            .map(|server| server["n_inflight"].as_u64().unwrap_or_default());
        (n == [70, 30]).then_some(())
    })
    .await;
    kill(daemon.pid(), Signal::SIGTERM).unwrap();
    let mut ends = BTreeMap::new();
    for _ in 0..N_CALLS {
        let answer = client.next_json().await;
        let id = answer["id"].as_u64().unwrap();
        let code = answer["error"]["code"].as_i64();
        let wanted = if id % 10 < 7 { None } else { Some(1002) };
        assert_eq!(code, wanted, "{answer}");
        assert!(ends.insert(id, code).is_none(), "{id} has two ends");
    }
    daemon.ended().await;
    let (more, code) = client.finish().await;
    assert_eq!((more.len(), code), (0, 0), "{more:?}");
}

#[tokio::test]
async fn d02_told_twice_it_goes_at_once_and_after_a_kill_it_starts_at_once() {
    case("D02");
    let clinging = fake("a")
        .tools("hang,echo")
        .flag("--ignore-eof")
        .flag("--ignore-sigterm");
    let daemon = Daemon::start(&[clinging]).await;
    let client = daemon.http().await;
    let asked = call(1, "a__hang", json!({}));
    let begun = Instant::now();
    let (reply, ()) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("a", "hang").await;
        kill(daemon.pid(), Signal::SIGTERM).unwrap();
        // The first signal has been heard when nothing new is taken in.
        until("closed doors", async || {
            TcpStream::connect(&daemon.address).await.is_err().then_some(())
        })
        .await;
        kill(daemon.pid(), Signal::SIGTERM).unwrap();
    });
    let answer = reply.json().await;
    assert_eq!(answer["error"]["code"], 1008, "{answer}");
    let setup = daemon.ended().await;
    let took = begun.elapsed();
    eprintln!("gone after {took:?}");
    assert!(
        took.as_secs() < 15,
        "it waits 25 s where it is told once: {took:?}"
    );

    let mut daemon = setup.start().await;
    daemon.ready("a").await;
    let left = daemon.child_pid("a").await;
    kill(daemon.pid(), Signal::SIGKILL).unwrap();
    daemon.process.wait().await.unwrap();
    let begun = Instant::now();
    let daemon = daemon.setup.start().await;
    daemon.ready("a").await;
    eprintln!("there again after {:?}", begun.elapsed());
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    until("the end of what the one before has left", async || {
        (!daemon.setup.processes().contains(&left)).then_some(())
    })
    .await;
    daemon.end().await;
}

#[tokio::test]
async fn d05b_what_has_changed_of_a_list_is_in_the_journal() {
    case("D05b");
    let setup = Setup::new(&[]);
    let tool = |name: &str, does: &str| json!({ "name": name, "description": does, "inputSchema": { "type": "object" } });
    let list = |tools: Value| setup.project.write("list.json", &tools.to_string());
    list(json!([
        tool("kept", "1"),
        tool("turned", "adds"),
        tool("gone", "1")
    ]));
    let file = setup.path().join("list.json").display().to_string();
    let grows = fake("b").tools("grow");
    setup.declare(&[fake("a").arg("--raw-tool-list", &file), grows]);
    list(json!([
        tool("kept", "1"),
        tool("turned", "adds"),
        tool("gone", "1")
    ]));
    let daemon = setup.start().await;
    daemon.ready("a").await;
    daemon.ready("b").await;
    let changes = async |server: &str| {
        let events = daemon.mcpctl_json(&["events", server]).await;
        let all = events.as_array().unwrap().clone().into_iter();
        all.filter(|event| event["what"] == "list_changed")
            .collect::<Vec<_>>()
    };
    assert!(changes("a").await.is_empty(), "the first list is no change");
    let tools = json!([tool("kept", "1"), tool("turned", "steals"), tool("new", "1")]);
    daemon.setup.project.write("list.json", &tools.to_string());
    assert_eq!(daemon.mcpctl(&["restart", "a"]).await.code, 0);
    let told = [
        "`tools/list` has changed: `turned` reads differently (",
        "`gone` is gone (",
        "`new` is new (",
    ];
    daemon.tells(&["why", "a"], &told).await;
    let all = changes("a").await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(
        (&all[0]["generation"], &all[0]["list"]),
        (&json!(2), &json!("tools/list"))
    );
    let hashes = |key: &str| {
        let changes = all[0]["changes"].as_array().unwrap();
        let change = changes.iter().find(|change| change["key"] == key).unwrap();
        (change["before"].clone(), change["after"].clone())
    };
    let (before, after) = hashes("turned");
    assert!(
        before.is_string() && after.is_string() && before != after,
        "{all:?}"
    );
    assert!(hashes("gone").1.is_null() && hashes("new").0.is_null(), "{all:?}");
    let client = daemon.http().await;
    text_of(&client.call("b__grow", json!({ "name": "more" })).await);
    daemon
        .tells(&["events", "b"], &["`tools/list` has changed: `more` is new ("])
        .await;
    // What the last daemon has seen counts as well.
    assert_eq!(daemon.mcpctl(&["restart", "a"]).await.code, 0);
    assert_eq!(changes("a").await.len(), 1, "the same list again");
    let setup = daemon.end_but_keep().await;
    setup
        .project
        .write("list.json", &json!([tool("kept", "1")]).to_string());
    let daemon = setup.start().await;
    daemon
        .tells(&["why", "a"], &["`turned` is gone (", "`new` is gone ("])
        .await;
    daemon.end().await;
}

/// One tool, and everything that may be wrong with one.
const POISON: &str = r#"[
    {"name":"good","inputSchema":{"type":"object"}},
    {"name":"good","description":"an impostor","inputSchema":{"type":"object"}},
    {"inputSchema":{"type":"object"}},
    {"name":7,"inputSchema":{"type":"object"}},
    {"name":"","inputSchema":{"type":"object"}},
    {"name":"red\u001b[31m","inputSchema":{"type":"object"}},
    {"name":"no_schema"},
    {"name":"bad_schema","inputSchema":"x"},
    "no object", null, 5, [],
    {"name":"also_good","inputSchema":{}}
]"#;

#[tokio::test]
async fn d06_of_lists_that_are_not_right_the_good_part_is_served() {
    const N_TOOLS: usize = 20_000;
    case("D06");
    let setup = Setup::new(&[]);
    let file = |name: &str, text: &str| {
        setup.project.write(name, text);
        setup.path().join(name).display().to_string()
    };
    let many: Vec<Value> = (0..N_TOOLS)
        .map(|n| json!({ "name": format!("t{n}"), "inputSchema": { "type": "object" } }))
        .collect();
    let fakes = [
        fake("poison").arg("--raw-tool-list", &file("poison.json", &POISON.replace('\n', ""))),
        fake("many").arg("--raw-tool-list", &file("many.json", &json!(many).to_string())),
        fake("endless").tools("echo,two").flag("--endless-pages"),
        fake("shape").arg("--raw-tool-list", &file("shape.json", r#"{"no":"list"}"#)),
        fake("good"),
    ];
    setup.declare(&fakes);
    let daemon = setup.start().await;
    for name in ["good", "poison", "many", "endless"] {
        daemon.ready(name).await;
    }
    daemon.in_state("shape", "ready").await;
    let client = daemon.http().await;
    let (mut tools, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let params = if cursor.is_null() {
            json!({})
        } else {
            json!({ "cursor": cursor })
        };
        let page = client.request("tools/list", params).await;
        tools.extend(names_of(&page, "tools", "name"));
        cursor = page["result"]["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let of = |server: &str| {
        let prefix = format!("{server}__");
        let own = tools.iter().filter_map(|tool| tool.strip_prefix(&prefix));
        own.collect::<Vec<_>>()
    };
    assert_eq!(of("good"), ["echo"]);
    assert_eq!(of("poison"), ["good", "also_good"]);
    assert_eq!(of("many").len(), N_TOOLS);
    assert_eq!(of("endless"), ["echo", "two"]);
    assert!(of("shape").is_empty());
    let status = daemon.mcpctl(&["status", "poison"]).await;
    status.said(0, &["left out", "`good` is listed twice"]);
    let n_pages = daemon
        .setup
        .journal("endless")
        .iter()
        .filter(|line| line.starts_with("in ") && line.contains("tools/list"))
        .count();
    assert!((2..=1000).contains(&n_pages), "{n_pages} pages");
    for tool in ["good__echo", "poison__good", "many__t19999", "endless__two"] {
        assert_eq!(text_of(&client.call(tool, json!({})).await), "{}", "{tool}");
    }
    daemon.end().await;
}

/// A call that shows progress.
fn progressing(id: u64, n: u64) -> String {
    let params = json!({
        "name": "a__progress",
        "arguments": { "n": n },
        "_meta": { "progressToken": id },
    });
    request(id, "tools/call", params)
}

async fn resume(client: &HttpClient, event_id: &str) -> Reply {
    let headers = [("accept", "text/event-stream"), ("last-event-id", event_id)];
    client.mcp("GET", &headers, "").await
}

#[tokio::test]
async fn d07_a_stream_is_resumed_by_its_own_id_only() {
    /// More streams than are kept of one session.
    const N_STREAMS: u64 = 80;
    case("D07");
    let daemon = Daemon::start(&[fake("a").tools("progress")]).await;
    let (client, other) = (daemon.http().await, daemon.http().await);
    let whole = client.post(&progressing(1, 5)).await.events().await;
    let ids: Vec<_> = whole.iter().map(|event| event.id.clone().unwrap()).collect();
    let rest = resume(&client, &ids[1]).await.events().await;
    assert_eq!(rest, whole[2..], "the rest, each event once");
    for id in &ids {
        let reply = resume(&other, id).await;
        assert_eq!(reply.status, 400, "another session's");
        let text = reply.text().await;
        assert!(!text.contains("progress"), "{text}");
    }
    for id in 0..N_STREAMS {
        client.post(&progressing(100 + id, 1)).await.events().await;
    }
    assert_eq!(resume(&client, &ids[1]).await.status, 400, "forgotten");
    let again = client.stream().await;
    assert_eq!(again.status, 200);
    daemon.end().await;
}
