//! Why an entry that was imported stays in the settings of the client all the same: it says more than what we have, or
//! what we have cannot start. Pure.

use std::path::Path;

use crate::config::reference::{Part, Provider};
use crate::config::spec::Launch;
use crate::config::{Environment, RawPolicy, RawServer, resolve};
use crate::ids::ServerName;

/// What a note of the import says about a placeholder. Whether its variable is set is looked up.
const ASKED_FOR: &str = "is known only to the other program";

/// What taking the entry out would lose; `None`: nothing. `notes`: what the import says of the entry. `name`, `raw`: our
/// definition. `is_there`: whether a file is.
pub(in crate::ctl) fn lost(
    notes: &[String],
    name: &ServerName,
    raw: &RawServer,
    environment: &Environment,
    is_there: impl Fn(&Path) -> bool,
) -> Option<String> {
    let mut reasons: Vec<String> = notes
        .iter()
        .filter(|note| !note.contains(ASKED_FOR))
        .cloned()
        .collect();
    match resolve(name, raw, &RawPolicy::default(), environment).launch {
        Launch::Broken { why } => reasons.push(why),
        Launch::Command(command) => {
            let late = command.late.args.values().chain(command.late.env.values());
            reasons.extend(late.flatten().filter_map(|part| unknown(part, &is_there)));
        }
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Programs and keyrings are asked at the start only.
fn unknown(part: &Part, is_there: impl Fn(&Path) -> bool) -> Option<String> {
    let Part::Fetched {
        provider,
        default: None,
    } = part
    else {
        return None;
    };
    match provider {
        Provider::Variable(name) => Some(format!("variable {name} is not set")),
        Provider::File(file) if !is_there(file) => Some(format!("{} is not there", file.display())),
        Provider::File(_) | Provider::Program(_) | Provider::Keyring(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ctl::clients::Client;
    use crate::ctl::import::{self, Kind};

    /// What is lost of an entry that was imported as it is.
    fn told(entry: serde_json::Value) -> Option<String> {
        let entries = import::read_value(&json!({"mcpServers": {"x": entry}}), Some(Client::Cursor)).unwrap();
        let Kind::Server(it) = &entries[0].kind else {
            panic!("{entries:?}")
        };
        let raw = RawServer {
            command: Some(it.command.clone()),
            args: Some(it.args.clone()),
            env: Some(it.env.clone()),
            cwd: it.cwd.clone(),
            ..RawServer::default()
        };
        let environment = Environment::new(|name| (name == "SET").then(|| "v".to_owned()));
        let name = ServerName::parse("x").unwrap();
        lost(&entries[0].notes, &name, &raw, &environment, |file| {
            file == Path::new("/there")
        })
    }

    #[test]
    fn an_entry_that_we_have_whole_can_go() {
        for entry in [
            json!({"command": "a", "args": ["b"], "env": {"K": "v"}}),
            json!({"command": "a", "env": {"K": "${env:SET}", "L": "${env:UNSET_ONE:-x}", "F": "${file:/there}"}}),
            json!({"command": "a", "args": ["${input:set}"]}),
        ] {
            assert_eq!(told(entry.clone()), None, "{entry}");
        }
    }

    #[test]
    fn an_entry_that_we_have_in_part_or_that_cannot_start_here_stays() {
        for (entry, expected) in [
            (json!({"command": "a", "envFile": ".env"}), "envFile"),
            (
                json!({"command": "a", "enabled_tools": ["x"], "startup_timeout_sec": 3}),
                "enabled_tools",
            ),
            (json!({"command": "a", "args": ["${input:api-key}"]}), "API_KEY"),
            (
                json!({"command": "a", "args": ["${workspaceFolder}"]}),
                "WORKSPACE_FOLDER",
            ),
            (json!({"command": "a", "env": {"K": "${env:UNSET}"}}), "UNSET"),
            (json!({"command": "a", "env_vars": ["PASSED"]}), "PASSED"),
            (json!({"command": "a", "env": {"K": "${file:/gone}"}}), "/gone"),
        ] {
            let why = told(entry.clone()).unwrap_or_default();
            assert!(why.contains(expected), "{entry}: {why}");
        }
    }
}
