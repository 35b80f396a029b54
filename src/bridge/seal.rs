//! What a client keeps for us between two rounds of one request (`requestState`): sealed, so that it can neither be
//! read nor changed, and bound to whoever was given it and to what was asked. Pure.
//!
//! ```text
//! "g1." base64url( kid[4] ‖ nonce[24] ‖ XChaCha20-Poly1305(key, nonce, aad = "g1" ‖ kid, payload) )
//! ```
//!
//! Encrypted and not only signed: it carries addresses, names of processes and earlier answers, which are not the
//! client's to read. The nonce is a keyed hash of the payload: no source of randomness is needed to seal, and two
//! payloads have two nonces; the same payload has the same text, and no two rounds have the same payload, because
//! each has a random number of its own ([`State::nonce`]).
//!
//! What is authentic may still have been used: whoever keeps the rounds takes each [`State::nonce`] once.
//! Source: MCP 2026-07-28, multi round-trip requests, "Request State".

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Generate, Payload};
use chacha20poly1305::{Key as CipherKey, KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};

use super::canonical::{Digest128, digest};

/// Longest sealed text, in bytes; a longer one is refused unread.
pub const SEALED_BYTES_MAX: usize = 64 * 1024;
/// Longest text of earlier answers in a state, in bytes.
pub const ANSWERS_BYTES_MAX: usize = 32 * 1024;
/// Most keys of a ring: the one that seals, and earlier ones.
pub const KEYS_MAX: usize = 8;

const KEY_BYTES: usize = 32;
const KID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const PREFIX: &str = "g1.";
/// The form of the payload, its first byte.
const FORM: u8 = 1;

/// Why a client is given a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Its call waits in a server of the handshake era, which has asked something.
    Park,
    /// The server has a state of its own, which is in [`State::inner`].
    Relay,
    /// The call has ended and is made again when the client comes back.
    Reissue,
    /// The process is gone; the call is made again, and what was answered is answered again.
    Replay,
}

/// What is sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Why it was given.
    pub kind: Kind,
    /// The parked call, as its keeper numbers it.
    pub park: u64,
    /// The round of questions that is to be answered, from 1.
    pub round: u32,
    /// Random, of this round alone: it can be used once.
    pub nonce: [u8; 16],
    /// The server asked.
    pub server: String,
    /// The process of the server that was asked.
    pub generation: u64,
    /// The method of the request, for example `tools/call`.
    pub method: String,
    /// The exposed name or the exposed URI.
    pub target: String,
    /// See [`super::canonical::arguments_digest`].
    pub arguments_digest: Digest128,
    /// Whose it is: see [`principal_digest`].
    pub principal: Digest128,
    /// When it was sealed. Unit: milliseconds since 1970.
    pub issued_at_ms: u64,
    /// From when on it opens nothing. Unit: milliseconds since 1970.
    pub expires_at_ms: u64,
    /// The server's own `requestState`, to the byte.
    pub inner: Option<String>,
    /// Earlier answers as JSON text, at most [`ANSWERS_BYTES_MAX`].
    pub answers: Option<String>,
}

/// Why a sealed text opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has not the form of one of ours.
    #[error("it is no state of ours")]
    Garbled,
    /// It was changed, or sealed with a key that we do not have.
    #[error("it was changed, or sealed by somebody else")]
    Unauthentic,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// It was given to somebody else.
    #[error("it was given to another client")]
    Principal,
    /// It was given in answer to another method.
    #[error("it belongs to another method")]
    Method,
    /// It was given in answer to a request for something else.
    #[error("it belongs to another name or URI")]
    Target,
    /// It was given in answer to a request with other arguments.
    #[error("it belongs to other arguments")]
    Arguments,
}

/// A state does not fit into [`SEALED_BYTES_MAX`], or its answers into [`ANSWERS_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state is too large to be given to a client")]
pub struct TooLarge;

/// The system has no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers")]
pub struct NoRandomness;

/// A ring of keys: the first seals, all open.
#[derive(Clone)]
pub struct Keys {
    /// One at least.
    ring: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    secret: [u8; KEY_BYTES],
    /// Its name in the sealed text; two keys may have the same.
    kid: [u8; KID_BYTES],
    cipher: XChaCha20Poly1305,
    /// Makes nonces.
    nonces: [u8; KEY_BYTES],
}

