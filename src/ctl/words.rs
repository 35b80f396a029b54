//! Sentences about servers that more than one verb says.

use std::time::{Duration, SystemTime};

use super::text::{duration, escaped};
use crate::api::{DefinitionOrigin, ServerStatus};

/// Where a definition comes from, in one word.
pub(super) fn origin(origin: DefinitionOrigin) -> &'static str {
    match origin {
        DefinitionOrigin::File => "file",
        DefinitionOrigin::Cli => "cli",
        DefinitionOrigin::Import => "import",
    }
}

/// A server's state in one sentence: `git: ready, 13 tools`.
pub(super) fn state(server: &ServerStatus) -> String {
    let name = &server.name;
    match server.state.as_str() {
        "ready" => {
            let earlier = server
                .trial
                .as_ref()
                .map(|trial| format!("; {}", escaped(&trial.told)))
                .unwrap_or_default();
            format!("{name}: ready, {}{earlier}", tools(server.n_tools))
        }
        "idle" => format!("{name}: idle; the first call starts it"),
        "disabled" => format!("{name}: disabled; `mcpctl enable {name}` starts it"),
        "stopped" => format!("{name}: stopped; `mcpctl start {name}` starts it"),
        other => {
            let cause = server
                .cause
                .as_ref()
                .map(|cause| format!(": {}", escaped(cause)))
                .unwrap_or_default();
            let more = if is_trouble(other) {
                format!("\n  More: mcpctl why {name}")
            } else {
                String::new()
            };
            format!("{name}: {other}{cause}{}{more}", next_try(server))
        }
    }
}

/// `13 tools`.
pub(super) fn tools(n: usize) -> String {
    counted(n, "tool")
}

