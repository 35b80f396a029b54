//! A map of bounded size that keeps the order in which it was filled. Pure.

use std::collections::{BTreeMap, HashMap};

/// Entries of one map; beyond it the oldest is forgotten.
const N_MAX: usize = 16_384;

/// Values by their keys, oldest first.
#[derive(Debug)]
pub(super) struct InOrder<V> {
    n_inserted: u64,
    places: HashMap<String, u64>,
    entries: BTreeMap<u64, (String, V)>,
}

impl<V> Default for InOrder<V> {
    fn default() -> Self {
        Self {
            n_inserted: 0,
            places: HashMap::new(),
            entries: BTreeMap::new(),
        }
    }
}

impl<V> InOrder<V> {
    /// Puts it last, in place of what had this key.
    pub(super) fn insert(&mut self, key: String, value: V) {
        self.remove(&key);
        if self.entries.len() >= N_MAX
            && let Some((_, (oldest, _))) = self.entries.pop_first()
        {
            self.places.remove(&oldest);
        }
        self.n_inserted += 1;
        self.places.insert(key.clone(), self.n_inserted);
        self.entries.insert(self.n_inserted, (key, value));
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<V> {
        let place = self.places.remove(key)?;
        self.entries.remove(&place).map(|(_, value)| value)
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        let place = self.places.get(key)?;
        self.entries.get(place).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.entries.values().map(|(key, _)| key)
    }

    /// All of it, and nothing is left.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (String, V)> + use<V> {
        self.places.clear();
        std::mem::take(&mut self.entries).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_order_of_insertion_and_forgets_the_oldest() {
        let mut map = InOrder::default();
        for key in ["10", "9", "b", "a"] {
            map.insert(key.to_owned(), key);
        }
        map.insert("9".to_owned(), "again");
        assert_eq!(map.remove("b"), Some("b"));
        assert_eq!((map.get("9"), map.contains("b")), (Some(&"again"), false));
        assert_eq!(map.keys().collect::<Vec<_>>(), ["10", "a", "9"]);
        for n in 0..N_MAX - 2 {
            map.insert(format!("x{n}"), "x");
        }
        assert!(!map.contains("10") && map.contains("a"));
        assert_eq!(map.take_all().count(), N_MAX);
        assert!(!map.contains("a") && map.keys().next().is_none());
    }
}
