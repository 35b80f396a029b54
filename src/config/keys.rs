//! Every key of a server in `servers.toml`, what its value must be, and what to say when it is not.
//!
//! The checks run over JSON values, so that they serve the file and the registry alike.

use std::time::Duration;

use serde_json::Value;

use super::names;
use super::raw::IdleStop;
use super::size::{ByteSize, SizeLimit};
use crate::ids::SERVER_NAME_CHARS_MAX;

/// Said when there is nothing to start.
pub(super) const COMMAND_IS_MISSING: &str =
    "missing; say which program to start, for example command = \"npx\"";

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// As written.
    pub(super) name: &'static str,
    /// Whether it may stand under `[defaults]`: it is about supervision, not about one server.
    pub(super) in_defaults: bool,
    pub(super) kind: Kind,
}

/// What its value must be.
#[derive(Debug)]
pub(super) enum Kind {
    /// A program, without its arguments.
    Program,
    Text,
    Texts,
    Variables,
    Flag,
    Prefix,
    Aliases,
    Roots,
    CommandLine,
    Transport,
    Choice(&'static [&'static str]),
    /// A duration no shorter than this.
    Time(Duration),
    TimeOrNever,
    Number {
        least: u64,
        most: u64,
    },
    Decimal {
        least: f64,
        most: f64,
    },
    /// Bytes, as a number or with a unit.
    Size(Sizes),
    SizeOrNone(Sizes),
}

/// Which sizes are taken for meant, bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) least: u64,
    pub(super) most: u64,
}

/// Longest duration taken for meant: a week. Longer ones are slips of the unit.
const TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Shortest duration where zero would mean "at once, for ever".
const TIME_MIN: Duration = Duration::from_millis(1);
/// Bounds of a limit that counts bytes: a message shorter than 1 KiB holds no handshake.
const BYTES: Kind = Kind::Size(Sizes {
    least: 1 << 10,
    most: 4 << 30,
});

const fn own(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        in_defaults: false,
        kind,
    }
}

const fn policy(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        in_defaults: true,
        kind,
    }
}

