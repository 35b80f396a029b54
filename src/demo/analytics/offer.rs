//! What `tools/list` says: names, schemas and hints of the four tools.

use serde_json::{Value, json};

use super::department::{BRANCHES, Department};
use super::report::DAYS_MAX;
use super::settings::Settings;
use super::tools::SECONDS_MAX;
use super::watch::{COUNT_DEFAULT, COUNT_MAX, INTERVAL_MS, INTERVAL_MS_DEFAULT};
use crate::demo::arguments::{not_allowed, text};
use crate::demo::fault::Fault;
use crate::demo::server::{Params, only_first_page};
use crate::demo::words::Word;

/// The departments on offer, as they are written.
pub(super) fn words(settings: &Settings) -> Vec<&'static str> {
    settings
        .departments
        .iter()
        .map(|department| department.as_str())
        .collect()
}

/// The department of a tool's arguments, if one is given.
pub(super) fn department(settings: &Settings, arguments: &Params) -> Result<Option<Department>, String> {
    let Some(given) = text(arguments, "department")? else {
        return Ok(None);
    };
    Department::parse(given)
        .filter(|department| settings.departments.contains(department))
        .map(Some)
        .ok_or_else(|| not_allowed("department", given, &words(settings)))
}

/// The department of a tool's arguments, which must be given.
pub(super) fn required_department(settings: &Settings, arguments: &Params) -> Result<Department, String> {
    department(settings, arguments)?.ok_or_else(|| {
        format!(
            "`department` is missing. Give one of: {}.",
            words(settings).join(", ")
        )
    })
}

pub(super) fn list(settings: &Settings, params: &Params) -> Result<Value, Fault> {
    only_first_page(params)?;
    Ok(json!({ "tools": [
        watch_tool(settings), figures_tool(settings), report_tool(settings), outage_tool(settings),
    ] }))
}

fn watch_tool(settings: &Settings) -> Value {
    let (least, most) = (INTERVAL_MS.start(), INTERVAL_MS.end());
    json!({
        "name": "watch_events",
        "title": "Watch events",
        "description": "Follows the events of the chain as they happen: each one is told as progress and as a log \
                        message at once, and all of them are in the result.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "department": { "type": "string", "enum": words(settings),
                    "description": "Only this department; without it, all of them in turn." },
                "interval_ms": { "type": "integer", "minimum": least, "maximum": most,
                    "default": INTERVAL_MS_DEFAULT, "description": "Milliseconds from one event to the next." },
                "count": { "type": "integer", "minimum": 1, "maximum": COUNT_MAX, "default": COUNT_DEFAULT,
                    "description": "How many events to wait for." },
            },
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "count": { "type": "integer" },
                "errors": { "type": "integer", "description": "How many of the events are errors of a source." },
                "fallback": { "type": "integer", "description": "How many carry cached or estimated figures." },
                "events": { "type": "array", "items": event_schema() },
            },
            "required": ["count", "errors", "fallback", "events"],
        },
        "annotations": annotations("Watch events", true),
    })
}

fn figures_tool(settings: &Settings) -> Value {
    json!({
        "name": "current_figures",
        "title": "Current figures",
        "description": "Returns the last reading of every branch in one department, at once.",
        "inputSchema": one_department(settings),
        "outputSchema": {
            "type": "object",
            "properties": {
                "department": { "type": "string" },
                "source": source_schema(),
                "branches": { "type": "array", "items": event_schema() },
            },
            "required": ["department", "source", "branches"],
        },
        "annotations": annotations("Current figures", true),
    })
}

fn report_tool(settings: &Settings) -> Value {
    json!({
        "name": "costly_report",
        "title": "Costly report",
        "description": "Sums up the past days of one department. It takes a while, so it asks first.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "department": { "type": "string", "enum": words(settings) },
                "days": { "type": "integer", "minimum": 1, "maximum": DAYS_MAX,
                    "description": "How many days to go back." },
                "confirmed": { "type": "boolean", "default": false,
                    "description": "Whether the person agreed; needed only where nobody can be asked." },
            },
            "required": ["department", "days"],
            "additionalProperties": false,
        },
        "annotations": annotations("Costly report", true),
    })
}

fn outage_tool(settings: &Settings) -> Value {
    json!({
        "name": "simulate_outage",
        "title": "Simulate an outage",
        "description": "Lets the source of one department fail for a while: events become errors and fallback figures.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "department": { "type": "string", "enum": words(settings) },
                "seconds": { "type": "integer", "minimum": 1, "maximum": SECONDS_MAX,
                    "description": "How long it fails." },
                "inject_error": { "type": "string", "description":
                    "The sentence with which the source fails; without it, one that fits." },
            },
            "required": ["department", "seconds"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "department": { "type": "string" },
                "source": source_schema(),
                "seconds": { "type": "integer" },
                "event": event_schema(),
            },
            "required": ["department", "source", "seconds", "event"],
        },
        "annotations": annotations("Simulate an outage", false),
    })
}

fn one_department(settings: &Settings) -> Value {
    json!({
        "type": "object",
        "properties": { "department": { "type": "string", "enum": words(settings) } },
        "required": ["department"],
        "additionalProperties": false,
    })
}

fn event_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "sequence": { "type": "integer", "description": "Counts up within the department." },
            "at": { "type": "string", "format": "date-time", "description": "On the clock of the chain." },
            "department": { "type": "string" },
            "branch": { "type": "string", "enum": BRANCHES },
            "kind": { "type": "string", "enum": ["reading", "error"] },
            "source": source_schema(),
            "figures": { "type": "object", "additionalProperties": { "type": "integer" } },
            "error": { "type": "string" },
            "text": { "type": "string", "description": "The event on one line." },
        },
        "required": ["sequence", "at", "department", "branch", "kind", "source", "text"],
    })
}

fn source_schema() -> Value {
    json!({ "type": "string", "enum": ["live", "fallback"],
        "description": "`fallback`: cached or estimated, because the source fails." })
}

fn annotations(title: &str, reads_only: bool) -> Value {
    json!({ "title": title, "readOnlyHint": reads_only, "destructiveHint": false, "idempotentHint": false,
        "openWorldHint": false })
}
