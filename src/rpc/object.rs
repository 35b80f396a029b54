//! Looking into an object, and changing named members of it, without touching the rest of its text.
//!
//! Works on [`Raw`], which is known to be valid JSON: the scanner only has to find where members begin and end.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Raw;
use super::raw::quote_onto;

/// The members of one object, in order, as positions in its text.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    raw: &'a Raw,
    members: Members,
}

/// Most objects that are looked into have no more: they need no memory of their own.
type Members = SmallVec<[Member; 6]>;

/// The text around a value that is put into an object.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// What stands before it.
    pub before: Bytes,
    /// Its key, where that is not in `before`.
    pub opening: Vec<u8>,
    /// What stands behind it.
    pub after: Bytes,
}

#[derive(Debug, Clone)]
struct Member {
    /// The key with its quotes.
    key: Range<usize>,
    /// Whether characters of it are escaped.
    is_escaped: bool,
    value: Range<usize>,
}

impl<'a> Object<'a> {
    /// The members of `raw`; `None` when it is no object.
    pub fn of(raw: &'a Raw) -> Option<Self> {
        let members = Scanner::new(raw.as_bytes()).members()?;
        Some(Self { raw, members })
    }

    /// The value of a member. Where a key stands twice the last one counts, as in most JSON readers.
    pub fn get(&self, key: &str) -> Option<Raw> {
        self.find(key).map(|member| self.raw.part(member.value.clone()))
    }

    /// The value of a member, if it is a string.
    pub fn get_string(&self, key: &str) -> Option<String> {
        self.get(key)?.as_string().map(std::borrow::Cow::into_owned)
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (String, Raw)> + '_ {
        self.members.iter().map(|member| {
            let key = self.raw.part(member.key.clone());
            (
                key.as_string().unwrap_or_default().into_owned(),
                self.raw.part(member.value.clone()),
            )
        })
    }

    /// The first of these keys that stands more than once: its readers may not agree on which one counts.
    pub fn doubled<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        let n_of = |key: &str| {
            self.members
                .iter()
                .filter(|member| self.key_is(member, key))
                .count()
        };
        keys.iter().copied().find(|key| n_of(key) > 1)
    }

    /// The text with `value` under `key`: in place where the key is there, else as the last member.
    ///
    /// It stands there once afterwards, so that every reader finds this value, whichever of two it takes.
    #[must_use]
    pub fn with(&self, key: &str, value: &Raw) -> Raw {
        let place = self.place(key);
        let parts: [&[u8]; 4] = [&place.before, &place.opening, value.as_bytes(), &place.after];
        Raw::trusted(parts.concat())
    }

    /// Where the value of `key` stands, or would stand; it stands nowhere else.
    ///
    /// Copies nothing of the text, however long it is, unless the key stands there twice.
    pub fn place(&self, key: &str) -> Place {
        if self.doubled(&[key]).is_some() {
            let once = self.without(&[key]);
            return Object::of(&once).map(|once| once.place(key)).unwrap_or_default();
        }
        let n_bytes = self.raw.as_bytes().len();
        if let Some(member) = self.find(key) {
            return Place {
                before: self.raw.slice(..member.value.start),
                opening: Vec::new(),
                after: self.raw.slice(member.value.end..),
            };
        }
        let mut opening = Vec::with_capacity(key.len() + 4);
        if !self.members.is_empty() {
            opening.push(b',');
        }
        quote_onto(&mut opening, key);
        opening.push(b':');
        let end = n_bytes.saturating_sub(1);
        Place {
            before: self.raw.slice(..end),
            opening,
            after: self.raw.slice(end..),
        }
    }

    /// The text with another value in each place for which `edit` gives one, in order; a key that is no text of
    /// characters is given as an empty one.
    ///
    /// # Errors
    /// The first of `edit`.
    pub fn edited<E>(&self, mut edit: impl FnMut(&str, &Raw) -> Result<Option<Raw>, E>) -> Result<Raw, E> {
        let text = self.raw.as_bytes();
        let (mut out, mut n_copied) = (Vec::with_capacity(text.len()), 0);
        for member in &self.members {
            let key = self.raw.part(member.key.clone());
            let value = self.raw.part(member.value.clone());
            if let Some(new) = edit(&key.as_string().unwrap_or_default(), &value)? {
                out.extend_from_slice(text.get(n_copied..member.value.start).unwrap_or_default());
                out.extend_from_slice(new.as_bytes());
                n_copied = member.value.end;
            }
        }
        out.extend_from_slice(text.get(n_copied..).unwrap_or_default());
        Ok(Raw::trusted(out))
    }

    /// The text without members whose keys are no text of characters (half of a surrogate pair, RFC 8259 §8.2).
    #[must_use]
    pub fn readable(&self) -> Raw {
        self.filtered(|member| self.raw.part(member.key.clone()).as_string().is_some())
    }

    /// The text without the members named.
    #[must_use]
    pub fn without(&self, keys: &[&str]) -> Raw {
        self.filtered(|member| !keys.iter().any(|key| self.key_is(member, key)))
    }

    /// The text with these members only; as it is where they are all.
    fn filtered(&self, is_kept: impl Fn(&Member) -> bool) -> Raw {
        if self.members.iter().all(&is_kept) {
            return self.raw.clone();
        }
        let text = self.raw.as_bytes();
        let mut out = vec![b'{'];
        for member in self.members.iter().filter(|member| is_kept(member)) {
            if out.len() > 1 {
                out.push(b',');
            }
            out.extend_from_slice(text.get(member.key.clone()).unwrap_or_default());
            out.push(b':');
            out.extend_from_slice(text.get(member.value.clone()).unwrap_or_default());
        }
        out.push(b'}');
        Raw::trusted(out)
    }

    fn find(&self, key: &str) -> Option<&Member> {
        self.members.iter().rev().find(|member| self.key_is(member, key))
    }

    fn key_is(&self, member: &Member, key: &str) -> bool {
        let Some(text) = self.raw.as_bytes().get(member.key.clone()) else {
            return false;
        };
        if member.is_escaped {
            return serde_json::from_slice::<String>(text).is_ok_and(|text| text == key);
        }
        let inner = text.get(1..text.len().saturating_sub(1));
        inner == Some(key.as_bytes())
    }
}

