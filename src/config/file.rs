//! `servers.toml`: read once, all faults at once, each with its line.
//!
//! Walks the tree of the TOML parser, because one pass of `serde` stops at the first fault.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::expand;
use super::keys::{self, KEYS};
use super::raw::{RawPolicy, RawServer};
use super::spec::Policy;
use super::{ConfigError, ConfigErrors, Environment};
use crate::ids::ServerName;

/// What `servers.toml` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServersFile {
    /// `[defaults]`.
    pub defaults: RawPolicy,
    /// `[servers.NAME]`, in the order of the file, nothing expanded.
    pub servers: Vec<(ServerName, RawServer)>,
}

/// Reads `servers.toml`. No file means no servers.
///
/// # Errors
/// The file cannot be read, or all its faults.
pub fn read_servers(file: &Path, env: &Environment) -> Result<ServersFile, ConfigErrors> {
    match std::fs::read_to_string(file) {
        Ok(text) => parse_servers(&text, file, env),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ServersFile::default()),
        Err(error) => Err(ConfigErrors::unreadable(file, &error)),
    }
}

/// Checks the text of a `servers.toml`, its variables included. `file` is only for the messages.
///
/// # Errors
/// All faults, in the order of lines.
pub fn parse_servers(text: &str, file: &Path, env: &Environment) -> Result<ServersFile, ConfigErrors> {
    let (tree, syntax_errors) = DeTable::parse_recoverable(text);
    let mut walk = Walk {
        text,
        file,
        env,
        faults: Vec::new(),
    };
    let read = walk.document(tree.get_ref());
    let broken_lines = walk.take_out_guesses(&syntax_errors);
    for (line, error) in broken_lines {
        walk.faults.push(ConfigError {
            file: file.to_owned(),
            line: Some(line),
            key: String::new(),
            // Not the error's own `Display`: it quotes the line, which may hold a secret.
            what: format!("not valid TOML: {}", error.message()),
        });
    }
    if walk.faults.is_empty() {
        return Ok(read);
    }
    walk.faults.sort_by_key(|fault| fault.line);
    Err(ConfigErrors(walk.faults))
}

type Entry<'t, 'i> = (&'t Spanned<Cow<'i, str>>, &'t Spanned<DeValue<'i>>);

/// The parser keeps keys by alphabet; the order of the file is that of their places in it.
fn in_file_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

struct Walk<'a> {
    text: &'a str,
    file: &'a Path,
    env: &'a Environment,
    faults: Vec<ConfigError>,
}

