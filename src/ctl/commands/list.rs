//! `mcpctl list`: works without a daemon; with one, it shows live states.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::{DefinitionOrigin, ServerStatus};
use crate::ctl::context::Context;
use crate::ctl::declared::{all, command_of, variables_of};
use crate::ctl::failure::Failure;
use crate::ctl::render::{Look, Out};
use crate::ctl::table::Table;
use crate::ctl::text::command_line;
use crate::ctl::words;
use crate::ids::ServerName;
use crate::registry::Declared;

/// One declared server, and its live state if a daemon runs.
#[derive(Debug, Serialize)]
struct Row {
    name: ServerName,
    state: String,
    origin: DefinitionOrigin,
    enabled: bool,
    /// Another definition of this name is in servers.toml, and that one counts.
    shadowed: bool,
    n_tools: Option<usize>,
    command: Vec<String>,
    cwd: Option<String>,
    prefix: Option<String>,
    aliases: BTreeMap<String, String>,
    roots: Vec<String>,
    /// Names only: the values are secrets.
    env: Vec<String>,
}

/// Lists the declared servers.
pub(super) async fn run(context: &Context, out: &mut Out) -> Result<(), Failure> {
    let live = match context.live().await {
        Ok(live) => live,
        Err(failure) => {
            out.remark(&format!("mcpctl: the states are not known: {failure}"));
            None
        }
    };
    let registry = context.registry(out).await?;
    let rows: Vec<Row> = all(&registry)
        .await?
        .into_iter()
        .map(|known| row(known, live.as_deref()))
        .collect();
    let text = text(&rows, out.look());
    Ok(out.either(&rows, &text)?)
}

fn row(known: Declared, live: Option<&[ServerStatus]>) -> Row {
    let server = live
        .into_iter()
        .flatten()
        .find(|server| server.name == known.name);
    let state = match server {
        _ if known.shadowed => "shadowed",
        Some(server) => server.state.as_str(),
        None if !known.enabled => "disabled",
        None if live.is_some() => "unknown",
        None => "stopped",
    };
    Row {
        state: state.to_owned(),
        n_tools: server.filter(|_| !known.shadowed).map(|server| server.n_tools),
        enabled: known.enabled,
        command: command_of(&known),
        env: variables_of(&known),
        name: known.name,
        origin: known.origin,
        shadowed: known.shadowed,
        cwd: known.raw.cwd,
        prefix: known.raw.prefix,
        aliases: known.raw.aliases.unwrap_or_default(),
        roots: known.raw.roots.unwrap_or_default(),
    }
}

fn text(rows: &[Row], look: Look) -> String {
    if rows.is_empty() {
        return "No servers. Add one: mcpctl add NAME -- COMMAND ARGS…".to_owned();
    }
    let mut table = Table::new(&["NAME", "STATE", "ORIGIN", "TOOLS", "COMMAND"]);
    for row in rows {
        table.row(&[
            row.name.as_str(),
            &row.state,
            words::origin(row.origin),
            &row.n_tools.map_or("-".to_owned(), |n| n.to_string()),
            &command_line(&row.command),
        ]);
    }
    table.text(look)
}
