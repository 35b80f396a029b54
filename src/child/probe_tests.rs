//! The table of the module, row by row.

use super::*;

fn raw(text: &str) -> Raw {
    Raw::parse(&text.to_owned().into()).unwrap()
}

fn of(text: &str, is_error: bool, is_again: bool) -> Next {
    let outcome = if is_error { Err(raw(text)) } else { Ok(raw(text)) };
    after_discover(&Seen::Answer(&outcome), is_again, EraPolicy::Auto)
}

fn word(next: &Next) -> &'static str {
    match next {
        Next::Speak(_) => "speak",
        Next::AskAgain(_) => "again",
        Next::Greet(finding) => match finding.certainty {
            Certainty::Definitive => "greet",
            Certainty::Tentative => "greet?",
        },
        Next::StartOver(_) => "over",
        Next::Refuse(_) => "refuse",
    }
}

const RESULTS: &[(&str, &str)] = &[
    (
        r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#,
        "speak",
    ),
    (
        r#"{"supportedVersions":["2030-01-01","2026-07-28","2025-11-25"]}"#,
        "speak",
    ),
    (
        r#"{"supportedVersions":["2025-11-25","2025-06-18"],"capabilities":{}}"#,
        "over",
    ),
    (r#"{"supportedVersions":["2030-01-01"]}"#, "refuse"),
    (r#"{"supportedVersions":[]}"#, "refuse"),
    (r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#, "greet"),
    ("{}", "greet"),
    ("null", "greet"),
];

const ERRORS: &[(&str, &str, &str)] = &[
    (
        r#"{"code":-32601,"message":"Method not found"}"#,
        "greet",
        "greet",
    ),
    (
        r#"{"code":-32602,"message":"Invalid request parameters"}"#,
        "greet",
        "greet",
    ),
    (r#"{"code":-32000,"message":"not initialized"}"#, "greet", "greet"),
    // Numbers of drafts mean nothing.
    (r#"{"code":-32001}"#, "greet", "greet"),
    (
        r#"{"code":-32004,"data":{"supported":["2026-07-28"]}}"#,
        "greet",
        "greet",
    ),
    (r#"{"code":"-32022"}"#, "greet", "greet"),
    (
        r#"{"code":-32022,"data":{"supported":["2026-07-28"]}}"#,
        "again",
        "refuse",
    ),
    (r#"{"code":-32022}"#, "again", "refuse"),
    (
        r#"{"code":-32022,"data":{"supported":["2025-11-25"]}}"#,
        "over",
        "over",
    ),
    (
        r#"{"code":-32022,"data":{"supported":["2030-01-01"]}}"#,
        "refuse",
        "refuse",
    ),
    (r#"{"code":-32022,"data":{"supported":[]}}"#, "refuse", "refuse"),
    (r#"{"code":-32020}"#, "again", "refuse"),
    (
        r#"{"code":-32021,"data":{"requiredCapabilities":{"roots":{}}}}"#,
        "again",
        "refuse",
    ),
];

#[test]
fn each_answer_has_its_consequence() {
    for (text, wanted) in RESULTS {
        assert_eq!(word(&of(text, false, false)), *wanted, "{text}");
    }
    for (text, first, second) in ERRORS {
        assert_eq!(word(&of(text, true, false)), *first, "{text}");
        assert_eq!(word(&of(text, true, true)), *second, "again: {text}");
    }
    let silence = after_discover(&Seen::Silence, false, EraPolicy::Auto);
    assert_eq!(word(&silence), "greet?");
    let noise = after_discover(&Seen::Unreadable("x"), false, EraPolicy::Auto);
    assert_eq!(word(&noise), "greet");
}

#[test]
fn a_server_that_is_declared_modern_is_never_greeted() {
    for (text, wanted) in RESULTS {
        let outcome = Ok(raw(text));
        let next = after_discover(&Seen::Answer(&outcome), false, EraPolicy::Modern);
        let wanted = if *wanted == "speak" { "speak" } else { "refuse" };
        assert_eq!(word(&next), wanted, "{text}");
    }
    assert_eq!(
        word(&after_discover(&Seen::Silence, false, EraPolicy::Modern)),
        "refuse"
    );
}

#[test]
fn what_it_needs_to_answer_is_declared_once() {
    let Next::AskAgain(capabilities) = of(ERRORS[12].0, true, false) else {
        panic!("not again")
    };
    assert_eq!(capabilities.as_str(), r#"{"roots":{}}"#);
    let params = discover_params(&capabilities);
    let meta = Object::of(&params).unwrap().get("_meta").unwrap();
    let meta = Object::of(&meta).unwrap();
    assert_eq!(meta.get_string(meta::PROTOCOL_VERSION).unwrap(), "2026-07-28");
    assert_eq!(
        meta.get(meta::CLIENT_CAPABILITIES).unwrap().as_str(),
        r#"{"roots":{}}"#
    );
}

#[test]
fn a_result_is_read_as_what_the_server_is() {
    let text = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},
        "instructions":"hi","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"a","version":"1"}}}"#;
    let Next::Speak(handshake) = of(text, false, false) else {
        panic!("not spoken to")
    };
    assert_eq!(handshake.revision, Revision::V2026_07_28);
    assert!(handshake.can_also("tools", "listChanged"));
    assert_eq!(handshake.instructions.as_deref(), Some("hi"));
    assert_eq!(
        handshake.server_info.unwrap().as_str(),
        r#"{"name":"a","version":"1"}"#
    );
}

#[test]
fn a_refused_handshake_is_a_doubt_only_where_nothing_better_is_known() {
    let (version, other) = (raw(r#"{"code":-32022}"#), raw(r#"{"code":-32603}"#));
    for (error, era, was_asked, is_known, wanted) in [
        (&version, EraPolicy::Auto, false, true, true),
        (&version, EraPolicy::Auto, true, true, false),
        (&version, EraPolicy::Legacy, false, true, false),
        (&other, EraPolicy::Auto, false, true, false),
        (&other, EraPolicy::Auto, false, false, true),
    ] {
        assert_eq!(doubts_handshake(error, era, was_asked, is_known), wanted);
    }
}

#[test]
fn the_question_never_takes_more_than_half_of_the_start() {
    let start = Duration::from_secs(60);
    assert_eq!(patience(EraPolicy::Auto, false, Known::Nothing, start), PATIENCE);
    assert_eq!(
        patience(EraPolicy::Auto, true, Known::Nothing, 3 * start),
        RUNNER_PATIENCE
    );
    assert_eq!(
        patience(EraPolicy::Auto, false, Known::Modern, 3 * start),
        RUNNER_PATIENCE
    );
    assert_eq!(patience(EraPolicy::Auto, false, Known::Modern, start), start / 2);
    assert_eq!(patience(EraPolicy::Auto, true, Known::Other, 3 * start), PATIENCE);
    let short = Duration::from_millis(300);
    assert_eq!(patience(EraPolicy::Auto, true, Known::Nothing, short), short / 2);
    assert_eq!(patience(EraPolicy::Modern, false, Known::Nothing, start), start);
}
