//! Settings of other programs as values: JSON as people write it, with comments, trailing commas and what JSON5 adds,
//! or TOML.

use jsonc_parser::ParseOptions;
use serde_json::Value;

use super::clients::Format;

/// How JSON of people is read. Commas must be there: what lacks one is a slip, and other programs refuse it.
pub(super) fn options() -> ParseOptions {
    ParseOptions {
        allow_missing_commas: false,
        ..ParseOptions::default()
    }
}

/// Reads a text. An empty one is an empty object.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn parse(text: &str, format: Format) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Json => {
            let parsed: Option<Value> =
                jsonc_parser::parse_to_serde_value(text, &options()).map_err(|error| error.to_string())?;
            Ok(parsed.unwrap_or_else(|| Value::Object(serde_json::Map::new())))
        }
        Format::Toml => toml::from_str(text).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_people_write_it() {
        for (text, expected) in [
            ("{\"a\": 1, // x\n}", json!({"a": 1})),
            ("[1, /* 2, */ 3,]", json!([1, 3])),
            ("[/*/ x */1]", json!([1])),
            ("\u{feff}{}", json!({})),
            ("", json!({})),
            ("// nothing\n", json!({})),
            (
                "{a: 'it''s', \"b\": +0x10, c: .5}"
                    .replace("''s", "\\'s")
                    .as_str(),
                json!({"a": "it's", "b": 16, "c": 0.5}),
            ),
            (
                r#"["http://x", ",]", "/* no */", "\"//", "\\"]"#,
                json!(["http://x", ",]", "/* no */", "\"//", "\\"]),
            ),
        ] {
            assert_eq!(parse(text, Format::Json), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        for text in [
            "[1,,2]",
            "{\"a\"",
            "\"open",
            "/* open",
            "[,]x",
            "{\"a\": 1 \"b\": 2}",
            "{} {}",
        ] {
            assert!(parse(text, Format::Json).is_err(), "{text}");
        }
        assert!(parse(&"[".repeat(100_000), Format::Json).is_err());
        assert!(parse("a = ", Format::Toml).is_err());
    }

    #[test]
    fn toml_is_read_as_well() {
        let read = parse("[mcp_servers.a]\ncommand = \"x\"\n", Format::Toml);
        assert_eq!(read, Ok(json!({"mcp_servers": {"a": {"command": "x"}}})));
    }
}
