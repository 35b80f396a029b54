//! Why a verb did not do what was asked, and the exit code that says so.

use std::io;
use std::path::PathBuf;

/// Why a verb did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The person's fault: the command line does not make sense. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Refused, or tried and failed; everything is already said. Exit code 1.
    #[error("{0}")]
    Refused(String),
    /// The result is printed, and it is a failure. Exit code 1, and no further word.
    #[error("the result is a failure")]
    Told,
    /// Nobody listens on the control socket. Exit code 3.
    #[error(
        "no daemon is running for {}; start it with `mcp-wrapper` (or `cargo run --release`), or name its project folder with `--dir`",
        data_dir.display()
    )]
    NoDaemon {
        /// The data folder whose socket was tried.
        data_dir: PathBuf,
    },
    /// Whoever reads our output has read enough. Success.
    #[error("the reader of the output went away")]
    ReaderGone,
}

impl Failure {
    /// The exit code: 0 done, 1 refused or failed, 2 usage, 3 no daemon.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Refused(_) | Self::Told => 1,
            Self::Usage(_) => 2,
            Self::NoDaemon { .. } => 3,
        }
    }

    /// Whether a person has to be told more.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::ReaderGone | Self::Told)
    }
}

impl From<io::Error> for Failure {
    /// For errors of our own output; others are turned into sentences where they happen.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Self::Refused(format!("the output cannot be written: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_has_read_enough_is_no_failure() {
        assert_eq!(
            Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit_code(),
            0
        );
        assert_eq!(
            Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit_code(),
            1
        );
    }

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        assert_eq!(Failure::Refused(String::new()).exit_code(), 1);
        assert_eq!(Failure::Told.exit_code(), 1);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
        assert_eq!(
            Failure::NoDaemon {
                data_dir: PathBuf::new()
            }
            .exit_code(),
            3
        );
    }
}
