//! `servers.toml` and `.env`: all faults with their places, or valid values.

use std::path::Path;

use mcp_wrapper::config::{Environment, parse_servers, resolve};

use crate::any::Any;

const LINES: &[&str] = &[
    "[servers.a]",
    "[servers.\"b c\"]",
    "[servers.a.env]",
    "[defaults]",
    "[[servers]]",
    "command = \"x\"",
    "command = \"\"",
    "args = [\"-a\", \"${HOME}\"]",
    "args = \"x\"",
    "env = { A = \"${B:-c}\", B = \"$$\" }",
    "cwd = \"~/x\"",
    "enabled = false",
    "call_timeout = \"10s\"",
    "call_timeout = 10",
    "backoff_initial = \"1ns\"",
    "backoff_factor = nan",
    "backoff_factor = -1e308",
    "prefix = \"\"",
    "prefix = \"é\"",
    "aliases = { a = \"b\", c = \"b\" }",
    "sharing = \"per-session\"",
    "comand = \"x\"",
    "x = ",
    "\"",
    "]",
    "url = \"http://x\"",
    "[mcpServers.a]",
    "args = [\"${\", \"${}\", \"${A:?no}\"]",
    "roots = [\"/x\", \"./y\"]",
    "start_timeout = \"99999999999999999999y\"",
    "memory_max = \"1 GiB\"",
];

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let text = if any.byte() % 2 == 0 {
        String::from_utf8_lossy(any.0).into_owned()
    } else {
        let mut lines = Vec::new();
        while !any.is_empty() && lines.len() < 40 {
            if any.byte() % 8 == 0 {
                let n = any.below(16);
                lines.push(any.text(n));
            } else {
                lines.push(any.pick(LINES).to_owned());
            }
        }
        lines.join("\n")
    };
    let file = Path::new("/p/servers.toml");
    let environment = Environment::new(|name| (name == "HOME").then(|| "/nonexistent".to_owned()));
    let n_lines = text.lines().count().max(1) + 1;
    match parse_servers(&text, file, &environment) {
        Ok(found) => {
            for (name, raw) in &found.servers {
                let spec = resolve(name, raw, &found.defaults, &environment);
                assert_eq!(&spec.name, name);
            }
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            for error in &errors.0 {
                assert!(
                    error.line.is_none_or(|line| (1..=n_lines).contains(&line)),
                    "{error:?}"
                );
                assert!(!error.what.is_empty());
            }
        }
    }
    match environment.with_dotenv_text(&text, Path::new("/p/.env")) {
        Ok(environment) => drop(environment.lookup("A")),
        Err(errors) => assert!(
            errors
                .0
                .iter()
                .all(|error| error.line.is_some_and(|line| line <= n_lines))
        ),
    }
}
