//! The tool `watch_events`: events as they happen, each as progress and as a log message.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};

use super::department::Department;
use super::event::{Event, What};
use super::live::{Chain, log};
use super::offer;
use super::settings::Settings;
use crate::demo::arguments::{refuse_unknown, whole_number};
use crate::demo::call::Call;
use crate::demo::calls::Stopped;
use crate::demo::outcome::{failure, success};
use crate::demo::server::{Params, Work};

/// The time from one event to the next. Unit: milliseconds.
pub(super) const INTERVAL_MS: RangeInclusive<u64> = 10..=10_000;
pub(super) const INTERVAL_MS_DEFAULT: u64 = 500;
/// How many events one call waits for.
pub(super) const COUNT_MAX: u64 = 100;
pub(super) const COUNT_DEFAULT: u64 = 5;

/// What is to be watched.
#[derive(Debug)]
struct Watch {
    /// They take turns.
    departments: Vec<Department>,
    interval: Duration,
    count: u64,
}

pub(super) fn work(settings: &Settings, chain: &Chain, arguments: &Params) -> Work {
    let (watch, chain) = (Watch::read(settings, arguments), chain.clone());
    Box::new(move |call| match watch {
        Ok(watch) => Ok(result(&watch.follow(&chain, call)?)),
        Err(why) => Ok(failure(&why)),
    })
}

impl Watch {
    fn read(settings: &Settings, arguments: &Params) -> Result<Self, String> {
        refuse_unknown(arguments, &["department", "interval_ms", "count"])?;
        let department = offer::department(settings, arguments)?;
        let interval = whole_number(arguments, "interval_ms", INTERVAL_MS)?.unwrap_or(INTERVAL_MS_DEFAULT);
        Ok(Self {
            departments: department.map_or_else(|| settings.departments.clone(), |one| vec![one]),
            interval: Duration::from_millis(interval),
            count: whole_number(arguments, "count", 1..=COUNT_MAX)?.unwrap_or(COUNT_DEFAULT),
        })
    }

    fn follow(&self, chain: &Chain, call: &mut Call) -> Result<Vec<Event>, Stopped> {
        let mut events = Vec::new();
        for (done, department) in (1..=self.count).zip(self.departments.iter().cycle()) {
            // The first event is there at once, the others follow.
            if done > 1 {
                call.pause(self.interval)?;
            }
            if let Some(event) = chain.take(*department) {
                call.progress(done, self.count, &event.line());
                log(&event, call);
                events.push(event);
            }
        }
        Ok(events)
    }
}

fn result(events: &[Event]) -> Value {
    let errors = events
        .iter()
        .filter(|event| matches!(event.what, What::Failed(_)))
        .count();
    let fallback = events.iter().filter(|event| event.source() == "fallback").count();
    let lines: Vec<String> = events.iter().map(Event::line).collect();
    let structured: Vec<Value> = events.iter().map(Event::to_json).collect();
    success(
        &format!(
            "{} events, {errors} of them errors, {fallback} with fallback figures.\n{}",
            events.len(),
            lines.join("\n")
        ),
        &json!({ "count": events.len(), "errors": errors, "fallback": fallback, "events": structured }),
    )
}

#[cfg(test)]
mod tests {
    use super::super::talking::{talk, text};
    use super::*;

    fn watch(count: u64, token: &Value) -> Value {
        json!({ "name": "watch_events", "arguments": { "count": count, "interval_ms": 10 },
            "_meta": { "progressToken": token } })
    }

    #[test]
    fn every_event_is_progress_with_the_callers_token_and_in_the_result() {
        for token in [json!("p"), json!(7)] {
            let mut talk = talk();
            talk.request(json!(1), "tools/call", watch(8, &token));
            let (told, answer) = talk.hear_until(|message| message["id"] == 1);
            let structured = &answer["result"]["structuredContent"];
            let events = structured["events"].as_array().unwrap();
            assert_eq!((told.len(), events.len()), (8, 8));
            for ((n, progress), event) in (1..).zip(&told).zip(events) {
                assert_eq!(progress["method"], "notifications/progress");
                assert_eq!(
                    progress["params"],
                    json!({ "progressToken": token, "progress": n, "total": 8, "message": event["text"] })
                );
            }
            let departments: Vec<&Value> = events.iter().map(|event| &event["department"]).collect();
            assert_eq!(departments[..4], ["sales", "bookings", "occupancy", "shifts"]);
            assert_eq!(departments[..4], departments[4..]);
            assert!(text(&answer["result"]).starts_with("8 events, "));
        }
    }

