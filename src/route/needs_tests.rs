//! What a result needs, and what the next call says.

use super::*;

fn raw(text: &str) -> Raw {
    Raw::parse(&text.to_owned().into()).unwrap()
}

#[test]
fn a_result_is_complete_unless_it_says_otherwise() {
    for text in [
        r#"{"content":[]}"#,
        r#"{"content":[],"resultType":"complete"}"#,
        r#"{"content":[{"resultType":"input_required"}]}"#,
        "[]",
    ] {
        assert_eq!(kind_of(&raw(text)), Kind::Complete, "{text}");
    }
}

#[test]
fn what_is_no_kind_of_result_is_the_servers_fault() {
    let ask = |rest: &str| format!(r#"{{"resultType":"input_required"{rest}}}"#);
    let one = r#"{"method":"roots/list"}"#;
    for text in [
        r#"{"resultType":"other"}"#.to_owned(),
        r#"{"resultType":7}"#.to_owned(),
        ask(""),
        ask(r#","inputRequests":{}"#),
        ask(r#","inputRequests":[]"#),
        ask(r#","inputRequests":{"a":7}"#),
        ask(r#","inputRequests":{"a":{"method":"tools/list"}}"#),
        ask(&format!(r#","inputRequests":{{"a":{one},"\u0061":{one}}}"#)),
        ask(r#","requestState":{}"#),
    ] {
        assert!(matches!(kind_of(&raw(&text)), Kind::Bad(_)), "{text}");
    }
    let many: Vec<String> = (0..=N_NEEDS_MAX).map(|n| format!(r#""{n}":{one}"#)).collect();
    let many = ask(&format!(r#","inputRequests":{{{}}}"#, many.join(",")));
    assert!(matches!(kind_of(&raw(&many)), Kind::Bad(_)));
}

#[test]
fn each_round_says_what_the_first_said_and_its_own_answers_and_the_state_byte_for_byte() {
    let first =
        raw(r#"{"name":"x","arguments":{"n":1e400},"inputResponses":{"old":1},"requestState":"old"}"#);
    let state = raw(r#""\u0061/+= \u2028""#);
    let answers = [
        (
            "k\"1".to_owned(),
            raw(r#"{"action":"accept","content":{"n":1.0}}"#),
        ),
        ("b".to_owned(), raw("{}")),
    ];
    assert_eq!(
        again(Some(&first), &answers, Some(&state)).as_str(),
        r#"{"name":"x","arguments":{"n":1e400},"inputResponses":{"k\"1":{"action":"accept","content":{"n":1.0}},"b":{}},"requestState":"\u0061/+= \u2028"}"#
    );
    assert_eq!(again(Some(&raw("{}")), &[], None).as_str(), "{}");
    assert_eq!(
        again(None, &[], Some(&state)).as_str(),
        r#"{"requestState":"\u0061/+= \u2028"}"#
    );
}

#[test]
fn an_elicitation_by_url_gets_the_name_that_older_clients_need() {
    let named = with_elicitation_id(&raw(r#"{"mode":"url","url":"https://x.example"}"#));
    assert!(Object::of(&named).unwrap().get_string("elicitationId").is_some());
    for as_it_is in [r#"{"mode":"url","elicitationId":"e"}"#, r#"{"message":"m"}"#] {
        assert_eq!(with_elicitation_id(&raw(as_it_is)).as_str(), as_it_is);
    }
}

#[test]
fn a_refusal_of_the_client_is_a_result_of_a_tool_and_an_error_of_anything_else() {
    let error = raw(r#"{"code":-1,"message":"User rejected sampling request"}"#);
    let result = aborted(method::TOOLS_CALL, error.clone()).unwrap();
    assert!(result.as_str().contains("User rejected") && result.as_str().contains(r#""isError":true"#));
    assert_eq!(aborted(method::PROMPTS_GET, error.clone()), Err(error));
}
