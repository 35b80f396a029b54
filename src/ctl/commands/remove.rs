//! `mcpctl remove NAME…`: works without a daemon.

use serde::Serialize;

use crate::ctl::context::Context;
use crate::ctl::declared::{NO_DAEMON, all, refused, reload, tell_not_there};
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ids::ServerName;
use crate::registry::Removed;

/// What became of the names.
#[derive(Debug, Default, Serialize)]
struct Gone {
    removed: Vec<ServerName>,
    /// Of the removed ones, those that servers.toml declares as well: they go on.
    still_in_file: Vec<ServerName>,
    not_there: Vec<ServerName>,
    in_file: Vec<ServerName>,
    daemon: bool,
}

/// Removes servers; one that cannot be removed does not hold up the others.
pub(super) async fn run(names: &[ServerName], context: &Context, out: &mut Out) -> Result<(), Failure> {
    let registry = context.registry(out).await?;
    let mut gone = Gone::default();
    for name in names {
        let list = match registry.remove(name).await.map_err(refused)? {
            Removed::Gone => &mut gone.removed,
            Removed::NotThere => &mut gone.not_there,
            Removed::InFile => &mut gone.in_file,
        };
        list.push(name.clone());
    }
    let left = all(&registry).await?;
    let stays = |name: &&ServerName| left.iter().any(|known| known.name == **name);
    gone.still_in_file = gone.removed.iter().filter(stays).cloned().collect();
    if !gone.removed.is_empty() {
        gone.daemon = reload(context, out).await?.is_some();
    }
    tell(&gone, out)?;
    if gone.not_there.is_empty() && gone.in_file.is_empty() {
        Ok(())
    } else {
        Err(Failure::Told)
    }
}

fn tell(gone: &Gone, out: &mut Out) -> Result<(), Failure> {
    for name in &gone.removed {
        let then = if gone.daemon {
            String::new()
        } else {
            format!("; {NO_DAEMON}")
        };
        out.say(&format!("{name}: removed{then}"))?;
    }
    for name in &gone.still_in_file {
        out.remark(&format!(
            "mcpctl: servers.toml still declares `{name}`, which is in effect now"
        ));
    }
    for name in &gone.in_file {
        out.remark(&format!(
            "mcpctl: `{name}` is declared in servers.toml: edit the file, or `mcpctl disable {name}`"
        ));
    }
    tell_not_there(&gone.not_there, out);
    Ok(out.json(gone)?)
}
