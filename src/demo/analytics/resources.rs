//! The resources: the last events of every department and a summary, to read and to subscribe to.

use serde_json::{Value, json};

use super::department::Department;
use super::event::Event;
use super::live::{Chain, EVENTS_PREFIX, SUMMARY, Topic};
use super::settings::Settings;
use crate::demo::fault::Fault;
use crate::demo::server::{Params, only_first_page, required_text};
use crate::demo::words::Word;

/// The template under which the events of a department are read, and the department completed.
pub(super) const EVENTS_TEMPLATE: &str = "analytics://events/{department}";

const JSON: &str = "application/json";

pub(super) fn list(settings: &Settings, params: &Params) -> Result<Value, Fault> {
    only_first_page(params)?;
    let events = settings.departments.iter().map(|department| {
        let name = department.as_str();
        json!({ "uri": Topic::Events(*department).uri(), "name": format!("events-{name}"),
            "title": format!("Events: {name}"), "mimeType": JSON,
            "description": format!("The last 20 events of {name}, the oldest first.") })
    });
    let summary = json!({ "uri": SUMMARY, "name": "summary", "title": "Summary", "mimeType": JSON,
        "description": "How every department stands: its source, and the last reading of every branch." });
    let resources: Vec<Value> = events.chain([summary]).collect();
    Ok(json!({ "resources": resources }))
}

pub(super) fn list_templates(params: &Params) -> Result<Value, Fault> {
    only_first_page(params)?;
    Ok(json!({ "resourceTemplates": [
        { "uriTemplate": EVENTS_TEMPLATE, "name": "events", "title": "Events of a department", "mimeType": JSON,
          "description": "The last 20 events of one department, for example analytics://events/sales." },
    ] }))
}

pub(super) fn read(settings: &Settings, chain: &Chain, params: &Params) -> Result<Value, Fault> {
    let topic = topic(settings, params)?;
    let content = match topic {
        Topic::Summary => summary(settings, chain),
        Topic::Events(department) => chain.recent(department).iter().map(Event::to_json).collect(),
    };
    Ok(json!({ "contents": [{ "uri": topic.uri(), "mimeType": JSON, "text": format!("{content:#}") }] }))
}

pub(super) fn subscribe(settings: &Settings, chain: &Chain, params: &Params) -> Result<Value, Fault> {
    chain.subscribe(topic(settings, params)?);
    Ok(json!({}))
}

pub(super) fn unsubscribe(settings: &Settings, chain: &Chain, params: &Params) -> Result<Value, Fault> {
    chain.unsubscribe(topic(settings, params)?);
    Ok(json!({}))
}

fn topic(settings: &Settings, params: &Params) -> Result<Topic, Fault> {
    let uri = required_text(params, "uri")?;
    if uri == SUMMARY {
        return Ok(Topic::Summary);
    }
    uri.strip_prefix(EVENTS_PREFIX)
        .and_then(Department::parse)
        .filter(|department| settings.departments.contains(department))
        .map(Topic::Events)
        .ok_or_else(|| Fault::no_resource(uri))
}

