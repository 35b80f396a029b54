//! `mcpctl status [NAME]`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::api::{DaemonStatus, ServerStatus};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::render::{Look, Out};
use crate::ctl::table::{Table, coloured_state};
use crate::ctl::text::{command_line, duration, escaped};
use crate::ctl::words;
use crate::ids::ServerName;

#[derive(Serialize)]
struct All {
    daemon: DaemonStatus,
    servers: Vec<ServerStatus>,
}

/// Shows the daemon and what its servers do, or one of them in full.
pub(super) async fn run(name: Option<&ServerName>, context: &Context, out: &mut Out) -> Result<(), Failure> {
    if let Some(name) = name {
        let server: ServerStatus = context.client.get(&format!("/api/servers/{name}")).await?;
        let text = one(&server, out.look());
        return Ok(out.either(&server, &text)?);
    }
    let daemon: DaemonStatus = context.client.get("/api/daemon").await?;
    let servers: Vec<ServerStatus> = context.client.get("/api/servers").await?;
    let text = format!("{}\n{}", head(&daemon, out.look()), table(&servers, out.look()));
    Ok(out.either(&All { daemon, servers }, &text)?)
}

fn head(daemon: &DaemonStatus, look: Look) -> String {
    let sessions = if daemon.sessions == 1 {
        "1 session".to_owned()
    } else {
        format!("{} sessions", daemon.sessions)
    };
    let mut text = format!(
        "mcp-wrapper {}  {}  {}  up {}  {sessions}  process {}\ndata {}  servers {}\n",
        escaped(&daemon.version),
        coloured_state(&daemon.health, look),
        escaped(&daemon.url),
        duration(daemon.uptime_ms),
        daemon.pid,
        escaped(&daemon.data_dir),
        escaped(&daemon.servers_file),
    );
    if !daemon.parked.is_empty() {
        let n: usize = daemon.parked.iter().map(|parked| parked.n).sum();
        let servers: Vec<_> = daemon
            .parked
            .iter()
            .map(|parked| parked.server.as_str())
            .collect();
        let (calls, wait) = (words::counted(n, "call"), if n == 1 { "waits" } else { "wait" });
        add_line(
            &mut text,
            &format!(
                "{calls} of {} {wait} for what a person or a model answers",
                servers.join(", ")
            ),
        );
    }
    for problem in &daemon.problems {
        add_line(&mut text, &format!("Problem: {}", escaped(problem)));
    }
    text
}

fn table(servers: &[ServerStatus], look: Look) -> String {
    if servers.is_empty() {
        return "No servers. Add one: mcpctl add NAME -- COMMAND ARGS…".to_owned();
    }
    let mut table = Table::new(&[
        "NAME", "STATE", "PID", "UP", "SPEAKS", "TOOLS", "CALLS", "FAILURES", "NOTE",
    ]);
    for server in servers {
        let is_up = server.pid.is_some();
        table.row(&[
            server.name.as_str(),
            &server.state,
            &server.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            &if is_up {
                duration(server.state_ms)
            } else {
                "-".to_owned()
            },
            server.revision.as_deref().unwrap_or("-"),
            &server.n_tools.to_string(),
            &server.n_inflight.to_string(),
            &server.n_failures.to_string(),
            &note(server),
        ]);
    }
    table.text(look)
}

/// The one thing most worth knowing about a server, and how many processes it has that are not shown here.
fn note(server: &ServerStatus) -> String {
    let note = most_worth_knowing(server);
    match words::n_owned(server) {
        Some(owned) if note.is_empty() => owned,
        Some(owned) => format!("{owned}; {note}"),
        None => note,
    }
}

fn most_worth_knowing(server: &ServerStatus) -> String {
    match (&server.cause, server.warnings.first()) {
        (Some(cause), _) if server.state != "ready" => {
            format!("{}{}", without_path(cause), words::next_try(server))
        }
        (_, Some(warning)) => without_path(warning),
        (_, None) => server.server_info.clone().unwrap_or_default(),
    }
}

/// The folders in which a program was looked for fill a table; `mcpctl why` tells them.
fn without_path(told: &str) -> String {
    let shortened = told.split_once(" in PATH (").and_then(|(before, path)| {
        let (_, after) = path.rsplit_once(')')?;
        Some(format!("{before} in PATH{after}"))
    });
    shortened.unwrap_or_else(|| told.to_owned())
}

