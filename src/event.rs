//! The words in which a child's life is told: in the log, in the journal, by `mcpctl why`.
//!
//! Facts only. Commands go to one owner, facts to all.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Generation, ServerName};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it (Linux number).
    Signal(i32),
    /// The kernel ended it, because it and what it has started had taken more memory than the kernel was told to allow.
    OutOfMemory {
        /// The declared limit, bytes.
        limit: u64,
    },
}

impl Exit {
    /// Whether this is code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
            Self::OutOfMemory { limit } => write!(
                f,
                "memory: killed by the kernel's limit, `memory_max` is {}",
                mebibytes(*limit)
            ),
        }
    }
}

fn signal_name(number: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(number)
        .ok()
        .map(nix::sys::signal::Signal::as_str)
}

/// The three ways to make a process go, each harder than the one before.
///
/// Order: MCP 2025-11-25, lifecycle, "Shutdown", stdio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Its stdin was closed.
    StdinClosed,
    /// SIGCONT and SIGTERM to its tree.
    Terminated,
    /// SIGKILL to its tree.
    Killed,
}

/// Why a process is of no more use, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// The operator or a changed definition asked for it.
    Asked,
    /// It speaks another revision than it was asked in: the next process is asked in that one.
    OtherEra,
    /// Nobody has called it for `idle_stop`.
    Idle,
    /// The daemon is going down.
    ShuttingDown,
    /// The program could not be started, and trying again soon will not help.
    CannotStart {
        /// What the operating system said, with the file and the PATH that was searched.
        why: String,
    },
    /// The machine is short of processes, memory or descriptors; not the child's fault.
    NoResources {
        /// What the operating system said.
        why: String,
    },
    /// It ended by itself.
    Exited {
        /// How.
        exit: Exit,
    },
    /// It ended before its handshake was done.
    ExitedInHandshake {
        /// How.
        exit: Exit,
    },
    /// No answer to `initialize` in time.
    NoHandshake {
        /// How long we waited, in milliseconds.
        waited_ms: u64,
        /// What it wrote to stdout that is no message, if anything.
        noise: Option<String>,
    },
    /// It answered `initialize` with an error, or with something that is no answer.
    BadHandshake {
        /// Its own words, or what was wrong with them.
        why: String,
    },
    /// It closed its stdout, but lives.
    StdoutClosed,
    /// Reading its stdout failed too many times in a row, or a line had no end.
    Garbled {
        /// What was wrong.
        why: String,
    },
    /// It does not read its stdin any more.
    WriteStalled,
    /// It answers neither calls nor pings.
    Unresponsive,
    /// It and what it has started use more memory than `memory_max`.
    Memory {
        /// How much, bytes.
        used: u64,
        /// How much is allowed, bytes.
        limit: u64,
        /// In how many processes.
        n_processes: u32,
    },
    /// It has started more processes than `processes_max`.
    TooManyProcesses {
        /// How many there were, with itself.
        n_processes: u32,
        /// How many are allowed.
        limit: u32,
    },
    /// It does not go even when killed; the kernel holds it.
    Unkillable {
        /// The process id, of it or of something that it has started.
        pid: u32,
        /// Its state, as `ps` shows it, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<char>,
    },
    /// Something that looks after it broke, which is a fault of mcp-wrapper and not its own.
    Panicked {
        /// What was said.
        what: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("stopped on request"),
            Self::OtherEra => f.write_str("started again, to be spoken to as it understands it"),
            Self::Idle => f.write_str("stopped because nobody used it"),
            Self::ShuttingDown => f.write_str("stopped because mcp-wrapper is going down"),
            Self::CannotStart { why } => write!(f, "cannot be started: {why}"),
            Self::NoResources { why } => write!(f, "the machine is short of resources: {why}"),
            Self::Exited { exit } => write!(f, "the process ended by itself ({exit})"),
            Self::ExitedInHandshake { exit } => {
                write!(
                    f,
                    "the process ended before it had answered `initialize` ({exit})"
                )
            }
            Self::NoHandshake { waited_ms, noise } => {
                write!(f, "no answer to `initialize` within {}", seconds(*waited_ms))?;
                match noise {
                    Some(line) => write!(f, "; it wrote to stdout instead: {line}"),
                    None => Ok(()),
                }
            }
            Self::BadHandshake { why } => write!(f, "`initialize` failed: {why}"),
            Self::StdoutClosed => f.write_str("the process closed its stdout without ending"),
            Self::Garbled { why } => write!(f, "its stdout cannot be read: {why}"),
            Self::WriteStalled => f.write_str("the process does not read its stdin"),
            Self::Unresponsive => f.write_str("the process answers neither calls nor pings"),
            Self::Memory {
                used,
                limit,
                n_processes,
            } => write!(
                f,
                "over its memory limit: {} in {n_processes} {}, `memory_max` is {}",
                mebibytes(*used),
                if *n_processes == 1 { "process" } else { "processes" },
                mebibytes(*limit)
            ),
            Self::TooManyProcesses { n_processes, limit } => write!(
                f,
                "over its limit of processes: {n_processes}, `processes_max` is {limit}"
            ),
            Self::Unkillable { pid, state } => {
                write!(f, "process {pid} does not end even when killed")?;
                match state {
                    Some('D') => f.write_str(" (state D: the kernel holds it)")?,
                    Some(state) => write!(f, " (state {state})")?,
                    None => {}
                }
                f.write_str("; no other is started before it is gone")
            }
            Self::Panicked { what } => write!(f, "a bug in mcp-wrapper, which looks after it: {what}"),
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    // Rounded up: what is over a limit must not look as if it were not.
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

fn seconds(ms: u64) -> String {
    // From a second on nobody reads the milliseconds.
    let shown = if ms < 1000 {
        Duration::from_millis(ms)
    } else {
        Duration::from_secs((ms + 500) / 1000)
    };
    humantime::format_duration(shown).to_string()
}

/// One thing that happened to a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisionEvent {
    /// Wall clock, milliseconds since 1970, for people.
    pub at_ms: u64,
    /// Which server.
    pub server: ServerName,
    /// Which run of it; 0 before the first.
    pub generation: Generation,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// Characters of one text in an event that is kept.
const TEXT_CHARS_MAX: usize = 1_000;
/// Characters of one name in an event that is kept.
const KEY_CHARS_MAX: usize = 200;
/// Characters of one line of stderr in an event that is kept.
const STDERR_LINE_CHARS_MAX: usize = 400;
/// All its lines of stderr together; the last ones are kept.
const STDERR_CHARS_MAX: usize = 4_000;

impl SupervisionEvent {
    /// With texts of bounded length, to be kept. What children write may be long.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        match &mut self.what {
            What::Gone { cause, stderr } => {
                bound_cause(cause);
                bound_lines(stderr);
            }
            What::Failed { cause, .. } | What::NotSpawned { cause } | What::Kept { cause } => {
                bound_cause(cause)
            }
            What::Refused { asked, why } => {
                cut(asked, TEXT_CHARS_MAX);
                cut(why, TEXT_CHARS_MAX);
            }
            What::SecretsMissing { why } => cut(why, TEXT_CHARS_MAX),
            What::Ready { revision, .. } => cut(revision, TEXT_CHARS_MAX),
            What::ListChanged {
                list,
                changes,
                n_more,
            } => {
                cut(list, KEY_CHARS_MAX);
                *n_more += changes.len().saturating_sub(LIST_CHANGES_MAX);
                changes.truncate(LIST_CHANGES_MAX);
                for change in changes {
                    cut(&mut change.key, KEY_CHARS_MAX);
                }
            }
            What::Spawned { .. }
            | What::Asked { .. }
            | What::Backoff { .. }
            | What::Stopped
            | What::TookOver
            | What::Unresponsive
            | What::Responsive
            | What::Unpinged
            | What::FewFilesLeft { .. }
            | What::Flood { .. } => {}
        }
        self
    }
}

