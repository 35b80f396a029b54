//! Text to valid configuration, or all its errors at once.
//!
//! `file` reads `servers.toml`, `env` the environment and `.env`, `settings` what the daemon itself needs.
//! [`resolve()`] makes of a declaration what a child is started from. Reads files, writes none.

mod env;
mod expand;
mod file;
mod keys;
pub mod meant;
mod names;
pub mod raw;
pub mod reference;
mod resolve;
mod roots;
mod schema;
mod settings;
pub mod size;
pub mod spec;
mod syntax;

use std::fmt;
use std::path::{Path, PathBuf};

pub use env::Environment;
pub use file::{ServersFile, parse_servers, read_servers};
pub use keys::first_of_words;
pub use names::EXPOSED_CHARS_MAX;
pub use raw::{RawPolicy, RawServer};
pub use resolve::{RUNNERS, is_runner, resolve};
pub use schema::schema;
pub use settings::{ClientLimits, Settings};

/// One thing that is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file; empty when it is about the environment.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: Option<usize>,
    /// The key or variable, such as `servers.git.args`; may be empty.
    pub key: String,
    /// The sentence. Holds no value that could be a secret.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.as_os_str().is_empty() {
            write!(f, "{}:", self.file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Everything that is wrong, at once; `Display` gives one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        Self(vec![ConfigError {
            file: file.to_owned(),
            line: None,
            key: String::new(),
            what: format!("cannot be read: {error}"),
        }])
    }
}

/// The longest file that is read, bytes. Nobody writes that much by hand.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a file of text. What is no plain file, or has no end, is refused instead of waited for.
fn read_text(file: &Path) -> std::io::Result<String> {
    use std::io::{Error, Read};
    let meta = std::fs::metadata(file)?;
    if !meta.is_file() {
        return Err(Error::other("it is no plain file"));
    }
    let mut text = String::new();
    std::fs::File::open(file)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
