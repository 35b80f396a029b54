//! The filter of a search: read from a tool's arguments, applied to tickets. Pure.

use super::store::{Category, Priority, Status, Store, Ticket};
use crate::demo::arguments::{not_allowed, refuse_unknown, text, whole_number, word};
use crate::demo::server::Params;
use crate::demo::words::Word;

/// How many tickets a search returns when no limit is given.
pub(super) const LIMIT_DEFAULT: usize = 20;
/// How many tickets a search returns at most.
pub(super) const LIMIT_MAX: usize = 50;

/// The arguments of a search, in the order in which they are described.
pub(super) const ARGUMENTS: [&str; 6] = ["user", "status", "priority", "category", "keyword", "limit"];

/// Which tickets are wanted. An absent part lets every ticket through.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    user: Option<String>,
    status: Option<Status>,
    priority: Option<Priority>,
    category: Option<Category>,
    keyword: Option<String>,
    pub(super) limit: usize,
}

impl Filter {
    /// Reads the arguments. The error is a sentence that lets the caller correct itself.
    pub(super) fn read(store: &Store, arguments: &Params) -> Result<Self, String> {
        refuse_unknown(arguments, &ARGUMENTS)?;
        Ok(Self {
            user: user(store, arguments)?,
            status: word(arguments, "status")?,
            priority: word(arguments, "priority")?,
            category: word(arguments, "category")?,
            keyword: text(arguments, "keyword")?.map(str::to_lowercase),
            limit: whole_number(arguments, "limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT),
        })
    }

    /// Every ticket that matches, the last updated first.
    pub(super) fn apply<'s>(&self, store: &'s Store) -> Vec<&'s Ticket> {
        let mut found: Vec<&Ticket> = store.all().iter().filter(|ticket| self.matches(ticket)).collect();
        found.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| a.id.cmp(&b.id)));
        found
    }

    fn matches(&self, ticket: &Ticket) -> bool {
        self.user.as_ref().is_none_or(|user| *user == ticket.user)
            && self.status.is_none_or(|status| status == ticket.status)
            && self.priority.is_none_or(|priority| priority == ticket.priority)
            && self.category.is_none_or(|category| category == ticket.category)
            && self
                .keyword
                .as_ref()
                .is_none_or(|keyword| has_all_words(ticket, keyword))
    }

    /// The filter in words, for people.
    pub(super) fn describe(&self) -> String {
        let parts = [
            self.user.as_ref().map(|user| format!("user {user}")),
            self.status.map(|status| format!("status {}", status.as_str())),
            self.priority
                .map(|priority| format!("priority {}", priority.as_str())),
            self.category
                .map(|category| format!("category {}", category.as_str())),
            self.keyword
                .as_ref()
                .map(|keyword| format!("keyword \"{keyword}\"")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            "no filter".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

fn has_all_words(ticket: &Ticket, keyword: &str) -> bool {
    let text = format!("{} {} {}", ticket.id, ticket.title, ticket.description).to_lowercase();
    keyword.split_whitespace().all(|word| text.contains(word))
}

fn user(store: &Store, arguments: &Params) -> Result<Option<String>, String> {
    let Some(given) = text(arguments, "user")? else {
        return Ok(None);
    };
    let users = store.users();
    match users.iter().find(|user| user.eq_ignore_ascii_case(given)) {
        Some(user) => Ok(Some((*user).to_owned())),
        None => Err(not_allowed("user", given, &users)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(arguments: Value) -> Result<Filter, String> {
        Filter::read(&Store::load().unwrap(), arguments.as_object().unwrap())
    }

    fn ids(arguments: Value) -> Vec<String> {
        let store = Store::load().unwrap();
        read(arguments)
            .unwrap()
            .apply(&store)
            .into_iter()
            .map(|ticket| ticket.id.clone())
            .collect()
    }

    #[test]
    fn no_filter_finds_all_and_the_last_updated_comes_first() {
        let store = Store::load().unwrap();
        let found = read(json!({})).unwrap().apply(&store);
        assert_eq!(found.len(), 50);
        assert!(found.windows(2).all(|pair| pair[0].updated >= pair[1].updated));
        assert_eq!(
            ids(json!({ "user": null, "status": null, "keyword": null, "limit": null })).len(),
            50
        );
    }

    #[test]
    fn filters_combine_and_each_narrows() {
        for (arguments, expected) in [
            (
                json!({ "priority": "urgent", "category": "security" }),
                vec!["T-047", "T-023", "T-005", "T-017"],
            ),
            (
                json!({ "user": "dana", "status": "in_progress" }),
                vec!["T-044", "T-004"],
            ),
            (
                json!({ "user": "Dana", "status": "in_progress", "category": "bug" }),
                vec!["T-044"],
            ),
            (json!({ "keyword": "session EXPIRES" }), vec!["T-032"]),
            (json!({ "keyword": "t-007" }), vec!["T-007"]),
            (json!({ "user": "dana", "keyword": "no such words" }), vec![]),
        ] {
            assert_eq!(ids(arguments.clone()), expected, "{arguments}");
        }
    }

    #[test]
    fn every_single_filter_agrees_with_a_plain_count() {
        let store = Store::load().unwrap();
        let stats = store.stats();
        for (name, counts) in [
            ("status", stats.by_status),
            ("priority", stats.by_priority),
            ("category", stats.by_category),
        ] {
            for (word, n) in counts {
                assert_eq!(ids(json!({ name: word })).len(), n, "{name} {word}");
            }
        }
        let per_user: usize = store
            .users()
            .iter()
            .map(|user| ids(json!({ "user": user })).len())
            .sum();
        assert_eq!(per_user, 50);
    }

    #[test]
    fn a_bad_value_is_told_the_allowed_ones_and_the_nearest() {
        for (arguments, told) in [
            (
                json!({ "status": "opne" }),
                "`opne` is not a status. Allowed: open, in_progress, waiting, resolved, closed. Did you mean `open`?",
            ),
            (
                json!({ "priority": "purple" }),
                "`purple` is not a priority. Allowed: low, medium, high, urgent.",
            ),
            (
                json!({ "user": "danna" }),
                "`danna` is not a user. Allowed: amara, ben, chen, dana, elif, farid, grace, hiro. Did you mean `dana`?",
            ),
            (
                json!({ "statu": "open" }),
                "There is no argument `statu`. Known: user, status, priority, category, keyword, limit. Did you mean `status`?",
            ),
            (json!({ "keyword": 7 }), "`keyword` must be a string, not 7."),
            (
                json!({ "limit": 51 }),
                "`limit` must be a whole number from 1 to 50, not 51.",
            ),
            (
                json!({ "limit": 0 }),
                "`limit` must be a whole number from 1 to 50, not 0.",
            ),
            (
                json!({ "limit": "3" }),
                "`limit` must be a whole number from 1 to 50, not \"3\".",
            ),
        ] {
            assert_eq!(read(arguments).unwrap_err(), told);
        }
    }
}
