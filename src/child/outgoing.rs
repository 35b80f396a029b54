//! What is written to a child: messages in parts, put together only when they are written.
//!
//! A call's parameters keep the client's bytes; only the progress token is ours, and it is known only when the
//! wire id is. So they wait as the text before it and the text after it.

use bytes::Bytes;

use super::lane::Lane;
use crate::ids::WireId;
use crate::rpc::mcp::meta::OF_REQUEST;
use crate::rpc::object::Object;
use crate::rpc::quote_onto;
use crate::rpc::trace::Spans;
use crate::rpc::{Raw, Text};

/// The parameters of a call.
#[derive(Debug, Clone)]
pub enum Params {
    /// None.
    None,
    /// As they are.
    Plain(Raw),
    /// With our progress token in the middle.
    WithToken(AroundToken),
    /// The same, for a server to whom each request says all that it has to know.
    Modern {
        /// What stands around the token.
        around: AroundToken,
        /// What follows the token.
        members: Bytes,
    },
}

/// Parameters without our progress token. What the client wrote is not copied, however long it is.
#[derive(Debug, Clone)]
pub struct AroundToken {
    /// The client's text before `_meta`.
    before: Bytes,
    /// `_meta` before the token.
    opening: Bytes,
    /// `_meta` after the token.
    closing: Bytes,
    /// The client's text after `_meta`.
    after: Bytes,
}

impl Params {
    /// Parameters that carry our own progress token in `_meta`, in the place of the caller's, if any.
    pub fn with_token(params: Option<&Raw>) -> Self {
        Self::with_meta(params, |meta| meta)
    }

    /// The same, and a span of ours in the place of the caller's; the span is kept in the lane.
    ///
    /// A call that is sent again keeps its span.
    pub fn traced(params: Option<&Raw>, spans: &Spans, lane: &Lane) -> Self {
        if let Some(params) = params
            && let Some(object) = Object::of(params)
            && object.get("_meta").is_none()
        {
            // Most calls: nothing of the caller's has to be kept.
            let trace = lane.trace.get_or_init(|| spans.of_call(None));
            let comma = if object.is_empty() { "" } else { "," };
            let end = params.as_bytes().len().saturating_sub(1);
            return Self::WithToken(AroundToken {
                before: params.slice(..end),
                opening: format!("{comma}\"_meta\":{{\"traceparent\":\"{trace}\",\"progressToken\":").into(),
                closing: Bytes::from_static(b"}"),
                after: params.slice(end..),
            });
        }
        Self::with_meta(params, |meta| {
            let Some(object) = Object::of(&meta) else {
                return meta;
            };
            let of_caller = || object.get_string("traceparent");
            let trace = lane.trace.get_or_init(|| spans.of_call(of_caller().as_deref()));
            object.with("traceparent", &Raw::trusted(format!("\"{trace}\"")))
        })
    }

    /// The same parameters with these members of `_meta`, each with a comma before it.
    #[must_use]
    pub fn with_members(self, members: Vec<u8>) -> Self {
        let marked = match self {
            Self::None => Self::with_token(None),
            Self::Plain(raw) => Self::with_token(Some(&raw)),
            marked @ (Self::WithToken(_) | Self::Modern { .. }) => marked,
        };
        match marked {
            Self::WithToken(around) | Self::Modern { around, .. } => Self::Modern {
                around,
                members: members.into(),
            },
            // What is no object is the child's to refuse.
            broken @ (Self::None | Self::Plain(_)) => broken,
        }
    }

    fn with_meta(params: Option<&Raw>, edited: impl FnOnce(Raw) -> Raw) -> Self {
        let empty = Raw::empty_object();
        let params = params.unwrap_or(&empty);
        let Some(object) = Object::of(params) else {
            return Self::Plain(params.clone());
        };
        // `null` is as good as none.
        let meta = object
            .get("_meta")
            .filter(|meta| !meta.is_null())
            .unwrap_or_else(Raw::empty_object);
        // What a client says of itself to us is not what we say of it.
        let meta = match Object::of(&meta) {
            Some(object) => object.without(&OF_REQUEST),
            None => meta,
        };
        let meta = edited(meta);
        let Some(inner) = Object::of(&meta).map(|meta| meta.place("progressToken")) else {
            // What is no object is the child's to refuse.
            return Self::Plain(params.clone());
        };
        let outer = object.place("_meta");
        let opening: [&[u8]; 3] = [&outer.opening, &inner.before, &inner.opening];
        Self::WithToken(AroundToken {
            before: outer.before,
            opening: opening.concat().into(),
            closing: inner.after,
            after: outer.after,
        })
    }

