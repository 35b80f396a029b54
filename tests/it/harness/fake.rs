//! How a scripted child is declared.

use std::fmt::Write;
use std::path::Path;

/// One server of `servers.toml`: a `fake-child` with its flags.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) name: String,
    pub(crate) is_awaited: bool,
    args: Vec<String>,
    keys: String,
}

/// A child with the one tool `echo`.
pub(crate) fn fake(name: &str) -> Fake {
    Fake {
        name: name.to_owned(),
        is_awaited: true,
        args: Vec::new(),
        keys: String::new(),
    }
}

impl Fake {
    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.args.push(flag.to_owned());
        self
    }

    pub(crate) fn arg(self, flag: &str, value: &str) -> Self {
        self.flag(flag).flag(value)
    }

    pub(crate) fn tools(self, names: &str) -> Self {
        self.arg("--tools", names)
    }

    /// A key of its table; the value as TOML.
    pub(crate) fn key(mut self, key: &str, value: &str) -> Self {
        writeln!(self.keys, "{key} = {value}").unwrap();
        self
    }

    /// The harness does not wait until it is ready with tools.
    pub(crate) fn not_awaited(mut self) -> Self {
        self.is_awaited = false;
        self
    }

    /// The arguments, with the files of its journal and of its effects.
    pub(crate) fn arguments(&self, project: &Path) -> Vec<String> {
        let file = |ending: &str| {
            project
                .join(format!("{}.{ending}", self.name))
                .display()
                .to_string()
        };
        let mut all = vec![
            "--journal".to_owned(),
            file("journal"),
            "--effects".to_owned(),
            file("effects"),
        ];
        all.extend(self.args.iter().cloned());
        all
    }

    /// Its table.
    pub(crate) fn table(&self, project: &Path, mark: &str) -> String {
        let args: Vec<_> = self.arguments(project).iter().map(|arg| quoted(arg)).collect();
        format!(
            "[servers.{}]\ncommand = {}\nargs = [{}]\nenv = {{ {MARK} = {} }}\n{}\n",
            self.name,
            quoted(env!("CARGO_BIN_EXE_fake-child")),
            args.join(", "),
            quoted(mark),
            self.keys
        )
    }
}

/// The variable by which a test finds its own children, and theirs.
pub(crate) const MARK: &str = "MCP_IT_MARK";

/// A text as TOML; JSON's escapes are TOML's.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
