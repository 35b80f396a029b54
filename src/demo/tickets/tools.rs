//! The tools: `search_tickets`, `get_ticket`, `ticket_stats`.
//!
//! A wrong argument is a tool result with `isError`, so that the model reads it and corrects itself; only an
//! unknown tool is a protocol error. Source: MCP 2025-11-25, tools, "Error Handling".

use serde_json::{Value, json};

use super::filter::Filter;
use super::store::{Category, Priority, Stats, Status, Store, Ticket};
use crate::demo::arguments::{refuse_unknown, text};
use crate::demo::fault::Fault;
use crate::demo::nearest::nearest;
use crate::demo::outcome::{failure, success};
use crate::demo::server::{Client, LogLevel, Params, object, required_text};
use crate::demo::words::Word;

pub(super) fn call(store: &Store, params: &Params, client: &mut dyn Client) -> Result<Value, Fault> {
    let name = required_text(params, "name")?;
    let arguments = object(params, "arguments")?;
    let outcome = match name {
        "search_tickets" => search(store, &arguments, client),
        "get_ticket" => get(store, &arguments),
        "ticket_stats" => stats(store, &arguments),
        _ => return Err(Fault::params(format!("Unknown tool: {name}"))),
    };
    Ok(outcome.unwrap_or_else(|why| failure(&why)))
}

fn search(store: &Store, arguments: &Params, client: &mut dyn Client) -> Result<Value, String> {
    let filter = Filter::read(store, arguments)?;
    let found = filter.apply(store);
    let shown = found.get(..filter.limit).unwrap_or(&found);
    let summary = format!(
        "{} of {} tickets match ({})",
        found.len(),
        store.all().len(),
        filter.describe()
    );
    client.log(LogLevel::Info, "tickets", &json!(format!("search: {summary}")));
    Ok(success(
        &search_text(&summary, found.len(), shown),
        &json!({ "total": found.len(), "returned": shown.len(), "tickets": shown }),
    ))
}

fn search_text(summary: &str, total: usize, shown: &[&Ticket]) -> String {
    let mut text = format!("{summary}.");
    if shown.len() < total {
        text.push_str(&format!(" The {} last updated are shown.", shown.len()));
    }
    for ticket in shown {
        text.push_str(&format!("\n{}", line(ticket)));
    }
    text
}

/// One ticket on one line.
pub(super) fn line(ticket: &Ticket) -> String {
    format!(
        "{} [{}, {}] {} ({}, {}, updated {})",
        ticket.id,
        ticket.status.as_str(),
        ticket.priority.as_str(),
        ticket.title,
        ticket.category.as_str(),
        ticket.user,
        ticket.updated
    )
}

fn get(store: &Store, arguments: &Params) -> Result<Value, String> {
    refuse_unknown(arguments, &["id"])?;
    let id =
        text(arguments, "id")?.ok_or("`id` is missing. Give the id of a ticket, for example `T-001`.")?;
    let ticket = store.find(id).ok_or_else(|| no_ticket(store, id))?;
    Ok(success(
        &format!(
            "{}\nCreated {}.\n{}",
            line(ticket),
            ticket.created,
            ticket.description
        ),
        ticket,
    ))
}

/// The sentence about an id that no ticket has.
pub(super) fn no_ticket(store: &Store, id: &str) -> String {
    let ids = store.ids();
    let (first, last) = (
        ids.first().copied().unwrap_or_default(),
        ids.last().copied().unwrap_or_default(),
    );
    let near = nearest(id, ids)
        .map(|near| format!(" Did you mean `{near}`?"))
        .unwrap_or_default();
    format!("There is no ticket `{id}`. Ids go from {first} to {last}; search_tickets finds them.{near}")
}

fn stats(store: &Store, arguments: &Params) -> Result<Value, String> {
    refuse_unknown(arguments, &[])?;
    let stats = store.stats();
    Ok(success(&stats_text(&stats), &stats))
}

