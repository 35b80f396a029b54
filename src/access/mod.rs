//! Who asks, what they may see, how often they may ask. Pure, but for the counters that a principal carries.
//!
//! A [`Principal`] is whoever is behind a request: the holder of a key or of the token, the owner of the data folder,
//! or anybody, where nobody is asked who they are. Sessions, parked calls and tasks belong to one. A [`Scope`] is what
//! a key is limited to. [`key`] is the text of a key, [`Keyring`] all keys that open now.

pub mod key;
mod keyring;
mod network;
mod rate;
mod scope;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use crate::ids::SessionId;
pub use key::{KeyHash, same};
pub use keyring::{Keyring, N_KEYS_MAX};
pub use network::{BadNetwork, Network};
pub use rate::{BadRate, Rate, Window};
pub use scope::{BadPattern, Pattern, Scope};

/// What the ids of holders of keys begin with.
const OF_KEY: &str = "key ";

/// Whoever is behind a request.
#[derive(Debug)]
pub struct Principal {
    /// What is given to one principal no other may use: parked calls, tasks and sessions are bound to this.
    pub id: Arc<str>,
    /// Its name, for people.
    pub name: Arc<str>,
    /// To whom it belongs what lasts longer than a request.
    pub home: SessionId,
    /// Whether it may control the daemon.
    pub is_admin: bool,
    /// What it is limited to; `None` when it sees everything.
    pub scope: Option<Arc<Scope>>,
    /// Cancelled when its key opens no more: what is open with it ends.
    pub over: CancellationToken,
    /// Its calls in flight, where they are counted.
    pub n_calls: Arc<AtomicUsize>,
    key: Option<Held>,
}

/// What is known of the key of a principal.
#[derive(Debug)]
struct Held {
    hash: KeyHash,
    expires_ms: Option<u64>,
    rate: Option<Rate>,
    /// Milliseconds since 1970; 0 when it was not used since it was read.
    used_ms: AtomicU64,
    window: std::sync::Mutex<Window>,
}

/// A key as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGrant {
    /// The part of the key that is no secret.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The hash of the whole key.
    pub hash: KeyHash,
    /// What it is limited to.
    pub scope: Option<Scope>,
    /// Whether its holder may control the daemon.
    pub is_admin: bool,
    /// How often its holder may ask.
    pub rate: Option<Rate>,
    /// Until when it opens, milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

impl Principal {
    /// A principal without a key.
    pub fn new(id: &str, name: &str, home: SessionId, is_admin: bool) -> Self {
        Self {
            id: Arc::from(id),
            name: Arc::from(name),
            home,
            is_admin,
            scope: None,
            over: CancellationToken::new(),
            n_calls: Arc::default(),
            key: None,
        }
    }

    /// The owner of the data folder: who comes over its sockets.
    pub fn owner() -> Self {
        Self::new("line", "owner", SessionId::random(), true)
    }

    /// Anybody: where nobody is asked for a key all who come in are one.
    pub fn anybody() -> Self {
        Self::new("http", "anybody", SessionId::random(), false)
    }

    /// Who has the token of the settings.
    pub fn token() -> Self {
        Self::new("token", "MCP_AUTH_TOKEN", SessionId::random(), true)
    }

    /// The holder of a key.
    pub fn of_key(grant: KeyGrant) -> Self {
        Self {
            id: Arc::from(format!("{OF_KEY}{}", grant.id)),
            name: Arc::from(grant.name),
            home: SessionId::random(),
            is_admin: grant.is_admin,
            scope: grant.scope.map(Arc::new),
            over: CancellationToken::new(),
            n_calls: Arc::default(),
            key: Some(Held {
                hash: grant.hash,
                expires_ms: grant.expires_ms,
                rate: grant.rate,
                used_ms: AtomicU64::new(0),
                window: std::sync::Mutex::default(),
            }),
        }
    }

    /// Whether it is the holder of a key, which may be taken back.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a key whose hash is this is the one it holds. Takes the same time wherever they differ.
    pub fn is_opened_by(&self, hash: &KeyHash) -> bool {
        self.key.as_ref().is_some_and(|key| same(&key.hash, hash))
    }

    /// Whether its key has expired at this time, milliseconds since 1970.
    pub fn has_expired(&self, now_ms: u64) -> bool {
        let until = self.key.as_ref().and_then(|key| key.expires_ms);
        until.is_some_and(|until| until <= now_ms)
    }

    /// How often it may ask, where that is limited.
    pub fn rate(&self) -> Option<(Rate, &std::sync::Mutex<Window>)> {
        let key = self.key.as_ref()?;
        Some((key.rate?, &key.window))
    }

    /// It has shown itself, at this time in milliseconds since 1970.
    pub fn touch(&self, now_ms: u64) {
        if let Some(key) = &self.key {
            key.used_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// When it has shown itself last since this was asked last, if it has: milliseconds since 1970.
    pub fn take_used(&self) -> Option<u64> {
        let used_ms = self.key.as_ref()?.used_ms.swap(0, Ordering::Relaxed);
        (used_ms > 0).then_some(used_ms)
    }
}

/// The principal of this id where it is the holder of a key: what clients of one program share, those of two holders do
/// not.
pub fn holder(id: &Arc<str>) -> Option<Arc<str>> {
    id.starts_with(OF_KEY).then(|| Arc::clone(id))
}