impl Walk<'_> {
    fn document(&mut self, root: &DeTable<'_>) -> ServersFile {
        let mut read = ServersFile::default();
        let entries = in_file_order(root);
        // First, because the limits of a server are checked together with the defaults.
        for (key, value) in &entries {
            if key.get_ref() == "defaults" {
                read.defaults = self.defaults(key, value);
            }
        }
        for (key, value) in entries {
            match key.get_ref().as_ref() {
                "defaults" => {}
                "servers" => read.servers = self.servers(key, value, &read.defaults),
                other => {
                    let what = unknown(
                        "table",
                        other,
                        keys::nearest(other, ["defaults", "servers"].into_iter()),
                    );
                    self.fault(&key.span(), other.to_owned(), what);
                }
            }
        }
        read
    }

    fn defaults(&mut self, key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) -> RawPolicy {
        let Some(said) = self.checked_keys("defaults", key, value, true) else {
            return RawPolicy::default();
        };
        let defaults = self.typed("defaults", key, said);
        self.check_together("defaults", key, &[&defaults]);
        defaults
    }

    fn servers(
        &mut self,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        defaults: &RawPolicy,
    ) -> Vec<(ServerName, RawServer)> {
        let Some(table) = value.get_ref().as_table() else {
            self.fault(
                &key.span(),
                "servers".to_owned(),
                "must hold tables such as [servers.git]".to_owned(),
            );
            return Vec::new();
        };
        in_file_order(table)
            .into_iter()
            .filter_map(|(key, value)| self.server(key, value, defaults))
            .collect()
    }

    fn server(
        &mut self,
        key: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        defaults: &RawPolicy,
    ) -> Option<(ServerName, RawServer)> {
        let path = format!("servers.{}", key.get_ref());
        let name = ServerName::parse(key.get_ref());
        if let Err(bad) = &name {
            self.fault(&key.span(), path.clone(), bad.to_string());
        }
        let said = self.checked_keys(&path, key, value, false)?;
        let has_command = value
            .get_ref()
            .as_table()
            .is_some_and(|table| table.contains_key("command"));
        if !has_command {
            self.fault(
                &key.span(),
                format!("{path}.command"),
                keys::COMMAND_IS_MISSING.to_owned(),
            );
        }
        let raw: RawServer = self.typed(&path, key, said);
        self.check_together(&path, key, &[defaults, &raw.policy]);
        Some((name.ok()?, raw))
    }

    /// The good keys of one table as JSON; the bad ones are told and left out.
    fn checked_keys(
        &mut self,
        path: &str,
        at: &Spanned<Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        only_defaults: bool,
    ) -> Option<Map<String, Value>> {
        let Some(table) = value.get_ref().as_table() else {
            self.fault(
                &at.span(),
                path.to_owned(),
                format!("must be a table: write [{path}] on a line of its own"),
            );
            return None;
        };
        let mut said = Map::new();
        for (key, value) in in_file_order(table) {
            let name = key.get_ref().as_ref();
            let path = format!("{path}.{name}");
            let known = keys::find(name).filter(|known| known.in_defaults || !only_defaults);
            let Some(known) = known else {
                self.fault(&key.span(), path, unknown_key(name, only_defaults));
                continue;
            };
            let json = known.normal(json_of(value.get_ref()));
            if let Some(what) = known.fault_of(&json) {
                self.fault(&key.span(), path, what);
                continue;
            }
            if known.is_template() {
                self.check_templates(&path, value);
            }
            // `type` is another name for `transport`; both at once would be a contradiction or a repetition.
            let stored = if name == "type" { "transport" } else { name };
            if said.insert(stored.to_owned(), json).is_some() {
                self.fault(
                    &key.span(),
                    path,
                    "`transport` and `type` are the same key; keep one".to_owned(),
                );
            }
        }
        Some(said)
    }

    fn check_templates(&mut self, path: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::String(text) => {
                for fault in expand(text, |name| self.env.lookup(name)).faults {
                    self.fault(&value.span(), path.to_owned(), fault.to_string());
                }
            }
            DeValue::Array(items) => items.iter().for_each(|item| self.check_templates(path, item)),
            DeValue::Table(table) => {
                for (key, value) in in_file_order(table) {
                    self.check_templates(&format!("{path}.{}", key.get_ref()), value);
                }
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn typed<T: serde::de::DeserializeOwned + Default>(
        &mut self,
        path: &str,
        at: &Spanned<Cow<'_, str>>,
        said: Map<String, Value>,
    ) -> T {
        serde_json::from_value(Value::Object(said)).unwrap_or_else(|error| {
            self.fault(&at.span(), path.to_owned(), error.to_string());
            T::default()
        })
    }

    /// Limits that are each fine but contradict each other.
    fn check_together(&mut self, path: &str, at: &Spanned<Cow<'_, str>>, layers: &[&RawPolicy]) {
        let mut policy = Policy::default();
        layers.iter().for_each(|layer| layer.overlay(&mut policy));
        for (wrong, key, what) in [
            (
                policy.call_timeout > policy.call_max,
                "call_max",
                "must not be shorter than call_timeout",
            ),
            (
                policy.backoff_initial > policy.backoff_max,
                "backoff_max",
                "must not be shorter than backoff_initial",
            ),
            (
                policy.message_bytes_max > policy.discard_bytes_max,
                "discard_bytes_max",
                "must not be less than message_bytes_max",
            ),
        ] {
            if wrong {
                self.fault(&at.span(), format!("{path}.{key}"), what.to_owned());
            }
        }
    }

    fn fault(&mut self, at: &Range<usize>, key: String, what: String) {
        let line = self.line_of(at.start);
        self.faults.push(ConfigError {
            file: self.file.to_owned(),
            line: Some(line),
            key,
            what,
        });
    }

    /// Counted from 1.
    fn line_of(&self, offset: usize) -> usize {
        1 + self
            .text
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
    }

    /// Gives the lines that are no TOML, once each, and forgets the faults that are only their consequence.
    fn take_out_guesses<'e>(&mut self, errors: &'e [toml::de::Error]) -> Vec<(usize, &'e toml::de::Error)> {
        let mut lines = BTreeSet::new();
        let mut first_of_each = Vec::new();
        for error in errors {
            let line = self.line_of(error.span().map_or(0, |span| span.start));
            if lines.insert(line) {
                first_of_each.push((line, error));
            }
        }
        if !lines.is_empty() {
            // A command that is missing may stand on the line that could not be read.
            self.faults.retain(|fault| {
                fault.what != keys::COMMAND_IS_MISSING && fault.line.is_none_or(|line| !lines.contains(&line))
            });
        }
        first_of_each
    }
}

