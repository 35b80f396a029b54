//! Parameters of tools that clients repeat in headers (`x-mcp-header`; MCP 2026-07-28, Streamable HTTP, "Custom
//! Headers from Tool Parameters"): which they are, and whether headers and arguments say the same. Pure.
//!
//! An annotation is good on a property of type string, integer or boolean that is reached from the root through
//! `properties` alone. One that is not makes the whole tool invalid for clients over HTTP, which have to leave such
//! a tool out; it is not offered to them in the first place.

use super::mcp_headers::{BadHeader, McpHeaders, PARAM_PREFIX, shown, shown_name};
use crate::rpc::error::code;
use crate::rpc::object::{Object, elements};
use crate::rpc::{Raw, RpcError};

/// The keyword.
const ANNOTATION: &str = "x-mcp-header";
/// Levels of a schema that are looked into; an annotation that may lie deeper is none of a good tool.
const DEPTH_MAX: usize = 64;
/// Most headers of one tool: as many as a request may reasonably carry.
pub const HEADERS_MAX: usize = 64;

/// The largest integer in a header, and the smallest with a minus (−2⁵³+1 to 2⁵³−1).
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Keywords whose values are data of the one who wrote the schema.
const DATA: &[&str] = &["const", "enum", "default", "examples", "example"];
/// Keywords whose values are schemas by name; only `properties` leads to annotated ones.
const MAPS: &[&str] = &[
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
    "dependencies",
];

/// The parameters of one tool that stand in headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrored {
    params: Vec<Param>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Param {
    /// In lower case, with its prefix.
    header: String,
    /// The names of the properties that lead to the value.
    path: Vec<String>,
}

/// Why the annotations of a tool are not good: a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

/// Whether a tool with this `inputSchema` is to be hidden from clients over HTTP.
pub fn has_invalid(schema: &Raw) -> bool {
    Mirrored::of(schema).is_err()
}

/// Step 9 of [`super::ladder`].
///
/// # Errors
/// `-32020`: a parameter is given and its header is not there, or says something else; or the header is there and
/// the parameter is not given, or has a value that no header can have.
pub fn check(mirrored: &Mirrored, arguments: Option<&Raw>, headers: &McpHeaders) -> Result<(), RpcError> {
    let checked = mirrored
        .params
        .iter()
        .try_for_each(|param| param.check(arguments, headers));
    checked.map_err(|bad| RpcError::new(code::HEADER_MISMATCH, format!("Header mismatch: {}", bad.0)))
}

impl Mirrored {
    /// The annotated parameters of a tool with this `inputSchema`.
    ///
    /// # Errors
    /// What is wrong with the first that is not good.
    pub fn of(schema: &Raw) -> Result<Self, Invalid> {
        let mut found = Self::default();
        if may_hold_annotation(schema) {
            found.collect(schema, &mut Vec::new(), true, 0)?;
        }
        Ok(found)
    }

