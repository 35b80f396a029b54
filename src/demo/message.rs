//! What arrives on the wire of a demo: bounded lines, and the JSON-RPC message in one of them.

use std::io::{self, BufRead, Read};

use serde_json::{Value, json};

use super::calls::Said;
use super::fault::Fault;
use super::server::Params;

/// What was read up to a line's end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The next line; `None` at the end of input. A line of more than `bytes_max` is skipped as a whole.
pub(super) fn read_line(input: &mut dyn BufRead, bytes_max: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    Read::take(&mut *input, limit.saturating_add(1)).read_until(b'\n', &mut line)?;
    if line.len() > bytes_max && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
        return Ok(Some(Line::TooLong));
    }
    Ok((!line.is_empty()).then_some(Line::Whole(line)))
}

/// JSON-RPC allows params by position; MCP does not.
pub(super) fn read_params(params: Option<Value>) -> Result<Params, Fault> {
    match params {
        None | Some(Value::Null) => Ok(Params::new()),
        Some(Value::Object(params)) => Ok(params),
        Some(_) => Err(Fault::params("`params` must be an object")),
    }
}

/// A message of the client, as far as this end must tell them apart.
#[derive(Debug)]
pub(super) enum Incoming {
    Request {
        id: Value,
        method: String,
        params: Option<Value>,
    },
    Notification {
        method: String,
        params: Option<Value>,
    },
    /// The answer to a question of ours, if it has an id.
    Answer {
        id: Value,
        said: Said,
    },
}

impl Incoming {
    /// Tells them apart. The error says what is wrong with the message.
    pub(super) fn read(message: Value) -> Result<Self, &'static str> {
        let Value::Object(mut members) = message else {
            return Err("a message is a JSON object");
        };
        if members.get("jsonrpc") != Some(&json!("2.0")) {
            return Err("`jsonrpc` must be \"2.0\"");
        }
        let method = match members.remove("method") {
            Some(Value::String(method)) => method,
            Some(_) => return Err("`method` must be a string"),
            None => return Self::read_answer(members).ok_or("`method` is missing"),
        };
        match members.remove("id") {
            None => Ok(Self::Notification {
                method,
                params: members.remove("params"),
            }),
            Some(id @ (Value::String(_) | Value::Number(_))) => Ok(Self::Request {
                id,
                method,
                params: members.remove("params"),
            }),
            Some(_) => Err("`id` must be a string or a number"),
        }
    }

    fn read_answer(mut members: Params) -> Option<Self> {
        let said = match (members.remove("result"), members.remove("error")) {
            (Some(result), _) => Ok(result),
            (None, Some(error)) => Err(error
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or("an error without a message")
                .to_owned()),
            (None, None) => return None,
        };
        let id = members.remove("id").unwrap_or(Value::Null);
        Some(Self::Answer { id, said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_beyond_the_bound_is_skipped_as_a_whole() {
        let mut input: &[u8] = b"12345678\n1234\n123456789";
        assert_eq!(read_line(&mut input, 4).unwrap(), Some(Line::TooLong));
        assert_eq!(
            read_line(&mut input, 4).unwrap(),
            Some(Line::Whole(b"1234\n".to_vec()))
        );
        assert_eq!(read_line(&mut input, 4).unwrap(), Some(Line::TooLong));
        assert_eq!(read_line(&mut input, 4).unwrap(), None);
    }
}
