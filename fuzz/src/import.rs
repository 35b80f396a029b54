//! Settings of other programs: what is taken over has a valid name, and one name is taken once.

use std::collections::BTreeSet;

use mcp_wrapper::ctl::fuzzed::import;
use mcp_wrapper::ids::ServerName;

use crate::any::Any;

const PARTS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"mcpServers\"",
    "\"servers\"",
    "\"projects\"",
    "\"command\"",
    "\"args\"",
    "\"env\"",
    "\"a\"",
    "\"a b\"",
    "\"url\"",
    "\"type\"",
    "\"stdio\"",
    "\"disabled\"",
    "true",
    "null",
    "1",
    "//x\n",
    "/*",
    "*/",
    "\"${input:k}\"",
    "\"${env:A}\"",
    "\"${workspaceFolder}\"",
    "\"cwd\"",
    "\"inputs\"",
    "\"id\"",
    "\\",
    "\"",
    "\"bash\"",
    "\"-c\"",
    "\"transport\"",
];

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let text = match any.byte() % 3 {
        0 => String::from_utf8_lossy(any.0).into_owned(),
        1 => {
            let mut text = String::new();
            while !any.is_empty() {
                text.push_str(any.pick(PARTS));
            }
            text
        }
        _servers => {
            let mut entries = Vec::new();
            while !any.is_empty() && entries.len() < 20 {
                let name = any.pick(&["a", "A", "a b", "a-b", "é", "", "x.y"]);
                let command = any.json(1);
                entries.push(format!(
                    r#""{name}":{{"command":{command},"args":{},"env":{}}}"#,
                    any.json(2),
                    any.object(1)
                ));
            }
            format!(r#"{{"mcpServers":{{{}}}}} // end"#, entries.join(","))
        }
    };
    let taken = import(&text);
    let names: BTreeSet<&String> = taken.iter().collect();
    assert_eq!(names.len(), taken.len(), "{taken:?}");
    assert!(
        taken.iter().all(|name| ServerName::parse(name).is_ok()),
        "{taken:?}"
    );
}