    /// Whether there are none: almost every tool.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Looks into one schema; `is_reached` while only `properties` led here.
    fn collect(
        &mut self,
        schema: &Raw,
        path: &mut Vec<String>,
        is_reached: bool,
        depth: usize,
    ) -> Result<(), Invalid> {
        if depth >= DEPTH_MAX {
            let is_bad = may_hold_annotation(schema);
            return if is_bad {
                Err(Invalid("the schema is too deep".to_owned()))
            } else {
                Ok(())
            };
        }
        if let Some(all) = elements(schema) {
            return all
                .iter()
                .try_for_each(|one| self.collect(one, path, false, depth + 1));
        }
        let Some(object) = Object::of(schema) else {
            return Ok(());
        };
        if let Some(name) = object.get(ANNOTATION) {
            self.add(&object, &name, path, is_reached)?;
        }
        for (key, inner) in object.iter() {
            if key == "properties" {
                self.collect_named(&inner, path, is_reached, depth + 1)?;
            } else if MAPS.contains(&key.as_str()) {
                self.collect_named(&inner, path, false, depth + 1)?;
            } else if key != ANNOTATION && !DATA.contains(&key.as_str()) {
                self.collect(&inner, path, false, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Looks into schemas by name.
    fn collect_named(
        &mut self,
        map: &Raw,
        path: &mut Vec<String>,
        is_reached: bool,
        depth: usize,
    ) -> Result<(), Invalid> {
        let Some(all) = Object::of(map) else {
            return Ok(());
        };
        // A name that is no text of characters cannot be told from another of that kind.
        let is_readable = all.readable() == *map;
        all.iter().try_for_each(|(name, inner)| {
            path.push(name);
            let done = self.collect(&inner, path, is_reached && is_readable, depth + 1);
            path.pop();
            done
        })
    }

    fn add(
        &mut self,
        schema: &Object<'_>,
        name: &Raw,
        path: &[String],
        is_reached: bool,
    ) -> Result<(), Invalid> {
        let at = shown(&path.join("."));
        let bad = |why: &str| Invalid(format!("`{ANNOTATION}` of `{at}` {why}"));
        if !is_reached || path.is_empty() {
            return Err(bad("is not on a property that `properties` alone lead to"));
        }
        let name = name.as_string().filter(|name| is_token(name));
        let name = name.ok_or_else(|| bad("is not the name of a header"))?;
        if schema.doubled(&[ANNOTATION, "type"]).is_some() {
            return Err(bad("or its type stands twice"));
        }
        let kind = schema.get_string("type");
        if !matches!(kind.as_deref(), Some("string" | "integer" | "boolean")) {
            return Err(bad(
                "is on a property that is neither string, integer nor boolean",
            ));
        }
        let header = format!("{PARAM_PREFIX}{}", name.to_ascii_lowercase());
        if self.params.iter().any(|param| param.header == header) {
            return Err(bad("is the name of two"));
        }
        if self.params.len() >= HEADERS_MAX {
            return Err(bad("is one too many"));
        }
        self.params.push(Param {
            header,
            path: path.to_vec(),
        });
        Ok(())
    }
}

/// A look at the text is enough for almost every schema; a key may be written with escapes.
fn may_hold_annotation(schema: &Raw) -> bool {
    let text = schema.as_str();
    text.contains(ANNOTATION) || text.contains('\\')
}

/// RFC 9110, 5.6.2.
fn is_token(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_good)
}

impl Param {
    fn check(&self, arguments: Option<&Raw>, headers: &McpHeaders) -> Result<(), BadHeader> {
        let shown_header = || shown_name(&self.header);
        let told = headers.decoded(&self.header)?;
        let given = self.value(arguments)?;
        match (told, given) {
            (None, Given::Nothing | Given::Other) => Ok(()),
            (Some(_), Given::Nothing) => Err(BadHeader(format!(
                "{} is there, and the parameter is not",
                shown_header()
            ))),
            (Some(_), Given::Other) => Err(BadHeader(format!(
                "{} is there, and the parameter has no form in a header",
                shown_header()
            ))),
            (None, Given::Text(_) | Given::Number(_)) => {
                Err(BadHeader(format!("{} is missing", shown_header())))
            }
            (Some(told), Given::Text(given)) if told == given => Ok(()),
            (Some(told), Given::Number(given)) if Decimal::of_header(&told).as_ref() == Some(&given) => {
                Ok(())
            }
            (Some(told), Given::Text(_) | Given::Number(_)) => Err(BadHeader(format!(
                "{} header value '{}' does not match the body",
                shown_header(),
                shown(&told)
            ))),
        }
    }

    /// The value at the path. A member on the way that stands twice may be another one for the next reader.
    fn value(&self, arguments: Option<&Raw>) -> Result<Given, BadHeader> {
        let mut value = arguments.cloned();
        for name in &self.path {
            let Some(object) = value.as_ref().and_then(Object::of) else {
                return Ok(Given::Nothing);
            };
            if object.doubled(&[name]).is_some() {
                return Err(BadHeader(format!(
                    "{}: the parameter stands twice",
                    shown_name(&self.header)
                )));
            }
            let next = object.get(name);
            value = next;
        }
        Ok(value.map_or(Given::Nothing, |value| Given::of(&value)))
    }
}

/// What stands in the arguments.
enum Given {
    /// Nothing, or `null`.
    Nothing,
    /// A text, or the word of a boolean.
    Text(String),
    /// A number that a header can have.
    Number(Decimal),
    /// A value that no header can have: whoever validates arguments has its opinion of it.
    Other,
}

impl Given {
    fn of(value: &Raw) -> Self {
        match value.as_str() {
            "null" => Self::Nothing,
            word @ ("true" | "false") => Self::Text(word.to_owned()),
            text if text.starts_with(['"', '{', '[']) => value
                .as_string()
                .map_or(Self::Other, |text| Self::Text(text.into_owned())),
            number => Decimal::of(number)
                .filter(Decimal::is_safe)
                .map_or(Self::Other, Self::Number),
        }
    }
}

/// A decimal number, exactly: its digits without zeros at either end, and the power of ten of the last.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// A number as it may stand in a header: digits, with a minus and a fraction if need be.
    fn of_header(text: &str) -> Option<Self> {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
            .then(|| Self::of(text))?
    }

    /// Any number of JSON; leading zeros do no harm.
    fn of(text: &str) -> Option<Self> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa
            .split_once('.')
            .map_or((mantissa, None), |(whole, rest)| (whole, Some(rest)));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !fraction.is_none_or(is_digits) {
            return None;
        }
        let fraction = fraction.unwrap_or_default();
        let exponent: i64 = exponent.parse().ok()?;
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        let all = format!("{whole}{fraction}");
        let all = all.trim_start_matches('0');
        let digits = all.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self {
                is_negative: false,
                digits: String::new(),
                exponent: 0,
            });
        }
        let n_cut = i64::try_from(all.len() - digits.len()).ok()?;
        Some(Self {
            is_negative,
            digits: digits.to_owned(),
            exponent: exponent.checked_add(n_cut)?,
        })
    }

    /// Whether it is no integer beyond what doubles hold exactly.
    fn is_safe(&self) -> bool {
        const DIGITS_MAX: i64 = 16;
        let n_digits = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        let n_whole = n_digits.saturating_add(self.exponent);
        if self.exponent < 0 || n_whole < DIGITS_MAX {
            return n_whole <= DIGITS_MAX;
        }
        let zeros = usize::try_from(self.exponent).unwrap_or(usize::MAX);
        let is_short = n_whole == DIGITS_MAX;
        is_short
            && format!("{}{}", self.digits, "0".repeat(zeros))
                .parse()
                .is_ok_and(|n: i64| n <= INTEGER_MAX)
    }
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