    #[test]
    fn without_a_token_and_a_level_there_is_only_the_answer_and_it_is_exact() {
        let mut talk = talk();
        let arguments = json!({ "department": "sales", "count": 5, "interval_ms": 10 });
        talk.tool(json!(1), "watch_events", arguments);
        let answer = talk.hear();
        assert_eq!(text(&answer["result"]), EXACT);
    }

    /// What the default seed tells first, in the README too.
    const EXACT: &str = "\
5 events, 1 of them errors, 2 with fallback figures.
2025-11-03T16:00:00Z sales Central: 14 orders, 238 EUR
2025-11-03T16:15:00Z sales Harbour: 25 orders, 575 EUR
2025-11-03T16:30:00Z sales Market: ERROR: the till system does not answer
2025-11-03T16:45:00Z sales Riverside: 16 orders, 304 EUR (fallback: cached from event 19)
2025-11-03T17:00:00Z sales Central: 14 orders, 238 EUR (fallback: cached from event 20)";

    #[test]
    fn log_messages_have_the_level_of_what_happened_and_the_filter_holds() {
        let counts = |level: &str| {
            let mut talk = talk();
            talk.ask("logging/setLevel", json!({ "level": level }));
            let arguments = json!({ "department": "sales", "count": 10, "interval_ms": 10 });
            talk.tool(json!(1), "watch_events", arguments);
            let (told, answer) = talk.hear_until(|message| message["id"] == 1);
            let structured = answer["result"]["structuredContent"].clone();
            let expected = |event: &Value| match (event["kind"].as_str(), event["source"].as_str()) {
                (Some("error"), _) => "error",
                (_, Some("fallback")) => "warning",
                _ => "info",
            };
            for message in &told {
                let params = &message["params"];
                assert_eq!(
                    (&message["method"], &params["logger"]),
                    (&json!("notifications/message"), &json!("analytics.sales"))
                );
                assert_eq!(params["level"], expected(&params["data"]));
            }
            let [errors, fallback] = ["errors", "fallback"].map(|n| structured[n].as_u64().unwrap());
            assert!(errors > 0 && fallback > 0, "ten events hold an outage");
            (u64::try_from(told.len()).unwrap(), errors, fallback)
        };
        assert_eq!(counts("debug").0, 10);
        assert_eq!(counts("info").0, 10);
        let (told, errors, fallback) = counts("warning");
        assert_eq!(told, errors + fallback);
        let (told, errors, _) = counts("error");
        assert_eq!(told, errors);
        assert_eq!(counts("critical").0, 0);
    }

    #[test]
    fn a_cancelled_watch_ends_at_once_without_an_answer() {
        let mut talk = talk();
        let arguments = json!({ "count": 100, "interval_ms": 10_000 });
        let params =
            json!({ "name": "watch_events", "arguments": arguments, "_meta": { "progressToken": 1 } });
        talk.request(json!("w"), "tools/call", params.clone());
        assert_eq!(talk.hear()["params"]["progress"], 1);
        talk.request(json!("w"), "tools/call", params.clone());
        assert_eq!(
            talk.hear()["error"]["code"],
            -32600,
            "the id is taken while it is worked on"
        );
        talk.cancel(json!("w"));
        talk.request(json!("w"), "tools/call", params);
        assert_eq!(talk.hear()["params"]["progress"], 1, "the id is free again");
        talk.hang_up().unwrap();
        assert_eq!(talk.rest(), Vec::<Value>::new());
    }

    #[test]
    fn others_are_answered_while_a_watch_runs_and_watches_run_side_by_side() {
        let mut talk = talk();
        let slow = json!({ "count": 2, "interval_ms": 10_000 });
        let params = json!({ "name": "watch_events", "arguments": slow, "_meta": { "progressToken": 1 } });
        talk.request(json!("slow"), "tools/call", params);
        assert_eq!(talk.hear()["method"], "notifications/progress");
        assert_eq!(talk.ask("ping", json!({}))["result"], json!({}));
        let quick = talk.call("watch_events", json!({ "count": 3, "interval_ms": 10 }));
        assert_eq!(quick["structuredContent"]["count"], 3);
    }
}