fn summary(settings: &Settings, chain: &Chain) -> Value {
    let standings = settings.departments.iter().filter_map(|department| {
        let standing = chain.standing(*department)?;
        let branches: Vec<Value> = standing.branches.iter().map(Event::to_json).collect();
        Some(
            json!({ "department": department, "source": standing.source, "events": standing.events,
            "recent_errors": standing.errors, "branches": branches }),
        )
    });
    Value::Array(standings.collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::talk::Talk;
    use super::super::talking::{fast, talk};
    use super::super::{Analytics, Settings};
    use super::*;

    fn read_json(talk: &mut Talk, uri: &str) -> Value {
        let answer = talk.ask("resources/read", json!({ "uri": uri }));
        let content = &answer["result"]["contents"][0];
        assert_eq!(
            (&content["uri"], &content["mimeType"]),
            (&json!(uri), &json!(JSON))
        );
        serde_json::from_str(content["text"].as_str().unwrap()).unwrap()
    }

    fn updated(uri: &str) -> impl Fn(&Value) -> bool {
        move |message| {
            message["method"] == "notifications/resources/updated"
                && message["params"] == json!({ "uri": uri })
        }
    }

    #[test]
    fn what_is_listed_can_be_read() {
        let mut talk = talk();
        let listed = talk.ask("resources/list", json!({}))["result"].take();
        let uris: Vec<&str> = listed["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["uri"].as_str().unwrap())
            .collect();
        assert_eq!(uris.len(), 5);
        for uri in &uris[..4] {
            let events = read_json(&mut talk, uri);
            assert_eq!(events.as_array().unwrap().len(), 20);
            assert_eq!(events[19]["sequence"], 19);
        }
        let summary = read_json(&mut talk, uris[4]);
        assert_eq!(summary[3]["department"], "shifts");
        assert_eq!(summary[3]["branches"].as_array().unwrap().len(), 4);
        let templates = talk.ask("resources/templates/list", json!({}))["result"].take();
        assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], EVENTS_TEMPLATE);
    }

    #[test]
    fn a_subscribed_resource_changes_and_the_subscriber_is_told_and_others_are_not() {
        let mut talk = talk();
        let uri = "analytics://events/sales";
        assert_eq!(
            talk.ask("resources/subscribe", json!({ "uri": uri }))["result"],
            json!({})
        );
        for _ in 0..3 {
            assert!(updated(uri)(&talk.hear()));
        }
        assert!(read_json(&mut talk, uri)[19]["sequence"].as_u64().unwrap() >= 22);
        let quiet = read_json(&mut talk, "analytics://events/shifts");
        assert_eq!(quiet[19]["sequence"], 19, "nobody follows the shifts");
    }

    #[test]
    fn the_summary_follows_every_department() {
        let mut talk = talk();
        talk.ask("resources/subscribe", json!({ "uri": SUMMARY }));
        for _ in 0..2 {
            assert!(updated(SUMMARY)(&talk.hear()));
        }
        let summary = read_json(&mut talk, SUMMARY);
        for standing in summary.as_array().unwrap() {
            assert!(standing["events"].as_u64().unwrap() >= 22, "{standing}");
        }
    }

    #[test]
    fn after_unsubscribing_nothing_is_told_any_more() {
        let mut talk = talk();
        for uri in ["analytics://events/sales", SUMMARY] {
            talk.ask("resources/subscribe", json!({ "uri": uri }));
        }
        talk.hear_until(updated("analytics://events/sales"));
        talk.hear_until(updated(SUMMARY));
        for uri in ["analytics://events/sales", SUMMARY] {
            talk.ask("resources/unsubscribe", json!({ "uri": uri }));
        }
        // Events go on, and are told to nobody.
        talk.tool(json!(1), "watch_events", json!({ "count": 5, "interval_ms": 10 }));
        assert_eq!(talk.hear()["id"], 1);
        talk.hang_up().unwrap();
        assert_eq!(talk.rest(), Vec::<Value>::new());
    }

    #[test]
    fn a_watched_event_is_a_change_as_well() {
        // The next change of its own is an hour away.
        let settings = Settings {
            interval: std::time::Duration::from_secs(3600),
            ..fast()
        };
        let mut talk = Talk::hello(Analytics::new(settings), "2025-06-18", json!({}));
        talk.ask(
            "resources/subscribe",
            json!({ "uri": "analytics://events/shifts" }),
        );
        talk.tool(json!(1), "watch_events", json!({ "count": 8, "interval_ms": 10 }));
        let (told, _) = talk.hear_until(|message| message["id"] == 1);
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(updated("analytics://events/shifts")));
    }

    #[test]
    fn the_errors_of_a_followed_source_are_logged() {
        let mut talk = talk();
        talk.ask("logging/setLevel", json!({ "level": "info" }));
        talk.ask(
            "resources/subscribe",
            json!({ "uri": "analytics://events/sales" }),
        );
        let (_, log) = talk.hear_until(|message| message["method"] == "notifications/message");
        assert_eq!(
            (&log["params"]["level"], &log["params"]["logger"]),
            (&json!("error"), &json!("analytics.sales"))
        );
    }

    #[test]
    fn only_departments_on_offer_are_there() {
        let settings = Settings {
            departments: vec![Department::Shifts],
            ..fast()
        };
        let mut talk = Talk::hello(Analytics::new(settings), "2025-11-25", json!({}));
        let listed = talk.ask("resources/list", json!({}))["result"].take();
        assert_eq!(listed["resources"].as_array().unwrap().len(), 2);
        let tools = talk.ask("tools/list", json!({}))["result"].take();
        assert_eq!(
            tools["tools"][0]["inputSchema"]["properties"]["department"]["enum"],
            json!(["shifts"])
        );
        let refused = talk.call("watch_events", json!({ "department": "sales" }));
        assert_eq!(refused["isError"], true);
        let unknown = talk.ask("resources/read", json!({ "uri": "analytics://events/sales" }));
        assert_eq!(unknown["error"]["code"], -32002);
    }

    #[test]
    fn an_unknown_uri_is_named_in_the_error() {
        let mut talk = talk();
        for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
            for uri in [
                "analytics://events/",
                "analytics://events/Sales",
                "analytics://none",
                "file:///x",
            ] {
                let error = talk.ask(method, json!({ "uri": uri }))["error"].take();
                assert_eq!(
                    (&error["code"], &error["data"]),
                    (&json!(-32002), &json!({ "uri": uri }))
                );
            }
        }
    }
}
