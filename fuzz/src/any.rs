//! Structure out of bytes: the same bytes give the same structure, and no bytes give a small one.

use bytes::Bytes;

/// Bytes that are used up one after the other.
pub struct Any<'a>(pub &'a [u8]);

impl<'a> Any<'a> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn text(&mut self, n: usize) -> String {
        String::from_utf8_lossy(self.take(n)).into_owned()
    }

    /// A JSON value, with everything that valid JSON may have and people rarely write.
    pub fn json(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 4 } else { 7 }) {
            0 => self
                .pick(&[
                    "null",
                    "true",
                    "false",
                    "0",
                    "-0",
                    "1.0",
                    "1e400",
                    "18446744073709551616",
                ])
                .to_owned(),
            1 => i8::from_ne_bytes([self.byte()]).to_string(),
            2 | 3 => self.string(),
            4 => {
                let items: Vec<String> = (0..self.below(4)).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", items.join(self.pick(&[",", " , "])))
            }
            _object => self.object(depth - 1),
        }
    }

    pub fn object(&mut self, depth: usize) -> String {
        let members: Vec<String> = (0..self.below(6))
            .map(|_| {
                let key = self.key();
                let colon = self.pick(&[":", " : ", ":\t"]);
                format!("{key}{colon}{}", self.json(depth))
            })
            .collect();
        let space = self.pick(&["", " ", "\r\n"]);
        format!("{{{space}{}{space}}}", members.join(self.pick(&[",", ", "])))
    }

    fn key(&mut self) -> String {
        const KEYS: &[&str] = &[
            r#""a""#,
            r#""\u0061""#,
            r#""b""#,
            r#""""#,
            r#""\ud800""#,
            r#""name""#,
            r#""n\u0061me""#,
            r#""_meta""#,
            r#""uri""#,
            r#""id""#,
            r#""method""#,
            r#""params""#,
            r#""result""#,
            r#""error""#,
            r#""jsonrpc""#,
        ];
        self.pick(KEYS).to_owned()
    }

    fn string(&mut self) -> String {
        const PARTS: &[&str] = &[
            "a",
            "b",
            "\\u0061",
            "\\\"",
            "\\\\",
            "\\/",
            "\\ud83d\\ude00",
            "\\ud800",
            "é",
            "\u{2028}",
            "}",
            "{",
            ",",
            ":",
            "]",
            "2.0",
            "x://1",
            "\\n",
        ];
        let parts: String = (0..self.below(5)).map(|_| self.pick(PARTS)).collect();
        format!("\"{parts}\"")
    }

    /// One line that is a message, or nearly.
    pub fn message(&mut self) -> String {
        const METHODS: &[&str] = &[
            "initialize",
            "notifications/initialized",
            "notifications/cancelled",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
            "tools/call",
            "ping",
        ];
        let id = self.pick(&[
            "1",
            "2",
            "3",
            "\"1\"",
            "\"a\"",
            "\"\\u0061\"",
            "1.0",
            "null",
            "\"mcp-wrapper-again-0\"",
        ]);
        let method = self.pick(METHODS);
        let params = match self.below(5) {
            0 => r#"{"uri":"x://1"}"#.to_owned(),
            1 => r#"{"uri":"x://2","requestId":1}"#.to_owned(),
            2 => r#"{"requestId":"a","level":"debug"}"#.to_owned(),
            _any => self.object(2),
        };
        match self.below(6) {
            0 => format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#),
            1 | 2 => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#),
            3 => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{params}}}"#),
            4 => format!(r#"{{"id":{id},"error":{params},"jsonrpc":"2.0"}}"#),
            _odd => self.object(3),
        }
    }
}

/// The text as a buffer of its own.
pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The first byte says whether the rest is text as it is, or structure.
pub fn json_text(data: &[u8]) -> Bytes {
    let mut any = Any(data);
    match any.byte() % 3 {
        0 => Bytes::copy_from_slice(any.0),
        1 => bytes(&any.json(5)),
        _message => bytes(&any.message()),
    }
}
