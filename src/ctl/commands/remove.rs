//! `mcpctl remove NAME…`: works without a daemon.

use serde::Serialize;

use crate::ctl::context::Context;
use crate::ctl::declared::{NO_DAEMON, refused, reload, tell_not_there};
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ids::ServerName;
use crate::registry::Removed;

/// What became of the names.
#[derive(Debug, Default, Serialize)]
struct Gone {
    removed: Vec<ServerName>,
    not_there: Vec<ServerName>,
    in_file: Vec<ServerName>,
    daemon: bool,
}

/// Removes servers; one that cannot be removed does not hold up the others.
pub(super) async fn run(names: &[ServerName], context: &Context, out: &mut Out) -> Result<(), Failure> {
    let registry = context.registry().await?;
    let mut gone = Gone::default();
    for name in names {
        let list = match registry.remove(name).await.map_err(refused)? {
            Removed::Gone => &mut gone.removed,
            Removed::NotThere => &mut gone.not_there,
            Removed::InFile => &mut gone.in_file,
        };
        list.push(name.clone());
    }
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
    for name in &gone.in_file {
        out.remark(&format!(
            "mcpctl: `{name}` is declared in servers.toml: edit the file, or `mcpctl disable {name}`"
        ));
    }
    tell_not_there(&gone.not_there, out);
    Ok(out.json(gone)?)
}
