//! The demo `tickets`: fifty tickets of a software team, to search, read and count.
//!
//! [`store`] holds the tickets; [`offer`], [`tools`], [`prompts`], [`resources`] and [`complete`] are what a client sees.

mod complete;
mod filter;
mod offer;
mod prompts;
mod resources;
mod store;
mod tools;

use serde_json::{Value, json};

use super::fault::Fault;
use super::server::{About, Client, DemoServer, Params};
use store::Store;

/// The server: its tickets never change.
#[derive(Debug)]
pub(super) struct Tickets {
    store: Store,
}

impl Tickets {
    /// Reads the tickets that are built into the program.
    pub(super) fn load() -> serde_json::Result<Self> {
        Ok(Self {
            store: Store::load()?,
        })
    }
}

impl DemoServer for Tickets {
    fn about(&self) -> About {
        About {
            name: "mcp-wrapper-demo-tickets",
            title: "Sample ticket desk",
            instructions: format!(
                "{} sample tickets of a software team, the same on every start. Find tickets with \
                 search_tickets (all filters are optional and combine), read one with get_ticket, and count \
                 them with ticket_stats. The team: {}.",
                self.store.all().len(),
                self.store.users().join(", "),
            ),
            capabilities: Params::from_iter(
                ["tools", "prompts", "resources", "completions"].map(|name| (name.to_owned(), json!({}))),
            ),
        }
    }

    fn answer(&mut self, method: &str, params: &Params, client: &mut dyn Client) -> Result<Value, Fault> {
        match method {
            "tools/list" => offer::list(&self.store, params),
            "tools/call" => tools::call(&self.store, params, client),
            "prompts/list" => prompts::list(params),
            "prompts/get" => prompts::get(&self.store, params),
            "resources/list" => resources::list(params),
            "resources/templates/list" => resources::list_templates(params),
            "resources/read" => resources::read(&self.store, params),
            "completion/complete" => complete::complete(&self.store, params),
            _ => Err(Fault::no_method(method)),
        }
    }
}

/// Lets the tests of the modules below ask one request, as the wire would.
#[cfg(test)]
mod asking {
    use super::super::server::LogLevel;
    use super::*;

    /// A client that notes what it is told.
    pub(super) struct Noting {
        pub(super) level: Option<LogLevel>,
        pub(super) told: Vec<(String, Value)>,
    }

    impl Client for Noting {
        fn notify(&mut self, method: &str, params: Value) {
            self.told.push((method.to_owned(), params));
        }

        fn log_level(&self) -> Option<LogLevel> {
            self.level
        }
    }

    /// The result, or the `error` member.
    pub(super) fn ask(method: &str, params: Value) -> Result<Value, Value> {
        let mut client = Noting {
            level: None,
            told: Vec::new(),
        };
        let answer = ask_as(&mut client, method, params);
        assert_eq!(client.told, [], "nobody asked for notifications");
        answer
    }

    pub(super) fn ask_as(client: &mut Noting, method: &str, params: Value) -> Result<Value, Value> {
        let Value::Object(params) = params else {
            panic!("params are an object")
        };
        Tickets::load()
            .unwrap()
            .answer(method, &params, client)
            .map_err(Fault::into_json)
    }
}

#[cfg(test)]
mod tests {
    use super::super::talk;
    use super::asking::ask;
    use super::*;

    #[test]
    fn a_whole_conversation_over_the_wire() {
        let input = [
            json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": { "level": "info" } }),
            json!({ "jsonrpc": "2.0", "id": "two", "method": "tools/call", "params": {
                "name": "search_tickets", "arguments": { "priority": "urgent" } } }),
            json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/run" }),
        ]
        .map(|message| message.to_string())
        .join("\n");
        let said = talk::at_once(Tickets::load().unwrap(), &input);

        let [hello, level, log, found, unknown] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert_eq!(hello["result"]["protocolVersion"], "2025-06-18");
        for capability in ["tools", "prompts", "resources", "completions", "logging"] {
            assert!(
                hello["result"]["capabilities"][capability].is_object(),
                "{capability}"
            );
        }
        assert!(
            hello["result"]["instructions"]
                .as_str()
                .unwrap()
                .contains("search_tickets")
        );
        assert_eq!(level["result"], json!({}));
        assert_eq!(
            (&log["method"], &log["params"]["level"]),
            (&json!("notifications/message"), &json!("info"))
        );
        assert_eq!(found["id"], "two");
        assert!(found["result"]["structuredContent"]["total"].as_u64().unwrap() > 0);
        assert_eq!(unknown["error"]["code"], -32601);
    }

    #[test]
    fn lists_have_one_page_so_every_cursor_is_refused() {
        for method in [
            "tools/list",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
        ] {
            assert!(ask(method, json!({})).unwrap().get("nextCursor").is_none());
            assert_eq!(
                ask(method, json!({ "cursor": "2" })).unwrap_err()["code"],
                -32602,
                "{method}"
            );
        }
    }
}