fn bound_cause(cause: &mut Cause) {
    match cause {
        Cause::CannotStart { why }
        | Cause::NoResources { why }
        | Cause::BadHandshake { why }
        | Cause::Garbled { why }
        | Cause::Panicked { what: why }
        | Cause::NoHandshake { noise: Some(why), .. } => cut(why, TEXT_CHARS_MAX),
        Cause::Asked
        | Cause::OtherEra
        | Cause::Idle
        | Cause::ShuttingDown
        | Cause::Exited { .. }
        | Cause::ExitedInHandshake { .. }
        | Cause::NoHandshake { noise: None, .. }
        | Cause::StdoutClosed
        | Cause::WriteStalled
        | Cause::Unresponsive
        | Cause::Memory { .. }
        | Cause::TooManyProcesses { .. }
        | Cause::Unkillable { .. } => {}
    }
}

fn bound_lines(lines: &mut Vec<String>) {
    let mut left = STDERR_CHARS_MAX;
    let mut n_kept = 0;
    for line in lines.iter_mut().rev() {
        cut(line, STDERR_LINE_CHARS_MAX);
        let n_chars = line.chars().count();
        if n_chars > left {
            break;
        }
        left -= n_chars;
        n_kept += 1;
    }
    lines.drain(..lines.len() - n_kept);
}

