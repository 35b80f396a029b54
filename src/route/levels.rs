//! From which severity on children tell of what they do: as low as anybody wants whom they serve, and no lower.

use std::sync::Arc;
use std::time::Duration;

use super::listeners::LEVEL_UNTIL_SET;
use super::router::Router;
use crate::child::Child;
use crate::child::outgoing::Params;
use crate::rpc::mcp::LogLevel;
use crate::rpc::{Raw, mcp};
use crate::supervise::Entry;

impl Router {
    /// Tells every child that can log the lowest level that any session wants which it serves.
    pub async fn spread_level(&self) {
        self.listeners.note_told();
        let directory = Arc::clone(&self.directory.borrow());
        for entry in directory.iter() {
            self.set_level(&entry.child).await;
            for other in entry.instances.children() {
                self.set_level(&other).await;
            }
        }
    }

    /// Tells one child, if it can log and anybody whom it serves has set a level.
    pub async fn set_level(&self, child: &Child) {
        let can = child
            .status()
            .handshake
            // Whoever keeps nothing of its clients is told the level with each request.
            .is_some_and(|handshake| handshake.can("logging") && !handshake.is_modern());
        if let Some(level) = self.level_of(child).filter(|_| can) {
            self.tell_level(child, level).await;
        }
    }

    async fn tell_level(&self, child: &Child, level: LogLevel) {
        let params = Params::Plain(Raw::of(&serde_json::json!({ "level": level })));
        drop(self.ours(child, mcp::method::SET_LEVEL, params).await);
    }

    /// The lowest level that anybody wants whom a child serves.
    fn level_of(&self, child: &Child) -> Option<LogLevel> {
        match &child.instance().owner {
            None => self.listeners.lowest_level(),
            Some(owner) => self.listeners.lowest_level_of(owner),
        }
    }

    /// The children that can log, each with the lowest level that is wanted of it.
    pub(super) fn levels(&self) -> Vec<(Child, Option<LogLevel>)> {
        let directory = Arc::clone(&self.directory.borrow());
        let of_one = |entry: &Entry| std::iter::once(entry.child.clone()).chain(entry.instances.children());
        let all = directory.iter().flat_map(of_one);
        let can_log = |child: &Child| {
            let handshake = child.status().handshake;
            handshake.is_some_and(|handshake| handshake.can("logging") && !handshake.is_modern())
        };
        let with_level = |child: Child| {
            let level = self.level_of(&child);
            (child, level)
        };
        all.filter(can_log).map(with_level).collect()
    }

    /// Somebody has gone who wanted to hear more than the others: children need not say it any more.
    pub(super) async fn raise_levels(&self, before: Vec<(Child, Option<LogLevel>)>) {
        self.listeners.note_told();
        for (child, level) in before {
            let now = self.level_of(&child);
            if now != level {
                self.tell_level(&child, now.unwrap_or(LEVEL_UNTIL_SET)).await;
            }
        }
    }

    /// A request wants log messages: the children are told where nobody has wanted as much before. Not waited for long.
    pub async fn hear_from(&self, wanted: LogLevel) {
        const PATIENCE: Duration = Duration::from_secs(1);
        if self.listeners.is_lower_than_told(Some(wanted)) {
            drop(tokio::time::timeout(PATIENCE, self.spread_level()).await);
        }
    }
}