    fn n_bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Plain(raw) => raw.as_bytes().len(),
            Self::WithToken(around) => around.n_bytes(),
            Self::Modern { around, members } => around.n_bytes() + members.len(),
        }
    }
}

impl AroundToken {
    fn n_bytes(&self) -> usize {
        self.before.len() + self.opening.len() + self.closing.len() + self.after.len()
    }

    fn write_to(&self, token: &[u8], members: &[u8], buffer: &mut Vec<u8>) {
        for part in [&self.before, &self.opening] {
            append_on_one_line(part, buffer);
        }
        buffer.extend_from_slice(token);
        append_on_one_line(members, buffer);
        for part in [&self.closing, &self.after] {
            append_on_one_line(part, buffer);
        }
    }
}

/// One line for a child's stdin.
#[derive(Debug, Clone)]
pub enum OutLine {
    /// A request of ours.
    Call {
        /// Its id.
        id: WireId,
        /// Its method.
        method: Text,
        /// Its parameters.
        params: Params,
    },
    /// Anything else, complete but for the newline.
    Other(Bytes),
}

impl OutLine {
    /// Appends the line with its newline.
    pub fn write_to(&self, buffer: &mut Vec<u8>) {
        match self {
            Self::Call { id, method, params } => {
                buffer.reserve(method.as_str().len() + params.n_bytes() + 96);
                buffer.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
                let id = id.0.to_string();
                buffer.extend_from_slice(id.as_bytes());
                buffer.extend_from_slice(b",\"method\":");
                quote_onto(buffer, method.as_str());
                write_params(id.as_bytes(), params, buffer);
                buffer.extend_from_slice(b"}\n");
            }
            Self::Other(line) => {
                append_on_one_line(line, buffer);
                buffer.push(b'\n');
            }
        }
    }
}

/// `id` is our progress token, too.
fn write_params(id: &[u8], params: &Params, buffer: &mut Vec<u8>) {
    const NAME: &[u8] = b",\"params\":";
    match params {
        Params::None => {}
        Params::Plain(raw) => {
            buffer.extend_from_slice(NAME);
            append_on_one_line(raw.as_bytes(), buffer);
        }
        Params::WithToken(around) => {
            buffer.extend_from_slice(NAME);
            around.write_to(id, &[], buffer);
        }
        Params::Modern { around, members } => {
            buffer.extend_from_slice(NAME);
            around.write_to(id, members, buffer);
        }
    }
}

