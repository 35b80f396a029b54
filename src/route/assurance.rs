//! What a server hears while its own question waits for a person: progress, where it has asked for that, so that it
//! does not give the question up. Pure.
//!
//! Source: MCP 2025-11-25, lifecycle, "Timeouts": who waits for an answer MAY begin its time anew at each progress
//! notification; progress, "Progress Flow": the token stands in the request, and the value grows.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::rpc::mcp::method;
use crate::rpc::message::notification_line;
use crate::rpc::object::Object;
use crate::rpc::{Raw, RequestId};

/// So often a server hears that its question is still open: a quarter of what servers commonly wait (60 s).
pub const EVERY: Duration = Duration::from_secs(15);

/// How one server is kept waiting for the answer to one question.
#[derive(Debug)]
pub struct Assurance {
    token: RequestId,
    n_told: u64,
    told_at: Instant,
}

impl Assurance {
    /// For a question that was asked at `now`; `None` where its server did not ask for progress.
    pub fn wanted(params: Option<&Raw>, now: Instant) -> Option<Self> {
        // A look at the text is enough for most questions.
        let params = params.filter(|params| params.as_str().contains("\"progressToken\""))?;
        let meta = Object::of(params)?.get("_meta")?;
        let token = Object::of(&meta)?.get("progressToken")?;
        Some(Self {
            token: RequestId::parse(token.compact()).ok()?,
            n_told: 0,
            told_at: now,
        })
    }

    /// The line that is due when this long has gone by since the one before.
    pub fn due(&mut self, now: Instant, every: Duration) -> Option<Bytes> {
        if now.saturating_duration_since(self.told_at) < every {
            return None;
        }
        self.told_at = now;
        self.n_told += 1;
        let token = self.token.raw().as_str();
        let params = format!(r#"{{"progressToken":{token},"progress":{}}}"#, self.n_told);
        Some(notification_line(method::PROGRESS, Some(&Raw::trusted(params))))
    }
}

impl Assurance {
    /// What the client tells of its progress, under the server's own token. `params`: of its notification.
    pub fn told(&self, params: &Object<'_>) -> Bytes {
        let params = params.with("progressToken", self.token.raw());
        notification_line(method::PROGRESS, Some(&params))
    }
}

/// The parameters of a question under a token of ours, where they have one: what the client tells of its progress comes
/// back under it.
pub fn with_token(params: &Raw, ours: u64) -> Raw {
    let Some(object) = Object::of(params) else {
        return params.clone();
    };
    let meta = object.get("_meta");
    match meta.as_ref().and_then(Object::of) {
        Some(meta) if meta.get("progressToken").is_some() => {
            let meta = meta.with("progressToken", RequestId::number(ours).raw());
            object.with("_meta", &meta)
        }
        Some(_) | None => params.clone(),
    }
}

/// The parameters of a question without the token: it is between its server and us.
pub fn without_token(params: &Raw) -> Raw {
    if !params.as_str().contains("\"progressToken\"") {
        return params.clone();
    }
    let Some(object) = Object::of(params) else {
        return params.clone();
    };
    let meta = object.get("_meta");
    let rest = meta
        .as_ref()
        .and_then(Object::of)
        .map(|meta| meta.without(&["progressToken"]));
    match rest {
        Some(rest) if Object::of(&rest).is_some_and(|rest| rest.is_empty()) => object.without(&["_meta"]),
        Some(rest) => object.with("_meta", &rest),
        None => params.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    #[test]
    fn who_asked_for_progress_hears_of_it_under_its_token_in_growing_numbers() {
        let begun = Instant::now();
        let asked = raw(r#"{"message":"m","_meta":{"progressToken":"7\u0041"}}"#);
        let mut assurance = Assurance::wanted(Some(&asked), begun).unwrap();
        let every = Duration::from_secs(15);
        assert!(assurance.due(begun + every / 2, every).is_none());
        for n in 1..=3 {
            let now = begun + every * n;
            let line = String::from_utf8(assurance.due(now, every).unwrap().to_vec()).unwrap();
            let params = format!(r#""params":{{"progressToken":"7\u0041","progress":{n}}}"#);
            assert!(line.contains(&params), "{line}");
            assert!(assurance.due(now, every).is_none(), "once");
        }
    }

    #[test]
    fn who_did_not_ask_for_it_hears_of_none() {
        let now = Instant::now();
        assert!(Assurance::wanted(None, now).is_none());
        for text in [
            "{}",
            r#"{"progressToken":1}"#,
            r#"{"_meta":{"progressToken":null}}"#,
            r#"{"_meta":{"progressToken":{}}}"#,
            r#"{"_meta":[{"progressToken":1}]}"#,
        ] {
            assert!(Assurance::wanted(Some(&raw(text)), now).is_none(), "{text}");
        }
    }

    #[test]
    fn the_client_does_not_see_the_token() {
        for (params, seen) in [
            (r#"{"m":1,"_meta":{"progressToken":3}}"#, r#"{"m":1}"#),
            (
                r#"{"_meta":{"progressToken":3,"x":1e400}}"#,
                r#"{"_meta":{"x":1e400}}"#,
            ),
            (r#"{"progressToken":3}"#, r#"{"progressToken":3}"#),
        ] {
            assert_eq!(without_token(&raw(params)).as_str(), seen);
        }
    }
}
