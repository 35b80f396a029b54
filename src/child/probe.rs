//! Which era a server is of: what was seen of it, and what to do then. Pure.
//!
//! A server that speaks 2026-07-28 answers `server/discover`; one that needs a handshake refuses it in a way of its own,
//! says nothing, or ends. So it is asked first, once, and what it turned out to be is kept ([`super::verdict`]).
//!
//! | seen of `server/discover` | it is | then |
//! | --- | --- | --- |
//! | a result that lists 2026-07-28 | modern | speak to it |
//! | a result that lists older revisions only | legacy | a handshake with a fresh process: this one may have settled |
//! | -32022 that lists 2026-07-28, -32020, -32021 | modern | ask once more |
//! | -32022 that lists older revisions only | legacy | a handshake with a fresh process |
//! | -32022 that lists nothing we know | neither | refused |
//! | any other error, or a result that is none | legacy | a handshake with this process |
//! | nothing in time | probably legacy | a handshake with this process |
//! | its end | legacy, if a handshake works | a handshake with a fresh process |
//!
//! Source: MCP 2026-07-28, stdio, "Backward Compatibility"; versioning, "Unsupported Version". The fallback hangs on no
//! single code: what servers answer to an unknown first request differs.

use std::time::Duration;

use super::handshake::{Handshake, error_text};
use super::verdict::Certainty;
use crate::config::spec::EraPolicy;
use crate::rpc::error::code;
use crate::rpc::mcp::{Era, Revision, meta};
use crate::rpc::object::{Object, elements};
use crate::rpc::{Outcome, Raw};

/// How long a server may take to answer `server/discover` before it is taken for one that never will.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// The same for a program that fetches what it runs, at its very first start, and for one that has answered before.
pub const RUNNER_PATIENCE: Duration = Duration::from_secs(60);

/// What was found out about a server at earlier starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it never started before.
    Nothing,
    /// It has answered `server/discover`, and holds since.
    Modern,
    /// Anything else, also what no longer holds.
    Other,
}

/// What was seen of `server/discover`.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A result or an error.
    Answer(&'a Outcome),
    /// An answer that is no valid message.
    Unreadable(&'a str),
    /// Nothing in time.
    Silence,
}

/// What to do then.
#[derive(Debug, Clone)]
pub enum Next {
    /// It speaks 2026-07-28.
    Speak(Handshake),
    /// It is modern: ask once more, declaring these capabilities.
    AskAgain(Raw),
    /// Shake hands with this process.
    Greet(Finding),
    /// Shake hands with a fresh process.
    StartOver(Finding),
    /// It cannot be spoken to.
    Refuse(String),
}

/// What it turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The era.
    pub era: Era,
    /// How sure that is.
    pub certainty: Certainty,
    /// By what it was found, for people.
    pub how: String,
    /// Whether it ends when it is asked.
    pub crashes: bool,
}

impl Finding {
    fn legacy(how: impl Into<String>) -> Self {
        Self {
            era: Era::Legacy,
            certainty: Certainty::Definitive,
            how: how.into(),
            crashes: false,
        }
    }

    /// It answers `server/discover`.
    pub fn modern() -> Self {
        Self {
            era: Era::Modern,
            certainty: Certainty::Definitive,
            how: "it answers `server/discover`".to_owned(),
            crashes: false,
        }
    }

    /// It ended when it was asked.
    pub fn of_its_end() -> Self {
        Self {
            crashes: true,
            ..Self::legacy("it ends when it is asked `server/discover`")
        }
    }

    /// Nothing was asked before the handshake, and the handshake works.
    pub fn of_handshake() -> Self {
        Self::legacy("it shakes hands")
    }
}

/// How long to wait for the answer. `known`: what was found out about it before.
///
/// At most half of the time that the whole start has. One that has answered before is only slow to begin.
pub fn patience(era: EraPolicy, is_runner: bool, known: Known, start_timeout: Duration) -> Duration {
    match era {
        // There is nothing to fall back to.
        EraPolicy::Modern => start_timeout,
        EraPolicy::Auto | EraPolicy::Legacy => {
            let patience = match known {
                Known::Modern => RUNNER_PATIENCE,
                Known::Nothing if is_runner => RUNNER_PATIENCE,
                Known::Nothing | Known::Other => PATIENCE,
            };
            patience.min(start_timeout / 2)
        }
    }
}

/// The parameters of `server/discover`, declaring these capabilities.
pub fn discover_params(capabilities: &Raw) -> Raw {
    let meta = Raw::of(&serde_json::json!({
        meta::PROTOCOL_VERSION: Revision::NEWEST.as_str(),
        meta::CLIENT_INFO: crate::rpc::mcp::Implementation::ourselves(),
    }));
    let meta = Object::of(&meta).map_or_else(Raw::empty_object, |all| {
        all.with(meta::CLIENT_CAPABILITIES, capabilities)
    });
    let empty = Raw::empty_object();
    Object::of(&empty).map_or_else(Raw::empty_object, |params| params.with("_meta", &meta))
}

