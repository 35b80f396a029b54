//! The envelope of a message: what kind it is, its id, its method; the payload stays raw.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::code;
use super::object::Object;
use super::{Raw, RequestId, RpcError, Text};

/// One JSON-RPC message.
#[derive(Debug, Clone)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notification(Notification),
    /// Is one.
    Response(Response),
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose answer it wants.
    pub id: RequestId,
    /// What to do.
    pub method: Text,
    /// With what.
    pub params: Option<Raw>,
}

/// A notification.
#[derive(Debug, Clone)]
pub struct Notification {
    /// What happened.
    pub method: Text,
    /// To what.
    pub params: Option<Raw>,
}

/// What a request led to: the `result` value, or the `error` object.
pub type Outcome = Result<Raw, Raw>;

/// An answer. Without an id only when its sender could not read ours.
#[derive(Debug, Clone)]
pub struct Response {
    /// The request that it answers.
    pub id: Option<RequestId>,
    /// What it led to.
    pub outcome: Outcome,
}

/// What one text turned out to be.
#[derive(Debug)]
pub enum Incoming {
    /// One message.
    One(Message),
    /// An array of messages, each good or bad by itself (MCP 2025-03-26, basic, "Batching").
    Batch(Vec<Result<Message, Malformed>>),
}

/// A text that is no message: the error to answer with, and the id it bears where that could be read.
#[derive(Debug, Clone)]
pub struct Malformed {
    /// The id, if there is a valid one.
    pub id: Option<RequestId>,
    /// Whether it has the form of an answer: then nobody waits for an error.
    pub is_response: bool,
    /// What is wrong.
    pub error: Box<RpcError>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// "2.0", however it is spelled.
fn is_version(value: &RawValue) -> bool {
    value.get() == "\"2.0\""
        || serde_json::from_str::<Cow<'_, str>>(value.get()).is_ok_and(|text| text == "2.0")
}

/// Keeps an explicit `null` apart from a member that is not there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Incoming {
    /// Reads one text.
    ///
    /// # Errors
    /// `Malformed`, with the JSON-RPC error that says why.
    pub fn parse(text: &Bytes) -> Result<Self, Malformed> {
        match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => Self::parse_batch(text),
            _other => parse_one(text).map(Self::One),
        }
    }

    fn parse_batch(text: &Bytes) -> Result<Self, Malformed> {
        let parts: Vec<&RawValue> =
            serde_json::from_slice(text).map_err(|error| Malformed::not_json(&error))?;
        if parts.is_empty() {
            return Err(Malformed::invalid(None, "the batch is empty"));
        }
        let messages = parts
            .into_iter()
            .map(|part| parse_one(&text.slice_ref(part.get().as_bytes())));
        Ok(Self::Batch(messages.collect()))
    }
}

fn parse_one(text: &Bytes) -> Result<Message, Malformed> {
    let envelope: Envelope<'_> = match serde_json::from_slice(text) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => {
            return Err(Malformed::invalid(
                None,
                &format!("this is no JSON-RPC message: {error}"),
            ));
        }
        Err(error) => {
            // A key that is no text of characters is valid JSON (RFC 8259 §8.2), and none of ours.
            let whole = Raw::parse(text).map_err(|_| Malformed::not_json(&error))?;
            let readable = Object::of(&whole).map_or_else(|| whole.clone(), |whole| whole.readable());
            if readable == whole {
                return Err(Malformed::not_json(&error));
            }
            return parse_one(&readable.bytes());
        }
    };
    envelope.into_message(text)
}

impl Envelope<'_> {
    fn into_message(self, text: &Bytes) -> Result<Message, Malformed> {
        let is_response = self.method.is_none() && (self.result.is_some() || self.error.is_some());
        let id = match self.id.map(|id| RequestId::parse(Raw::slice_of(text, id))) {
            None => None,
            Some(Ok(id)) => Some(id),
            // An error answer may bear `"id": null` when its sender could not read our id.
            Some(Err(_)) if is_response => None,
            Some(Err(bad)) => return Err(Malformed::invalid(None, &bad.to_string())),
        };
        let bad = |why: &str| Malformed {
            is_response,
            ..Malformed::invalid(id.clone(), why)
        };
        if !self.jsonrpc.is_some_and(is_version) {
            return Err(bad("the member `jsonrpc` must be \"2.0\""));
        }
        if is_response {
            let outcome = match (self.result, self.error) {
                (Some(result), None) => Ok(Raw::slice_of(text, result)),
                (None, Some(error)) => Err(Raw::slice_of(text, error)),
                _both => return Err(bad("an answer has either `result` or `error`")),
            };
            return Ok(Message::Response(Response { id, outcome }));
        }
        let method = self
            .method
            .and_then(|method| Text::of(&Raw::slice_of(text, method)));
        let Some(method) = method else {
            return Err(bad("the member `method` must be a string"));
        };
        let params = self.params.map(|params| Raw::slice_of(text, params));
        if params
            .as_ref()
            .is_some_and(|params| !params.is_object() && !params.is_array())
        {
            return Err(bad("the member `params` must be an object"));
        }
        Ok(match id {
            Some(id) => Message::Request(Request { id, method, params }),
            None => Message::Notification(Notification { method, params }),
        })
    }
}

impl Malformed {
    fn not_json(error: &serde_json::Error) -> Self {
        let error = RpcError::new(code::PARSE_ERROR, format!("Parse error: {error}"));
        Self {
            id: None,
            is_response: false,
            error: Box::new(error),
        }
    }

