//! What the fast child answers, in either era. Written into one buffer, without a copy besides.

use crate::scan::{member, unquoted};

/// The revision without a handshake.
pub const MODERN: &str = "2026-07-28";

/// How a server speaks and what it has.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// It speaks 2026-07-28, and needs no handshake.
    pub is_modern: bool,
    /// Tools that it lists: `echo`, `die`, and then `t2`, `t3`, ….
    pub n_tools: usize,
}

/// What is to be done besides.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    GoOn,
    /// It was told to end.
    Die,
}

impl Server {
    /// Appends the answer to a message, without an end of line; nothing for a notification.
    pub fn answer(&self, message: &[u8], out: &mut Vec<u8>) -> Then {
        let Some(id) = member(message, "id") else {
            return Then::GoOn;
        };
        let method = unquoted(member(message, "method").unwrap_or_default());
        let params = member(message, "params").unwrap_or(b"{}");
        out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        out.extend_from_slice(id);
        if !matches!(
            method,
            b"initialize" | b"server/discover" | b"ping" | b"tools/list" | b"tools/call"
        ) || method == b"server/discover" && !self.is_modern
        {
            out.extend_from_slice(br#","error":{"code":-32601,"message":"Method not found"}}"#);
            return Then::GoOn;
        }
        out.extend_from_slice(br#","result":{"#);
        if self.is_modern {
            out.extend_from_slice(br#""resultType":"complete""#);
            out.extend_from_slice(if method == b"ping" { b"" } else { b"," });
        }
        let then = match method {
            b"initialize" => initialized(params, out),
            b"server/discover" => discovered(out),
            b"tools/list" => self.tools(out),
            b"tools/call" => called(params, out),
            _ping => Then::GoOn,
        };
        out.extend_from_slice(b"}}");
        then
    }

    fn tools(&self, out: &mut Vec<u8>) -> Then {
        if self.is_modern {
            out.extend_from_slice(br#""ttlMs":60000,"cacheScope":"public","#);
        }
        out.extend_from_slice(br#""tools":["#);
        for n in 0..self.n_tools.max(2) {
            let name = match n {
                0 => "echo".to_owned(),
                1 => "die".to_owned(),
                n => format!("t{n}"),
            };
            let comma = if n == 0 { "" } else { "," };
            let schema = r#"{"type":"object","properties":{"text":{"type":"string","description":"What comes back."},"n":{"type":"integer"}}}"#;
            let tool = format!(
                r#"{comma}{{"name":"{name}","description":"Gives back the text, or n characters.","inputSchema":{schema}}}"#
            );
            out.extend_from_slice(tool.as_bytes());
        }
        out.push(b']');
        Then::GoOn
    }
}

fn initialized(params: &[u8], out: &mut Vec<u8>) -> Then {
    out.extend_from_slice(br#""protocolVersion":"#);
    out.extend_from_slice(member(params, "protocolVersion").unwrap_or(br#""2025-11-25""#));
    out.extend_from_slice(
        br#","capabilities":{"tools":{}},"serverInfo":{"name":"echo-child","version":"1"}"#,
    );
    Then::GoOn
}

fn discovered(out: &mut Vec<u8>) -> Then {
    out.extend_from_slice(
        br#""ttlMs":60000,"cacheScope":"public","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"echo-child","version":"1"}}"#,
    );
    Then::GoOn
}

fn called(params: &[u8], out: &mut Vec<u8>) -> Then {
    let arguments = member(params, "arguments").unwrap_or(b"{}");
    out.extend_from_slice(br#""content":[{"type":"text","text":"#);
    let n = member(arguments, "n").and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
    match (n, member(arguments, "text")) {
        (Some(n), _text) => {
            out.push(b'"');
            out.resize(out.len() + n.min(64 << 20), b'x');
            out.push(b'"');
        }
        (None, text) => out.extend_from_slice(text.unwrap_or(br#""""#)),
    }
    out.extend_from_slice(b"}]");
    if unquoted(member(params, "name").unwrap_or_default()).ends_with(b"die") {
        Then::Die
    } else {
        Then::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(is_modern: bool, message: &str) -> String {
        let mut out = Vec::new();
        Server {
            is_modern,
            n_tools: 3,
        }
        .answer(message.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_call_gives_back_its_text_or_as_many_characters_as_are_wanted() {
        let call = |arguments| {
            format!(
                r#"{{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
            )
        };
        let wanted = r#"{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"hé\n"}]}}"#;
        assert_eq!(said(false, &call(r#"{"text":"hé\n"}"#)), wanted);
        assert!(
            said(true, &call(r#"{"n":4}"#))
                .ends_with(r#""resultType":"complete","content":[{"type":"text","text":"xxxx"}]}}"#)
        );
    }

    #[test]
    fn notifications_get_nothing_and_unknown_methods_an_error() {
        assert_eq!(
            said(false, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
            ""
        );
        assert!(said(false, r#"{"id":1,"method":"server/discover"}"#).contains("-32601"));
        assert!(said(true, r#"{"id":1,"method":"server/discover"}"#).contains(MODERN));
        assert_eq!(
            said(true, r#"{"id":1,"method":"ping"}"#),
            r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete"}}"#
        );
        assert_eq!(
            said(false, r#"{"id":1,"method":"tools/list"}"#)
                .matches(r#""name":"#)
                .count(),
            3
        );
    }
}
