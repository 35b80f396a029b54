//! What went into the processes of a server and what came out of them, as `tee` has written it down.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

pub struct Tape {
    folder: PathBuf,
}

impl Tape {
    pub fn of(gateway: &Value) -> Self {
        Self { folder: PathBuf::from(gateway["tapes"].as_str().expect("the folder of the tapes")) }
    }

    /// What this server was told by the gateway, by all its processes together.
    pub fn told(&self, server: &str) -> Vec<Value> {
        self.messages(&format!("{server}.in."))
    }

    /// What this server said.
    pub fn said(&self, server: &str) -> Vec<Value> {
        self.messages(&format!("{server}.out."))
    }

    /// The call of a tool with exactly these arguments, as the server got it.
    pub fn call_of(&self, server: &str, tool: &str, args: &Value) -> Option<Value> {
        let is_it = |one: &Value| {
            one["method"] == "tools/call" && one["params"]["name"] == tool && one["params"]["arguments"] == *args
        };
        self.told(server).into_iter().find(is_it)
    }

    /// A line that is not finished is not there yet.
    fn messages(&self, begins: &str) -> Vec<Value> {
        let entries = fs::read_dir(&self.folder).expect("the tapes");
        let mut all = Vec::new();
        for path in entries.map(|entry| entry.expect("a tape").path()) {
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins)) {
                continue;
            }
            let text = fs::read_to_string(path).expect("a tape");
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            all.extend(whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON on a tape")));
        }
        all
    }
}
