//! Changing definitions in the registry, and having a running daemon act on them.

use serde::Serialize;

use super::context::Context;
use super::failure::Failure;
use super::render::Out;
use crate::api::Reloaded;
use crate::ids::ServerName;
use crate::registry::{Declared, Registry};

/// What is said when nobody acts on a change yet.
pub(super) const NO_DAEMON: &str = "no daemon is running; the next one acts on it";

/// What a change of several definitions did.
#[derive(Debug, Serialize)]
struct Switched<'a> {
    enabled: bool,
    changed: &'a [ServerName],
    not_there: &'a [ServerName],
    daemon: bool,
}

/// Wants servers, or does not want them any more.
pub(super) async fn set_enabled(
    names: &[ServerName],
    enabled: bool,
    context: &Context,
    out: &mut Out,
) -> Result<(), Failure> {
    let registry = context.registry(out).await?;
    let (mut changed, mut not_there) = (Vec::new(), Vec::new());
    for name in names {
        let done = registry.set_enabled(name, enabled).await.map_err(refused)?;
        if done {
            changed.push(name.clone())
        } else {
            not_there.push(name.clone())
        }
    }
    let reloaded = if changed.is_empty() {
        None
    } else {
        reload(context, out).await?
    };
    let word = if enabled { "enabled" } else { "disabled" };
    let then = if reloaded.is_some() {
        String::new()
    } else {
        format!("; {NO_DAEMON}")
    };
    for name in &changed {
        out.say(&format!("{name}: {word}{then}"))?;
    }
    tell_not_there(&not_there, out);
    let daemon = reloaded.is_some();
    out.json(&Switched {
        enabled,
        changed: &changed,
        not_there: &not_there,
        daemon,
    })?;
    if not_there.is_empty() {
        Ok(())
    } else {
        Err(Failure::Told)
    }
}

/// Has a running daemon act on what was written. That it has trouble doing so does not undo the change.
pub(super) async fn reload(context: &Context, out: &mut Out) -> Result<Option<Reloaded>, Failure> {
    match context.reload().await {
        Ok(reloaded) => {
            for problem in reloaded.iter().flat_map(|done| &done.problems) {
                out.remark(&format!("mcpctl: servers.toml has a problem: {problem}"));
            }
            Ok(reloaded)
        }
        Err(Failure::Refused(error)) => Err(Failure::Refused(format!(
            "it is saved, but the daemon has not acted on it yet: {error}"
        ))),
        Err(failure) => Err(failure),
    }
}

/// Says which names nobody has declared.
pub(super) fn tell_not_there(names: &[ServerName], out: &mut Out) {
    for name in names {
        out.remark(&format!(
            "mcpctl: there is no server `{name}`; `mcpctl list` shows those there are"
        ));
    }
}

/// The registry's sentence as a failure.
pub(super) fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(error.to_string())
}

/// All that is declared, in the order of the registry.
pub(super) async fn all(registry: &Registry) -> Result<Vec<Declared>, Failure> {
    registry.servers().await.map_err(refused)
}

/// The definition of one server that counts.
pub(super) async fn declared(name: &ServerName, registry: &Registry) -> Result<Declared, Failure> {
    let found = all(registry)
        .await?
        .into_iter()
        .find(|known| known.name == *name && !known.shadowed);
    found.ok_or_else(|| {
        Failure::Refused(format!(
            "there is no server `{name}`; `mcpctl list` shows those there are"
        ))
    })
}

/// The command line as declared, nothing expanded.
pub(super) fn command_of(declared: &Declared) -> Vec<String> {
    let raw = &declared.raw;
    raw.command
        .iter()
        .chain(raw.args.iter().flatten())
        .cloned()
        .collect()
}

/// The names of the variables it gets; the values are secrets.
pub(super) fn variables_of(declared: &Declared) -> Vec<String> {
    declared
        .raw
        .env
        .iter()
        .flat_map(|env| env.keys().cloned())
        .collect()
}
