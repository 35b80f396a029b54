//! The quick tools: `current_figures` and `simulate_outage`.
//!
//! A wrong argument is a tool result with `isError`, so that the model reads it and corrects itself; only an
//! unknown tool is a protocol error. Source: MCP 2025-11-25, tools, "Error Handling".

use std::time::Duration;

use serde_json::{Value, json};

use super::event::Event;
use super::live::{Chain, log};
use super::offer::required_department;
use super::settings::Settings;
use crate::demo::arguments::{refuse_unknown, text, whole_number};
use crate::demo::fault::Fault;
use crate::demo::outcome::{failure, success};
use crate::demo::server::{Client, Params, object, required_text};
use crate::demo::words::Word;

/// The longest outage. Unit: seconds.
pub(super) const SECONDS_MAX: u64 = 3600;

pub(super) fn call(
    settings: &Settings,
    chain: &Chain,
    params: &Params,
    client: &mut dyn Client,
) -> Result<Value, Fault> {
    let name = required_text(params, "name")?;
    let arguments = object(params, "arguments")?;
    let outcome = match name {
        "current_figures" => current_figures(settings, chain, &arguments),
        "simulate_outage" => simulate_outage(settings, chain, &arguments, client),
        _ => return Err(Fault::params(format!("Unknown tool: {name}"))),
    };
    Ok(outcome.unwrap_or_else(|why| failure(&why)))
}

fn current_figures(settings: &Settings, chain: &Chain, arguments: &Params) -> Result<Value, String> {
    refuse_unknown(arguments, &["department"])?;
    let department = required_department(settings, arguments)?;
    let standing = chain
        .standing(department)
        .ok_or_else(|| not_on_offer(department.as_str()))?;
    let lines: Vec<String> = standing.branches.iter().map(Event::line).collect();
    let branches: Vec<Value> = standing.branches.iter().map(Event::to_json).collect();
    Ok(success(
        &format!(
            "{}, source: {}\n{}",
            department.as_str(),
            standing.source,
            lines.join("\n")
        ),
        &json!({ "department": department, "source": standing.source, "branches": branches }),
    ))
}

fn simulate_outage(
    settings: &Settings,
    chain: &Chain,
    arguments: &Params,
    client: &mut dyn Client,
) -> Result<Value, String> {
    refuse_unknown(arguments, &["department", "seconds", "inject_error"])?;
    let department = required_department(settings, arguments)?;
    let seconds = whole_number(arguments, "seconds", 1..=SECONDS_MAX)?
        .ok_or("`seconds` is missing. Say how long the source shall fail, for example 30.")?;
    let why = match text(arguments, "inject_error")?.filter(|why| !why.is_empty()) {
        Some(why) => why.to_owned(),
        None => format!("{} is down (a simulated outage)", department.source()),
    };
    let failed = chain
        .fail(department, Duration::from_secs(seconds), &why)
        .ok_or_else(|| not_on_offer(department.as_str()))?;
    log(&failed, client);
    let name = department.as_str();
    Ok(success(
        &format!(
            "The source of {name} fails for {seconds} s; its figures come from the fallback.\n{}",
            failed.line()
        ),
        &json!({ "department": department, "source": "fallback", "seconds": seconds, "event": failed.to_json() }),
    ))
}

fn not_on_offer(department: &str) -> String {
    format!("The department {department} is not on offer.")
}

#[cfg(test)]
mod tests {
    use super::super::talking::{talk, text};
    use super::*;

