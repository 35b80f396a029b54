//! Asks one child for its lists: every page of each.

use std::collections::HashSet;
use std::time::Duration;

use super::snapshot::{Kind, page};
use crate::child::handshake::{Handshake, error_text};
use crate::child::outgoing::Params;
use crate::child::status::ChildStatus;
use crate::child::{Call, Child};
use crate::rpc::Raw;
use crate::rpc::object::Object;

/// The status that shows a handshake comes at once after the news of it.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// Pages of one list.
const N_PAGES_MAX: usize = 1000;
/// Time for one list.
const LIST_PATIENCE: Duration = Duration::from_secs(30);
/// All items of one list, bytes.
const LIST_BYTES_MAX: usize = 64 << 20;

/// One whole list.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) items: Vec<Raw>,
    /// How long it is good, as the child says: the least of all pages. Unit: milliseconds.
    pub(super) ttl_ms: Option<u64>,
}

/// A child with its handshake: the news of that may be faster than the status that shows it.
pub(super) async fn handshake_of(child: &Child) -> Option<ChildStatus> {
    let mut states = child.watch();
    let shaken = states.wait_for(|status| status.handshake.is_some());
    let status = tokio::time::timeout(HANDSHAKE_PATIENCE, shaken).await;
    status.ok()?.ok().map(|status| status.clone())
}

/// Why a list is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unlisted {
    #[error("not complete within {} s", LIST_PATIENCE.as_secs())]
    Late,
    /// The server's own words, or why it has none.
    #[error("{0}")]
    Said(String),
}

/// One whole list: every page of it.
pub(super) async fn listed(child: &Child, handshake: &Handshake, kind: Kind) -> Result<Listed, Unlisted> {
    if !handshake.can(kind.capability()) {
        return Ok(Listed::default());
    }
    let listing = pages(child, kind);
    match tokio::time::timeout(LIST_PATIENCE, listing).await {
        Ok(listed) => listed.map_err(Unlisted::Said),
        Err(_late) => Err(Unlisted::Late),
    }
}

async fn pages(child: &Child, kind: Kind) -> Result<Listed, String> {
    let (mut all, mut n_bytes, mut seen) = (Listed::default(), 0, HashSet::new());
    let mut cursor: Option<String> = None;
    for _page in 0..N_PAGES_MAX {
        let params = match &cursor {
            None => Params::None,
            Some(cursor) => Params::Plain(Raw::of(&serde_json::json!({ "cursor": cursor }))),
        };
        let call = Call::ours(kind.method(), params);
        let result = match child.call(call).await.map_err(|error| error.to_string())? {
            Ok(result) => result,
            // Many servers with resources know no templates.
            Err(error) if kind == Kind::Templates && error_text(&error).contains("-32601") => return Ok(all),
            Err(error) => return Err(error_text(&error)),
        };
        let (items, next) = page(kind, &result)?;
        n_bytes += result.as_bytes().len();
        all.items.extend(items.iter().map(Raw::compact));
        let ttl_ms = ttl_of(&result);
        all.ttl_ms = all
            .ttl_ms
            .map_or(ttl_ms, |least| Some(ttl_ms.unwrap_or(least).min(least)));
        let Some(next) = next else { return Ok(all) };
        if n_bytes > LIST_BYTES_MAX || !seen.insert(next.clone()) {
            tracing::warn!(server = %child.name(), list = kind.method(), "the list goes round in circles or has no end; cut");
            return Ok(all);
        }
        cursor = Some(next);
    }
    Ok(all)
}

fn ttl_of(result: &Raw) -> Option<u64> {
    Object::of(result)?.get("ttlMs")?.read().ok()
}
