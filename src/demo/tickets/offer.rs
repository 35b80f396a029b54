//! What `tools/list` says: names, schemas and hints of the three tools.

use serde_json::{Value, json};

use super::filter::{LIMIT_DEFAULT, LIMIT_MAX};
use super::store::{Category, Priority, Status, Store};
use crate::demo::fault::Fault;
use crate::demo::server::{Params, only_first_page};
use crate::demo::words::Word;

pub(super) fn list(store: &Store, params: &Params) -> Result<Value, Fault> {
    only_first_page(params)?;
    Ok(json!({ "tools": [search_tool(store), get_tool(), stats_tool()] }))
}

fn search_tool(store: &Store) -> Value {
    json!({
        "name": "search_tickets",
        "title": "Search tickets",
        "description": "Finds tickets. All filters are optional; a ticket must match every one that is given. \
                        The last updated come first.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "user": { "type": "string", "enum": store.users(), "description": "Who the ticket belongs to." },
                "status": { "type": "string", "enum": Status::words(), "description": "How far the ticket is." },
                "priority": { "type": "string", "enum": Priority::words(), "description": "How much it presses." },
                "category": { "type": "string", "enum": Category::words(), "description": "What it is about." },
                "keyword": { "type": "string", "description":
                    "Words that must all occur in the id, title or description; case does not matter." },
                "limit": { "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT,
                    "description": "How many tickets to return at most." },
            },
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "total": { "type": "integer", "description": "How many tickets match." },
                "returned": { "type": "integer", "description": "How many of them are in `tickets`." },
                "tickets": { "type": "array", "items": ticket_schema() },
            },
            "required": ["total", "returned", "tickets"],
        },
        "annotations": annotations("Search tickets"),
    })
}

fn get_tool() -> Value {
    json!({
        "name": "get_ticket",
        "title": "Get a ticket",
        "description": "Returns one ticket with its full description.",
        "inputSchema": {
            "type": "object",
            "properties": { "id": { "type": "string", "description": "The id of the ticket, for example T-001." } },
            "required": ["id"],
            "additionalProperties": false,
        },
        "outputSchema": ticket_schema(),
        "annotations": annotations("Get a ticket"),
    })
}

fn stats_tool() -> Value {
    let counts = |words: Vec<&str>| {
        let properties: Params = words
            .iter()
            .map(|word| ((*word).to_owned(), json!({ "type": "integer" })))
            .collect();
        json!({ "type": "object", "properties": properties, "required": words })
    };
    json!({
        "name": "ticket_stats",
        "title": "Count tickets",
        "description": "Counts all tickets by status, priority and category.",
        "inputSchema": { "type": "object", "properties": {}, "additionalProperties": false },
        "outputSchema": {
            "type": "object",
            "properties": {
                "total": { "type": "integer" },
                "by_status": counts(Status::words()),
                "by_priority": counts(Priority::words()),
                "by_category": counts(Category::words()),
            },
            "required": ["total", "by_status", "by_priority", "by_category"],
        },
        "annotations": annotations("Count tickets"),
    })
}

fn ticket_schema() -> Value {
    let text = |what: &str| json!({ "type": "string", "description": what });
    json!({
        "type": "object",
        "properties": {
            "id": text("T-001 and so on."),
            "title": text("What it is about, in one line."),
            "description": text("The whole story."),
            "user": text("Who it belongs to."),
            "status": { "type": "string", "enum": Status::words() },
            "priority": { "type": "string", "enum": Priority::words() },
            "category": { "type": "string", "enum": Category::words() },
            "created": { "type": "string", "format": "date" },
            "updated": { "type": "string", "format": "date" },
        },
        "required": ["id", "title", "description", "user", "status", "priority", "category", "created", "updated"],
    })
}

fn annotations(title: &str) -> Value {
    json!({ "title": title, "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false })
}