    #[test]
    fn every_tool_is_described_and_takes_what_it_says() {
        let listed = talk().ask("tools/list", json!({}))["result"].take();
        let names: Vec<&str> = listed["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "watch_events",
                "current_figures",
                "costly_report",
                "simulate_outage"
            ]
        );
        for tool in listed["tools"].as_array().unwrap() {
            assert!(tool["title"].is_string() && tool["description"].is_string());
            let input = &tool["inputSchema"];
            assert_eq!(
                input["properties"]["department"]["enum"],
                json!(["sales", "bookings", "occupancy", "shifts"])
            );
            assert_eq!(input["additionalProperties"], false);
        }
    }

    #[test]
    fn figures_are_there_at_once_for_every_branch() {
        let result = talk().call("current_figures", json!({ "department": "shifts" }));
        let structured = &result["structuredContent"];
        assert_eq!(structured["department"], "shifts");
        let branches: Vec<&str> = structured["branches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["branch"].as_str().unwrap())
            .collect();
        assert_eq!(branches, super::super::department::BRANCHES);
        assert!(structured["branches"][0]["figures"]["people_planned"].is_u64());
        assert_eq!(text(&result).lines().count(), 5);
    }

    #[test]
    fn an_outage_is_an_error_at_once_and_fallback_from_then_on() {
        let mut talk = talk();
        talk.ask("logging/setLevel", json!({ "level": "error" }));
        let outage = json!({ "department": "sales", "seconds": 3600, "inject_error": "the till is on fire" });
        talk.tool(json!(1), "simulate_outage", outage);
        let log = talk.hear();
        assert_eq!(
            (&log["params"]["level"], &log["params"]["logger"]),
            (&json!("error"), &json!("analytics.sales"))
        );
        assert_eq!(log["params"]["data"]["error"], "the till is on fire");
        let result = talk.hear()["result"].take();
        assert_eq!(result["structuredContent"]["event"], log["params"]["data"]);
        assert_eq!(result["structuredContent"]["source"], "fallback");
        let figures = talk.call("current_figures", json!({ "department": "sales" }));
        assert_eq!(figures["structuredContent"]["source"], "fallback");
        let watched = talk.call(
            "watch_events",
            json!({ "department": "sales", "count": 4, "interval_ms": 10 }),
        );
        assert_eq!(watched["structuredContent"]["fallback"], 4);
        for event in watched["structuredContent"]["events"].as_array().unwrap() {
            assert_eq!(event["source"], "fallback");
        }
    }

    #[test]
    fn wrong_arguments_are_told_to_the_model() {
        let mut talk = talk();
        for (name, arguments, told) in [
            (
                "current_figures",
                json!({}),
                "`department` is missing. Give one of: sales, bookings, occupancy, shifts.",
            ),
            (
                "current_figures",
                json!({ "department": "sale" }),
                "`sale` is not a department. Allowed: sales, bookings, occupancy, shifts. Did you mean `sales`?",
            ),
            (
                "simulate_outage",
                json!({ "department": "sales", "seconds": 0 }),
                "`seconds` must be a whole number from 1 to 3600, not 0.",
            ),
            (
                "simulate_outage",
                json!({ "department": "sales" }),
                "`seconds` is missing. Say how long the source shall fail, for example 30.",
            ),
            (
                "watch_events",
                json!({ "interval_ms": 9 }),
                "`interval_ms` must be a whole number from 10 to 10000, not 9.",
            ),
            (
                "watch_events",
                json!({ "count": 101 }),
                "`count` must be a whole number from 1 to 100, not 101.",
            ),
            (
                "costly_report",
                json!({ "department": "sales" }),
                "`days` is missing. Say how many days the report shall cover, from 1 to 365.",
            ),
            (
                "costly_report",
                json!({ "department": "sales", "days": 366 }),
                "`days` must be a whole number from 1 to 365, not 366.",
            ),
            (
                "costly_report",
                json!({ "department": "sales", "days": 3, "confirmed": "yes" }),
                "`confirmed` must be true or false, not \"yes\".",
            ),
        ] {
            let result = talk.call(name, arguments);
            assert_eq!((text(&result), &result["isError"]), (told, &json!(true)));
        }
    }

    #[test]
    fn an_unknown_tool_and_params_of_the_wrong_kind_are_protocol_errors() {
        let mut talk = talk();
        for params in [
            json!({ "name": "burn_kitchen" }),
            json!({}),
            json!({ "name": "watch_events", "arguments": [] }),
        ] {
            assert_eq!(talk.ask("tools/call", params)["error"]["code"], -32602);
        }
    }
}