/// `1 prompt`, `2 prompts`.
pub(super) fn counted(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

/// What it uses, if that was measured: `13 MiB in 2 processes`.
pub(super) fn uses(server: &ServerStatus) -> Option<String> {
    let (bytes, n) = server.memory_bytes.zip(server.n_processes)?;
    let plural = if n == 1 { "" } else { "es" };
    Some(format!("{} MiB in {n} process{plural}", bytes.div_ceil(1 << 20)))
}

/// `2 processes of clients`, where not all clients share one.
pub(super) fn n_owned(server: &ServerStatus) -> Option<String> {
    let n = server.n_owned?;
    let plural = if n == 1 { "" } else { "es" };
    Some(format!("{n} process{plural} of clients"))
}

/// The same, and each of them.
pub(super) fn owned(server: &ServerStatus) -> Option<String> {
    let total = n_owned(server)?;
    let each = server.owned.iter().map(|it| {
        let pid = it.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        let speaks = it
            .revision
            .as_ref()
            .map(|revision| format!(", speaks {revision}"));
        let speaks = speaks.unwrap_or_default();
        let calls = match it.n_inflight {
            0 => String::new(),
            n => format!(", {} in flight", counted(n, "call")),
        };
        format!(
            "{} {} for {}{pid}{speaks}{calls}",
            it.owner,
            it.state,
            duration(it.state_ms)
        )
    });
    let n_more = server
        .n_owned
        .unwrap_or_default()
        .saturating_sub(server.owned.len());
    let more = (n_more > 0).then(|| format!("and {n_more} more"));
    let all: Vec<String> = each.chain(more).collect();
    Some(if all.is_empty() {
        total
    } else {
        format!("{total}: {}", all.join("; "))
    })
}

/// `; tried again in 5s`, if so.
pub(super) fn next_try(server: &ServerStatus) -> String {
    server
        .next_try_ms
        .map(|ms| format!("; tried again in {}", duration(ms)))
        .unwrap_or_default()
}

/// What callers get from it now, where that is not simply its answers.
pub(super) fn calls(server: &ServerStatus) -> Option<String> {
    let is_plain = server.calls.is_empty() || server.state == "ready" && !server.on_probation;
    if is_plain {
        return None;
    }
    let probation = if server.on_probation {
        "; this process is the one attempt after too many failures"
    } else {
        ""
    };
    Some(format!("{}{probation}", server.calls))
}

/// Its answers that nobody waited for, if there were any.
pub(super) fn stray_answers(server: &ServerStatus) -> Option<String> {
    let (unasked, repeated) = (server.n_unasked_answers, server.n_repeated_answers);
    let told = match (unasked, repeated) {
        (0, 0) => return None,
        (n, 0) => format!("{n} to nothing that was asked"),
        (0, n) => format!("{n} to what was answered already"),
        (n, m) => format!("{n} to nothing that was asked, {m} to what was answered already"),
    };
    Some(format!("{told}; nobody got them"))
}

/// Whether a server does not do what is wanted of it, as it is declared now.
pub(super) fn has_trouble(server: &ServerStatus) -> bool {
    let trial = server.trial.as_ref();
    is_trouble(&server.state) || trial.is_some_and(|trial| is_trouble(&trial.state))
}

fn is_trouble(state: &str) -> bool {
    matches!(state, "failed" | "backoff" | "unresponsive")
}

/// Whether a server that is wanted has said its first word, as it is declared now.
pub(super) fn is_settled(server: &ServerStatus) -> bool {
    match &server.trial {
        // One that is ready takes over in a moment.
        Some(trial) => is_trouble(&trial.state) || trial.state == "stopped",
        // Not `stopped`: so is a new server for the moment before its first process.
        None => is_trouble(&server.state) || matches!(server.state.as_str(), "ready" | "idle" | "disabled"),
    }
}

/// The wall clock in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A moment for people, in UTC: `2026-11-21 10:00:51Z`.
pub(super) fn moment(at_ms: u64) -> String {
    // A clock far beyond our calendar would make the formatter fail.
    const LAST_MS: u64 = 253_402_300_799_000;
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at_ms.min(LAST_MS));
    humantime::format_rfc3339_seconds(at)
        .to_string()
        .replace('T', " ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ids::ServerName;

    /// A server in some state, for tests of texts.
    pub(in crate::ctl) fn server(name: &str, state: &str) -> ServerStatus {
        ServerStatus {
            name: ServerName::parse(name).unwrap(),
            origin: DefinitionOrigin::Cli,
            enabled: true,
            state: state.to_owned(),
            command: vec!["uvx".to_owned(), "mcp-server-git".to_owned()],
            pid: None,
            generation: 1,
            state_ms: 61_000,
            revision: None,
            era: None,
            probe: None,
            server_info: None,
            n_tools: 13,
            n_prompts: 0,
            n_resources: 0,
            n_templates: 0,
            memory_bytes: None,
            n_processes: None,
            n_inflight: 0,
            n_owned: None,
            owned: Vec::new(),
            n_failures: 0,
            n_noise_lines: 0,
            n_unasked_answers: 0,
            n_repeated_answers: 0,
            calls: String::new(),
            on_probation: false,
            cause: None,
            next_try_ms: None,
            trial: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn each_state_has_its_sentence() {
        assert_eq!(state(&server("git", "ready")), "git: ready, 13 tools");
        assert_eq!(state(&server("git", "handshaking")), "git: handshaking");
        let mut failed = server("git", "backoff");
        failed.cause = Some("the process ended\x1b[2J".to_owned());
        failed.next_try_ms = Some(5000);
        assert_eq!(
            state(&failed),
            "git: backoff: the process ended\\x1b[2J; tried again in 5s\n  More: mcpctl why git"
        );
    }

    #[test]
    fn a_server_that_runs_an_earlier_definition_is_not_well_until_that_is_over() {
        let mut it = server("git", "ready");
        assert!(is_settled(&it) && !has_trouble(&it));
        let trial = |state: &str| {
            Some(crate::api::Trial {
                state: state.to_owned(),
                told: "runs the earlier definition; the new one does not start: boo".to_owned(),
            })
        };
        it.trial = trial("handshaking");
        assert!(!is_settled(&it) && !has_trouble(&it));
        it.trial = trial("backoff");
        assert!(is_settled(&it) && has_trouble(&it));
        assert!(state(&it).ends_with("; the new one does not start: boo"));
    }

    #[test]
    fn moments_are_readable_and_no_clock_breaks_them() {
        assert_eq!(moment(0), "1970-01-01 00:00:00Z");
        assert_eq!(moment(u64::MAX), "9999-12-31 23:59:59Z");
    }
}