/// All keys, in the order of the documentation.
pub(super) const KEYS: &[Key] = &[
    own("command", Kind::Program),
    own("args", Kind::Texts),
    own("env", Kind::Variables),
    own("cwd", Kind::Text),
    own("stop_command", Kind::CommandLine),
    own("enabled", Kind::Flag),
    own("prefix", Kind::Prefix),
    own("aliases", Kind::Aliases),
    own("roots", Kind::Roots),
    own("transport", Kind::Transport),
    own("type", Kind::Transport),
    policy("sharing", Kind::Choice(&["shared", "per-session", "per-client"])),
    policy(
        "instances_max",
        Kind::Number {
            least: 1,
            most: 1_000,
        },
    ),
    policy("interactive_policy", Kind::Choice(&["shared", "pool"])),
    policy("instance_idle", Kind::Time(TIME_MIN)),
    policy("restart", Kind::Choice(&["always", "on-failure", "never"])),
    policy("autostart", Kind::Choice(&["eager", "on-demand"])),
    policy("era", Kind::Choice(&["auto", "legacy", "modern", "both"])),
    policy("replace", Kind::Choice(&["when-ready", "after-stop"])),
    policy("idle_stop", Kind::TimeOrNever),
    policy("start_timeout", Kind::Time(TIME_MIN)),
    policy("call_timeout", Kind::Time(TIME_MIN)),
    policy("call_max", Kind::Time(TIME_MIN)),
    policy("queue_wait", Kind::Time(Duration::ZERO)),
    policy("backoff_initial", Kind::Time(TIME_MIN)),
    policy(
        "backoff_factor",
        Kind::Decimal {
            least: 1.0,
            most: 100.0,
        },
    ),
    policy("backoff_max", Kind::Time(TIME_MIN)),
    policy(
        "backoff_jitter",
        Kind::Decimal {
            least: 0.0,
            most: 1.0,
        },
    ),
    policy("stable_after", Kind::Time(TIME_MIN)),
    policy(
        "fail_burst",
        Kind::Number {
            least: 1,
            most: 1_000,
        },
    ),
    policy("fail_window", Kind::Time(TIME_MIN)),
    policy("failed_retry", Kind::Time(TIME_MIN)),
    policy("probe_interval", Kind::Time(Duration::ZERO)),
    policy("probe_timeout", Kind::Time(TIME_MIN)),
    policy(
        "probe_threshold",
        Kind::Number {
            least: 1,
            most: 1_000,
        },
    ),
    policy("eof_grace", Kind::Time(Duration::ZERO)),
    policy("term_grace", Kind::Time(Duration::ZERO)),
    policy("drain_timeout", Kind::Time(Duration::ZERO)),
    policy("write_stall", Kind::Time(TIME_MIN)),
    policy(
        "inflight_max",
        Kind::Number {
            least: 1,
            most: 65_536,
        },
    ),
    policy(
        "queue_max",
        Kind::Number {
            least: 0,
            most: 65_536,
        },
    ),
    policy("message_bytes_max", BYTES),
    policy("discard_bytes_max", BYTES),
    policy(
        "memory_max",
        // Less than 1 MiB holds no process.
        Kind::SizeOrNone(Sizes {
            least: 1 << 20,
            most: 1 << 50,
        }),
    ),
    policy(
        "processes_max",
        Kind::Number {
            least: 1,
            most: 1_000_000,
        },
    ),
    policy(
        "files_max",
        // A runtime opens a dozen before its first line runs.
        Kind::Number {
            least: 32,
            most: 1 << 30,
        },
    ),
    policy("core_dumps", Kind::Flag),
    policy("nice", Kind::Number { least: 0, most: 19 }),
    policy(
        "log_bytes_max",
        Kind::Size(Sizes {
            least: 64 << 10,
            most: 1 << 40,
        }),
    ),
];

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Key {
    /// What is wrong with a value, and what would be right. Says no value of a variable or an argument.
    pub(super) fn fault_of(&self, value: &Value) -> Option<String> {
        match &self.kind {
            Kind::Program => program_fault(value).or_else(|| text_fault(value)),
            Kind::Text => text_fault(value),
            Kind::Texts => texts_fault(value),
            Kind::Variables => variables_fault(value),
            Kind::Flag => {
                (!value.is_boolean()).then(|| format!("must be true or false, not {}", kind_of(value)))
            }
            Kind::Prefix => prefix_fault(value),
            Kind::Aliases => names::aliases_fault(value),
            Kind::Roots => roots_fault(value),
            Kind::CommandLine => command_line_fault(value),
            Kind::Transport => transport_fault(value),
            Kind::Choice(words) => choice_fault(value, words),
            Kind::Time(least) => time_fault(value, *least),
            Kind::TimeOrNever if value.as_str() == Some(IdleStop::NEVER) => None,
            Kind::TimeOrNever => {
                time_fault(value, TIME_MIN).map(|fault| format!("{fault}; or \"{}\"", IdleStop::NEVER))
            }
            Kind::Number { least, most } => match value.as_u64() {
                Some(n) if (*least..=*most).contains(&n) => None,
                _ => Some(format!(
                    "must be a whole number from {least} to {most}, not {}",
                    shown(value)
                )),
            },
            Kind::Decimal { least, most } => match value.as_f64() {
                Some(x) if (*least..=*most).contains(&x) => None,
                _ => Some(format!(
                    "must be a number from {least} to {most}, not {}",
                    shown(value)
                )),
            },
            Kind::Size(sizes) => size_fault(value, *sizes),
            Kind::SizeOrNone(_) if value.as_str() == Some(SizeLimit::NONE) => None,
            Kind::SizeOrNone(sizes) => {
                size_fault(value, *sizes).map(|fault| format!("{fault}; or \"{}\"", SizeLimit::NONE))
            }
        }
    }

    /// The value in the one spelling that is stored: `on_failure` becomes `on-failure`.
    pub(super) fn normal(&self, value: Value) -> Value {
        match (&self.kind, &value) {
            (Kind::Choice(_) | Kind::Transport, Value::String(word)) => Value::String(spelled(word)),
            (_, _) => value,
        }
    }

    /// Whether `${VAR}` is replaced in its texts.
    pub(super) fn is_template(&self) -> bool {
        matches!(
            self.name,
            "command" | "args" | "env" | "cwd" | "roots" | "stop_command"
        )
    }
}

/// Whether a template of this key may hold what is fetched at each start.
pub(super) fn may_fetch(name: &str) -> bool {
    matches!(name, "args" | "env" | "stop_command")
}

fn spelled(word: &str) -> String {
    word.to_ascii_lowercase().replace('_', "-")
}

/// The first of several words where a program alone was wanted. A path may hold spaces, a name in the PATH does not.
pub fn first_of_words(program: &str) -> Option<&str> {
    let (first, rest) = program.trim().split_once(char::is_whitespace)?;
    let is_name = !first.contains(['/', '$', '~']) && !rest.trim().is_empty();
    is_name.then_some(first)
}

