//! The demo `analytics`: live events of a restaurant chain, to watch, to subscribe to and to have reported.
//!
//! It shows what a server can say by itself: progress, log messages, changed resources, and a question to a person.
//! [`event`] and [`feed`] decide what happens, purely from a seed; [`live`] lets it happen; [`offer`], [`tools`],
//! [`watch`], [`report`], [`resources`], [`prompts`] and [`complete`] are what a client sees.

mod complete;
mod department;
mod event;
mod feed;
mod live;
mod offer;
mod prompts;
mod report;
mod resources;
mod settings;
mod tools;
mod watch;

use serde_json::{Value, json};

use super::fault::Fault;
use super::outlet::Outlet;
use super::server::{About, Client, DemoServer, Params, Work, object, required_text};
use live::Chain;
pub(super) use settings::Settings;

/// The server.
#[derive(Debug)]
pub(super) struct Analytics {
    settings: Settings,
    chain: Chain,
}

impl Analytics {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            chain: Chain::new(&settings),
            settings,
        }
    }
}

impl Drop for Analytics {
    fn drop(&mut self) {
        self.chain.end();
    }
}

impl DemoServer for Analytics {
    fn about(&self) -> About {
        About {
            name: "mcp-wrapper-demo-analytics",
            title: "Restaurant chain, live",
            instructions: format!(
                "Live figures of a chain of four restaurants ({}), by department ({}). All of it is made up, and \
                 equal seeds tell equal stories. See how things stand with current_figures, follow events with \
                 watch_events, and sum up past days with costly_report, which asks before it works. A source fails \
                 now and then; figures marked with the source `fallback` are cached or estimated.",
                department::BRANCHES.join(", "),
                offer::words(&self.settings).join(", "),
            ),
            capabilities: Params::from_iter([
                ("tools".to_owned(), json!({})),
                ("prompts".to_owned(), json!({})),
                ("resources".to_owned(), json!({ "subscribe": true })),
                ("completions".to_owned(), json!({})),
            ]),
        }
    }

    fn begin(&mut self, outlet: &Outlet) {
        self.chain.start(outlet, &self.settings);
    }

    fn long_work(&mut self, method: &str, params: &Params) -> Result<Option<Work>, Fault> {
        if method != "tools/call" {
            return Ok(None);
        }
        let arguments = object(params, "arguments")?;
        Ok(match required_text(params, "name")? {
            "watch_events" => Some(watch::work(&self.settings, &self.chain, &arguments)),
            "costly_report" => Some(report::work(&self.settings, &arguments)),
            _ => None,
        })
    }

    fn answer(&mut self, method: &str, params: &Params, client: &mut dyn Client) -> Result<Value, Fault> {
        let (settings, chain) = (&self.settings, &self.chain);
        match method {
            "tools/list" => offer::list(settings, params),
            "tools/call" => tools::call(settings, chain, params, client),
            "prompts/list" => prompts::list(params),
            "prompts/get" => prompts::get(settings, chain, params),
            "resources/list" => resources::list(settings, params),
            "resources/templates/list" => resources::list_templates(params),
            "resources/read" => resources::read(settings, chain, params),
            "resources/subscribe" => resources::subscribe(settings, chain, params),
            "resources/unsubscribe" => resources::unsubscribe(settings, chain, params),
            "completion/complete" => complete::complete(settings, params),
            _ => Err(Fault::no_method(method)),
        }
    }
}

/// What the tests of the modules below begin with.
#[cfg(test)]
mod talking {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::talk::Talk;
    use super::*;

    /// Resources change as fast as they may.
    pub(super) fn fast() -> Settings {
        Settings {
            interval: Duration::from_millis(10),
            ..Settings::default()
        }
    }

    pub(super) fn talk() -> Talk {
        talk_as(json!({}))
    }

    pub(super) fn talk_as(capabilities: Value) -> Talk {
        Talk::hello(Analytics::new(fast()), "2025-11-25", capabilities)
    }

    pub(super) fn text(result: &Value) -> &str {
        result["content"][0]["text"].as_str().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader, Write};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::super::talk::{self, Talk};
    use super::super::wire;
    use super::talking::talk;
    use super::*;