/// Cuts a text, visibly.
fn cut(text: &mut String, n_chars_max: usize) {
    if let Some((at, _)) = text.char_indices().nth(n_chars_max) {
        text.truncate(at);
        text.push('…');
    }
}

/// Changes of one list that are told one by one.
pub const LIST_CHANGES_MAX: usize = 20;

/// What became of one item of a list. A hash is that of the whole item under the child's own name, the first 16 hex
/// digits of its SHA-256: the same text has the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListChange {
    /// Its name, URI or template, as the child knows it.
    pub key: String,
    /// The item that was there; none where it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The item that is there; none where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl fmt::Display for ListChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, "`{key}` is new ({after})"),
            (Some(before), None) => write!(f, "`{key}` is gone ({before})"),
            (Some(before), Some(after)) => write!(f, "`{key}` reads differently ({before}, now {after})"),
            (None, None) => write!(f, "`{key}`"),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// What happened to a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A process was started.
    Spawned {
        /// Its id.
        pid: u32,
    },
    /// No process could be made.
    NotSpawned {
        /// Why.
        #[serde(flatten)]
        cause: Cause,
    },
    /// Secrets that it was declared to have could not be fetched: it starts without them.
    SecretsMissing {
        /// Which, and why.
        why: String,
    },
    /// The handshake is done.
    Ready {
        /// The protocol revision it agreed to.
        revision: String,
        /// Milliseconds from spawn to here.
        took_ms: u64,
    },
    /// It was asked to go.
    Asked {
        /// How.
        rung: Rung,
    },
    /// The process is gone, with its whole tree.
    Gone {
        /// Why.
        #[serde(flatten)]
        cause: Cause,
        /// The last lines of its stderr, escaped, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stderr: Vec<String>,
    },
    /// It will be started again.
    Backoff {
        /// Milliseconds until then.
        wait_ms: u64,
        /// The how manieth failure in the window.
        failures: u32,
    },
    /// No more fast attempts.
    Failed {
        /// Why.
        #[serde(flatten)]
        cause: Cause,
        /// Milliseconds until one more attempt, if there will be one.
        retry_ms: Option<u64>,
    },
    /// It stopped and stays so until somebody asks.
    Stopped,
    /// It asked for something that no client can be asked for.
    Refused {
        /// The method.
        asked: String,
        /// Why not.
        why: String,
    },
    /// Its definition was changed, and the changed one does not come up: the earlier one still runs.
    Kept {
        /// Why the changed one does not come up.
        #[serde(flatten)]
        cause: Cause,
    },
    /// A process of the changed definition has taken the place of the earlier one's.
    TookOver,
    /// It does not answer; one more probe period and it is replaced.
    Unresponsive,
    /// It answers again.
    Responsive,
    /// It does not know pings, or has never answered one: it is not judged by them.
    Unpinged,
    /// One of its processes is about to have no open file left.
    FewFilesLeft {
        /// Open files of that process.
        n_files: u64,
        /// How many it may have.
        limit: u64,
    },
    /// One of its lists is another than it was.
    ListChanged {
        /// The method that asks for it.
        list: String,
        /// What is new, what is gone, and what reads differently under the same name; no more than
        /// [`LIST_CHANGES_MAX`] in all.
        changes: Vec<ListChange>,
        /// How many more there are.
        #[serde(default, skip_serializing_if = "is_zero")]
        n_more: usize,
    },
    /// It writes more to stderr than is kept: lines are dropped.
    Flood {
        /// What is kept of each second, bytes.
        bytes_per_second: u64,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawned { pid } => write!(f, "started as process {pid}"),
            Self::SecretsMissing { why } => write!(f, "starts without a secret: {why}"),
            Self::Ready { revision, took_ms } => write!(f, "ready after {took_ms} ms, speaking {revision}"),
            Self::Asked {
                rung: Rung::StdinClosed,
            } => f.write_str("asked to go: stdin closed"),
            Self::Asked {
                rung: Rung::Terminated,
            } => f.write_str("asked to go: SIGTERM"),
            Self::Asked { rung: Rung::Killed } => f.write_str("made to go: SIGKILL"),
            Self::Gone { cause, .. } => write!(f, "gone: {cause}"),
            Self::Backoff { wait_ms, failures } => {
                write!(f, "starts again in {wait_ms} ms (failure {failures})")
            }
            Self::Failed {
                cause,
                retry_ms: None,
            } => write!(f, "failed: {cause}"),
            Self::Failed {
                cause,
                retry_ms: Some(ms),
            } => {
                write!(f, "failed: {cause}; one more attempt in {}", seconds(*ms))
            }
            Self::Stopped => f.write_str("stopped"),
            Self::Refused { asked, why } => write!(f, "its request `{asked}` was refused: {why}"),
            Self::Kept { cause } => f.write_str(&kept(cause)),
            Self::TookOver => f.write_str("the changed definition has taken over"),
            Self::Unresponsive => f.write_str("does not answer"),
            Self::Responsive => f.write_str("answers again"),
            Self::NotSpawned { cause } => write!(f, "not started: {cause}"),
            Self::Unpinged => f.write_str("answers no pings: it is not judged by them"),
            Self::FewFilesLeft { n_files, limit } => write!(
                f,
                "a process of it has {n_files} open files, `files_max` allows {limit}"
            ),
            Self::ListChanged {
                list,
                changes,
                n_more,
            } => {
                write!(f, "`{list}` has changed")?;
                for (n, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if n == 0 { ": " } else { ", " })?;
                }
                match n_more {
                    0 => Ok(()),
                    n => write!(f, ", and {n} more"),
                }
            }
            Self::Flood { bytes_per_second } => write!(
                f,
                "writes more than {bytes_per_second} bytes a second to stderr: lines are dropped"
            ),
        }
    }
}