/// Decides. `is_again`: it was asked once more already.
pub fn after_discover(seen: &Seen<'_>, is_again: bool, era: EraPolicy) -> Next {
    let next = found(seen, is_again);
    match (era, next) {
        (EraPolicy::Modern, Next::Greet(finding) | Next::StartOver(finding)) => Next::Refuse(format!(
            "it does not speak {} (`era` says \"modern\"): {}",
            Revision::NEWEST.as_str(),
            finding.how
        )),
        (_, next) => next,
    }
}

fn found(seen: &Seen<'_>, is_again: bool) -> Next {
    match seen {
        Seen::Silence => Next::Greet(Finding {
            era: Era::Legacy,
            certainty: Certainty::Tentative,
            how: "it says nothing to `server/discover`".to_owned(),
            crashes: false,
        }),
        Seen::Unreadable(why) => Next::Greet(Finding::legacy(format!(
            "it answers `server/discover` with no valid message: {why}"
        ))),
        Seen::Answer(Ok(result)) => of_result(result),
        Seen::Answer(Err(error)) => of_error(error, is_again),
    }
}

fn of_result(result: &Raw) -> Next {
    let listed = Object::of(result).and_then(|result| versions(&result, "supportedVersions"));
    let Some(listed) = listed else {
        return Next::Greet(Finding::legacy(
            "its answer to `server/discover` is none: it lists no versions",
        ));
    };
    if listed.is_modern() {
        return Next::Speak(Handshake::of_discovery(result));
    }
    if listed.is_legacy() {
        return Next::StartOver(Finding::legacy(format!(
            "it answers `server/discover`, and lists only {}",
            listed.shown()
        )));
    }
    Next::Refuse(format!(
        "it speaks {} only, which nobody here knows",
        listed.shown()
    ))
}

fn of_error(error: &Raw, is_again: bool) -> Next {
    let object = Object::of(error);
    let data = object.as_ref().and_then(|error| error.get("data"));
    let data = data.as_ref().and_then(Object::of);
    match code_of(error) {
        Some(code::UNSUPPORTED_VERSION) => {
            let Some(listed) = data.and_then(|data| versions(&data, "supported")) else {
                return again_unless(is_again, Raw::empty_object(), error);
            };
            if listed.is_modern() {
                return again_unless(is_again, Raw::empty_object(), error);
            }
            if listed.is_legacy() {
                return Next::StartOver(Finding::legacy(format!(
                    "it refuses 2026-07-28, and lists only {}",
                    listed.shown()
                )));
            }
            Next::Refuse(format!(
                "it speaks {} only, which nobody here knows",
                listed.shown()
            ))
        }
        Some(code::HEADER_MISMATCH) => again_unless(is_again, Raw::empty_object(), error),
        Some(code::MISSING_CAPABILITY) => {
            let needed = data.and_then(|data| data.get("requiredCapabilities"));
            let needed = needed.filter(Raw::is_object);
            again_unless(is_again, needed.unwrap_or_else(Raw::empty_object), error)
        }
        _another => Next::Greet(Finding::legacy(format!(
            "it refuses `server/discover`: {}",
            error_text(error)
        ))),
    }
}

/// A modern server that refuses a second time is not going to tell what it can.
fn again_unless(is_again: bool, capabilities: Raw, error: &Raw) -> Next {
    if is_again {
        Next::Refuse(format!(
            "the server refuses `server/discover`: {}",
            error_text(error)
        ))
    } else {
        Next::AskAgain(capabilities)
    }
}

/// What to do when a server has refused `initialize`: the last word, or a doubt about its era.
///
/// `was_asked`: it has had its say about `server/discover` on this process.
pub fn doubts_handshake(error: &Raw, era: EraPolicy, was_asked: bool, is_known_legacy: bool) -> bool {
    era == EraPolicy::Auto
        && !was_asked
        // A server whose handshake has worked before only has a bad day, unless it says itself what it speaks.
        && (code_of(error) == Some(code::UNSUPPORTED_VERSION) || !is_known_legacy)
}

/// The code of an error.
pub fn code_of(error: &Raw) -> Option<i64> {
    Object::of(error)?.get("code")?.as_str().parse().ok()
}

/// Versions that a server lists.
struct Listed(Vec<String>);

impl Listed {
    fn is_modern(&self) -> bool {
        self.any(Era::Modern)
    }

    fn is_legacy(&self) -> bool {
        self.any(Era::Legacy)
    }

    fn any(&self, era: Era) -> bool {
        let known = self.0.iter().filter_map(|version| Revision::parse(version));
        known.map(Revision::era).any(|one| one == era)
    }

    fn shown(&self) -> String {
        const N_MAX: usize = 8;
        if self.0.is_empty() {
            return "no version".to_owned();
        }
        self.0.iter().take(N_MAX).cloned().collect::<Vec<_>>().join(", ")
    }
}

fn versions(object: &Object<'_>, key: &str) -> Option<Listed> {
    let all = object.get(key).as_ref().and_then(elements)?;
    let texts = all
        .iter()
        .filter_map(|one| one.as_string().map(|text| text.into_owned()));
    Some(Listed(texts.collect()))
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