    #[test]
    fn it_says_what_it_can() {
        let mut talk = Talk::with(Analytics::new(Settings::default()));
        let hello = talk.ask("initialize", json!({ "protocolVersion": "2025-06-18" }));
        let capabilities = &hello["result"]["capabilities"];
        assert_eq!(capabilities["resources"], json!({ "subscribe": true }));
        for capability in ["tools", "prompts", "completions", "logging"] {
            assert_eq!(capabilities[capability], json!({}), "{capability}");
        }
        assert_eq!(talk.ask("tools/run", json!({}))["error"]["code"], -32601);
    }

    #[test]
    fn the_end_of_the_input_is_the_end_even_while_a_tool_runs() {
        let mut talk = talk();
        let arguments = json!({ "interval_ms": 10_000, "count": 100 });
        let params =
            json!({ "name": "watch_events", "arguments": arguments, "_meta": { "progressToken": "p" } });
        talk.request(json!(1), "tools/call", params);
        assert_eq!(talk.hear()["method"], "notifications/progress");
        talk.hang_up().unwrap();
        assert_eq!(talk.rest(), Vec::<Value>::new());
    }

    /// Takes so many lines, says that it is stuck with the next one, and waits until the test lets go.
    struct Stuck {
        lines_taken: usize,
        stuck: mpsc::SyncSender<()>,
        let_go: mpsc::Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(left) = self.lines_taken.checked_sub(1) {
                self.lines_taken = left;
            } else {
                self.stuck.send(()).unwrap();
                self.let_go.recv().unwrap();
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Says this request, waits until a write after so many lines is stuck, hangs up, and waits for the end.
    fn end_while_stuck(lines_taken: usize, method: &str, params: &Value) {
        let (stuck, is_stuck) = mpsc::sync_channel(1);
        let (release, let_go) = mpsc::sync_channel(1);
        let output = Box::new(Stuck {
            lines_taken,
            stuck,
            let_go,
        });
        let (input, mut say) = io::pipe().unwrap();
        let (tell, ended) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut server = Analytics::new(talking::fast());
            let served = wire::serve(&mut server, &mut BufReader::new(input), output);
            drop(server);
            tell.send(served.is_ok()).unwrap();
        });
        writeln!(
            say,
            "{}",
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
        )
        .unwrap();
        is_stuck.recv().unwrap();
        writeln!(
            say,
            "{}",
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
        )
        .unwrap();
        drop(say);
        assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true));
        release.send(()).unwrap();
    }

    #[test]
    fn a_tool_that_is_stuck_in_a_write_does_not_hold_up_the_end() {
        let params = json!({ "name": "watch_events", "_meta": { "progressToken": "p" } });
        end_while_stuck(0, "tools/call", &params);
    }

    #[test]
    fn a_subscription_that_is_stuck_in_a_write_does_not_hold_up_the_end() {
        end_while_stuck(1, "resources/subscribe", &json!({ "uri": "analytics://summary" }));
    }

    #[test]
    fn requests_in_a_batch_are_answered_together_also_the_long_ones() {
        let mut talk = Talk::hello(Analytics::new(Settings::default()), "2025-03-26", json!({}));
        let watch = json!({ "name": "watch_events", "arguments": { "count": 1 } });
        talk.say(&json!([
            { "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": watch },
            { "jsonrpc": "2.0", "id": 2, "method": "ping" },
        ]));
        let together = talk.hear();
        let mut ids: Vec<u64> = together
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| answer["id"].as_u64().unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn equal_seeds_say_the_same_and_others_do_not() {
        let say = |seed| {
            let settings = Settings {
                seed,
                ..Settings::default()
            };
            let lines = [
                json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read",
                    "params": { "uri": "analytics://summary" } }),
                json!({ "jsonrpc": "2.0", "id": 2, "method": "prompts/get",
                    "params": { "name": "daily_briefing" } }),
            ];
            talk::at_once(
                Analytics::new(settings),
                &lines.map(|line| line.to_string()).join("\n"),
            )
        };
        assert_eq!(say(7).len(), 2);
        assert_eq!(say(7), say(7));
        assert_ne!(say(7), say(8));
    }
}