/// The digest of who a client is, as it stands in a state.
///
/// It needs no key: it is read only by whoever can open the state, and so it outlives a change of keys.
pub fn principal_digest(principal: &str) -> Digest128 {
    digest("mcp-wrapper principal", principal.as_bytes())
}

/// Whether a state that was opened belongs to this request.
///
/// # Errors
/// The first of [`Refused::Principal`], [`Refused::Method`], [`Refused::Target`], [`Refused::Arguments`] that is so.
pub fn matches(
    state: &State,
    principal: Digest128,
    method: &str,
    target: &str,
    arguments_digest: Digest128,
) -> Result<(), Refused> {
    let checks = [
        (state.principal == principal, Refused::Principal),
        (state.method == method, Refused::Method),
        (state.target == target, Refused::Target),
        (state.arguments_digest == arguments_digest, Refused::Arguments),
    ];
    match checks.into_iter().find(|(is_same, _)| !is_same) {
        Some((_, refused)) => Err(refused),
        None => Ok(()),
    }
}

impl Keys {
    /// A ring of one new key.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self {
            ring: vec![Key::random()?],
        })
    }

    /// The ring that [`Keys::to_bytes`] wrote; `None` when these are not 1 to [`KEYS_MAX`] keys of 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (keys, rest) = bytes.as_chunks::<KEY_BYTES>();
        let is_ring = rest.is_empty() && (1..=KEYS_MAX).contains(&keys.len());
        is_ring.then(|| Self {
            ring: keys.iter().copied().map(Key::of).collect(),
        })
    }

    /// The keys one after the other, the one that seals first. A secret.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.ring.iter().flat_map(|key| key.secret).collect()
    }

    /// The ring with a new key that seals from now on; of the earlier ones the newest `KEYS_MAX - 1` still open.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn rotated(&self) -> Result<Self, NoRandomness> {
        let mut ring = vec![Key::random()?];
        ring.extend(self.ring.iter().take(KEYS_MAX - 1).cloned());
        Ok(Self { ring })
    }

    /// The text for the client.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn seal(&self, state: &State) -> Result<String, TooLarge> {
        if state
            .answers
            .as_ref()
            .is_some_and(|answers| answers.len() > ANSWERS_BYTES_MAX)
        {
            return Err(TooLarge);
        }
        let key = self.ring.first().ok_or(TooLarge)?;
        let body = key.sealed(&state.to_bytes()).ok_or(TooLarge)?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(body));
        if text.len() > SEALED_BYTES_MAX {
            Err(TooLarge)
        } else {
            Ok(text)
        }
    }

    /// What is in a text that a client brought back at `now_ms` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`Refused::Garbled`], [`Refused::Unauthentic`] or [`Refused::Expired`].
    pub fn open(&self, text: &str, now_ms: u64) -> Result<State, Refused> {
        if text.len() > SEALED_BYTES_MAX {
            return Err(Refused::Garbled);
        }
        let body = text.strip_prefix(PREFIX).ok_or(Refused::Garbled)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| Refused::Garbled)?;
        let (kid, body) = body.split_first_chunk().ok_or(Refused::Garbled)?;
        let (nonce, sealed) = body.split_first_chunk().ok_or(Refused::Garbled)?;
        let mut ours = self.ring.iter().filter(|key| key.kid == *kid);
        let payload = ours
            .find_map(|key| key.opened(nonce, sealed))
            .ok_or(Refused::Unauthentic)?;
        let state = State::from_bytes(&payload).ok_or(Refused::Garbled)?;
        if now_ms >= state.expires_at_ms {
            Err(Refused::Expired)
        } else {
            Ok(state)
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, hidden)", self.ring.len())
    }
}

impl Key {
    fn random() -> Result<Self, NoRandomness> {
        let secret = CipherKey::try_generate().map_err(|_| NoRandomness)?;
        Ok(Self::of(secret.into()))
    }