/// Says the first word only: what follows may hold a secret.
fn program_fault(value: &Value) -> Option<String> {
    let rule = "the program stands here alone; its arguments go into args";
    match value {
        Value::String(text) => first_of_words(text).map(|first| {
            format!(
                "{rule}: write command = {first:?} and args = [\"…\", \"…\"], one text for each other word"
            )
        }),
        Value::Array(words) => {
            let first = words.first().and_then(Value::as_str).unwrap_or("npx");
            Some(format!(
                "{rule}: write command = {first:?} and args = [\"…\", \"…\"] with the other words"
            ))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn text_fault(value: &Value) -> Option<String> {
    match value.as_str() {
        Some("") => Some("must not be empty".to_owned()),
        Some(text) if text.contains('\0') => Some("must not hold a NUL character".to_owned()),
        Some(_) => None,
        None => Some(format!("must be a text in quotes, not {}", kind_of(value))),
    }
}

fn texts_fault(value: &Value) -> Option<String> {
    let Some(items) = value.as_array() else {
        return Some(format!(
            "must be a list of texts such as [\"-y\", \"name\"], not {}",
            kind_of(value)
        ));
    };
    items.iter().zip(1..).find_map(|(item, nth)| match item.as_str() {
        Some(text) => text
            .contains('\0')
            .then(|| format!("number {nth} must not hold a NUL character")),
        None => Some(format!(
            "number {nth} must be a text in quotes, not {}",
            kind_of(item)
        )),
    })
}

fn variables_fault(value: &Value) -> Option<String> {
    let Some(variables) = value.as_object() else {
        return Some(format!(
            "must be a table such as {{ NAME = \"value\" }}, not {}",
            kind_of(value)
        ));
    };
    variables.iter().find_map(|(name, value)| match value.as_str() {
        _ if name.is_empty() || name.contains(['=', '\0']) => Some(format!(
            "`{}` cannot be the name of a variable",
            name.escape_debug()
        )),
        Some(text) => text
            .contains('\0')
            .then(|| format!("{name} must not hold a NUL character")),
        None => Some(format!("{name} must be a text in quotes, not {}", kind_of(value))),
    })
}

fn prefix_fault(value: &Value) -> Option<String> {
    let Some(prefix) = value.as_str() else {
        return Some(format!("must be a text in quotes, not {}", kind_of(value)));
    };
    let fits = prefix
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && prefix.len() <= SERVER_NAME_CHARS_MAX;
    (!fits).then(|| {
        format!("must be at most {SERVER_NAME_CHARS_MAX} letters, digits, `-` or `_`; \"\" for no prefix")
    })
}

/// Folders that one server may be told of.
const N_ROOTS_MAX: usize = 64;

fn roots_fault(value: &Value) -> Option<String> {
    let folders = value.as_array().map_or(&[][..], Vec::as_slice);
    if folders.len() > N_ROOTS_MAX {
        return Some(format!("must be at most {N_ROOTS_MAX} folders"));
    }
    let is_empty = folders.iter().any(|folder| folder.as_str() == Some(""));
    texts_fault(value).or_else(|| is_empty.then(|| "a folder must not be empty".to_owned()))
}

fn command_line_fault(value: &Value) -> Option<String> {
    let names_no_program = || matches!(value.pointer("/0").and_then(Value::as_str), None | Some(""));
    texts_fault(value).or_else(|| {
        names_no_program()
            .then(|| "must begin with a program, such as [\"docker\", \"stop\", \"name\"]".to_owned())
    })
}

fn transport_fault(value: &Value) -> Option<String> {
    let Some(word) = value.as_str() else {
        return Some(format!("must be \"stdio\", not {}", kind_of(value)));
    };
    match spelled(word).as_str() {
        "stdio" => None,
        "sse" | "http" | "https" | "streamable-http" | "streamablehttp" | "ws" | "websocket" => Some(
            format!("{word:?} is not supported yet; only servers that speak \"stdio\" can be declared"),
        ),
        _ => Some(format!("{word:?} is no transport; the only one is \"stdio\"")),
    }
}

fn choice_fault(value: &Value, words: &[&'static str]) -> Option<String> {
    let given = value.as_str().map(spelled);
    if given.as_deref().is_some_and(|given| words.contains(&given)) {
        return None;
    }
    let all = words
        .iter()
        .map(|word| format!("{word:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    Some(format!("must be one of {all}, not {}", shown(value)))
}

fn time_fault(value: &Value, least: Duration) -> Option<String> {
    let Some(text) = value.as_str() else {
        return Some(format!(
            "must be a duration in quotes with its unit, such as \"10s\", not {}",
            shown(value)
        ));
    };
    match humantime::parse_duration(text) {
        Err(_) => Some(format!(
            "{text:?} is no duration; write a number with its unit, such as \"250ms\", \"10s\" or \"1m 30s\""
        )),
        Ok(time) if time < least => Some(format!(
            "{text:?} is too short; the least is \"{}\"",
            humantime::format_duration(least)
        )),
        Ok(time) if time > TIME_MAX => Some(format!(
            "{text:?} is too long; the most is \"{}\"",
            humantime::format_duration(TIME_MAX)
        )),
        Ok(_) => None,
    }
}

fn size_fault(value: &Value, sizes: Sizes) -> Option<String> {
    let (least, most) = (ByteSize(sizes.least), ByteSize(sizes.most));
    match ByteSize::of(value) {
        Some(size) if (least.0..=most.0).contains(&size.0) => None,
        _ => Some(format!(
            "must be a size from \"{least}\" to \"{most}\", such as \"512MiB\", or as many bytes as a whole number, not {}",
            shown(value)
        )),
    }
}

/// The value itself where it is short and no secret can be in it, else its kind.
fn shown(value: &Value) -> String {
    match value {
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.len() <= 40 => format!("{text:?}"),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => kind_of(value).to_owned(),
    }
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "a date or a number out of range",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::config::raw::{RawPolicy, RawServer};

    /// The names that `serde` knows, taken from its own complaint about an unknown one.
    fn fields_of<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
        let told = serde_json::from_str::<T>(r#"{"?":1}"#).unwrap_err().to_string();
        let listed = told.split("expected one of").nth(1).unwrap_or_default();
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_table_of_keys_and_the_types_agree() {
        let defaults: BTreeSet<_> = KEYS
            .iter()
            .filter(|key| key.in_defaults)
            .map(|key| key.name.to_owned())
            .collect();
        assert_eq!(defaults, fields_of::<RawPolicy>());
        for key in KEYS.iter().filter(|key| !key.in_defaults) {
            let value = match key.name {
                "args" | "roots" => json!([]),
                "stop_command" => json!(["x"]),
                "env" | "aliases" => json!({}),
                "enabled" => json!(true),
                _ => json!("stdio"),
            };
            assert_eq!(key.fault_of(&value), None, "{}", key.name);
            let said: serde_json::Map<_, _> = [(key.name.to_owned(), value)].into_iter().collect();
            serde_json::from_value::<RawServer>(Value::Object(said)).unwrap();
        }
    }

    #[test]
    fn a_program_is_one_word_or_a_path() {
        let key = find("command").unwrap();
        for good in [
            "npx",
            "/opt/My Tools/run",
            "./a b",
            "~/a b",
            "${HOME}/a b",
            "${X} y",
            "npx ",
        ] {
            assert_eq!(key.fault_of(&json!(good)), None, "{good}");
        }
        for bad in [json!("npx -y @x/y --key=s3cret"), json!(["npx", "-y", "s3cret"])] {
            let told = key.fault_of(&bad).unwrap();
            assert!(
                told.contains(r#"command = "npx" and args = ["#) && !told.contains("s3cret"),
                "{told}"
            );
        }
    }

    #[test]
    fn what_passes_the_check_can_be_read() {
        let good = [
            json!("1s"),
            json!("never"),
            json!("none"),
            json!("512MiB"),
            json!(true),
            json!("always"),
            json!("eager"),
            json!("auto"),
            json!("shared"),
            json!("when-ready"),
            json!(1),
            json!(4096),
            json!(1 << 21),
        ];
        for key in KEYS.iter().filter(|key| key.in_defaults) {
            let taken: Vec<_> = good
                .iter()
                .filter(|value| key.fault_of(value).is_none())
                .collect();
            assert!(!taken.is_empty(), "{}", key.name);
            for value in taken {
                let said: serde_json::Map<_, _> =
                    [(key.name.to_owned(), value.clone())].into_iter().collect();
                serde_json::from_value::<RawPolicy>(Value::Object(said)).unwrap();
            }
        }
    }

    #[test]
    fn other_transports_are_refused_by_name_in_any_spelling() {
        let key = find("transport").unwrap();
        for word in ["streamable_http", "streamable-http", "sse"] {
            assert!(
                key.fault_of(&json!(word)).unwrap().contains("not supported yet"),
                "{word}"
            );
        }
        assert_eq!(key.fault_of(&json!("stdio")), None);
    }
}