fn unknown_key(name: &str, only_defaults: bool) -> String {
    if only_defaults && keys::find(name).is_some() {
        return "belongs under a server, not under [defaults]".to_owned();
    }
    if matches!(name, "url" | "headers") {
        return "unknown key; remote servers are not supported yet, only programs on this machine".to_owned();
    }
    let known = KEYS
        .iter()
        .filter(|key| key.in_defaults || !only_defaults)
        .map(|key| key.name);
    unknown(
        "key",
        name,
        keys::foreign_name(name).or_else(|| keys::nearest(name, known)),
    )
}

fn unknown(what: &str, name: &str, meant: Option<&str>) -> String {
    match meant {
        Some(meant) if meant != name => format!("unknown {what}; did you mean \"{meant}\"?"),
        Some(_) | None => format!("unknown {what}"),
    }
}

fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).map_or(Value::Null, Value::from),
        DeValue::Float(x) => x.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(b) => Value::Bool(*b),
        // JSON has none; no key takes one.
        DeValue::Datetime(_) => Value::Null,
        DeValue::Array(items) => items.iter().map(|item| json_of(item.get_ref())).collect(),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref())))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::raw::TimeSpan;

    fn env() -> Environment {
        Environment::new(|name| (name == "HOME").then(|| "/home/me".to_owned()))
    }

    fn parse(text: &str) -> Result<ServersFile, ConfigErrors> {
        parse_servers(text, Path::new("servers.toml"), &env())
    }

    fn told(text: &str) -> Vec<String> {
        parse(text)
            .unwrap_err()
            .to_string()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn servers_keep_the_order_of_the_file_and_stay_unexpanded() {
        let read = parse(
            "[defaults]\ncall_timeout = '5s'\n[servers.zoo]\ncommand = 'a'\nargs = ['${HOME}/x']\n\
             [servers.ant]\ncommand = 'b'\nrestart = 'on_failure'\ntype = 'stdio'\n",
        )
        .unwrap();
        let names: Vec<_> = read.servers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["zoo", "ant"]);
        assert_eq!(
            read.servers[0].1.args.as_deref(),
            Some(&["${HOME}/x".to_owned()][..])
        );
        assert_eq!(read.defaults.call_timeout, Some(TimeSpan(Duration::from_secs(5))));
    }

    #[test]
    fn three_faults_are_three_lines() {
        let lines = told(
            "[servers.git]\ncomand = 'uvx'\ncommand = 'uvx'\ncall_timeout = 10\n\n\
             [servers.two]\ncommand = 'x'\nargs = ['${NOT_SET}']\n",
        );
        assert_eq!(
            lines,
            [
                "servers.toml:2: servers.git.comand: unknown key; did you mean \"command\"?",
                "servers.toml:4: servers.git.call_timeout: must be a duration in quotes with its unit, \
                 such as \"10s\", not 10",
                "servers.toml:8: servers.two.args: variable NOT_SET is not set; set it in the environment \
                 or in .env, or give a default: ${NOT_SET:-…}",
            ]
        );
    }

    #[test]
    fn a_line_that_is_no_toml_does_not_hide_the_other_faults() {
        let lines =
            told("[servers.a]\ncommand = \ninflight_max = 0\n[servers.b]\ncommand = 'b'\nargz = []\n");
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].starts_with("servers.toml:2: not valid TOML: "),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("servers.toml:3: servers.a.inflight_max: must be a whole number from 1")
        );
        assert!(lines[2].starts_with("servers.toml:6: servers.b.argz: unknown key; did you mean \"args\"?"));
    }

    #[test]
    fn every_kind_of_fault_says_where_and_what_would_be_right() {
        for (text, at, part) in [
            ("[server.a]\ncommand='a'", 1, "did you mean \"servers\""),
            ("[servers.'a b']\ncommand='a'", 1, "for example `a-b`"),
            ("[servers.a]\nargs=[]", 1, "servers.a.command: missing"),
            ("servers.a = 'npx'", 1, "must be a table"),
            ("servers = 1", 1, "[servers.git]"),
            (
                "[servers.a]\ncommand=1",
                2,
                "must be a text in quotes, not a number",
            ),
            ("[servers.a]\ncommand=''", 2, "must not be empty"),
            ("[servers.a]\ncommand='a'\nargs='b'", 3, "must be a list of texts"),
            (
                "[servers.a]\ncommand='a'\nargs=['b', 3]",
                3,
                "number 2 must be a text",
            ),
            (
                "[servers.a]\ncommand='a'\nenv={PORT=80}",
                3,
                "PORT must be a text",
            ),
            (
                "[servers.a]\ncommand='a'\nenabled='yes'",
                3,
                "must be true or false",
            ),
            ("[servers.a]\ncommand='a'\nprefix='a b'", 3, "letters, digits"),
            (
                "[servers.a]\ncommand='a'\ntransport='sse'",
                3,
                "not supported yet",
            ),
            (
                "[servers.a]\ncommand='a'\nurl='http://x'",
                3,
                "remote servers are not supported yet",
            ),
            (
                "[servers.a]\ncommand='a'\nrestart='sometimes'",
                3,
                "\"always\", \"on-failure\", \"never\"",
            ),
            (
                "[servers.a]\ncommand='a'\ncall_timeout='ten'",
                3,
                "is no duration",
            ),
            ("[servers.a]\ncommand='a'\ncall_timeout='0s'", 3, "too short"),
            ("[servers.a]\ncommand='a'\ncall_timeout='3years'", 3, "too long"),
            ("[servers.a]\ncommand='a'\nidle_stop='no'", 3, "or \"never\""),
            (
                "[servers.a]\ncommand='a'\nbackoff_factor=inf",
                3,
                "must be a number from 1 to 100",
            ),
            (
                "[servers.a]\ncommand='a'\nbackoff_jitter=1979-05-27",
                3,
                "not a date",
            ),
            (
                "[servers.a]\ncommand='a'\ncall_max='1s'",
                1,
                "servers.a.call_max: must not be shorter",
            ),
            (
                "[servers.a]\ncommand='a'\ntype='stdio'\ntransport='stdio'",
                4,
                "keep one",
            ),
            (
                "[servers.a]\ncommand='a'\n[servers.a.env]\nK='${X'",
                4,
                "servers.a.env.K: `${` without `}`",
            ),
            (
                "[servers.a]\ncommand='a'\nargs=[\n'ok',\n'${X}']",
                5,
                "variable X is not set",
            ),
            ("[defaults]\ncommand='a'", 2, "belongs under a server"),
            ("[defaults]\ncall_timeot='1s'", 2, "did you mean \"call_timeout\""),
        ] {
            let lines = told(text);
            assert_eq!(lines.len(), 1, "{text}: {lines:?}");
            assert!(
                lines[0].starts_with(&format!("servers.toml:{at}: ")),
                "{text}: {lines:?}"
            );
            assert!(lines[0].contains(part), "{text}: {lines:?}");
        }
    }

    #[test]
    fn no_value_of_a_variable_is_ever_quoted() {
        for text in [
            "[servers.a]\ncommand='a'\nenv={TOKEN=['hunter2']}",
            "[servers.a]\ncommand='a'\nenv={TOKEN='hunter2${'}",
            "[servers.a]\ncommand='a'\nenv={TOKEN='hunter2}",
            "[servers.a]\ncommand='a'\nargs='hunter2'",
        ] {
            assert!(!told(text).concat().contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_missing_file_means_no_servers_and_an_unreadable_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let read = read_servers(&folder.path().join("servers.toml"), &env()).unwrap();
        assert_eq!(read, ServersFile::default());
        assert!(
            read_servers(folder.path(), &env())
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
    }

    #[test]
    fn the_shipped_example_is_good() {
        let read = parse(include_str!("../../servers.toml")).unwrap();
        let names: Vec<_> = read.servers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["tickets"]);
    }

    #[test]
    fn the_shipped_example_explains_every_key_with_its_true_default() {
        let text = include_str!("../../servers.toml");
        for key in KEYS {
            let explains = |line: &&str| line.starts_with('#') && line.contains(key.name);
            let line = text
                .lines()
                .find(explains)
                .unwrap_or_else(|| panic!("`{}` is not explained", key.name));
            if key.in_defaults {
                let row = text
                    .lines()
                    .find(|line| line.starts_with(&format!("# {} ", key.name)));
                let default = row.and_then(|row| row.split_whitespace().nth(2)).expect(line);
                let read = parse(&format!("[defaults]\n{} = {default}\n", key.name)).unwrap();
                let mut policy = Policy::default();
                read.defaults.overlay(&mut policy);
                assert_eq!(policy, Policy::default(), "{line}");
            }
        }
    }
}
