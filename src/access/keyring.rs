//! All keys that open now. Looked at by every request that shows one; replaced as a whole when something has changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{KeyGrant, Principal, key};

/// Keys that there may be at once.
pub const N_KEYS_MAX: usize = 1_000;

/// All keys that open now.
#[derive(Debug, Default)]
pub struct Keyring(RwLock<HashMap<String, Held>>);

#[derive(Debug)]
struct Held {
    grant: KeyGrant,
    principal: Arc<Principal>,
}

impl Keyring {
    /// Whose a key is that somebody shows. `None`: it is no key, or opens no more.
    pub fn find(&self, text: &str, now_ms: u64) -> Option<Arc<Principal>> {
        // Before anything is known of it, so that an unknown key takes as long as a wrong one.
        let hash = key::hash(text);
        let id = key::id_of(text)?;
        let principal = {
            let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&all.get(id)?.principal)
        };
        let opens = principal.is_opened_by(&hash);
        let is_good = opens && !principal.has_expired(now_ms) && !principal.over.is_cancelled();
        is_good.then_some(principal)
    }

    /// The principal of this id, as [`Principal::id`] has it.
    pub fn principal(&self, id: &str) -> Option<Arc<Principal>> {
        let id = id.strip_prefix(super::OF_KEY)?;
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(id).map(|held| Arc::clone(&held.principal))
    }

    /// These keys and no others open from now on. Returns those that did and do no more; they are over already.
    pub fn replace(&self, grants: Vec<KeyGrant>, now_ms: u64) -> Vec<Arc<Principal>> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *all);
        for grant in grants.into_iter().take(N_KEYS_MAX) {
            let held = match before.remove(&grant.id) {
                // What is open with it goes on.
                Some(same) if same.grant == grant => same,
                changed => {
                    before.extend(changed.map(|changed| (grant.id.clone(), changed)));
                    let principal = Arc::new(Principal::of_key(grant.clone()));
                    Held { grant, principal }
                }
            };
            all.insert(held.grant.id.clone(), held);
        }
        let expired = |_: &String, held: &mut Held| held.principal.has_expired(now_ms);
        let gone = before
            .into_values()
            .chain(all.extract_if(expired).map(|(_, held)| held));
        let gone: Vec<_> = gone.map(|held| held.principal).collect();
        for principal in &gone {
            principal.over.cancel();
        }
        gone
    }

    /// Those that have expired meanwhile, once; they are over already.
    pub fn take_expired(&self, now_ms: u64) -> Vec<Arc<Principal>> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let expired = all.extract_if(|_, held| held.principal.has_expired(now_ms));
        let gone: Vec<_> = expired.map(|(_, held)| held.principal).collect();
        for principal in &gone {
            principal.over.cancel();
        }
        gone
    }

    /// The keys that were used since this was asked last: id, and when, milliseconds since 1970.
    pub fn take_used(&self) -> Vec<(String, u64)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let used = all.iter();
        used.filter_map(|(id, held)| Some((id.clone(), held.principal.take_used()?)))
            .collect()
    }

    /// Whether no key opens.
    pub fn is_empty(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::NewKey;
    use super::*;

    fn grant(key: &NewKey, expires_ms: Option<u64>) -> KeyGrant {
        KeyGrant {
            id: key.id.clone(),
            name: "n".to_owned(),
            hash: key.hash(),
            scope: None,
            is_admin: false,
            rate: None,
            expires_ms,
        }
    }

    #[test]
    fn a_key_opens_until_it_is_taken_back_and_what_stays_goes_on() {
        let ring = Keyring::default();
        let (one, other) = (NewKey::random(), NewKey::random());
        assert!(
            ring.replace(vec![grant(&one, None), grant(&other, None)], 1)
                .is_empty()
        );
        let first = ring.find(&one.text, 1).unwrap();
        let second = ring.find(&other.text, 1).unwrap();
        assert_ne!(first.id, second.id);
        let mut wrong = one.text.clone();
        wrong.pop();
        assert!(ring.find(&wrong, 1).is_none());
        let gone = ring.replace(vec![grant(&other, None)], 1);
        assert!(gone.len() == 1 && Arc::ptr_eq(&gone[0], &first) && first.over.is_cancelled());
        assert!(ring.find(&one.text, 1).is_none());
        assert!(Arc::ptr_eq(&ring.find(&other.text, 1).unwrap(), &second) && !second.over.is_cancelled());
    }

    #[test]
    fn a_key_that_has_changed_is_another_principal() {
        let ring = Keyring::default();
        let one = NewKey::random();
        ring.replace(vec![grant(&one, None)], 1);
        let before = ring.find(&one.text, 1).unwrap();
        let gone = ring.replace(vec![grant(&one, Some(5))], 1);
        assert!(gone.len() == 1 && before.over.is_cancelled());
        assert!(ring.find(&one.text, 4).is_some() && ring.find(&one.text, 5).is_none());
        assert!(ring.take_expired(4).is_empty());
        assert_eq!(ring.take_expired(5).len(), 1);
        assert!(ring.is_empty());
    }

    #[test]
    fn uses_are_told_once() {
        let ring = Keyring::default();
        let one = NewKey::random();
        ring.replace(vec![grant(&one, None)], 1);
        ring.find(&one.text, 1).unwrap().touch(7);
        assert_eq!(ring.take_used(), [(one.id, 7)]);
        assert!(ring.take_used().is_empty());
    }
}
