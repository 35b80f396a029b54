//! Answers and notifications that break the rules of routing, byte for byte.
//!
//! | deed | what is written |
//! | --- | --- |
//! | `conflicting_duplicate` | the answer, and another one under the same id |
//! | `unsolicited_response` | answers under ids that nobody gave, then the answer |
//! | `null_id_response` | answers and an error with the id `null` or none, then the answer |
//! | `id_type_confusion` | the id as a text, and then as the number that it was |
//! | `dup_keys` | an answer with two ids; the call itself is never answered |
//! | `case_keys` | an answer with `ID` and `Result`; the call itself is never answered |
//! | `result_and_error`, `neither`, `no_jsonrpc_member` | an answer that is none |
//! | `foreign_progress` | progress under tokens that are not the caller's, between two steps of its own, and one more step after the answer |
//! | `progress_storm` | `n` steps without a pause, each with a message of `bytes`, then the answer |
//! | `list_changed_storm` | `n` times "the tools have changed", with every hundredth one new tool and 20 ms to ask for the list, then the answer |

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

/// One call, as it came.
pub(crate) struct Asked<'a> {
    pub(crate) world: &'a Arc<World>,
    pub(crate) id: &'a str,
    pub(crate) arguments: &'a str,
    pub(crate) progress_token: Option<&'a str>,
}

/// Does it. False when the deed is none of these.
pub(crate) fn run(asked: &Asked<'_>, deed: &str) -> bool {
    asked.answers(deed) || asked.answers_wrongly(deed) || asked.notifies(deed)
}

impl Asked<'_> {
    fn echo(&self) {
        self.world.answer_text(self.id, self.arguments);
    }

    fn write(&self, line: &str) {
        self.world.write(line.as_bytes());
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        let arguments: Value = serde_json::from_str(self.arguments).unwrap_or_default();
        arguments[name].as_u64().unwrap_or(default)
    }

    /// The call gets its answer, and there are others beside it.
    fn answers(&self, deed: &str) -> bool {
        let id = self.id;
        match deed {
            "conflicting_duplicate" => {
                self.echo();
                self.world.answer_text(id, "a second answer, and not the same");
                self.world
                    .refuse(id, -32000, "a third answer, and not even a result");
            }
            "unsolicited_response" => {
                for stranger in ["0", "-1", "987654321", "18446744073709551615", "\"1\"", "1.5"] {
                    self.world.answer_text(stranger, "nobody asked");
                }
                self.echo();
            }
            "null_id_response" => {
                self.write(r#"{"jsonrpc":"2.0","id":null,"result":{}}"#);
                self.write(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}"#);
                self.write(r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"what?"}}"#);
                self.write(r#"{"jsonrpc":"2.0","result":{}}"#);
                self.echo();
            }
            "id_type_confusion" => {
                self.world
                    .answer_text(&format!("\"{id}\""), "the id of another type");
                self.echo();
            }
            _ => return false,
        }
        true
    }

    /// The only answer the call gets is no answer.
    fn answers_wrongly(&self, deed: &str) -> bool {
        let id = self.id;
        let line = match deed {
            "dup_keys" => format!(r#"{{"jsonrpc":"2.0","id":{id},"id":{id},"result":{{}}}}"#),
            "case_keys" => format!(r#"{{"jsonrpc":"2.0","ID":{id},"Result":{{}}}}"#),
            "result_and_error" => {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}},"error":{{"code":1,"message":"x"}}}}"#)
            }
            "neither" => format!(r#"{{"jsonrpc":"2.0","id":{id}}}"#),
            "no_jsonrpc_member" => format!(r#"{{"id":{id},"result":{{}}}}"#),
            _ => return false,
        };
        self.world.begin(id);
        self.write(&line);
        true
    }

    fn notifies(&self, deed: &str) -> bool {
        match deed {
            "foreign_progress" => self.foreign_progress(),
            "progress_storm" => {
                let message = "x".repeat(usize::try_from(self.number("bytes", 0)).unwrap());
                for step in 1..=self.number("n", 1000) {
                    self.step(self.progress_token, step, &message);
                }
                self.echo();
            }
            "list_changed_storm" => self.list_changed_storm(),
            _ => return false,
        }
        true
    }

    fn step(&self, token: Option<&str>, step: u64, message: &str) {
        if let Some(token) = token {
            let params = format!(r#"{{"progressToken":{token},"progress":{step},"message":"{message}"}}"#);
            self.world.notify("notifications/progress", &params);
        }
    }

    fn foreign_progress(&self) {
        self.step(self.progress_token, 1, "");
        for stranger in ["\"mine\"", "0", "987654321", "1.5", "null", "{}"] {
            self.step(Some(stranger), 7, "");
        }
        self.step(self.progress_token, 2, "");
        self.echo();
        self.step(self.progress_token, 3, "");
    }

    fn list_changed_storm(&self) {
        let (world, n) = (Arc::clone(self.world), self.number("n", 10_000));
        let (id, arguments) = (self.id.to_owned(), self.arguments.to_owned());
        thread::spawn(move || {
            for n in 1..=n {
                if n % 100 == 0 {
                    world.tools.lock().unwrap().push(format!("grown_{n}"));
                    thread::sleep(Duration::from_millis(20));
                }
                world.notify("notifications/tools/list_changed", &json!({}).to_string());
            }
            world.answer_text(&id, &arguments);
        });
    }
}