/// A client may send pretty-printed JSON; over stdio a newline would end the message. In JSON text a newline is
/// always white space between tokens: inside a string it stands escaped.
pub fn append_on_one_line(text: &[u8], buffer: &mut Vec<u8>) {
    if memchr::memchr2(b'\n', b'\r', text).is_none() {
        buffer.extend_from_slice(text);
        return;
    }
    buffer.extend(text.iter().map(|byte| {
        if matches!(byte, b'\n' | b'\r') {
            b' '
        } else {
            *byte
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(params: &str) -> String {
        let raw = Raw::parse(&Bytes::copy_from_slice(params.as_bytes())).unwrap();
        let mut buffer = Vec::new();
        let params = Params::with_token(Some(&raw));
        OutLine::Call {
            id: WireId(17),
            method: Text::fixed("m"),
            params,
        }
        .write_to(&mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn our_token_takes_the_place_of_the_callers_and_all_else_stays() {
        assert_eq!(
            line(r#"{"a":1e400,"_meta":{"x":null,"progressToken":"p","y":1},"b":2}"#),
            "{\"jsonrpc\":\"2.0\",\"id\":17,\"method\":\"m\",\"params\":{\"a\":1e400,\"_meta\":{\"x\":null,\"progressToken\":17,\"y\":1},\"b\":2}}\n"
        );
    }

    #[test]
    fn our_token_is_added_where_the_caller_gave_none() {
        assert!(line("{}").contains(r#""params":{"_meta":{"progressToken":17}}"#));
        assert!(line(r#"{"a":1}"#).contains(r#""params":{"a":1,"_meta":{"progressToken":17}}"#));
        assert!(line(r#"{"_meta":null}"#).contains(r#""params":{"_meta":{"progressToken":17}}"#));
        assert!(line(r#"{"_meta":[1.0]}"#).contains(r#""params":{"_meta":[1.0]}"#));
    }

    #[test]
    fn what_a_request_says_of_itself_stands_once_and_is_ours() {
        let raw = |text: &str| Raw::parse(&text.to_owned().into()).unwrap();
        let key = crate::rpc::mcp::meta::PROTOCOL_VERSION;
        let said = format!(r#"{{"a":1.0,"_meta":{{"{key}":"theirs","x":null,"progressToken":"p","y":1}}}}"#);
        for (params, wanted) in [
            (
                Params::with_token(Some(&raw(&said))),
                r#"{"a":1.0,"_meta":{"x":null,"progressToken":17,"m":1,"y":1}}"#,
            ),
            (
                Params::Plain(raw(r#"{"cursor":"c"}"#)),
                r#"{"cursor":"c","_meta":{"progressToken":17,"m":1}}"#,
            ),
            (Params::None, r#"{"_meta":{"progressToken":17,"m":1}}"#),
            (Params::Plain(raw("[]")), "[]"),
        ] {
            let mut buffer = Vec::new();
            let params = params.with_members(br#","m":1"#.to_vec());
            write_params(b"17", &params, &mut buffer);
            assert_eq!(
                String::from_utf8(buffer).unwrap(),
                format!(r#","params":{wanted}"#)
            );
        }
    }

    #[test]
    fn a_span_of_ours_takes_the_place_of_the_callers_and_stays_in_its_trace() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        let spans = Spans::random();
        for (params, is_in_trace) in [
            (
                format!(r#"{{"a":1.0,"_meta":{{"traceparent":"{parent}","x":null}}}}"#),
                true,
            ),
            (
                r#"{"a":1.0,"_meta":{"traceparent":5,"x":null}}"#.to_owned(),
                false,
            ),
            (r#"{"a":1.0,"_meta":{"x":null}}"#.to_owned(), false),
        ] {
            let lane = Lane::new(
                crate::ids::SessionId::random(),
                crate::rpc::RequestId::number(1),
                None,
            );
            let raw = Raw::parse(&params.clone().into()).unwrap();
            let mut buffer = Vec::new();
            let params = Params::traced(Some(&raw), &spans, &lane);
            write_params(b"17", &params, &mut buffer);
            let text = String::from_utf8(buffer).unwrap();
            let trace = lane.trace.get().unwrap();
            assert!(text.contains(&format!(r#""traceparent":"{trace}""#)), "{text}");
            assert!(text.starts_with(r#","params":{"a":1.0,"_meta":{"#), "{text}");
            assert!(
                text.contains(r#""x":null"#) && text.contains(r#""progressToken":17"#),
                "{text}"
            );
            assert_eq!(text.contains("4bf92f3577b34da6a3ce929d0e0e4736"), is_in_trace);
            assert!(!text.contains("00f067aa0ba902b7"), "{text}");
        }
    }

    #[test]
    fn pretty_printed_parameters_become_one_line() {
        let text = line("{\r\n  \"a\": \"x\\ny\"\n}");
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.contains(r#""a": "x\ny""#));
    }

    #[test]
    fn a_pretty_printed_answer_becomes_one_line() {
        let mut buffer = Vec::new();
        OutLine::Other(Bytes::from_static(b"{\"id\":1,\"result\":{\r\n}}")).write_to(&mut buffer);
        assert_eq!(buffer, b"{\"id\":1,\"result\":{  }}\n");
    }
}