/// That a server runs an earlier definition, and why.
pub fn kept(cause: &Cause) -> String {
    format!("runs the earlier definition; the new one does not start: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_names_its_signal() {
        assert_eq!(Exit::Signal(9).to_string(), "signal 9 (SIGKILL)");
        assert_eq!(Exit::Signal(40).to_string(), "signal 40");
        assert_eq!(Exit::Code(1).to_string(), "exit code 1");
    }

    #[test]
    fn a_limit_is_told_with_what_was_used() {
        let memory = Cause::Memory {
            used: (512 << 20) + 1,
            limit: 512 << 20,
            n_processes: 3,
        };
        assert_eq!(
            memory.to_string(),
            "over its memory limit: 513 MiB in 3 processes, `memory_max` is 512 MiB"
        );
    }

    #[test]
    fn what_is_kept_of_a_talkative_child_is_bounded_and_is_its_last_words() {
        let long = "é".repeat(100_000);
        let gone = |lines: Vec<String>| {
            let what = What::Gone {
                cause: Cause::BadHandshake { why: long.clone() },
                stderr: lines,
            };
            SupervisionEvent {
                at_ms: 1,
                server: ServerName::parse("a").unwrap(),
                generation: Generation(2),
                what,
            }
        };
        let mut lines = vec![long.clone(); 19];
        lines.push("the last".to_owned());
        let bounded = gone(lines).bounded();
        assert!(serde_json::to_string(&bounded).unwrap().len() < 12_000);
        let What::Gone { stderr, .. } = &bounded.what else {
            panic!("{bounded:?}")
        };
        assert_eq!(stderr.last().unwrap(), "the last");
        assert!(stderr.len() > 5 && stderr[0].ends_with('…'));
        let short = SupervisionEvent {
            what: What::Stopped,
            ..bounded
        };
        assert_eq!(short.clone().bounded(), short);
    }

    #[test]
    fn events_survive_the_journal() {
        let event = SupervisionEvent {
            at_ms: 1,
            server: ServerName::parse("a").unwrap(),
            generation: Generation(2),
            what: What::Gone {
                cause: Cause::Exited { exit: Exit::Code(1) },
                stderr: vec!["boom".to_owned()],
            },
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<SupervisionEvent>(&text).unwrap(), event);
    }
}
