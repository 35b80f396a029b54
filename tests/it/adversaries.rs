//! What an adversary or a mere accident may do between the eras: each with the tests that show what comes of it, and
//! those of them that stand nowhere else.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::bare::{Bare, bare, calling, coming_back, keys_of};
use crate::harness::http::{BOTH, HttpClient, JSON};
use crate::harness::{Daemon, LineClient, able, call, fake, names_of, request, soon, text_of, until};

/// What is done, and which tests show what comes of it.
type Shown = (&'static str, &'static [&'static str]);

/// What may be odd on the wire, in time, or in who asks.
const ODD: &[Shown] = &[
    (
        "ids 0, the empty text, 1 and the text 1, beyond 2^53",
        &[
            "matrix::base::ids",
            "identity::every_id_is_echoed_as_it_was_written",
        ],
    ),
    (
        "ids null, 1.0, 1e2",
        &[
            "identity::what_is_no_id_is_refused",
            "faults::routing::r07_an_id_of_another_type_or_another_spelling_is_another_id",
        ],
    ),
    (
        "an id twice",
        &[
            "identity::three_clients_with_the_same_ids_on_one_child_get_their_own_answers",
            "identity::an_id_that_is_in_flight_on_a_line_client_cannot_be_used_again",
        ],
    ),
    (
        "arrays of messages in every revision",
        &["matrix::payloads::batch_in", "matrix::payloads::batch_out"],
    ),
    (
        "a request in pieces of one byte",
        &["adversaries::a_request_may_come_byte_by_byte"],
    ),
    (
        "a server's lines in pieces",
        &["faults::framing::f07_chunks_make_no_difference"],
    ),
    (
        "a line without an end",
        &[
            "noise::a_line_without_an_end_costs_the_process",
            "noise::an_answer_that_is_too_long_is_told_and_the_child_lives",
        ],
    ),
    (
        "no JSON on stdout",
        &["noise::junk_on_stdout_is_counted_and_passed_over"],
    ),
    (
        "stdout closed, the process alive",
        &["crash::a_child_that_closes_its_stdout_is_replaced"],
    ),
    (
        "two answers to one call, answers to none",
        &[
            "noise::an_answer_that_comes_twice_or_to_nobody_goes_to_nobody",
            "faults::routing::r04_an_answer_under_a_wrong_id_reaches_nobody",
        ],
    ),
    (
        "a server asks under the id of its own call",
        &[
            "adversaries::a_question_under_the_id_of_the_call_is_a_question_and_no_answer",
            "faults::routing::r10_what_a_child_asks_reaches_its_caller_under_another_id_or_is_refused",
        ],
    ),
    (
        "a question after the answer",
        &["adversaries::what_is_asked_after_the_answer_is_refused"],
    ),
    (
        "progress after the answer, or under a strange token",
        &["faults::routing::r09_only_its_own_progress_reaches_a_caller_and_none_after_the_answer"],
    ),
    (
        "a cancellation that crosses the answer",
        &["faults::calls::c12_an_answer_after_the_cancel_goes_to_nobody"],
    ),
    (
        "calls of two clients to one tool that asks",
        &["modern_client::lost::whose_a_question_is_is_not_guessed_while_the_call_of_another_waits"],
    ),
    (
        "a client that goes while its call is worked on, parked, taken up, or held",
        &[
            "modern_client::calls::closing_the_response_is_taking_the_call_back",
            "crate::bridge::parks_tests::a_client_that_does_not_come_back_in_ten_minutes_has_cancelled",
            "modern_client::lines::a_call_that_waits_for_a_client_that_has_gone_is_taken_back",
            "modern_client::lost::a_client_that_goes_after_its_answer_and_does_not_come_back_has_cancelled",
            "adversaries::who_goes_while_a_page_is_waited_for_makes_no_call",
        ],
    ),
    (
        "a clock that jumps",
        &[
            "crate::bridge::seal_tests::a_state_opens_until_its_time_and_not_after",
            "crate::app::seal_keys::a_new_key_seals_each_day_and_is_kept",
            "crate::child::verdict::a_verdict_holds_for_one_program_and_a_time",
        ],
    ),
    (
        "a new key while a call is parked",
        &[
            "modern_client::limits::a_new_key_before_the_old_one_ends_nothing_and_without_the_old_one_nothing_opens",
            "crate::bridge::parks_tests::a_key_that_seals_no_more_opens_what_it_has_sealed",
        ],
    ),
    (
        "a thousand parked calls",
        &["modern_client::limits::a_thousand_calls_wait_at_once_and_each_gets_its_own_answer"],
    ),
    (
        "a storm of changed lists",
        &["faults::routing::r11_a_storm_of_changes_is_told_a_few_times_and_the_last_state_is_read"],
    ),
    (
        "cursors that go round, and the empty one",
        &[
            "lists::tools_stand_in_the_order_of_the_servers_and_every_page_of_each_is_read",
            "adversaries::a_list_that_goes_round_ends",
        ],
    ),
    (
        "a tool that has another name since it was listed",
        &["adversaries::a_tool_that_has_another_name_by_now_is_unknown_under_the_old_one"],
    ),
    (
        "two servers with one name or one URI",
        &[
            "lists::of_two_tools_with_one_name_the_first_stays_and_the_operator_is_told",
            "crate::catalog::view_tests::of_two_equal_uris_the_second_is_tagged_and_both_lead_home",
        ],
    ),
    (
        "headers twice, in another case, in Base64, beyond ASCII",
        &[
            "crate::bridge::ladder_tests::headers_are_there_once_and_say_what_the_body_says",
            "modern_client::ladder::each_step_of_the_ladder_has_its_status_its_code_and_its_data",
            "adversaries::a_name_beyond_ascii_comes_in_base64_or_not_at_all",
        ],
    ),
    (
        "no client info",
        &["crate::bridge::ladder_tests::what_may_be_left_out_may_be_left_out"],
    ),
    (
        "an envelope with an older revision",
        &["modern_client::ladder::each_step_of_the_ladder_has_its_status_its_code_and_its_data"],
    ),
    (
        "a handshake that names 2026-07-28",
        &["adversaries::a_handshake_for_the_newest_revision_is_answered_with_the_newest_that_has_one"],
    ),
    (
        "GET and DELETE with the newest revision",
        &["adversaries::get_and_delete_are_not_of_the_newest_revision"],
    ),
    (
        "DELETE of a session that is none",
        &["streamable::a_deleted_session_is_gone_and_its_stream_ends"],
    ),
    (
        "an event of another session",
        &[
            "resume::an_id_that_was_never_given_to_this_session_is_refused",
            "faults::daemon::d07_a_stream_is_resumed_by_its_own_id_only",
        ],
    ),
    (
        "a foreign host",
        &[
            "streamable::foreign_hosts_and_origins_are_refused_on_every_route",
            "crate::front::http::guard_tests::only_our_own_hosts_are_served",
        ],
    ),
];

/// What may happen to a call whose server asks in the middle, while its client has no handshake.
const PARKED: &[Shown] = &[
    (
        "1: a question while the client waits",
        &[
            "modern_client::parks::every_kind_of_question_is_asked_in_a_result_and_answered_in_the_next_request",
            "modern_client::parks::questions_that_come_together_are_one_round_and_those_not_answered_are_asked_again",
        ],
    ),
    (
        "2: a question while it is away",
        &[
            "modern_client::lost::what_is_said_while_nobody_waits_comes_before_the_next_question_to_who_wants_to_hear_it",
            "crate::bridge::parks_tests::questions_that_follow_one_another_closely_are_one_round_and_no_client_waits_long_for_more",
        ],
    ),
    (
        "3: it comes back with all answers",
        &["modern_client::parks::each_round_has_a_state_of_its_own_that_is_good_once"],
    ),
    (
        "4: with some of them",
        &[
            "modern_client::parks::questions_that_come_together_are_one_round_and_those_not_answered_are_asked_again",
        ],
    ),
    (
        "5: with others, or in a wrong shape",
        &["modern_client::parks::a_wrong_shape_is_refused_and_the_client_may_come_again"],
    ),
    (
        "6: the server answers while it is away",
        &["modern_client::lost::a_server_may_answer_or_take_its_question_back_while_nobody_waits"],
    ),
    (
        "7: the server takes its question back",
        &["modern_client::lost::a_server_may_answer_or_take_its_question_back_while_nobody_waits"],
    ),
    (
        "8: it does not come back in time",
        &["crate::bridge::parks_tests::a_client_that_does_not_come_back_in_ten_minutes_has_cancelled"],
    ),
    (
        "9: too many rounds, too many calls",
        &[
            "modern_client::limits::the_eleventh_round_is_refused_to_the_server_which_may_answer_without",
            "modern_client::lost::half_of_a_servers_calls_may_wait_for_people_and_one_more_is_told_so",
        ],
    ),
    (
        "10: it loses its connection after its answers",
        &[
            "modern_client::lost::a_client_that_loses_its_connection_after_its_answer_may_come_once_more_with_the_same",
            "modern_client::lost::a_client_that_goes_after_its_answer_and_does_not_come_back_has_cancelled",
        ],
    ),
    (
        "11: the same call anew while one is parked",
        &["adversaries::the_same_call_anew_is_another_call"],
    ),
    (
        "12: the server ends",
        &["modern_client::lost::a_call_whose_server_dies_is_lost_and_what_has_no_effects_is_made_again"],
    ),
    (
        "13: a question after something was said",
        &["adversaries::a_question_after_progress_is_the_last_event_of_the_stream"],
    ),
];

#[test]
fn each_line_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (line, tests) in ODD.iter().chain(PARKED) {
        assert!(!tests.is_empty(), "{line}");
        for test in *tests {
            let (module, name) = test.rsplit_once("::").unwrap();
            let (folder, module) = match module.strip_prefix("crate::") {
                Some(module) => ("src", module),
                None => ("tests/it", module),
            };
            let path = root.join(folder).join(module.replace("::", "/"));
            let texts = [path.with_extension("rs"), path.join("mod.rs")]
                .map(|file| std::fs::read_to_string(file).unwrap_or_default());
            assert!(
                texts.iter().any(|text| text.contains(&format!("fn {name}("))),
                "{line}: there is no test `{test}`"
            );
        }
    }
}

const REVISION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

fn form() -> Value {
    json!({ "message": "Sure?", "requestedSchema": { "type": "object", "properties": {} } })
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let body = bare(
        7,
        "tools/call",
        &json!({}),
        calling("a__echo", json!({ "x": "é" })),
    );
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: a__echo\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        daemon.address,
        body.len()
    );
    let mut stream = TcpStream::connect(&daemon.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in head.bytes().chain(body.bytes()) {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    soon("the whole answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(text_of(&body), r#"{"x":"é"}"#);
    daemon.end().await;
}

#[tokio::test]
async fn a_question_under_the_id_of_the_call_is_a_question_and_no_answer() {
    let daemon = Daemon::start(&[fake("a").tools("ask")]).await;
    let arguments = json!({ "method": "elicitation/create", "params": form(), "own_id": "yes" });
    let yes = json!({ "action": "accept", "content": {} });
    // Whoever is asked, the answer to the question comes to the server under that id, and the call has its own.
    let heard_well = |answer: &Value| {
        let heard: Value = serde_json::from_str(text_of(answer)).unwrap();
        assert!(heard["id"].is_u64(), "{heard}");
        assert_eq!(heard["result"], yes, "{heard}");
    };
    let modern = Bare::new(&daemon.address);
    let params = calling("a__ask", arguments.clone());
    let asked = modern.ask("tools/call", params.clone()).await;
    let key = keys_of(&asked).remove(0);
    heard_well(&modern.back(&params, &asked, json!({ key: yes })).await);

    let mut older = LineClient::launch(&daemon.setup);
    older
        .introduce(able("2025-11-25", &json!({ "elicitation": {} }), "asked"))
        .await;
    let question = older.ask_json(&call(1, "a__ask", arguments)).await;
    assert_eq!(question["method"], "elicitation/create", "{question}");
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": yes });
    heard_well(&older.ask_json(&answer.to_string()).await);
    older.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn what_is_asked_after_the_answer_is_refused() {
    let daemon = Daemon::start(&[fake("a").tools("ask,echo")]).await;
    let client = Bare::new(&daemon.address);
    let arguments = json!({ "method": "elicitation/create", "params": form(), "at_once": "yes" });
    let answer = client.call("a__ask", arguments).await;
    assert_eq!(text_of(&answer), "asks later");
    let refused = until("an answer to the question", async || {
        let journal = daemon.setup.journal("a");
        journal
            .iter()
            .find(|line| line.starts_with("in ") && line.contains(r#""ask-1""#))
            .cloned()
    })
    .await;
    assert!(
        refused.contains("belongs to no request") || refused.contains("cancel"),
        "{refused}"
    );
    // And nobody else's call is asked it.
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn who_goes_while_a_page_is_waited_for_makes_no_call() {
    let daemon = Daemon::start(&[fake("a").tools("url_required,url_done,echo")]).await;
    let able = json!({ "elicitation": { "url": {} } });
    let say = |id: u64, params: Value| bare(id, "tools/call", &able, params);
    let mut client = LineClient::launch(&daemon.setup);
    let params = calling("a__url_required", json!({ "ids": ["e1"] }));
    let asked = client.ask_json(&say(1, params.clone())).await;
    let yes = json!({ keys_of(&asked).remove(0): { "action": "accept" } });
    let n_called = || {
        let journal = daemon.setup.journal("a");
        let is_it = |line: &&String| line.starts_with("in ") && line.contains(r#""name":"url_required""#);
        journal.iter().filter(is_it).count()
    };
    client.send(&say(2, coming_back(&params, &asked, yes))).await;
    until("the call made again", async || (n_called() == 2).then_some(())).await;
    let cancel = json!({ "requestId": 2 });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel });
    client.send(&cancel.to_string()).await;
    let done = client
        .ask_json(&say(3, calling("a__url_done", json!({ "id": "e1" }))))
        .await;
    assert_eq!(done["id"], 3, "{done}");
    for n in 4..20 {
        let echo = client.ask_json(&say(n, calling("a__echo", json!({})))).await;
        assert_eq!(echo["id"], n, "nothing of what was taken back: {echo}");
    }
    assert_eq!(n_called(), 2);
    client.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn a_list_that_goes_round_ends() {
    let daemon = Daemon::start(&[
        fake("round")
            .tools("t1,t2")
            .arg("--page-size", "1")
            .flag("--endless-pages"),
        fake("m")
            .arg("--era", "modern")
            .tools("t1,t2")
            .arg("--page-size", "1")
            .flag("--endless-pages"),
    ])
    .await;
    let tools = Bare::new(&daemon.address).ask("tools/list", json!({})).await;
    let names = names_of(&tools, "tools", "name");
    for name in ["round__t1", "round__t2", "m__t1", "m__t2"] {
        assert_eq!(
            names.iter().filter(|known| *known == name).count(),
            1,
            "{names:?}"
        );
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_tool_that_has_another_name_by_now_is_unknown_under_the_old_one() {
    let tools = "grow,shrink,old";
    let daemon = Daemon::start(&[
        fake("a").tools(tools),
        fake("m").arg("--era", "modern").tools(tools),
    ])
    .await;
    let client = Bare::new(&daemon.address);
    for server in ["a", "m"] {
        let exposed = |name: &str| format!("{server}__{name}");
        let listed = client.ask("tools/list", json!({})).await;
        assert!(names_of(&listed, "tools", "name").contains(&exposed("old")));
        client.call(&exposed("grow"), json!({ "name": "new" })).await;
        client.call(&exposed("shrink"), json!({ "name": "old" })).await;
        until("the new name alone", async || {
            let listed = client.ask("tools/list", json!({})).await;
            let names = names_of(&listed, "tools", "name");
            (names.contains(&exposed("new")) && !names.contains(&exposed("old"))).then_some(())
        })
        .await;
        let refused = client.call(&exposed("old"), json!({ "nonce": "x" })).await;
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert!(
            refused["error"]["message"]
                .as_str()
                .unwrap()
                .contains(&exposed("old"))
        );
        assert!(
            !daemon
                .setup
                .effects(server)
                .iter()
                .any(|effect| effect.contains('x'))
        );
        assert_eq!(
            text_of(&client.call(&exposed("new"), json!({ "n": 1 })).await),
            r#"{"n":1}"#
        );
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_name_beyond_ascii_comes_in_base64_or_not_at_all() {
    let daemon = Daemon::start(&[fake("a").arg("--resources", "x://ü")]).await;
    let client = Bare::new(&daemon.address);
    let text = bare(1, "resources/read", &json!({}), json!({ "uri": "x://ü" }));
    // "x://ü" in Base64.
    let good = client
        .post("resources/read", Some("=?base64?eDovL8O8?="), &text)
        .await;
    assert_eq!(good.status, 200);
    assert!(good.json().await["result"]["contents"].is_array());
    for bad in [
        "x://ü",
        "=?base64?eDovL8O8",
        "=?BASE64?eDovL8O8?=",
        "=?base64?eDovL8O9?=",
        "x://",
    ] {
        let refused = client.post("resources/read", Some(bad), &text).await;
        assert_eq!(refused.status, 400, "{bad}");
        assert_eq!(refused.json().await["error"]["code"], -32020, "{bad}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn a_handshake_for_the_newest_revision_is_answered_with_the_newest_that_has_one() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let mut client = HttpClient::new(&daemon.address);
    let agreed = client.initialize("2026-07-28").await;
    assert_eq!(agreed["protocolVersion"], "2025-11-25", "{agreed}");
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    let mut line = LineClient::launch(&daemon.setup);
    let params = json!({ "protocolVersion": "2026-07-28", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let agreed = line.ask_json(&request(1, "initialize", params)).await;
    assert_eq!(agreed["result"]["protocolVersion"], "2025-11-25", "{agreed}");
    line.finish().await;
    daemon.end().await;
}

#[tokio::test]
async fn get_and_delete_are_not_of_the_newest_revision() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let nobody = HttpClient::new(&daemon.address);
    for verb in ["GET", "DELETE"] {
        let refused = nobody.send(verb, "/mcp", &[BOTH, JSON, REVISION], b"").await;
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("POST")),
            "{verb}"
        );
    }
    // In a session the rules are those of sessions: it has another revision, and is told which there are.
    let session = daemon.http().await;
    let events = ("accept", "text/event-stream");
    let refused = session.mcp("GET", &[events, REVISION], "").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().await.contains("2025-11-25"));
    assert!(session.stream().await.is_stream(), "nothing has come of that");
    let ended = session.mcp("DELETE", &[REVISION], "").await;
    assert_eq!(ended.status, 204);
    daemon.end().await;
}

#[tokio::test]
async fn the_same_call_anew_is_another_call() {
    let daemon = Daemon::start(&[fake("a").tools("interview")]).await;
    let client = Bare::new(&daemon.address);
    let question = json!({ "method": "elicitation/create", "params": form() });
    let params = calling("a__interview", json!({ "rounds": [{ "k": question }] }));
    let first = client.ask("tools/call", params.clone()).await;
    keys_of(&first);
    // Over HTTP each request is a client of its own: the second is refused its question, and the first is not touched.
    let second = client.ask("tools/call", params.clone()).await;
    assert_eq!(second["result"]["resultType"], "complete", "{second}");
    let yes = json!({ keys_of(&first).remove(0): { "action": "accept", "content": {} } });
    let done = client.back(&params, &first, yes).await;
    assert!(text_of(&done).contains("accept"), "{done}");
    assert_ne!(text_of(&done), text_of(&second));
    daemon.end().await;
}

#[tokio::test]
async fn a_question_after_progress_is_the_last_event_of_the_stream() {
    let daemon = Daemon::start(&[fake("a").tools("interview")]).await;
    let client = Bare::new(&daemon.address);
    let question = json!({ "method": "elicitation/create", "params": form() });
    let mut params = calling(
        "a__interview",
        json!({ "steps": 2, "rounds": [{ "k": question }] }),
    );
    params["_meta"] = json!({ "progressToken": "t" });
    let reply = client.begin(1, "tools/call", params.clone()).await;
    assert!(reply.is_stream(), "something was said before");
    let events = reply.events().await;
    let (last, before) = events.split_last().unwrap();
    assert!(
        !before.is_empty()
            && before
                .iter()
                .all(|event| event.data.contains("notifications/progress"))
    );
    let asked: Value = serde_json::from_str(&last.data).unwrap();
    let yes = json!({ keys_of(&asked).remove(0): { "action": "accept", "content": {} } });
    let done = client.back(&params, &asked, yes).await;
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
    daemon.end().await;
}
