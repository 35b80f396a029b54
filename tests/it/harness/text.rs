//! Any JSON value as text, with everything that a typed reader would spoil.

use super::Dice;

/// White space that may stand in one line.
const BLANKS: [&str; 6] = ["", "", "", " ", "  ", "\t"];
/// The same in a body that is no line.
const BREAKS: [&str; 4] = ["", " ", "\n", "\r\n  "];
const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "-0.0",
    "1.0",
    "0.10",
    "1.50e-7",
    "1E+2",
    "1e400",
    "-1e-400",
    "9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
    "100000000000000000000000000000000e-30",
    "-9223372036854775809",
    "1e0",
];
const PIECES: [&str; 20] = [
    "a",
    "plain words",
    "\u{e9}",
    "\u{2028}",
    "\u{1f600}",
    "\u{7f}",
    "\\u2028",
    "\\u2029",
    "\\ud800",
    "\\udfff\\ud800",
    "\\ud83d\\ude00",
    "\\u0000",
    "\\u0061",
    "\\/",
    "/",
    "\\\\",
    "\\\"",
    "\\n\\r\\t\\b\\f",
    "{\\\"a\\\":[",
    "}]",
];
/// Names that mean something elsewhere.
const KEYS: [&str; 14] = [
    "",
    "id",
    "jsonrpc",
    "method",
    "params",
    "result",
    "error",
    "_meta",
    "progressToken",
    "name",
    "uri",
    "logger",
    "message",
    "__proto__",
];

/// Makes values.
pub(crate) struct Maker<'l> {
    pub(crate) dice: &'l mut Dice,
    /// Whether lines may break between tokens.
    pub(crate) breaks: bool,
}

impl Maker<'_> {
    fn blank(&mut self) -> &'static str {
        if self.breaks && self.dice.one_in(3) {
            return self.dice.pick(&BREAKS);
        }
        self.dice.pick(&BLANKS)
    }

    /// A string.
    pub(crate) fn string(&mut self) -> String {
        let n = self.dice.below(5);
        let text: String = (0..n).map(|_| self.dice.pick(&PIECES)).collect();
        format!("\"{text}\"")
    }

    /// Any value.
    pub(crate) fn value(&mut self) -> String {
        if self.dice.one_in(12) {
            return self.deep();
        }
        self.nested(4)
    }

    /// An object.
    pub(crate) fn object(&mut self) -> String {
        self.members(4)
    }

    /// As deep as readers have to go: 100 levels.
    fn deep(&mut self) -> String {
        let n = 1 + self.dice.below(90);
        let (mut before, mut after) = (String::new(), String::new());
        for _ in 0..n {
            if self.dice.one_in(2) {
                before.push('[');
                after.insert(0, ']');
            } else {
                before.push_str("{\"d\":");
                after.insert(0, '}');
            }
        }
        format!("{before}{}{after}", self.nested(2))
    }

    fn nested(&mut self, depth: usize) -> String {
        let n_kinds = if depth == 0 { 4 } else { 8 };
        match self.dice.below(n_kinds) {
            0 => self.dice.pick(&["null", "true", "false"]).to_owned(),
            1 => self.dice.pick(&NUMBERS).to_owned(),
            2 | 3 => self.string(),
            4 | 5 => {
                let n = self.dice.below(4);
                let items: Vec<String> = (0..n).map(|_| self.padded(depth)).collect();
                format!("[{}{}]", self.blank(), items.join(","))
            }
            _ => self.members(depth),
        }
    }

    fn members(&mut self, depth: usize) -> String {
        let n = self.dice.below(5);
        let mut members: Vec<String> = Vec::new();
        for _ in 0..n {
            let key = if self.dice.one_in(2) {
                format!("\"{}\"", self.dice.pick(&KEYS))
            } else {
                self.string()
            };
            members.push(format!(
                "{}{key}{}:{}",
                self.blank(),
                self.blank(),
                self.padded(depth)
            ));
            // Twice the same key: which one counts is not ours to say.
            if self.dice.one_in(4) {
                members.push(format!("{key}:{}", self.nested(depth - 1)));
            }
        }
        format!("{{{}{}}}", members.join(","), self.blank())
    }

    fn padded(&mut self, depth: usize) -> String {
        let (before, value, after) = (self.blank(), self.nested(depth - 1), self.blank());
        format!("{before}{value}{after}")
    }
}

/// As it stands in one line: a line's end between tokens is a blank there.
pub(crate) fn on_one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
