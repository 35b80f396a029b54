//! What of an install is still to be taken back in a file that was written by others since. Pure.
//!
//! Only what we did: our entry becomes what stood there before, and what we took out comes back. Entries that a person has
//! deleted, added or changed since stay as they are.

use serde_json::{Map, Value};

use super::NAME;
use super::backup::Record;
use super::edit::{Change, Fields};

/// What becomes of our entry.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ctl) enum Ours {
    /// It is as it was before that install already, or was taken out by somebody else.
    Stays,
    /// It goes.
    Goes,
    /// It is again what stood there before.
    Before(Fields),
}

/// What taking back one install does.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ctl) struct Undoing {
    pub(in crate::ctl) ours: Ours,
    /// Entries that were taken out, and come back.
    pub(in crate::ctl) back: Vec<(String, Fields)>,
    /// Names of entries that were taken out, and stand there in another way now: these stay.
    pub(in crate::ctl) others: Vec<String>,
}

/// What is to be taken back, given the servers that are there now.
pub(in crate::ctl) fn undoing(record: &Record, now: &Map<String, Value>) -> Undoing {
    let ours = match (now.get(NAME), &record.replaced) {
        (None, _) => Ours::Stays,
        (Some(there), before) if before.as_ref() == Some(there) => Ours::Stays,
        (Some(_), Some(Value::Object(before))) => Ours::Before(before.clone().into_iter().collect()),
        (Some(_), _) => Ours::Goes,
    };
    let (mut back, mut others) = (Vec::new(), Vec::new());
    for (name, value) in &record.removed {
        match (now.get(name), value) {
            (None, Value::Object(fields)) => back.push((name.clone(), fields.clone().into_iter().collect())),
            (Some(there), value) if there != value => others.push(name.clone()),
            (_, _) => {}
        }
    }
    Undoing { ours, back, others }
}

impl Undoing {
    /// Whether it has all been taken back already.
    pub(in crate::ctl) fn is_nothing(&self) -> bool {
        self.ours == Ours::Stays && self.back.is_empty()
    }

    /// As an edit.
    pub(in crate::ctl) fn change(&self) -> Change {
        let mut change = Change {
            put: self.back.clone(),
            remove: Vec::new(),
        };
        match &self.ours {
            Ours::Stays => {}
            Ours::Goes => change.remove.push(NAME.to_owned()),
            Ours::Before(fields) => change.put.push((NAME.to_owned(), fields.clone())),
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn record(replaced: Option<Value>, removed: Value) -> Record {
        Record {
            written: String::new(),
            had_file: true,
            put: json!({"command": "new"}),
            replaced,
            removed: map(removed),
            undone: false,
        }
    }

    #[test]
    fn only_what_we_took_out_comes_back() {
        let record = record(None, json!({"taken": {"command": "t"}}));
        let undoing = undoing(
            &record,
            &map(json!({"mine": {"command": "m"}, NAME: {"command": "new"}})),
        );
        let fields = vec![("command".to_owned(), json!("t"))];
        assert_eq!(undoing.back, [("taken".to_owned(), fields)]);
        assert_eq!((&undoing.ours, undoing.others.len()), (&Ours::Goes, 0));
        assert_eq!(undoing.change().remove, [NAME]);
    }

    #[test]
    fn an_install_over_another_gives_back_the_entry_of_that_one() {
        let record = record(Some(json!({"command": "old"})), json!({}));
        let now = |ours: Value| undoing(&record, &map(ours));
        let before = vec![("command".to_owned(), json!("old"))];
        assert_eq!(
            now(json!({NAME: {"command": "new"}})).ours,
            Ours::Before(before.clone())
        );
        // The client has written it in its own way.
        assert_eq!(
            now(json!({NAME: {"command": "new", "x": 1}})).ours,
            Ours::Before(before)
        );
        // Somebody has undone it already.
        assert!(now(json!({NAME: {"command": "old"}})).is_nothing());
        assert!(now(json!({})).is_nothing());
    }

    #[test]
    fn what_stands_there_in_another_way_stays() {
        let record = record(None, json!({"a": {"command": "1"}, "b": {"command": "2"}}));
        let undoing = undoing(
            &record,
            &map(json!({"a": {"command": "other"}, "b": {"command": "2"}})),
        );
        assert!(undoing.is_nothing());
        assert_eq!(undoing.others, ["a"]);
    }
}