    fn invalid(id: Option<RequestId>, why: &str) -> Self {
        let error = RpcError::invalid_request(format!("Invalid request: {why}"));
        Self {
            id,
            is_response: false,
            error: Box::new(error),
        }
    }
}

// === What we write ===

/// The line of a response, without the newline.
pub fn response_line(id: Option<&RequestId>, outcome: &Outcome) -> Bytes {
    let (name, value): (&[u8], &Raw) = match outcome {
        Ok(result) => (b",\"result\":", result),
        Err(error) => (b",\"error\":", error),
    };
    let id: &[u8] = id.map_or(b"null", |id| id.raw().as_bytes());
    joined(&[b"{\"jsonrpc\":\"2.0\",\"id\":", id, name, value.as_bytes(), b"}"])
}

/// The line of a notification, without the newline.
pub fn notification_line(method: &str, params: Option<&Raw>) -> Bytes {
    message_line(None, method, params)
}

/// The line of a request, without the newline.
pub fn request_line(id: &Raw, method: &str, params: Option<&Raw>) -> Bytes {
    message_line(Some(id), method, params)
}

fn message_line(id: Option<&Raw>, method: &str, params: Option<&Raw>) -> Bytes {
    let method = Raw::of(&method);
    let mut parts: Vec<&[u8]> = vec![b"{\"jsonrpc\":\"2.0\","];
    if let Some(id) = id {
        parts.extend([b"\"id\":".as_slice(), id.as_bytes(), b","]);
    }
    parts.extend([b"\"method\":".as_slice(), method.as_bytes()]);
    if let Some(params) = params {
        parts.extend([b",\"params\":".as_slice(), params.as_bytes()]);
    }
    parts.push(b"}");
    joined(&parts)
}

fn joined(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Incoming, Malformed> {
        Incoming::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    fn one(text: &str) -> Message {
        match parse(text).unwrap() {
            Incoming::One(message) => message,
            Incoming::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn requests_notifications_and_answers_are_told_apart() {
        assert!(matches!(
            one(r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#),
            Message::Request(_)
        ));
        assert!(matches!(
            one(r#"{"jsonrpc":"2.0","method":"x","params":{}}"#),
            Message::Notification(_)
        ));
        let Message::Response(answer) = one(r#"{"jsonrpc":"2.0","id":"a","result":null}"#) else {
            panic!()
        };
        assert_eq!(answer.outcome.unwrap().as_str(), "null");
        let Message::Response(answer) = one(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#) else {
            panic!()
        };
        assert!(answer.id.is_none());
    }

    #[test]
    fn payloads_are_kept_to_the_byte() {
        let Message::Request(request) = one(
            r#"{"params":{"n":9007199254740993,"x":1e400,"z":null,"\ud800":"-0" },"method":"a\/b","id":1.0,"jsonrpc":"2.0"}"#,
        ) else {
            panic!()
        };
        assert_eq!(request.method.as_str(), "a/b");
        assert_eq!(request.id.raw().as_str(), "1.0");
        assert_eq!(
            request.params.unwrap().as_str(),
            r#"{"n":9007199254740993,"x":1e400,"z":null,"\ud800":"-0" }"#
        );
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(parse(&deep).is_ok());
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_right_code() {
        for (text, wanted) in [
            ("{", code::PARSE_ERROR),
            ("nonsense", code::PARSE_ERROR),
            ("", code::PARSE_ERROR),
            ("1", code::INVALID_REQUEST),
            ("[]", code::INVALID_REQUEST),
            ("{}", code::INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
                code::INVALID_REQUEST,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, code::INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","params":3}"#,
                code::INVALID_REQUEST,
            ),
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, code::INVALID_REQUEST),
            (r#"{"id":1,"method":"a"}"#, code::INVALID_REQUEST),
            (
                r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#,
                code::INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{}}"#,
                code::INVALID_REQUEST,
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().error.code, wanted, "{text}");
        }
        assert!(
            Incoming::parse(&Bytes::from_static(
                b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}"
            ))
            .is_err()
        );
    }

    #[test]
    fn a_key_that_is_no_text_is_passed_over() {
        let Message::Request(request) = one(
            r#"{"\ud800":[1],"jsonrpc":"2.0","id":7,"method":"ping","\udc00x":{},"params":{"\ud800":1}}"#,
        ) else {
            panic!()
        };
        assert_eq!(request.id, RequestId::number(7));
        assert_eq!(request.params.unwrap().as_str(), r#"{"\ud800":1}"#);
        let id_twice = r#"{"\ud800":1,"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#;
        assert_eq!(parse(id_twice).unwrap_err().error.code, code::INVALID_REQUEST);
        let broken = r#"{"\ud800":1,"jsonrpc":"2.0","id":1"#;
        assert_eq!(parse(broken).unwrap_err().error.code, code::PARSE_ERROR);
    }

    #[test]
    fn a_batch_is_read_part_by_part() {
        let Incoming::Batch(parts) = parse(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},3]"#).unwrap() else {
            panic!()
        };
        assert!(parts[0].is_ok() && parts[1].is_err());
    }

    #[test]
    fn lines_are_what_they_should_be() {
        let id = RequestId::number(7);
        assert_eq!(
            response_line(Some(&id), &Ok(Raw::empty_object())),
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#
        );
        assert_eq!(notification_line("a", None), r#"{"jsonrpc":"2.0","method":"a"}"#);
        assert_eq!(
            request_line(id.raw(), "a", Some(&Raw::empty_object())),
            r#"{"jsonrpc":"2.0","id":7,"method":"a","params":{}}"#
        );
    }
}
