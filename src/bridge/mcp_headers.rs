//! The headers of a request that repeat what its body says, for those who route without reading bodies (MCP
//! 2026-07-28, Streamable HTTP, "Request Metadata"). They are compared with the body here and go no further. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The header with the revision.
pub const VERSION: &str = "mcp-protocol-version";
/// The header with the method.
pub const METHOD: &str = "mcp-method";
/// The header with the name, URI or task that the method is about.
pub const NAME: &str = "mcp-name";
/// The beginning of the headers with parameters of tools.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// Most characters of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 100;

/// The headers of one request whose names begin with `Mcp-`, in any case, as they came.
#[derive(Debug, Clone, Default)]
pub struct McpHeaders {
    /// Names in lower case.
    all: Vec<(String, Vec<u8>)>,
}

/// What is wrong with a header: a sentence that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadHeader(pub String);

impl McpHeaders {
    /// Those among these names and values; there are as many as the door lets in.
    pub fn of<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let ours = headers.into_iter().filter_map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            name.starts_with("mcp-").then(|| (name, value.to_vec()))
        });
        Self { all: ours.collect() }
    }

    /// The value of a header (named in lower case) without the white space around it; `None` when it is not there.
    ///
    /// # Errors
    /// It stands more than once, or holds something else than visible ASCII, spaces and tabs.
    pub fn get(&self, name: &str) -> Result<Option<&str>, BadHeader> {
        let mut values = self.all.iter().filter(|(other, _)| other == name);
        let Some((_, value)) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(BadHeader(format!("{} stands more than once", shown_name(name))));
        }
        let is_good = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
        let text = std::str::from_utf8(value).ok().filter(|_| is_good);
        let text = text.map(|text| text.trim_matches([' ', '\t']));
        text.map(Some).ok_or_else(|| {
            BadHeader(format!(
                "{} holds characters that no header may hold",
                shown_name(name)
            ))
        })
    }

    /// The value of a header that may be encoded, as the text that it stands for.
    ///
    /// # Errors
    /// As [`McpHeaders::get`]; or it is encoded, and not as it should be.
    pub fn decoded(&self, name: &str) -> Result<Option<String>, BadHeader> {
        let Some(value) = self.get(name)? else {
            return Ok(None);
        };
        decode(value)
            .map(Some)
            .ok_or_else(|| BadHeader(format!("{} is no canonical Base64 of a text", shown_name(name))))
    }
}

/// The text that a value stands for: itself, or what `=?base64?…?=` encodes; `None` when that is not the one
/// canonical encoding of a text (MCP 2026-07-28, Streamable HTTP, "Value Encoding").
pub fn decode(value: &str) -> Option<String> {
    let encoded = value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    match encoded {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// The name of a header as people write it.
pub fn shown_name(name: &str) -> String {
    if name == VERSION {
        return "MCP-Protocol-Version".to_owned();
    }
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_ascii_uppercase().to_string() + letters.as_str()
        })
    });
    words.collect::<Vec<_>>().join("-")
}

/// The beginning of a value, for an error.
pub fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(all: &[(&str, &str)]) -> McpHeaders {
        McpHeaders::of(all.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn names_have_no_case_and_values_no_space_around() {
        let all = headers(&[
            ("MCP-Method", " \ttools/call "),
            ("Accept", "x"),
            ("mcp-name", ""),
        ]);
        assert_eq!(all.get(METHOD), Ok(Some("tools/call")));
        assert_eq!(all.get(NAME), Ok(Some("")));
        assert_eq!(all.get(VERSION), Ok(None));
        assert_eq!(all.get("accept"), Ok(None));
    }

    #[test]
    fn a_header_stands_once_and_holds_plain_characters() {
        let twice = headers(&[("Mcp-Name", "a"), ("mcp-name", "a")]);
        assert_eq!(
            twice.get(NAME),
            Err(BadHeader("Mcp-Name stands more than once".to_owned()))
        );
        for bad in [
            b"a\x01".as_slice(),
            b"a\x7f",
            "é".as_bytes(),
            b"a\nb",
            b"\xff",
            b"a\0",
        ] {
            let told = McpHeaders::of([("Mcp-Name", bad)]).get(NAME).unwrap_err();
            assert!(told.0.starts_with("Mcp-Name holds"), "{told:?}");
        }
        assert_eq!(headers(&[("Mcp-Name", "a\tb c")]).get(NAME), Ok(Some("a\tb c")));
    }

    #[test]
    fn examples_of_the_specification_are_decoded() {
        for (value, wanted) in [
            ("us-west1", Some("us-west1")),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", Some("Hello, 世界")),
            ("=?base64?IHBhZGRlZCA=?=", Some(" padded ")),
            ("=?base64?bGluZTEKbGluZTI=?=", Some("line1\nline2")),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", Some("=?base64?literal?=")),
            ("=?base64??=", Some("")),
            ("=?base64?=", Some("=?base64?=")),
            ("=?Base64?YQ==?=", Some("=?Base64?YQ==?=")),
            ("=?base64?YQ==", Some("=?base64?YQ==")),
            ("x=?base64?YQ==?=", Some("x=?base64?YQ==?=")),
            // Not canonical: no padding, stray bits, spaces, the other alphabet; and what is no text.
            ("=?base64?YQ?=", None),
            ("=?base64?YQ=?=", None),
            ("=?base64?YR==?=", None),
            ("=?base64? YQ==?=", None),
            ("=?base64?YQ==YQ==?=", None),
            ("=?base64?_-8=?=", None),
            ("=?base64?/w==?=", None),
        ] {
            assert_eq!(decode(value).as_deref(), wanted, "{value}");
        }
    }

    #[test]
    fn what_an_error_repeats_is_short() {
        assert_eq!(shown("abc"), "abc");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), SHOWN_CHARS_MAX + 1);
        assert_eq!(shown_name("mcp-param-us-region"), "Mcp-Param-Us-Region");
        assert_eq!(shown_name(VERSION), "MCP-Protocol-Version");
    }

    proptest! {
        #[test]
        fn every_text_has_one_encoding(text in any::<String>(), at in any::<prop::sample::Index>(), by in any::<char>()) {
            let encoded = STANDARD.encode(&text);
            let value = format!("=?base64?{encoded}?=");
            let told = decode(&value);
            prop_assert_eq!(told.as_ref(), Some(&text));
            let mut other: Vec<char> = encoded.chars().collect();
            if !other.is_empty() {
                let at = at.index(other.len());
                other[at] = by;
                let other: String = other.into_iter().collect();
                let told = decode(&format!("=?base64?{other}?="));
                prop_assert_eq!(told == Some(text), other == encoded);
            }
        }
    }
}