/// The elements of an array, in order; `None` when `raw` is no array.
pub fn elements(raw: &Raw) -> Option<Vec<Raw>> {
    let ranges = Scanner::new(raw.as_bytes()).elements()?;
    Some(ranges.into_iter().map(|range| raw.part(range)).collect())
}

/// Finds where values begin and end in text that is known to be valid JSON.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn members(mut self) -> Option<Members> {
        self.expect(b'{')?;
        let mut members = Members::new();
        if self.peek()? == b'}' {
            return Some(members);
        }
        loop {
            self.peek()?;
            let (key, is_escaped) = self.string();
            self.expect(b':')?;
            self.peek()?;
            let value = self.value();
            members.push(Member {
                key,
                is_escaped,
                value,
            });
            if self.next()? != b',' {
                return Some(members);
            }
        }
    }

    fn elements(mut self) -> Option<Vec<Range<usize>>> {
        self.expect(b'[')?;
        let mut found = Vec::new();
        if self.peek()? == b']' {
            return Some(found);
        }
        loop {
            self.peek()?;
            found.push(self.value());
            if self.next()? != b',' {
                return Some(found);
            }
        }
    }

    /// The next byte that is no white space; stays on it.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A string, and whether characters of it are escaped; stands on its first quote.
    fn string(&mut self) -> (Range<usize>, bool) {
        let (start, mut is_escaped) = (self.at, false);
        self.at += 1;
        while let Some(rest) = self.text.get(self.at..) {
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.text.len();
                break;
            };
            self.at += found + 1;
            if rest.get(found) == Some(&b'"') {
                break;
            }
            is_escaped = true;
            self.at += 1;
        }
        (start..self.at, is_escaped)
    }

    /// Any value; stands on its first byte.
    fn value(&mut self) -> Range<usize> {
        let start = self.at;
        match self.text.get(self.at) {
            Some(b'"') => {
                self.string();
            }
            Some(b'{' | b'[') => self.nested(),
            _scalar => self.scalar(),
        }
        start..self.at
    }

    fn nested(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _other => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
    }

    fn scalar(&mut self) {
        while let Some(byte) = self.text.get(self.at) {
            if matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace() {
                break;
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_member_is_replaced_in_place_and_the_rest_keeps_every_byte() {
        let params = raw(r#"{ "a" : 1e400, "name":"x" ,"n":null,"b":[{"name":"y"}, "}"]}"#);
        let object = Object::of(&params).unwrap();
        let new = object.with("name", &raw("\"z\""));
        assert_eq!(
            new.as_str(),
            r#"{ "a" : 1e400, "name":"z" ,"n":null,"b":[{"name":"y"}, "}"]}"#
        );
    }

    #[test]
    fn a_missing_member_is_added_at_the_end() {
        assert_eq!(
            Object::of(&raw("{}")).unwrap().with("k", &raw("1")).as_str(),
            r#"{"k":1}"#
        );
        assert_eq!(
            Object::of(&raw(r#"{"a":2}"#))
                .unwrap()
                .with("k", &raw("1"))
                .as_str(),
            r#"{"a":2,"k":1}"#
        );
    }

    #[test]
    fn members_are_found_under_escaped_keys_and_the_last_of_two_counts() {
        let object = raw(r#"{"\u006eame":1,"x":2,"x":3}"#);
        let object = Object::of(&object).unwrap();
        assert_eq!(object.get("name").unwrap().as_str(), "1");
        assert_eq!(object.get("x").unwrap().as_str(), "3");
        assert!(object.get("y").is_none());
    }

    #[test]
    fn what_is_set_stands_once_afterwards() {
        let twice = raw(r#"{"x":1,"a":2, "\u0078":3}"#);
        let object = Object::of(&twice).unwrap();
        assert_eq!(object.doubled(&["a", "x"]), Some("x"));
        assert_eq!(object.doubled(&["a", "y"]), None);
        assert_eq!(object.with("x", &raw("9")).as_str(), r#"{"a":2,"x":9}"#);
    }

    #[test]
    fn values_are_edited_in_their_places_under_whatever_keys() {
        let text = raw(r#"{ "a":1, "\ud800" : 2 ,"a":3,"b":1}"#);
        let object = Object::of(&text).unwrap();
        let doubled = |key: &str, value: &Raw| {
            let n: u32 = value.read().unwrap();
            Ok::<_, ()>((key != "b").then(|| Raw::of(&(n * 2))))
        };
        let edited = object.edited(doubled).unwrap();
        assert_eq!(edited.as_str(), r#"{ "a":2, "\ud800" : 4 ,"a":6,"b":1}"#);
        assert_eq!(object.edited(|_, _| Err::<Option<Raw>, _>(7)).unwrap_err(), 7);
        assert_eq!(object.readable().as_str(), r#"{"a":1,"a":3,"b":1}"#);
    }

    #[test]
    fn members_are_removed() {
        let object = raw(r#"{"a":1, "b":{"a":2} ,"c":3}"#);
        let object = Object::of(&object).unwrap();
        assert_eq!(object.without(&["a", "c"]).as_str(), r#"{"b":{"a":2}}"#);
        assert_eq!(object.without(&["z"]).as_str(), r#"{"a":1, "b":{"a":2} ,"c":3}"#);
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back_and_nothing_else_changes(
            map in prop::collection::hash_map(any::<String>(), any_json(), 0..6),
            key in any::<String>(), value in any_json(), pretty in any::<bool>(),
        ) {
            let before = serde_json::Value::Object(map.into_iter().collect());
            let text = if pretty { serde_json::to_string_pretty(&before) } else { serde_json::to_string(&before) };
            let before_raw = raw(&text.unwrap());
            let after = Object::of(&before_raw).unwrap().with(&key, &Raw::of(&value));
            let mut wanted = before;
            wanted.as_object_mut().unwrap().insert(key.clone(), value);
            prop_assert_eq!(after.read::<serde_json::Value>().unwrap(), wanted.clone());
            let gone = Object::of(&after).unwrap().without(&[&key]);
            wanted.as_object_mut().unwrap().remove(&key);
            prop_assert_eq!(gone.read::<serde_json::Value>().unwrap(), wanted);
        }

        #[test]
        fn elements_are_those_of_the_array(list in prop::collection::vec(any_json(), 0..8)) {
            let parts = elements(&Raw::of(&list)).unwrap();
            let read: Vec<serde_json::Value> = parts.iter().map(|part| part.read().unwrap()).collect();
            prop_assert_eq!(read, list);
        }
    }
}
