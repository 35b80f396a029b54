//! The text of one JSON value, and a shared piece of text.
//!
//! Both are slices of the buffer that they were read into: cloning counts a reference.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// One JSON value as text: valid JSON and UTF-8, exactly as somebody wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw(Bytes);

impl Raw {
    /// Checks that `text` is one JSON value, and takes it without the white space around it.
    ///
    /// # Errors
    /// What serde_json has against it.
    pub fn parse(text: &Bytes) -> Result<Self, serde_json::Error> {
        let value: &RawValue = serde_json::from_slice(text)?;
        Ok(Self::slice_of(text, value))
    }

    /// The part of `buffer` that `value` borrows from it.
    pub fn slice_of(buffer: &Bytes, value: &RawValue) -> Self {
        Self(buffer.slice_ref(value.get().as_bytes()))
    }

    /// The value that a type of ours serialises to.
    pub fn of(value: &impl Serialize) -> Self {
        // Our own types have string keys and no failing serialisers; `null` would be seen by every test.
        Self(serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from))
    }

    /// Text that the caller knows to be one JSON value because it was put together from such values.
    pub(crate) fn trusted(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        debug_assert!(
            serde_json::from_slice::<&RawValue>(&text).is_ok(),
            "not JSON: {text:?}"
        );
        Self(text)
    }

    /// The array of these values.
    pub fn array(items: &[Self]) -> Self {
        let n_bytes: usize = items.iter().map(|item| item.0.len() + 1).sum();
        let mut text = Vec::with_capacity(n_bytes + 2);
        text.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&item.0);
        }
        text.push(b']');
        Self::trusted(text)
    }

    /// `{}`.
    pub fn empty_object() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether this stands anywhere in the text: a cheap look before it is taken apart.
    pub fn holds(&self, part: &str) -> bool {
        memchr::memmem::find(&self.0, part.as_bytes()).is_some()
    }

    /// The text as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text as a shared buffer.
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// A copy of its own, so that a long-lived small value does not keep a big buffer alive.
    #[must_use]
    pub fn compact(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// The part of this text from `start` to `end`, which the caller knows to be one value.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self(self.0.slice(range))
    }

    /// A piece of this text, which may be no value by itself.
    pub(crate) fn slice(&self, range: impl std::ops::RangeBounds<usize>) -> Bytes {
        self.0.slice(range)
    }

    /// The string that this is, unescaped; `None` for any other kind of value.
    pub fn as_string(&self) -> Option<Cow<'_, str>> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if inner.contains(&b'\\') {
            return serde_json::from_slice::<String>(&self.0).ok().map(Cow::Owned);
        }
        std::str::from_utf8(inner).ok().map(Cow::Borrowed)
    }

    /// The string that this is, with `prefix` before its text; `None` for any other kind of value.
    ///
    /// What was there keeps every byte, also escapes that stand for no character.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Option<Self> {
        let rest = self.0.strip_prefix(b"\"")?;
        let prefix = Self::of(&prefix);
        let before = prefix.0.strip_suffix(b"\"")?;
        Some(Self::trusted([before, rest].concat()))
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// Whether this is an array.
    pub fn is_array(&self) -> bool {
        self.0.first() == Some(&b'[')
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        &*self.0 == b"null"
    }

    /// Reads it as a type of ours.
    ///
    /// # Errors
    /// What serde_json has against it.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }
}

impl fmt::Debug for Raw {
    /// Shows the size only: payloads do not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}

/// A shared piece of UTF-8 text, unescaped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text(Bytes);

impl Text {
    /// A text of the program itself.
    pub const fn fixed(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The string that `raw` is: a slice of it where nothing is escaped; `None` for any other kind of value.
    pub fn of(raw: &Raw) -> Option<Self> {
        match raw.as_string()? {
            Cow::Borrowed(text) => Some(Self(raw.0.slice_ref(text.as_bytes()))),
            Cow::Owned(text) => Some(Self(Bytes::from(text))),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
/// Appends a text as a JSON string. Almost every key and method is one that needs no escapes.
pub(crate) fn quote_onto(out: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if !text.as_bytes().iter().all(is_plain) {
        out.extend_from_slice(Raw::of(&text).as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}
