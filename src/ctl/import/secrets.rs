//! Secrets in imported definitions: which values are some, and where they go instead.

use super::entry::{Entry, Kind};
use crate::config::reference::is_variable_name;
use crate::config::spec::Secret;

/// Parts of the names of variables that hold secrets.
const NAMES: [&str; 13] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "APIKEY",
    "API_KEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "AUTH",
    "BEARER",
    "PAT",
];
/// Beginnings of values that are secrets, whatever the variable is called.
const BEGINNINGS: [&str; 16] = [
    "sk-",
    "sk_",
    "pk_live_",
    "rk_live_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "AKIA",
    "AIza",
    "eyJhbGciOi",
];
/// Ways to another name for one that is taken.
const N_NAMES_MAX: u32 = 100;

/// A secret that goes elsewhere, and the name it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ctl) struct Moved {
    pub(in crate::ctl) name: String,
    pub(in crate::ctl) value: Secret,
}

/// Whether the value of a variable is a secret. Better one too many: a word that stands in `.env` is no harm.
pub(in crate::ctl) fn is_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let is_named = NAMES.iter().any(|part| match *part {
        // `PATH` and `AUTHOR` hold no secrets.
        "PAT" | "AUTH" => upper.split('_').any(|word| word == *part),
        part => upper.contains(part),
    }) || upper.split('_').next_back() == Some("KEY");
    // What is the name of a file only leads to one.
    let is_path = value.starts_with('/')
        || value.starts_with("~/")
        || upper.ends_with("_FILE")
        || upper.ends_with("_PATH");
    let is_begun = BEGINNINGS.iter().any(|begin| value.starts_with(begin));
    !value.is_empty() && !is_path && (is_named || is_begun)
}

/// What stands under a name already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ctl) enum Standing {
    /// There where the secrets go.
    Kept(String),
    /// Elsewhere, where it wins for some of those who look: a name with another value is not to be taken, and one with
    /// the same is still to be written down.
    Elsewhere(String),
}

/// The entries with references instead of secrets, and the secrets. `known`: what stands under a name already.
/// `reference`: how a name is referred to.
pub(in crate::ctl) fn moved(
    mut entries: Vec<Entry>,
    known: impl Fn(&str) -> Option<Standing>,
    reference: impl Fn(&str) -> String,
) -> (Vec<Entry>, Vec<Moved>) {
    let mut all: Vec<Moved> = Vec::new();
    for entry in &mut entries {
        let Kind::Server(it) = &mut entry.kind else {
            continue;
        };
        let mut names = Vec::new();
        for (variable, value) in &mut it.env {
            let text = value.reveal();
            // What holds a reference already is no secret itself.
            if text.contains("${") || !is_secret(variable, text) || !is_variable_name(variable) {
                continue;
            }
            let Some((name, is_new)) = free_name(variable, &entry.name, text, &known, &all) else {
                continue;
            };
            let reference = Secret::new(reference(&name));
            let secret = std::mem::replace(value, reference);
            if is_new {
                names.push(name.clone());
                all.push(Moved { name, value: secret });
            }
        }
        if !names.is_empty() {
            entry
                .notes
                .push(format!("kept apart as secrets: {}", names.join(", ")));
        }
    }
    (entries, all)
}

/// The name for a secret, and whether it is still to be written under it.
fn free_name(
    variable: &str,
    server: &str,
    value: &str,
    known: impl Fn(&str) -> Option<Standing>,
    moved: &[Moved],
) -> Option<(String, bool)> {
    let prefix: String = server
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    let prefixed = match prefix.starts_with(|c: char| c.is_ascii_digit()) {
        true => format!("_{prefix}_{variable}"),
        false => format!("{prefix}_{variable}"),
    };
    let numbered = (2..N_NAMES_MAX).map(|n| format!("{prefixed}_{n}"));
    let names = [variable.to_owned(), prefixed.clone()]
        .into_iter()
        .chain(numbered);
    for name in names {
        let one = moved.iter().find(|one| one.name == name);
        let there = one
            .map(|one| Standing::Kept(one.value.reveal().to_owned()))
            .or_else(|| known(&name));
        match there {
            None => return Some((name, true)),
            Some(Standing::Kept(there)) if there == value => return Some((name, false)),
            Some(Standing::Elsewhere(there)) if there == value => return Some((name, true)),
            Some(Standing::Kept(_) | Standing::Elsewhere(_)) => {}
        }
    }
    None
}

