//! The text of a key: `mcpw_ID_SECRET`. The id finds the key and is no secret; the hash of the whole is compared.
//!
//! SHA-256 without salt or stretching is enough: those make guessing dear, and 244 random bits cannot be guessed.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::SessionId;

/// What every key begins with, so that people and scanners know one when they see it.
pub const PREFIX: &str = "mcpw_";
/// Characters of the part that is no secret.
const ID_CHARS: usize = 12;

/// SHA-256 of a key or of a token.
pub type KeyHash = [u8; 32];

/// A new key. Its text is shown once; it has no `Debug`, so that it is printed by nobody else.
#[expect(missing_debug_implementations, reason = "it is a secret")]
pub struct NewKey {
    /// The part that is no secret.
    pub id: String,
    /// The whole text.
    pub text: String,
}

impl NewKey {
    /// A random one: 244 secret bits from the operating system.
    pub fn random() -> Self {
        let mut id = Uuid::new_v4().simple().to_string();
        id.truncate(ID_CHARS);
        let text = format!("{PREFIX}{id}_{}", SessionId::random().as_str());
        Self { id, text }
    }

    /// Its hash: what is written down.
    pub fn hash(&self) -> KeyHash {
        hash(&self.text)
    }
}

/// The hash of a text.
pub fn hash(text: &str) -> KeyHash {
    Sha256::digest(text).into()
}

/// The id in a text that looks like a key.
pub fn id_of(text: &str) -> Option<&str> {
    let (id, _secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_one = id.len() == ID_CHARS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then_some(id)
}

/// Whether two hashes are the same. Looks at all of both, wherever they differ.
pub fn same(one: &KeyHash, other: &KeyHash) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_different_and_known_for_what_they_are() {
        let (one, other) = (NewKey::random(), NewKey::random());
        assert_ne!(one.text, other.text);
        assert_eq!(one.text.len(), PREFIX.len() + ID_CHARS + 1 + 64);
        assert_eq!(id_of(&one.text), Some(one.id.as_str()));
        for no_key in [
            "",
            "mcpw_",
            "mcpw_abc_x",
            "x",
            "mcpw_zzzzzzzzzzzz_x",
            &one.text[1..],
        ] {
            assert_eq!(id_of(no_key), None, "{no_key}");
        }
    }

    #[test]
    fn hashes_are_the_same_only_if_every_byte_is() {
        let hash = hash("a");
        assert!(same(&hash, &hash));
        for at in 0..hash.len() {
            let mut other = hash;
            other[at] ^= 1;
            assert!(!same(&hash, &other), "{at}");
        }
    }
}
