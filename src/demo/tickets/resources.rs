//! The resources: all tickets, their counts, and one ticket by a template.

use serde::Serialize;
use serde_json::{Value, json};

use super::store::Store;
use crate::demo::fault::Fault;
use crate::demo::server::{Params, only_first_page, required_text};

const ALL: &str = "tickets://all";
const STATS: &str = "tickets://stats";
const TICKET_PREFIX: &str = "tickets://ticket/";
/// The template under which a ticket is read and its id completed.
pub(super) const TICKET_TEMPLATE: &str = "tickets://ticket/{id}";

const JSON: &str = "application/json";

pub(super) fn list(params: &Params) -> Result<Value, Fault> {
    only_first_page(params)?;
    Ok(json!({ "resources": [
        { "uri": ALL, "name": "all", "title": "All tickets", "mimeType": JSON,
          "description": "Every ticket, in the order of the ids." },
        { "uri": STATS, "name": "stats", "title": "Ticket counts", "mimeType": JSON,
          "description": "How many tickets there are by status, priority and category." },
    ] }))
}

pub(super) fn list_templates(params: &Params) -> Result<Value, Fault> {
    only_first_page(params)?;
    Ok(json!({ "resourceTemplates": [
        { "uriTemplate": TICKET_TEMPLATE, "name": "ticket", "title": "One ticket", "mimeType": JSON,
          "description": "One ticket by its id, for example tickets://ticket/T-001." },
    ] }))
}

pub(super) fn read(store: &Store, params: &Params) -> Result<Value, Fault> {
    let uri = required_text(params, "uri")?;
    let text = match uri {
        ALL => pretty(store.all()),
        STATS => pretty(&store.stats()),
        _ => {
            let id = uri
                .strip_prefix(TICKET_PREFIX)
                .ok_or_else(|| Fault::no_resource(uri))?;
            // A URI names one thing in one way, so the id is taken as it is written.
            let ticket = store.find(id).filter(|ticket| ticket.id == id);
            pretty(ticket.ok_or_else(|| Fault::no_resource(uri))?)
        }
    };
    Ok(json!({ "contents": [{ "uri": uri, "mimeType": JSON, "text": text }] }))
}

fn pretty(value: &(impl Serialize + ?Sized)) -> String {
    // Tickets and counts have string keys only, the one thing JSON could refuse.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::asking::ask;
    use super::*;

    fn read_json(uri: &str) -> Value {
        let result = ask("resources/read", json!({ "uri": uri })).unwrap();
        let [content] = result["contents"].as_array().unwrap().as_slice() else {
            panic!("one content")
        };
        assert_eq!(
            (&content["uri"], &content["mimeType"]),
            (&json!(uri), &json!(JSON))
        );
        serde_json::from_str(content["text"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn what_is_listed_can_be_read() {
        let listed = ask("resources/list", json!({})).unwrap();
        let uris: Vec<&str> = listed["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["uri"].as_str().unwrap())
            .collect();
        assert_eq!(uris, [ALL, STATS]);
        assert_eq!(read_json(ALL).as_array().unwrap().len(), 50);
        assert_eq!(read_json(STATS)["total"], 50);
    }

    #[test]
    fn every_ticket_is_read_through_the_template() {
        let listed = ask("resources/templates/list", json!({})).unwrap();
        assert_eq!(listed["resourceTemplates"][0]["uriTemplate"], TICKET_TEMPLATE);
        for ticket in Store::load().unwrap().all() {
            let uri = TICKET_TEMPLATE.replace("{id}", &ticket.id);
            assert_eq!(read_json(&uri), serde_json::to_value(ticket).unwrap());
        }
    }

    #[test]
    fn an_unknown_uri_is_named_in_the_error() {
        for uri in [
            "tickets://none",
            "tickets://ticket/T-999",
            "tickets://ticket/t-001",
            "tickets://ticket/",
            "file:///etc/passwd",
        ] {
            let error = ask("resources/read", json!({ "uri": uri })).unwrap_err();
            assert_eq!(
                (&error["code"], &error["data"]),
                (&json!(-32002), &json!({ "uri": uri }))
            );
        }
        assert_eq!(ask("resources/read", json!({})).unwrap_err()["code"], -32602);
    }
}
