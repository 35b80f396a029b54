//! `${…}` in a text: what may stand between the braces, and where its value comes from.
//!
//! | written | value |
//! | --- | --- |
//! | `${NAME}` | the variable; a fault of the declaration where it is not set |
//! | `${env:NAME}` | the variable; where it is not set, the value it stands in is left out |
//! | `${file:PATH}` | what the file holds when the server starts |
//! | `${cmd:PROGRAM ARGS…}` | what the program writes to its stdout when the server starts; no shell takes part |
//! | `${keyring:NAME}` | the secret of this name in the keyring of the desktop, when the server starts |
//!
//! With `:-default` behind it, each has a value in any case. Pure: reads no file and runs nothing.

use std::path::PathBuf;

use super::expand::BadTemplate;
use super::spec::Secret;

/// Words of one `${cmd:…}`.
const N_WORDS_MAX: usize = 64;

/// Where a value is fetched from at each start of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// A variable that was not set when the declarations were read.
    Variable(String),
    /// A file.
    File(PathBuf),
    /// The stdout of a program: its name, then its arguments. Never empty.
    Program(Vec<String>),
    /// The keyring of the desktop, under this name.
    Keyring(String),
}

/// A part of a text whose value is known only when the server starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Known already; it may have come from a variable.
    Known(Secret),
    /// To be fetched.
    Fetched {
        /// Where from.
        provider: Provider,
        /// What counts where nothing can be fetched.
        default: Option<Secret>,
    },
}

/// What stands between one pair of braces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference<'t> {
    pub(super) source: Source<'t>,
    pub(super) default: Option<&'t str>,
}

/// The first half of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source<'t> {
    /// `NAME`.
    Variable(&'t str),
    /// `env:NAME`.
    Env(&'t str),
    /// `file:PATH`.
    File(&'t str),
    /// `cmd:PROGRAM ARGS…`, split into words.
    Program(Vec<String>),
    /// `keyring:NAME`.
    Keyring(&'t str),
}

/// Reads what stands between the braces.
pub(super) fn read(inside: &str) -> Result<Reference<'_>, BadTemplate> {
    let (source, default) = match inside.split_once(":-") {
        Some((source, default)) => (source, Some(default)),
        None => (inside, None),
    };
    if default.is_some_and(|default| default.contains("${")) {
        return Err(BadTemplate::Nested {
            name: source.to_owned(),
        });
    }
    let source = source_of(source)?;
    Ok(Reference { source, default })
}

fn source_of(text: &str) -> Result<Source<'_>, BadTemplate> {
    let Some((kind, rest)) = text.split_once(':') else {
        return named(text).map(Source::Variable);
    };
    let filled = |rest: &str| {
        let is_bad = rest.trim().is_empty() || rest.contains("${") || rest.contains('\0');
        if is_bad { Err(BadTemplate::BadName) } else { Ok(()) }
    };
    match kind {
        "env" => named(rest).map(Source::Env),
        "file" => filled(rest).and_then(|()| absolute(rest)).map(Source::File),
        "keyring" => filled(rest).map(|()| Source::Keyring(rest)),
        "cmd" => filled(rest).and_then(|()| words(rest)).map(Source::Program),
        _unknown => Err(BadTemplate::BadName),
    }
}

/// The daemon may stand in any folder.
fn absolute(path: &str) -> Result<&str, BadTemplate> {
    if path.starts_with('/') || path.starts_with("~/") {
        Ok(path)
    } else {
        Err(BadTemplate::RelativeFile)
    }
}

fn named(name: &str) -> Result<&str, BadTemplate> {
    if is_variable_name(name) {
        Ok(name)
    } else {
        Err(BadTemplate::BadName)
    }
}

/// Letters, digits and `_`, not starting with a digit (POSIX, "Name").
pub fn is_variable_name(name: &str) -> bool {
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    starts_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The words of a command line: white space parts them, quotes of either kind keep them together. Nothing else is
/// special, as no shell takes part.
fn words(line: &str) -> Result<Vec<String>, BadTemplate> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let has_program = words.first().is_some_and(|program| !program.is_empty());
    if quote.is_some() || !has_program || words.len() > N_WORDS_MAX {
        return Err(BadTemplate::BadCommand);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_reference_is_read_with_and_without_a_default() {
        let words = |all: &[&str]| all.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let cases = [
            ("A", Source::Variable("A"), None),
            ("A:-b", Source::Variable("A"), Some("b")),
            ("file:-b", Source::Variable("file"), Some("b")),
            ("env:A", Source::Env("A"), None),
            ("env:A:-", Source::Env("A"), Some("")),
            ("file:/run/secrets/a b", Source::File("/run/secrets/a b"), None),
            ("file:~/a:-b", Source::File("~/a"), Some("b")),
            ("keyring:my key", Source::Keyring("my key"), None),
            (
                "cmd:op read 'op://a b/c' \"d 'e\" ''",
                Source::Program(words(&["op", "read", "op://a b/c", "d 'e", ""])),
                None,
            ),
        ];
        for (inside, source, default) in cases {
            assert_eq!(read(inside), Ok(Reference { source, default }), "{inside}");
        }
    }

    #[test]
    fn what_is_no_reference_says_so() {
        for inside in [
            "",
            "a-b",
            "env:",
            "env:a-b",
            "file:",
            "keyring: ",
            "vault:x",
            "cmd: ",
        ] {
            assert_eq!(read(inside), Err(BadTemplate::BadName), "{inside}");
        }
        for inside in ["cmd:a 'b", "cmd:'' b"] {
            assert_eq!(read(inside), Err(BadTemplate::BadCommand), "{inside}");
        }
        assert_eq!(read("file:a/b"), Err(BadTemplate::RelativeFile));
        assert!(matches!(read("A:-${B"), Err(BadTemplate::Nested { .. })));
    }
}