    /// Each use has a key of its own, made of the secret.
    fn of(secret: [u8; KEY_BYTES]) -> Self {
        let name = keyed_hash("mcp-wrapper seal, name of the key", &secret, &[]);
        Self {
            secret,
            kid: first(&name),
            cipher: XChaCha20Poly1305::new(&keyed_hash("mcp-wrapper seal, cipher", &secret, &[]).into()),
            nonces: keyed_hash("mcp-wrapper seal, nonces", &secret, &[]),
        }
    }

    /// `None` only for payloads beyond what the cipher takes (256 GiB).
    fn sealed(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = first(&keyed_hash("mcp-wrapper seal, nonce", &self.nonces, payload));
        let aad = self.aad();
        let sealed = self
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: payload,
                    aad: &aad,
                },
            )
            .ok()?;
        Some([self.kid.as_slice(), &nonce, &sealed].concat())
    }

    fn opened(&self, nonce: &[u8; NONCE_BYTES], sealed: &[u8]) -> Option<Vec<u8>> {
        let aad = self.aad();
        self.cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: sealed,
                    aad: &aad,
                },
            )
            .ok()
    }

    fn aad(&self) -> Vec<u8> {
        [b"g1".as_slice(), &self.kid].concat()
    }
}

/// The key has a fixed length and stands before the text; what is seen of the result is cut short, so that nobody can
/// continue it.
fn keyed_hash(domain: &str, key: &[u8; KEY_BYTES], text: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(domain.as_bytes());
    hash.update([0]);
    hash.update(key);
    hash.update(text);
    hash.finalize().into()
}

fn first<const N: usize>(all: &[u8; 32]) -> [u8; N] {
    std::array::from_fn(|at| all.get(at).copied().unwrap_or_default())
}

// === The payload ===

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Park => 1,
            Self::Relay => 2,
            Self::Reissue => 3,
            Self::Replay => 4,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Park),
            2 => Some(Self::Relay),
            3 => Some(Self::Reissue),
            4 => Some(Self::Replay),
            _other => None,
        }
    }
}

impl State {
    /// Numbers big end first; texts with their length in four bytes; what may be missing with a byte before it.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![FORM, self.kind.byte()];
        out.extend(self.park.to_be_bytes());
        out.extend(self.round.to_be_bytes());
        out.extend(self.nonce);
        out.extend(self.generation.to_be_bytes());
        out.extend(self.arguments_digest);
        out.extend(self.principal);
        out.extend(self.issued_at_ms.to_be_bytes());
        out.extend(self.expires_at_ms.to_be_bytes());
        for text in [&self.server, &self.method, &self.target] {
            put_text(&mut out, text);
        }
        for text in [&self.inner, &self.answers] {
            out.push(u8::from(text.is_some()));
            if let Some(text) = text {
                put_text(&mut out, text);
            }
        }
        out
    }

    /// `None` also when something stands after the last field.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        if rest.chunk::<1>()? != [FORM] {
            return None;
        }
        let [kind] = rest.chunk()?;
        let state = Self {
            kind: Kind::of(kind)?,
            park: u64::from_be_bytes(rest.chunk()?),
            round: u32::from_be_bytes(rest.chunk()?),
            nonce: rest.chunk()?,
            generation: u64::from_be_bytes(rest.chunk()?),
            arguments_digest: rest.chunk()?,
            principal: rest.chunk()?,
            issued_at_ms: u64::from_be_bytes(rest.chunk()?),
            expires_at_ms: u64::from_be_bytes(rest.chunk()?),
            server: rest.text()?,
            method: rest.text()?,
            target: rest.text()?,
            inner: rest.text_or_none()?,
            answers: rest.text_or_none()?,
        };
        rest.0.is_empty().then_some(state)
    }
}

/// A text longer than four bytes can say is longer than [`SEALED_BYTES_MAX`] too, and refused for that.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    fn text(&mut self) -> Option<String> {
        let n_bytes = usize::try_from(u32::from_be_bytes(self.chunk()?)).ok()?;
        let (text, rest) = self.0.split_at_checked(n_bytes)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    /// The outer `None` for what cannot be read.
    #[expect(clippy::option_option, reason = "one for the reader, one for the field")]
    fn text_or_none(&mut self) -> Option<Option<String>> {
        match self.chunk()? {
            [0] => Some(None),
            [1] => self.text().map(Some),
            _other => None,
        }
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
