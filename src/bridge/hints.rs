//! What a client probably meant by a name that nobody offers. Only errors need it.

use std::sync::Arc;

use crate::access::Scope;
use crate::catalog::names::SEPARATOR;
use crate::catalog::{Kind, View};
use crate::config::{EXPOSED_CHARS_MAX, meant};
use crate::ids::ServerName;
use crate::route::{RouteError, Router};

/// Names that one unknown one is compared with.
const N_COMPARED_MAX: usize = 2048;

/// What to say behind an error, if there is something.
pub(super) fn hint(error: &RouteError, router: &Router, scope: Option<&Arc<Scope>>) -> Option<String> {
    let RouteError::Unknown { what, name } = error else {
        return None;
    };
    // A name that long is nobody's, and comparing it costs.
    if name.len() > EXPOSED_CHARS_MAX {
        return None;
    }
    let kind = if *what == "tool" {
        Kind::Tools
    } else {
        Kind::Prompts
    };
    let view = router.view_within(scope);
    unlisted(name, what, &view, router, scope).or_else(|| {
        let meant = meant_by(name, kind, &view)?;
        Some(format!("did you mean `{meant}`?"))
    })
}

/// Its server is declared, but nobody knows what it offers.
fn unlisted(
    name: &str,
    what: &str,
    view: &View,
    router: &Router,
    scope: Option<&Arc<Scope>>,
) -> Option<String> {
    let (server, _) = name.split_once(SEPARATOR)?;
    let server = ServerName::parse(server).ok()?;
    if !scope.is_none_or(|scope| scope.has_server(server.as_str()) || scope.has_tool(server.as_str(), name)) {
        return None;
    }
    let entry = router.entry(&server).filter(|_| view.part(&server).is_none())?;
    if !entry.spec.enabled {
        return Some(format!(
            "server `{server}` is disabled; `mcpctl enable {server}` starts it"
        ));
    }
    let state = entry.child.status().state;
    Some(format!(
        "server `{server}` has not listed its {what}s yet (state {state}); `mcpctl why {server}` tells more"
    ))
}

fn meant_by<'a>(name: &str, kind: Kind, view: &'a View) -> Option<&'a str> {
    let all = || view.list(kind).iter().take(N_COMPARED_MAX);
    // Without its server's prefix.
    let own = all().find(|(_, owner)| owner.own == name);
    own.map(|(exposed, _)| exposed)
        .or_else(|| meant::nearest(name, all().map(|(exposed, _)| exposed)))
}