/// A line of `.env`.
pub(in crate::ctl) fn dotenv_line(moved: &Moved) -> String {
    let value = moved.value.reveal();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=@%,".contains(c);
    if value.chars().all(plain) {
        return format!("{}={value}", moved.name);
    }
    let mut quoted = String::new();
    for c in value.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    format!("{}=\"{quoted}\"", moved.name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Environment;
    use crate::ctl::clients::Format;
    use crate::ctl::import::{Candidate, read};

    #[test]
    fn secrets_are_known_by_their_names_and_their_looks() {
        for (name, value) in [
            ("GITHUB_TOKEN", "x"),
            ("BRAVE_API_KEY", "x"),
            ("openai-key", "x"),
            ("DB_PASSWORD", "x"),
            ("GITLAB_PAT", "x"),
            ("THING", "ghp_0123456789"),
            ("BASIC_AUTH", "a:b"),
        ] {
            assert!(is_secret(name, value), "{name}");
        }
        for (name, value) in [
            ("TZ", "UTC"),
            ("PATH", "x"),
            ("AUTHOR", "me"),
            ("KEYBOARD", "qwerty"),
            ("SSH_KEY", "/home/me/.ssh/id"),
            ("TOKEN_FILE", "secret.txt"),
            ("TOKEN", ""),
        ] {
            assert!(!is_secret(name, value), "{name}");
        }
    }

    fn taken(text: &str, known: &str) -> (Vec<Candidate>, Vec<Moved>) {
        let known = Environment::new(|_| None)
            .with_dotenv_text(known, Path::new(".env"))
            .unwrap();
        let entries = read(text, Format::Json, None).unwrap();
        let (entries, moved) = moved(
            entries,
            |name| known.in_dotenv(name).map(Standing::Kept),
            |name| format!("${{{name}}}"),
        );
        let servers = entries.into_iter().filter_map(|entry| match entry.kind {
            Kind::Server(it) => Some(it),
            Kind::Skip(_) => None,
        });
        (servers.collect(), moved)
    }

    #[test]
    fn a_name_that_is_taken_by_another_secret_is_not_used() {
        let text = r#"{"mcpServers": {
            "a": {"command": "x", "env": {"TOKEN": "one", "TZ": "UTC", "KEY": "${KEY}"}},
            "b": {"command": "x", "env": {"TOKEN": "two"}},
            "c": {"command": "x", "env": {"TOKEN": "one"}}}}"#;
        let (servers, moved) = taken(text, "B_TOKEN=three\n");
        let token = |at: usize| servers[at].env["TOKEN"].reveal();
        assert_eq!(
            [token(0), token(1), token(2)],
            ["${TOKEN}", "${B_TOKEN_2}", "${TOKEN}"]
        );
        assert_eq!(
            (servers[0].env["TZ"].reveal(), servers[0].env["KEY"].reveal()),
            ("UTC", "${KEY}")
        );
        let names: Vec<_> = moved.iter().map(dotenv_line).collect();
        assert_eq!(names, ["TOKEN=one", "B_TOKEN_2=two"]);
        // Once they are there, the same import has nothing to write, and gives the same.
        let (again, rest) = taken(text, "B_TOKEN=three\nTOKEN=one\nB_TOKEN_2=two\n");
        assert_eq!((again, rest), (servers, Vec::new()));
    }

    proptest! {
        #[test]
        fn whatever_is_written_to_the_dotenv_is_read_again(value in "[^\0]{1,20}") {
            prop_assume!(!value.contains('\u{b}') && !value.contains('\u{85}'));
            let line = dotenv_line(&Moved { name: "A".to_owned(), value: Secret::new(value.clone()) });
            let read = Environment::new(|_| None).with_dotenv_text(&line, Path::new(".env")).unwrap();
            prop_assert_eq!(read.lookup("A"), Some(value));
        }
    }
}
