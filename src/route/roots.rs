//! Folders that the operator has named for a server, as the answer to its `roots/list`.
//!
//! They are for processes whose client has none of its own: a process that clients share has no client, and an
//! owner's own folders win.

use super::asks::Asking;
use super::router::Router;
use crate::rpc::Raw;
use crate::rpc::mcp::method;

/// The answer that needs no client, if this is a question for folders and the operator has named some.
pub fn of_the_operator(asking: &Asking<'_>, router: &Router) -> Option<Raw> {
    if asking.request.method.as_str() != method::ROOTS_LIST {
        return None;
    }
    let entry = router.entry(&asking.instance.server)?;
    let on_trial = entry.successor_of_number(asking.link.generation);
    let folders = &on_trial.map_or(&entry.spec, |trial| &trial.spec).roots;
    if folders.is_empty() {
        return None;
    }
    let owners = asking.instance.owner.iter();
    let mut clients = owners.flat_map(|owner| router.listeners().clients_of(owner));
    let has_own = clients.any(|(_, client)| {
        client
            .profile()
            .is_some_and(|profile| profile.capability("roots").is_some())
    });
    (!has_own).then(|| answer(folders))
}

/// These folders as the answer to `roots/list`.
pub(super) fn answer(folders: &[String]) -> Raw {
    let roots: Vec<_> = folders
        .iter()
        .map(|uri| serde_json::json!({ "uri": uri }))
        .collect();
    Raw::of(&serde_json::json!({ "roots": roots }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_in_their_order() {
        let folders = ["file:///b".to_owned(), "file:///a".to_owned()];
        assert_eq!(
            answer(&folders).as_str(),
            r#"{"roots":[{"uri":"file:///b"},{"uri":"file:///a"}]}"#
        );
    }
}
