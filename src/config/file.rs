//! `servers.toml`: read once, all faults at once, each with its line.
//!
//! Walks the tree of the TOML parser, because one pass of `serde` stops at the first fault.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::{expand, parse};
use super::keys::{self, KEYS};
use super::raw::{RawPolicy, RawServer};
use super::spec::Policy;
use super::syntax::{SyntaxFaults, line_of};
use super::{ConfigError, ConfigErrors, Environment, meant};
use crate::ids::ServerName;

/// What `servers.toml` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServersFile {
    /// `[defaults]`.
    pub defaults: RawPolicy,
    /// `[servers.NAME]`, in the order of the file, nothing expanded.
    pub servers: Vec<(ServerName, RawServer)>,
    /// There is more in it than white space.
    pub has_text: bool,
}

/// Reads `servers.toml`. No file means no servers.
///
/// # Errors
/// The file cannot be read, or all its faults.
pub fn read_servers(file: &Path, env: &Environment) -> Result<ServersFile, ConfigErrors> {
    match super::read_text(file) {
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
    let syntax = SyntaxFaults::of(text, &syntax_errors);
    let mut walk = Walk {
        text,
        file,
        env,
        syntax: &syntax,
        faults: Vec::new(),
    };
    let read = walk.document(tree.get_ref());
    walk.faults
        .extend(syntax.told.iter().map(|(line, what)| ConfigError {
            file: file.to_owned(),
            line: Some(*line),
            key: String::new(),
            what: what.clone(),
        }));
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
    syntax: &'a SyntaxFaults,
    faults: Vec<ConfigError>,
}

impl Walk<'_> {
    fn document(&mut self, root: &DeTable<'_>) -> ServersFile {
        let mut read = ServersFile {
            has_text: !self.text.trim().is_empty(),
            ..ServersFile::default()
        };
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
                other => self.unknown_at_root(other, key, value),
            }
        }
        read
    }

    fn unknown_at_root(&mut self, name: &str, key: &Spanned<Cow<'_, str>>, value: &Spanned<DeValue<'_>>) {
        let meant = meant::nearest(name, ["defaults", "servers"].into_iter());
        let what = match (meant, value.get_ref()) {
            (Some(_), _) | (None, DeValue::Table(_)) => unknown("table", meant),
            (None, _) => "must stand under [defaults] or under a server such as [servers.git]".to_owned(),
        };
        // Below a head that could not be read, what looks like a name of the root is none.
        if meant.is_some() || !self.syntax.any() {
            self.fault(&key.span(), name.to_owned(), what);
        }
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
        // It may stand on a line that could not be read.
        if !has_command && !self.syntax.any() {
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
            if self.syntax.touch(self.text, key.span().start, value.span().end) {
                continue;
            }
            let known = keys::find(name).filter(|known| known.in_defaults || !only_defaults);
            let Some(known) = known else {
                self.fault(&key.span(), path, unknown_key(name, only_defaults));
                continue;
            };
            let json = json_of(value.get_ref());
            if let Some(what) = known.fault_of(&json) {
                self.fault(&key.span(), path, what);
                continue;
            }
            let json = known.normal(json);
            if known.is_template() {
                self.check_templates(&path, value, keys::may_fetch(name));
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

    fn check_templates(&mut self, path: &str, value: &Spanned<DeValue<'_>>, may_fetch: bool) {
        match value.get_ref() {
            DeValue::String(text) => {
                let lookup = |name: &str| self.env.lookup(name);
                let faults = if may_fetch {
                    parse(text, lookup).faults
                } else {
                    expand(text, lookup).faults
                };
                for fault in faults {
                    self.fault(&value.span(), path.to_owned(), fault.to_string());
                }
            }
            DeValue::Array(items) => items
                .iter()
                .for_each(|item| self.check_templates(path, item, may_fetch)),
            DeValue::Table(table) => {
                for (key, value) in in_file_order(table) {
                    self.check_templates(&format!("{path}.{}", key.get_ref()), value, may_fetch);
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
        let line = line_of(self.text, at.start);
        self.faults.push(ConfigError {
            file: self.file.to_owned(),
            line: Some(line),
            key,
            what,
        });
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
        meant::foreign_name(name).or_else(|| meant::nearest(name, known)),
    )
}

fn unknown(what: &str, meant: Option<&str>) -> String {
    match meant {
        Some(meant) => format!("unknown {what}; did you mean \"{meant}\"?"),
        None => format!("unknown {what}"),
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
mod tests;
