//! Sizes as people write them: `"512MiB"`, or a whole number of bytes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// A number of bytes: a whole number, or a text with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// Units, largest first. Those with an `i` are powers of two.
const UNITS: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// Reads a text such as `512MiB`. None when it is no size, or too large to count.
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.trim().strip_suffix(name)?, *unit)))?;
        let number = number.trim_end();
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let n: u64 = number.parse().ok().filter(|_| is_number)?;
        n.checked_mul(unit).map(Self)
    }

    /// What a value says, if it is a size.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => number.as_u64().map(Self),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let powers = UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
        for (name, unit) in powers {
            if self.0 >= *unit && self.0.is_multiple_of(*unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> Self {
        size.0
    }
}

impl From<ByteSize> for usize {
    fn from(size: ByteSize) -> Self {
        Self::try_from(size.0).unwrap_or(Self::MAX)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::of(&value).ok_or_else(|| de::Error::custom("no size in bytes"))
    }
}

/// `"none"`, or how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeLimit {
    /// No limit.
    None,
    /// At most so much.
    Of(ByteSize),
}

impl SizeLimit {
    /// The word for "no limit".
    pub(super) const NONE: &str = "none";
}

impl From<SizeLimit> for Option<u64> {
    fn from(limit: SizeLimit) -> Self {
        match limit {
            SizeLimit::None => None,
            SizeLimit::Of(size) => Some(size.0),
        }
    }
}

impl Serialize for SizeLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str(Self::NONE),
            Self::Of(size) => size.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SizeLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.as_str() == Some(Self::NONE) {
            return Ok(Self::None);
        }
        let size = ByteSize::of(&value);
        size.map(Self::Of)
            .ok_or_else(|| de::Error::custom("neither a size in bytes nor \"none\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units_and_never_guessed() {
        let read = |text| ByteSize::parse(text).map(|size| size.0);
        assert_eq!(read("512MiB"), Some(512 << 20));
        assert_eq!(read(" 2 GiB "), Some(2 << 30));
        assert_eq!(read("3MB"), Some(3_000_000));
        assert_eq!(read("7B"), Some(7));
        for wrong in [
            "512",
            "512M",
            "1.5GiB",
            "-1MiB",
            "+1MiB",
            "MiB",
            "99999999999999999GiB",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_size_is_shown_in_its_largest_whole_unit_and_that_can_be_read() {
        for (size, shown) in [
            (1 << 30, "1GiB"),
            (1 << 20, "1MiB"),
            (1536, "1536B"),
            (10 << 10, "10KiB"),
        ] {
            assert_eq!(ByteSize(size).to_string(), shown);
            assert_eq!(ByteSize::parse(shown), Some(ByteSize(size)));
        }
    }

    #[test]
    fn a_limit_survives_the_registry() {
        for limit in [SizeLimit::None, SizeLimit::Of(ByteSize(5 << 20))] {
            let text = serde_json::to_string(&limit).unwrap();
            assert_eq!(serde_json::from_str::<SizeLimit>(&text).unwrap(), limit);
        }
        assert!(serde_json::from_str::<SizeLimit>("\"a lot\"").is_err());
    }
}
