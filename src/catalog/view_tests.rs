//! What clients see of several servers: merged lists, names, pages.

use std::sync::Arc;

use super::super::names::Naming;
use super::super::snapshot::Snapshot;
use super::*;
use crate::child::handshake::Handshake;

const NEW: Revision = Revision::NEWEST_LEGACY;

fn raw(text: &str) -> Raw {
    Raw::parse(&text.to_owned().into()).unwrap()
}

fn part(server: &str, prefix: &str, tools: &[&str], uris: &[&str], templates: &[&str]) -> Part {
    let shake = Handshake::read(&Ok(raw(
        r#"{"protocolVersion":"2025-11-25","instructions":"Use me."}"#,
    )))
    .unwrap();
    let mut snapshot = Snapshot::of(&shake);
    let all = |texts: Vec<String>| texts.iter().map(|text| raw(text)).collect::<Vec<_>>();
    let tool =
        |name: &&str| format!(r#"{{"x":1e400,"name":"{name}","inputSchema":{{"type":"object"}},"z":null}}"#);
    snapshot.take(Kind::Tools, &all(tools.iter().map(tool).collect()));
    snapshot.take(
        Kind::Resources,
        &all(uris
            .iter()
            .map(|u| format!(r#"{{"uri":"{u}","name":"n"}}"#))
            .collect()),
    );
    let template = |u: &&str| format!(r#"{{"uriTemplate":"{u}","name":"n"}}"#);
    snapshot.take(Kind::Templates, &all(templates.iter().map(template).collect()));
    let naming = Naming {
        prefix: prefix.to_owned(),
        aliases: Arc::default(),
    };
    Part::new(ServerName::parse(server).unwrap(), naming, Arc::new(snapshot))
}

fn owner(view: &View, uri: &str) -> Option<(String, String)> {
    view.owner_of_uri(uri, || None)
        .map(|owner| (owner.server.as_str().to_owned(), owner.own))
}

#[test]
fn tools_are_listed_in_order_under_their_exposed_names_and_otherwise_untouched() {
    let view = View::merge(vec![
        part("b", "b", &["x", "y"], &[], &[]),
        part("a", "a", &["x"], &[], &[]),
    ]);
    let tools = view.list(Kind::Tools);
    let names: Vec<_> = tools.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b__x", "b__y", "a__x"]);
    assert!(
        tools
            .page(NEW, None)
            .unwrap()
            .as_str()
            .starts_with(r#"{"tools":[{"x":1e400,"name":"b__x","inputSchema":{"type":"object"},"z":null},"#)
    );
    assert_eq!(tools.owner("a__x").unwrap().own, "x");
    assert!(tools.owner("a__y").is_none());
}

#[test]
fn of_two_equal_names_the_first_keeps_it_and_the_other_is_reported() {
    let view = View::merge(vec![
        part("a", "", &["x"], &[], &[]),
        part("b", "", &["x", "y"], &[], &[]),
    ]);
    assert_eq!(view.list(Kind::Tools).owner("x").unwrap().server.as_str(), "a");
    assert_eq!(view.list(Kind::Tools).iter().count(), 2);
    let [(server, told)] = view.warnings.as_slice() else {
        panic!("{:?}", view.warnings)
    };
    assert!(
        server.as_str() == "b" && told.contains("already offered by `a`"),
        "{told}"
    );
}

fn called(mut part: Part, aliases: &[(&str, &str)]) -> Part {
    let pairs = aliases
        .iter()
        .map(|(own, exposed)| ((*own).to_owned(), (*exposed).to_owned()));
    part.naming.aliases = Arc::new(pairs.collect());
    Part::new(part.server, part.naming, part.snapshot)
}

fn tools_of(view: &View) -> Vec<(&str, &str, &str)> {
    let tools = view.list(Kind::Tools).iter();
    tools
        .map(|(name, owner)| (name, owner.server.as_str(), owner.own.as_str()))
        .collect()
}

#[test]
fn an_alias_wins_over_the_prefix_and_leaves_the_order() {
    let view = View::merge(vec![called(
        part("a", "a", &["x", "y", "z"], &[], &[]),
        &[("y", "why"), ("z", "a__x2")],
    )]);
    assert_eq!(
        tools_of(&view),
        [("a__x", "a", "x"), ("why", "a", "y"), ("a__x2", "a", "z")]
    );
    assert!(view.warnings.is_empty());
    let page = view.list(Kind::Tools).page(NEW, None).unwrap().as_str();
    assert!(page.contains(r#""name":"why""#) && !page.contains(r#""name":"y""#));
    assert!(view.instructions.unwrap().contains("most of its tools"));
}

#[test]
fn two_names_of_a_server_may_be_swapped() {
    let view = View::merge(vec![called(
        part("a", "", &["x", "y"], &[], &[]),
        &[("x", "y"), ("y", "x")],
    )]);
    assert_eq!(tools_of(&view), [("y", "a", "x"), ("x", "a", "y")]);
    assert!(view.warnings.is_empty());
}

#[test]
fn a_chosen_name_is_taken_from_whoever_has_it_by_chance_and_both_are_named() {
    let view = View::merge(vec![
        part("a", "", &["x", "y"], &[], &[]),
        called(part("b", "b", &["t"], &[], &[]), &[("t", "x")]),
    ]);
    assert_eq!(tools_of(&view), [("y", "a", "y"), ("x", "b", "t")]);
    let [(server, told)] = view.warnings.as_slice() else {
        panic!("{:?}", view.warnings)
    };
    assert!(
        server.as_str() == "a" && told.contains("`x`") && told.contains("`b`"),
        "{told}"
    );
}

#[test]
fn of_two_equal_aliases_the_first_holds_and_the_other_keeps_its_prefix() {
    let view = View::merge(vec![
        called(part("a", "a", &["x"], &[], &[]), &[("x", "same")]),
        called(part("b", "b", &["x"], &[], &[]), &[("x", "same"), ("typo", "z")]),
    ]);
    assert_eq!(tools_of(&view), [("same", "a", "x"), ("b__x", "b", "x")]);
    let told: Vec<&str> = view.warnings.iter().map(|(_, told)| told.as_str()).collect();
    assert!(told[0].contains("`same` is already an alias of `a`"), "{told:?}");
    assert!(told[1].contains("no tool or prompt `typo`"), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn a_uri_that_was_seen_comes_after_the_lists_and_before_the_templates() {
    let view = View::merge(vec![
        part("a", "a", &[], &["f:///1"], &["f:///{x}"]),
        part("b", "b", &[], &[], &[]),
    ]);
    let b = || Some(ServerName::parse("b").unwrap());
    let of = |uri: &str| view.owner_of_uri(uri, b).unwrap().server.as_str().to_owned();
    assert_eq!((of("f:///1").as_str(), of("f:///2").as_str()), ("a", "b"));
    assert_eq!(of("f:///2?mcp-server=a"), "a");
    assert_eq!(owner(&view, "f:///2").unwrap().0, "a");
}

#[test]
fn of_two_equal_uris_the_second_is_tagged_and_both_lead_home() {
    let view = View::merge(vec![
        part("a", "a", &[], &["f:///1"], &[]),
        part("b", "b", &[], &["f:///1"], &[]),
    ]);
    let text = view
        .list(Kind::Resources)
        .page(NEW, None)
        .unwrap()
        .as_str()
        .to_owned();
    assert!(
        text.contains(r#""uri":"f:///1""#) && text.contains(r#""uri":"f:///1?mcp-server=b""#),
        "{text}"
    );
    assert_eq!(
        owner(&view, "f:///1"),
        Some(("a".to_owned(), "f:///1".to_owned()))
    );
    assert_eq!(
        owner(&view, "f:///1?mcp-server=b"),
        Some(("b".to_owned(), "f:///1".to_owned()))
    );
    let b = ServerName::parse("b").unwrap();
    assert_eq!(view.exposed_uri(&b, "f:///1"), "f:///1?mcp-server=b");
    assert_eq!(view.exposed_uri(&b, "f:///2"), "f:///2");
}

#[test]
fn an_unlisted_uri_is_found_by_template_then_by_scheme() {
    let view = View::merge(vec![
        part("a", "a", &[], &["one://x"], &["t://{id}"]),
        part("b", "b", &[], &[], &["t://deep/{id}", "t://{id}"]),
    ]);
    assert_eq!(owner(&view, "t://deep/1").unwrap().0, "b");
    assert_eq!(owner(&view, "t://1").unwrap().0, "a");
    assert_eq!(owner(&view, "one://other").unwrap().0, "a");
    assert_eq!(owner(&view, "t://a/b/c"), None, "two servers use the scheme");
    assert_eq!(owner(&view, "none://x"), None);
}

#[test]
fn long_lists_come_in_pages_that_hold_everything_once() {
    let names: Vec<String> = (0..4500).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let view = View::merge(vec![part("a", "a", &names, &[], &[])]);
    let tools = view.list(Kind::Tools);
    let (mut cursor, mut n_items, mut n_pages) = (None::<String>, 0, 0);
    loop {
        let (items, next) =
            crate::catalog::snapshot::page(Kind::Tools, tools.page(NEW, cursor.as_deref()).unwrap()).unwrap();
        n_items += items.len();
        n_pages += 1;
        let Some(next) = next else { break };
        cursor = Some(next);
    }
    assert_eq!((n_items, n_pages), (4500, 3));
    for wrong in ["", "page-0", "page-3", "x", "page--1"] {
        assert!(tools.page(NEW, Some(wrong)).is_none(), "{wrong}");
    }
}

#[test]
fn instructions_say_whose_they_are() {
    let view = View::merge(vec![part("a", "a", &[], &[], &[]), part("b", "", &[], &[], &[])]);
    let text = view.instructions.unwrap();
    assert_eq!(
        text,
        "# a (its tools and prompts begin with `a__`)\nUse me.\n\n# b\nUse me."
    );
}

#[test]
fn a_view_of_nothing_has_empty_lists() {
    let view = View::merge(Vec::new());
    assert_eq!(
        view.list(Kind::Templates).page(NEW, None).unwrap().as_str(),
        r#"{"resourceTemplates":[]}"#
    );
    assert_eq!(view.instructions, None);
}

#[test]
fn what_a_tool_says_of_tasks_is_shown_to_those_who_know_tasks_and_only_where_it_is_true() {
    let tools = [
        r#"{"name":"long","inputSchema":{"type":"object"},"execution":{"taskSupport":"required"},"x":1.0}"#,
        r#"{"name":"both","inputSchema":{"type":"object"},"execution":{"taskSupport":"optional","y":null}}"#,
    ];
    let part = |server: &str, capabilities: &str| {
        let shake = format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{capabilities}}}"#);
        let mut snapshot = Snapshot::of(&Handshake::read(&Ok(raw(&shake))).unwrap());
        snapshot.take(Kind::Tools, &tools.map(raw));
        let naming = Naming {
            prefix: server.to_owned(),
            aliases: Arc::default(),
        };
        Part::new(ServerName::parse(server).unwrap(), naming, Arc::new(snapshot))
    };
    let view = View::merge(vec![
        part("a", r#"{"tasks":{"requests":{"tools":{"call":{}}}}}"#),
        part("b", r#"{"tasks":{}}"#),
    ]);
    let list = view.list(Kind::Tools);
    let (new, old) = (
        list.page(NEW, None).unwrap(),
        list.page(Revision::V2025_06_18, None).unwrap(),
    );
    assert_eq!(new.as_str().matches("taskSupport").count(), 2, "{new:?}");
    assert_eq!(old.as_str().matches("taskSupport").count(), 0, "{old:?}");
    assert!(
        old.as_str().contains(r#""execution":{"y":null}"#) && old.as_str().contains(r#""x":1.0}"#),
        "{old:?}"
    );
    assert!(list.needs_task("a__long") && !list.needs_task("a__both") && !list.needs_task("b__long"));
}

#[test]
fn an_output_that_is_no_object_is_shown_wrapped_to_clients_with_a_handshake_only() {
    let shake = Handshake::read(&Ok(raw(r#"{"protocolVersion":"2025-11-25"}"#))).unwrap();
    let tools = [
        raw(r#"{"name":"list","inputSchema":{"type":"object"},"outputSchema":{"type":"array"}}"#),
        raw(r#"{"name":"thing","inputSchema":{"type":"object"},"outputSchema":{"type":"object"}}"#),
    ];
    let shown = |is_modern: bool, revision: Revision| {
        let mut snapshot = Snapshot::of(&shake);
        snapshot.is_modern = is_modern;
        snapshot.take(Kind::Tools, &tools);
        // It stays so when it is saved.
        let snapshot = Snapshot::from_saved(&snapshot.to_saved().unwrap()).unwrap();
        let naming = Naming {
            prefix: "a".to_owned(),
            aliases: Arc::default(),
        };
        let part = Part::new(ServerName::parse("a").unwrap(), naming, Arc::new(snapshot));
        let view = View::merge(vec![part]);
        view.list(Kind::Tools)
            .page(revision, None)
            .unwrap()
            .as_str()
            .to_owned()
    };
    let as_it_is = r#""outputSchema":{"type":"array"}"#;
    let wrapped = r#""properties":{"result":{"type":"array"}}"#;
    for older in [NEW, Revision::V2024_11_05] {
        let page = shown(true, older);
        assert!(page.contains(wrapped) && !page.contains(as_it_is), "{page}");
        // A server with a handshake has its results passed as they are, and so its schema.
        assert!(shown(false, older).contains(as_it_is));
    }
    let page = shown(true, Revision::NEWEST);
    assert!(page.contains(as_it_is) && !page.contains(wrapped), "{page}");
    assert!(page.contains(r#""outputSchema":{"type":"object"}"#), "{page}");
}

#[test]
fn within_a_scope_names_are_as_for_everybody_and_what_is_outside_has_no_owner() {
    let whole = View::merge(vec![
        part("a", "", &["x"], &["u://1", "a://1"], &["a://t/{id}"]),
        part("b", "", &["x", "y"], &["u://1", "b://1"], &["b://t/{id}"]),
    ]);
    let scope = |servers: Option<&str>, tools: Option<&str>| {
        let servers = servers.map(|name| vec![ServerName::parse(name).unwrap()]);
        let tools = tools.map(|text| vec![text.parse().unwrap()]);
        Arc::new(Scope::of(servers, tools).unwrap())
    };
    let names = |view: &View, kind| {
        view.list(kind)
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect::<Vec<_>>()
    };
    let b = whole.within(&scope(Some("b"), None));
    // `x` is a's, whoever looks.
    assert_eq!(names(&b, Kind::Tools), ["y"]);
    assert_eq!(names(&b, Kind::Resources), ["u://1?mcp-server=b", "b://1"]);
    assert!(
        !b.list(Kind::Tools)
            .page(NEW, None)
            .unwrap()
            .as_str()
            .contains(r#""name":"x""#)
    );
    for outside in ["a://1", "a://t/7", "u://1?mcp-server=a", "b://1?mcp-server=a"] {
        let server = owner(&b, outside).map(|(server, _)| server);
        assert_ne!(server.as_deref(), Some("a"), "{outside}");
    }
    let seen = b.owner_of_uri("z://1", || Some(ServerName::parse("a").unwrap()));
    assert_eq!(seen, None, "what was seen with more rights");
    assert_eq!(owner(&b, "b://t/7").unwrap().0, "b");
    let tool = whole.within(&scope(None, Some("y")));
    assert_eq!(names(&tool, Kind::Tools), ["y"]);
    assert!(names(&tool, Kind::Resources).is_empty() && names(&tool, Kind::Templates).is_empty());
    for uri in ["b://1", "b://t/7", "u://1?mcp-server=b", "b://new"] {
        assert_eq!(owner(&tool, uri), None, "{uri}");
    }
    assert!(tool.instructions.unwrap().contains("# b"));
    assert_eq!(whole.within(&scope(None, Some("nothing"))).instructions, None);
}
