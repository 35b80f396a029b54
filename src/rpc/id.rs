//! Request ids: kept as the text the peer wrote, compared by what they mean.
//!
//! `1` and `1.0` are the same id and each is echoed as it came; `"1"` is another id.
//! Source: MCP 2025-11-25, basic, "Requests": "string or integer", "MUST NOT be null".

use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

use super::Raw;

/// The id of a request, as its sender wrote it.
#[derive(Clone)]
pub struct RequestId {
    raw: Raw,
    key: Key,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Integer(i64),
    /// A string, as canonical JSON text; or an integer too big for `i64`, as its digits.
    Text(Bytes),
}

/// Why a value is no request id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id must be a string or an integer, and not null")]
pub struct BadId;

impl RequestId {
    /// Checks a raw value.
    ///
    /// # Errors
    /// `BadId` for null, booleans, fractions, objects and arrays.
    pub fn parse(raw: Raw) -> Result<Self, BadId> {
        let key = Key::of(&raw).ok_or(BadId)?;
        Ok(Self { raw, key })
    }

    /// An id of ours.
    pub fn number(n: u64) -> Self {
        let raw = Raw::trusted(n.to_string());
        let key = i64::try_from(n).map_or_else(|_| Key::Text(raw.bytes()), Key::Integer);
        Self { raw, key }
    }

    /// The id as it was written.
    pub fn raw(&self) -> &Raw {
        &self.raw
    }

    /// The id as a number, if it is one that we could have written.
    pub fn as_u64(&self) -> Option<u64> {
        match &self.key {
            Key::Integer(n) => u64::try_from(*n).ok(),
            Key::Text(_) => None,
        }
    }

    /// A copy that does not keep the message's buffer alive.
    #[must_use]
    pub fn compact(&self) -> Self {
        let raw = self.raw.compact();
        let key = match &self.key {
            Key::Integer(n) => Key::Integer(*n),
            Key::Text(text) => Key::of(&raw).unwrap_or_else(|| Key::Text(Bytes::copy_from_slice(text))),
        };
        Self { raw, key }
    }
}

impl Key {
    fn of(raw: &Raw) -> Option<Self> {
        let text = raw.as_str();
        match text.as_bytes().first()? {
            b'"' => {
                let plain = !text.contains('\\');
                Some(Self::Text(if plain {
                    raw.bytes()
                } else {
                    canonical_string(raw)?
                }))
            }
            b'-' | b'0'..=b'9' => Self::of_number(raw),
            _other => None,
        }
    }

    fn of_number(raw: &Raw) -> Option<Self> {
        let text = raw.as_str();
        if let Ok(n) = text.parse::<i64>() {
            return Some(Self::Integer(n));
        }
        if !text.contains(['.', 'e', 'E']) {
            return Some(Self::Text(raw.bytes()));
        }
        // `1.0` and `1e2` are integers; beyond 2^53 a float no longer says which one.
        let value = text.parse::<f64>().ok()?;
        let whole = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
        whole
            .then(|| format!("{value:.0}").parse().ok().map(Self::Integer))
            .flatten()
    }
}

fn canonical_string(raw: &Raw) -> Option<Bytes> {
    let text: String = raw.read().ok()?;
    serde_json::to_vec(&text).ok().map(Bytes::from)
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &'static str) -> Result<RequestId, BadId> {
        RequestId::parse(Raw::parse(&Bytes::from_static(text.as_bytes())).unwrap())
    }

    #[test]
    fn ids_are_compared_by_meaning_and_kept_as_text() {
        assert_eq!(id("1").unwrap(), id("1.0").unwrap());
        assert_eq!(id("100").unwrap(), id("1e2").unwrap());
        assert_eq!(id("\"a\"").unwrap(), id("\"\\u0061\"").unwrap());
        assert_ne!(id("1").unwrap(), id("\"1\"").unwrap());
        assert_ne!(id("9007199254740993").unwrap(), id("9007199254740992").unwrap());
        assert_ne!(
            id("99999999999999999999").unwrap(),
            id("99999999999999999998").unwrap()
        );
        assert_eq!(id("1.0").unwrap().raw().as_str(), "1.0");
        assert_eq!(id("0").unwrap().as_u64(), Some(0));
        assert_eq!(id("\"\"").unwrap(), id("\"\"").unwrap());
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["null", "true", "1.5", "{}", "[]", "1e400"] {
            assert_eq!(id(text), Err(BadId), "{text}");
        }
    }
}
