//! Where variables have their values from: the real environment first, then the `.env` beside `servers.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::reference::is_variable_name;
use super::spec::Secret;
use super::{ConfigError, ConfigErrors};

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Variables by name. Cheap to clone; `Debug` shows names of `.env` and no value.
#[derive(Clone)]
pub struct Environment {
    real: Arc<Lookup>,
    dotenv: Arc<BTreeMap<String, Secret>>,
}

impl Environment {
    /// The environment of this process, without `.env`.
    pub fn of_process() -> Self {
        // A value that is no UTF-8 cannot stand in a command line of ours: it counts as unset.
        Self::new(|name| std::env::var(name).ok())
    }

    /// An environment over any lookup, for example a map in a test.
    pub fn new(real: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            real: Arc::new(real),
            dotenv: Arc::default(),
        }
    }

    /// The same real environment with the variables of another `.env` file. No file, no variables.
    ///
    /// # Errors
    /// The file is there but cannot be read, or has bad lines: all of them.
    pub fn with_dotenv(&self, file: &Path) -> Result<Self, ConfigErrors> {
        let text = match super::read_text(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(ConfigErrors::unreadable(file, &error)),
        };
        self.with_dotenv_text(&text, file)
    }

    /// The same from the text of a `.env` file.
    ///
    /// # Errors
    /// All bad lines.
    pub fn with_dotenv_text(&self, text: &str, file: &Path) -> Result<Self, ConfigErrors> {
        let dotenv = parse_dotenv(text, file)?;
        Ok(Self {
            real: Arc::clone(&self.real),
            dotenv: Arc::new(dotenv),
        })
    }

    /// The names in the `.env`.
    pub(super) fn dotenv_names(&self) -> impl Iterator<Item = &str> {
        self.dotenv.keys().map(String::as_str)
    }

    /// The value of a variable.
    pub fn lookup(&self, name: &str) -> Option<String> {
        (self.real)(name).or_else(|| self.dotenv.get(name).map(|value| value.reveal().to_owned()))
    }

    /// The value that stands in `.env`, whatever the real environment has.
    pub fn in_dotenv(&self, name: &str) -> Option<String> {
        self.dotenv.get(name).map(|value| value.reveal().to_owned())
    }

    /// The value of a variable where an empty one means "not set".
    pub(super) fn lookup_filled(&self, name: &str) -> Option<String> {
        self.lookup(name).filter(|value| !value.trim().is_empty())
    }

    /// A path, with a leading `~/` replaced by the home folder.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.lookup_filled("HOME")) {
            (Some(rest), Some(home)) => Path::new(&home).join(rest),
            (_, _) => PathBuf::from(text),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("dotenv", &self.dotenv.keys())
            .finish_non_exhaustive()
    }
}

/// Reads `NAME=value` lines: comments, `export`, quotes; no variables inside. The last of two wins.
///
/// # Errors
/// All bad lines, each with its number.
fn parse_dotenv(text: &str, file: &Path) -> Result<BTreeMap<String, Secret>, ConfigErrors> {
    let mut variables = BTreeMap::new();
    let mut errors = Vec::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        match parse_line(line) {
            Ok(Some((name, value))) => {
                variables.insert(name.to_owned(), Secret::new(value));
            }
            Ok(None) => {}
            Err((key, what)) => errors.push(ConfigError {
                file: file.to_owned(),
                line: Some(number),
                key: key.to_owned(),
                what: what.to_owned(),
            }),
        }
    }
    if errors.is_empty() {
        Ok(variables)
    } else {
        Err(ConfigErrors(errors))
    }
}

/// The key at fault, or "", and what is wrong. Never the line itself: it may hold a secret.
type BadLine<'a> = (&'a str, &'static str);

fn parse_line(line: &str) -> Result<Option<(&str, String)>, BadLine<'_>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let Some((name, value)) = line.split_once('=') else {
        return Err(("", "must be NAME=value, or a comment that starts with `#`"));
    };
    let name = name.trim_end();
    if !is_variable_name(name) {
        return Err((
            "",
            "the name before `=` must be letters, digits or `_`, not starting with a digit",
        ));
    }
    match parse_value(value.trim_start()) {
        Ok(value) => Ok(Some((name, value))),
        Err(what) => Err((name, what)),
    }
}

fn parse_value(text: &str) -> Result<String, &'static str> {
    if let Some(inside) = text.strip_prefix('\'') {
        let (value, rest) = inside.split_once('\'').ok_or("the quote `'` is not closed")?;
        return nothing_after(rest).map(|()| value.to_owned());
    }
    match text.strip_prefix('"') {
        Some(inside) => parse_double_quoted(inside),
        None => Ok(without_comment(text).to_owned()),
    }
}

fn parse_double_quoted(inside: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return nothing_after(chars.as_str()).map(|()| value),
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(c @ ('"' | '\\' | '$')) => value.push(c),
                Some(_) | None => return Err("after `\\` only n, r, t, `\"`, `\\` or `$` may stand"),
            },
            c => value.push(c),
        }
    }
    Err("the quote `\"` is not closed")
}

fn nothing_after(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err("nothing but a comment may follow the closing quote")
    }
}

/// A `#` begins a comment after a space only: `a#b` is a value.
fn without_comment(text: &str) -> &str {
    let end = text.char_indices().find(|(at, c)| {
        *c == '#'
            && text
                .get(..*at)
                .is_some_and(|before| before.ends_with(char::is_whitespace))
    });
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(line: &str) -> Result<String, String> {
        parse_dotenv(line, Path::new(".env"))
            .map(|read| {
                read.get("A")
                    .map(|value| value.reveal().to_owned())
                    .unwrap_or_default()
            })
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        for (line, expected) in [
            ("A=b", "b"),
            ("  export A = b c ", "b c"),
            ("A=", ""),
            ("A=''", ""),
            ("A=\"\"", ""),
            ("A='b # c' # d", "b # c"),
            ("A='b\\n'", "b\\n"),
            ("A=\"b\\n\\\"c\\\" ${D}\"", "b\n\"c\" ${D}"),
            ("A=b#c # d", "b#c"),
            ("A=b=c", "b=c"),
            ("# A=b", ""),
            ("A=1\nA=2", "2"),
            ("\u{feff}A=b", "b"),
        ] {
            assert_eq!(value_of(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn bad_lines_are_told_all_at_once_with_their_numbers_and_without_their_text() {
        let told = value_of("A=1\nhunter2\n1A=x\nB='open\nC=\"\\q\"\nD=\"a\" b").unwrap_err();
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 5, "{told}");
        for (line, number) in lines.iter().zip(2..) {
            assert!(line.starts_with(&format!(".env:{number}: ")), "{line}");
        }
        assert!(!told.contains("hunter2"));
    }

    #[test]
    fn the_real_environment_wins_and_values_do_not_print() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        std::fs::write(&file, "A=from-file\nB=from-file\n").unwrap();
        let real = Environment::new(|name| (name == "A").then(|| "real".to_owned()));
        let both = real.with_dotenv(&file).unwrap();
        assert_eq!(both.lookup("A").as_deref(), Some("real"));
        assert_eq!(both.lookup("B").as_deref(), Some("from-file"));
        assert_eq!(both.lookup("C"), None);
        assert!(!format!("{both:?}").contains("from-file"));
    }
}
