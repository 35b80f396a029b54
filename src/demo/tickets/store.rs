//! The tickets themselves, and what can be counted about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::demo::words::{Word, words};

words! {
    /// How far a ticket is.
    Status { Open = "open", InProgress = "in_progress", Waiting = "waiting", Resolved = "resolved", Closed = "closed" }
}

words! {
    /// How much it presses.
    Priority { Low = "low", Medium = "medium", High = "high", Urgent = "urgent" }
}

words! {
    /// What it is about.
    Category {
        Bug = "bug",
        Feature = "feature",
        Performance = "performance",
        Security = "security",
        Infrastructure = "infrastructure",
        Documentation = "documentation",
    }
}

/// One ticket. Dates are written `YYYY-MM-DD`, so that their order as text is their order in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ticket {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) user: String,
    pub(super) status: Status,
    pub(super) priority: Priority,
    pub(super) category: Category,
    pub(super) created: String,
    pub(super) updated: String,
}

/// How many tickets there are of each kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Stats {
    pub(super) total: usize,
    pub(super) by_status: BTreeMap<&'static str, usize>,
    pub(super) by_priority: BTreeMap<&'static str, usize>,
    pub(super) by_category: BTreeMap<&'static str, usize>,
}

/// All tickets, in the order of their ids.
#[derive(Debug)]
pub(super) struct Store {
    tickets: Vec<Ticket>,
}

impl Store {
    pub(super) fn load() -> serde_json::Result<Self> {
        Ok(Self {
            tickets: serde_json::from_str(include_str!("tickets.json"))?,
        })
    }

    pub(super) fn all(&self) -> &[Ticket] {
        &self.tickets
    }

    /// The ticket with this id; small letters and spaces around it are forgiven.
    pub(super) fn find(&self, id: &str) -> Option<&Ticket> {
        let id = id.trim();
        self.tickets
            .iter()
            .find(|ticket| ticket.id.eq_ignore_ascii_case(id))
    }

    pub(super) fn ids(&self) -> Vec<&str> {
        self.tickets.iter().map(|ticket| ticket.id.as_str()).collect()
    }

    /// Who has tickets, in alphabetical order.
    pub(super) fn users(&self) -> Vec<&str> {
        let mut users: Vec<&str> = self.tickets.iter().map(|ticket| ticket.user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            total: self.tickets.len(),
            by_status: self.count(|ticket| ticket.status),
            by_priority: self.count(|ticket| ticket.priority),
            by_category: self.count(|ticket| ticket.category),
        }
    }

    fn count<W: Word>(&self, field: impl Fn(&Ticket) -> W) -> BTreeMap<&'static str, usize> {
        let count = |word: &W| {
            self.tickets
                .iter()
                .filter(|ticket| field(ticket) == *word)
                .count()
        };
        W::ALL.iter().map(|word| (word.as_str(), count(word))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fifty_tickets_with_ids_in_order_and_dates_that_make_sense() {
        let store = Store::load().unwrap();
        let ids: Vec<String> = (1..=50).map(|n| format!("T-{n:03}")).collect();
        assert_eq!(store.ids(), ids);
        for ticket in store.all() {
            assert!(ticket.created <= ticket.updated, "{}", ticket.id);
            assert!(
                ticket.created.len() == 10 && ticket.updated.len() == 10,
                "{}",
                ticket.id
            );
            assert!(
                !ticket.title.is_empty() && !ticket.description.is_empty(),
                "{}",
                ticket.id
            );
        }
    }

    #[test]
    fn every_word_is_used_so_that_every_filter_finds_something() {
        let stats = Store::load().unwrap().stats();
        for counts in [&stats.by_status, &stats.by_priority, &stats.by_category] {
            assert_eq!(counts.values().sum::<usize>(), stats.total);
            assert!(counts.values().all(|n| *n > 0), "{counts:?}");
        }
    }

    #[test]
    fn a_word_is_read_as_it_is_written_and_spelled_alike_in_json() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(*status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!(Status::parse("Open"), None);
    }
}