fn stats_text(stats: &Stats) -> String {
    let mut text = format!("{} tickets.", stats.total);
    for (field, words, counts) in [
        ("status", Status::words(), &stats.by_status),
        ("priority", Priority::words(), &stats.by_priority),
        ("category", Category::words(), &stats.by_category),
    ] {
        let counted: Vec<String> = words
            .iter()
            .map(|word| format!("{} {word}", counts.get(word).unwrap_or(&0)))
            .collect();
        text.push_str(&format!("\nBy {field}: {}.", counted.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::asking::{Noting, ask, ask_as};
    use super::*;

    fn call_tool(name: &str, arguments: Value) -> Value {
        ask("tools/call", json!({ "name": name, "arguments": arguments })).unwrap()
    }

    fn told(result: &Value) -> &str {
        assert_eq!(result["content"][0]["type"], "text");
        result["content"][0]["text"].as_str().unwrap()
    }

    #[test]
    fn every_tool_says_what_it_takes_what_it_gives_and_that_it_only_reads() {
        let listed = ask("tools/list", json!({})).unwrap();
        let tools = listed["tools"].as_array().unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["search_tickets", "get_ticket", "ticket_stats"]);
        for tool in tools {
            assert_eq!(tool["inputSchema"]["type"], "object");
            assert_eq!(tool["outputSchema"]["type"], "object");
            assert_eq!(tool["annotations"]["readOnlyHint"], true);
            assert!(tool["title"].is_string() && tool["description"].is_string());
        }
        let described = tools[0]["inputSchema"]["properties"].as_object().unwrap();
        assert_eq!(described.len(), super::super::filter::ARGUMENTS.len());
        for argument in super::super::filter::ARGUMENTS {
            assert!(described[argument]["description"].is_string(), "{argument}");
        }
        assert_eq!(
            described["priority"]["enum"],
            json!(["low", "medium", "high", "urgent"])
        );
    }

    #[test]
    fn a_search_gives_structure_and_readable_text() {
        let result = call_tool(
            "search_tickets",
            json!({ "user": "dana", "status": "in_progress", "limit": 1 }),
        );
        let structured = &result["structuredContent"];
        assert_eq!(
            (&structured["total"], &structured["returned"]),
            (&json!(2), &json!(1))
        );
        assert_eq!(structured["tickets"][0]["id"], "T-044");
        assert_eq!(
            told(&result),
            "2 of 50 tickets match (user dana, status in_progress). The 1 last updated are shown.\n\
             T-044 [in_progress, urgent] Crash when a project has no owner (bug, dana, updated 2025-11-02)"
        );
        assert!(result.get("isError").is_none());
        let all = ask("tools/call", json!({ "name": "search_tickets" })).unwrap();
        assert_eq!(
            (
                &all["structuredContent"]["total"],
                &all["structuredContent"]["returned"]
            ),
            (&json!(50), &json!(20))
        );
    }

    #[test]
    fn a_bad_filter_value_is_a_tool_error_that_helps() {
        let result = call_tool("search_tickets", json!({ "status": "opened" }));
        assert_eq!(result["isError"], true);
        assert!(result.get("structuredContent").is_none());
        assert_eq!(
            told(&result),
            "`opened` is not a status. Allowed: open, in_progress, waiting, resolved, closed. Did you mean `open`?"
        );
    }

    #[test]
    fn a_search_is_logged_once_when_the_client_listens_and_a_refused_one_is_not() {
        for (level, n) in [
            (Some(LogLevel::Debug), 1),
            (Some(LogLevel::Info), 1),
            (Some(LogLevel::Notice), 0),
            (None, 0),
        ] {
            let mut client = Noting {
                level,
                told: Vec::new(),
            };
            let search = json!({ "name": "search_tickets", "arguments": { "user": "ben" } });
            ask_as(&mut client, "tools/call", search).unwrap();
            let refused = json!({ "name": "search_tickets", "arguments": { "user": "nobody" } });
            ask_as(&mut client, "tools/call", refused).unwrap();
            assert_eq!(client.told.len(), n, "{level:?}");
            for (method, params) in client.told {
                assert_eq!(method, "notifications/message");
                assert_eq!(params["data"], "search: 7 of 50 tickets match (user ben)");
            }
        }
    }

    #[test]
    fn a_ticket_is_got_by_its_id_and_a_wrong_id_is_helped() {
        let result = call_tool("get_ticket", json!({ "id": " t-022 " }));
        assert_eq!(result["structuredContent"]["id"], "T-022");
        assert!(told(&result).contains("Customers cannot be edited for twenty minutes."));
        for (arguments, expected) in [
            (
                json!({ "id": "T-22" }),
                "There is no ticket `T-22`. Ids go from T-001 to T-050; search_tickets finds them. Did you mean `T-022`?",
            ),
            (
                json!({}),
                "`id` is missing. Give the id of a ticket, for example `T-001`.",
            ),
            (json!({ "id": 7 }), "`id` must be a string, not 7."),
            (
                json!({ "ticket": "T-001" }),
                "There is no argument `ticket`. Known: id.",
            ),
        ] {
            let result = call_tool("get_ticket", arguments);
            assert_eq!((told(&result), &result["isError"]), (expected, &json!(true)));
        }
    }

    #[test]
    fn stats_count_everything_once() {
        let result = call_tool("ticket_stats", json!({}));
        let structured = &result["structuredContent"];
        assert_eq!(structured["total"], 50);
        for field in ["by_status", "by_priority", "by_category"] {
            let counts = structured[field].as_object().unwrap();
            assert_eq!(
                counts.values().map(|n| n.as_u64().unwrap()).sum::<u64>(),
                50,
                "{field}"
            );
        }
        assert!(told(&result).starts_with("50 tickets.\nBy status: "));
        assert_eq!(
            call_tool("ticket_stats", json!({ "by": "user" }))["isError"],
            true
        );
    }

    #[test]
    fn an_unknown_tool_and_params_of_the_wrong_kind_are_protocol_errors() {
        for params in [
            json!({ "name": "delete_ticket" }),
            json!({}),
            json!({ "name": 7 }),
            json!({ "name": "ticket_stats", "arguments": [] }),
        ] {
            assert_eq!(
                ask("tools/call", params.clone()).unwrap_err()["code"],
                -32602,
                "{params}"
            );
        }
    }
}