fn one(server: &ServerStatus, look: Look) -> String {
    let mut text = format!("{}\n", words::state(server));
    if look.colour {
        text = text.replacen(&server.state, &coloured_state(&server.state, look), 1);
    }
    let mut fact = |what: &str, value: &str| add_line(&mut text, &format!("  {what:<12}{}", escaped(value)));
    fact("command", &command_line(&server.command));
    fact("origin", words::origin(server.origin));
    if let Some(pid) = server.pid {
        fact(
            "process",
            &format!(
                "{pid} (run {}), {} for {}",
                server.generation,
                server.state,
                duration(server.state_ms)
            ),
        );
    }
    if let Some(uses) = words::uses(server) {
        fact("memory", &uses);
    }
    if let Some(owned) = words::owned(server) {
        fact("clients'", &owned);
    }
    if let Some(info) = &server.server_info {
        fact("server", info);
    }
    if let Some(revision) = &server.revision {
        fact("speaks", revision);
    }
    fact(
        "offers",
        &format!(
            "{}, {}, {}, {}",
            words::counted(server.n_tools, "tool"),
            words::counted(server.n_prompts, "prompt"),
            words::counted(server.n_resources, "resource"),
            words::counted(server.n_templates, "template")
        ),
    );
    let calls = words::calls(server).map(|calls| format!("; new ones {calls}"));
    fact(
        "calls",
        &format!("{} in flight{}", server.n_inflight, calls.unwrap_or_default()),
    );
    fact(
        "failures",
        &format!("{} since the daemon started", server.n_failures),
    );
    if server.n_noise_lines > 0 {
        fact(
            "noise",
            &format!("{} lines on stdout that are no messages", server.n_noise_lines),
        );
    }
    if let Some(strays) = words::stray_answers(server) {
        fact("answers", &strays);
    }
    for warning in &server.warnings {
        fact("warning", warning);
    }
    text
}

fn add_line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::words::tests::server;

    const PLAIN: Look = Look {
        width: None,
        colour: false,
    };

    #[test]
    fn the_table_tells_what_is_wrong() {
        let mut up = server("git", "ready");
        up.revision = Some("2026-07-28".to_owned());
        (up.pid, up.server_info) = (Some(42), Some("mcp-git 1.0".to_owned()));
        let mut down = server("files", "backoff");
        (down.cause, down.next_try_ms) = (Some("exit code 1".to_owned()), Some(2000));
        assert_eq!(
            table(&[up, down], PLAIN),
            "NAME   STATE    PID  UP     SPEAKS      TOOLS  CALLS  FAILURES  NOTE\n\
             git    ready    42   1m 1s  2026-07-28  13     0      0         mcp-git 1.0\n\
             files  backoff  -    -      -           13     0      0         exit code 1; tried again in 2s\n"
        );
    }

    #[test]
    fn the_note_of_a_program_that_is_not_there_leaves_the_folders_out() {
        let mut down = server("files", "failed");
        let why = crate::event::Cause::CannotStart {
            why: crate::child::program::not_found("npxx", "/usr/local/bin:/usr/bin:/opt/a (b)/bin"),
        };
        (down.cause, down.next_try_ms) = (Some(why.to_string()), Some(2000));
        assert_eq!(
            note(&down),
            "cannot be started: `npxx`: command not found in PATH; tried again in 2s"
        );
        (down.state, down.cause) = ("ready".to_owned(), None);
        down.warnings.push("`x` is (also) offered by `git`".to_owned());
        assert_eq!(note(&down), "`x` is (also) offered by `git`");
    }

    #[test]
    fn one_server_is_told_in_full() {
        let mut it = server("git", "ready");
        it.warnings.push("two servers offer `x`".to_owned());
        (it.memory_bytes, it.n_processes) = (Some((12 << 20) + 1), Some(2));
        let text = one(&it, PLAIN);
        for expected in [
            "git: ready, 13 tools",
            "command     uvx mcp-server-git",
            "memory      13 MiB in 2 processes",
            "warning     two servers",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn processes_that_are_one_clients_alone_are_counted_and_told() {
        let mut it = server("git", "ready");
        it.n_owned = Some(2);
        let owned = |owner: &str, pid| crate::api::OwnedStatus {
            owner: owner.to_owned(),
            revision: Some("2025-11-25".to_owned()),
            era: Some("legacy".to_owned()),
            state: "ready".to_owned(),
            pid,
            state_ms: 61_000,
            n_inflight: 0,
        };
        it.owned = vec![owned("aa", Some(7))];
        let rows = table(&[it.clone()], PLAIN);
        assert!(rows.contains("2 processes of clients"), "{rows}");
        let text = one(&it, PLAIN);
        let told = "clients'    2 processes of clients: aa ready for 1m 1s, process 7, speaks 2025-11-25; and 1 more";
        assert!(text.contains(told), "{text}");
    }

    #[test]
    fn an_empty_gateway_says_how_to_fill_it() {
        assert!(table(&[], PLAIN).contains("mcpctl add"));
    }
}
