//! What has changed from one list of a child to the next, for people: a tool that turns into another one under its
//! name must not do so unseen. Pure.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::snapshot::{Item, Kind};
use crate::event::{LIST_CHANGES_MAX, ListChange, What};

/// Bytes of a hash that are told.
const HASH_BYTES: usize = 8;

/// What has changed, if anything but the order has.
pub fn changes(kind: Kind, before: &[Item], after: &[Item]) -> Option<What> {
    let now: HashMap<&str, &Item> = by_key(after);
    let was: HashMap<&str, &Item> = by_key(before);
    let gone_or_changed = before.iter().filter_map(|item| {
        let after = now.get(item.key.as_str()).copied();
        (after.map(|after| &after.raw) != Some(&item.raw)).then_some((Some(item), after))
    });
    let new = after
        .iter()
        .filter(|item| !was.contains_key(item.key.as_str()))
        .map(|item| (None, Some(item)));
    let all: Vec<_> = gone_or_changed.chain(new).collect();
    if all.is_empty() {
        return None;
    }
    let n_more = all.len().saturating_sub(LIST_CHANGES_MAX);
    let changes = all.into_iter().take(LIST_CHANGES_MAX).map(change).collect();
    Some(What::ListChanged {
        list: kind.method().to_owned(),
        changes,
        n_more,
    })
}

fn by_key(items: &[Item]) -> HashMap<&str, &Item> {
    items.iter().map(|item| (item.key.as_str(), item)).collect()
}

fn change((before, after): (Option<&Item>, Option<&Item>)) -> ListChange {
    let key = before.or(after).map(|item| item.key.clone()).unwrap_or_default();
    ListChange {
        key,
        before: before.map(hash_of),
        after: after.map(hash_of),
    }
}

fn hash_of(item: &Item) -> String {
    let digest = Sha256::digest(item.raw.as_bytes());
    let bytes = digest.iter().take(HASH_BYTES);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::Raw;

    fn item(key: &str, text: &str) -> Item {
        Item {
            key: key.to_owned(),
            raw: Raw::of(&serde_json::json!({ "name": key, "description": text })),
        }
    }

    #[test]
    fn what_is_new_gone_and_different_is_told_with_hashes_and_a_new_order_is_not() {
        let before = [item("a", "1"), item("b", "1"), item("c", "1")];
        assert_eq!(changes(Kind::Tools, &before, &before), None);
        let turned = [item("c", "1"), item("b", "1"), item("a", "1")];
        assert_eq!(changes(Kind::Tools, &before, &turned), None);
        let after = [item("d", "1"), item("b", "2"), item("c", "1")];
        let Some(What::ListChanged {
            list,
            changes,
            n_more,
        }) = changes(Kind::Tools, &before, &after)
        else {
            panic!("nothing")
        };
        assert_eq!((list.as_str(), n_more), ("tools/list", 0));
        let hash = |key, text| Some(hash_of(&item(key, text)));
        let one = |key: &str, before, after| ListChange {
            key: key.to_owned(),
            before,
            after,
        };
        assert_eq!(
            changes,
            [
                one("a", hash("a", "1"), None),
                one("b", hash("b", "1"), hash("b", "2")),
                one("d", None, hash("d", "1")),
            ]
        );
        assert_ne!(hash("b", "1"), hash("b", "2"));
        assert_eq!(hash("b", "1").unwrap().len(), 2 * HASH_BYTES);
    }

    #[test]
    fn of_many_changes_the_first_are_told_and_the_others_counted() {
        let after: Vec<Item> = (0..1000).map(|n| item(&format!("t{n}"), "")).collect();
        let Some(What::ListChanged { changes, n_more, .. }) = changes(Kind::Tools, &[], &after) else {
            panic!("nothing")
        };
        assert_eq!(
            (changes.len(), n_more),
            (LIST_CHANGES_MAX, 1000 - LIST_CHANGES_MAX)
        );
    }
}
