//! `mcpctl why NAME`: the story of one server, and what to try.
//!
//! From the daemon; when none runs, from the journal, as far as it goes.

use std::fmt::Write as _;

use serde::Serialize;

use crate::advice::{advice_for, advice_for_disabled};
use crate::api::Why;
use crate::ctl::context::Context;
use crate::ctl::declared::{command_of, declared, refused};
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ctl::text::{command_line, duration, escaped};
use crate::ctl::words;
use crate::event::{Cause, SupervisionEvent, What};
use crate::ids::ServerName;

/// How many events of the journal make a story.
const EVENTS_SHOWN: usize = 12;
/// How many lines of stderr.
const STDERR_LINES_SHOWN: usize = 15;

/// What is known without a daemon, or of a server that is not declared any more.
#[derive(Debug, Serialize)]
struct FromJournal {
    name: ServerName,
    declared: bool,
    enabled: bool,
    command: Vec<String>,
    events: Vec<SupervisionEvent>,
    stderr: Vec<String>,
    advice: Vec<String>,
}

/// Tells why a server is in the state it is in.
pub(super) async fn run(name: &ServerName, context: &Context, out: &mut Out) -> Result<(), Failure> {
    match context
        .client
        .get::<Why>(&format!("/api/servers/{name}/why"))
        .await
    {
        Ok(why) => Ok(out.either(&why, &story(&why, words::now_ms()))?),
        Err(Failure::NoDaemon { .. }) => {
            let known = from_journal(name, context, out).await?;
            out.remark("mcpctl: no daemon is running; this is from the journal");
            Ok(out.either(&known, &last_story(&known, words::now_ms()))?)
        }
        Err(refusal @ Failure::Refused(_)) => {
            let Ok(known) = from_journal(name, context, out).await else {
                return Err(refusal);
            };
            if known.declared {
                return Err(refusal);
            }
            Ok(out.either(&known, &last_story(&known, words::now_ms()))?)
        }
        Err(failure) => Err(failure),
    }
}

/// Fails when nobody has declared it and nothing is known of it either.
async fn from_journal(name: &ServerName, context: &Context, out: &mut Out) -> Result<FromJournal, Failure> {
    let registry = context.registry(out).await?;
    let events = registry
        .events(Some(name), EVENTS_SHOWN * 4)
        .await
        .map_err(refused)?;
    let found = declared(name, &registry).await;
    let known = match found {
        Ok(known) => Some(known),
        Err(nobody) if events.is_empty() => return Err(nobody),
        Err(_removed) => None,
    };
    let command = known.as_ref().map(command_of).unwrap_or_default();
    let stderr = last_stderr(&events).to_vec();
    let advice = match (&known, last_cause(&events)) {
        (Some(known), _) if !known.enabled => advice_for_disabled(name),
        (Some(_), Some(cause)) => advice_for(name, cause, &command, &stderr),
        // Nobody wants it to run.
        (None, _) | (_, None) => Vec::new(),
    };
    Ok(FromJournal {
        name: name.clone(),
        declared: known.is_some(),
        enabled: known.is_some_and(|known| known.enabled),
        command,
        events,
        stderr,
        advice,
    })
}

fn story(why: &Why, now_ms: u64) -> String {
    let server = &why.server;
    let mut story = Story::default();
    story.line(words::state(server).lines().next().unwrap_or_default());
    if let Some(uses) = words::uses(server) {
        story.fact("memory", &uses);
    }
    if server.state == "ready" {
        story.fact(
            "since",
            &format!("{} (run {})", duration(server.state_ms), server.generation),
        );
    }
    if let Some(owned) = words::owned(server) {
        story.fact("clients'", &owned);
    }
    story.fact("command", &command_line(&server.command));
    if let Some(revision) = &server.revision {
        story.fact("speaks", revision);
    }
    if let Some(probe) = &server.probe {
        let sure = if probe.is_certain { "" } else { "probably " };
        let age = duration(now_ms.saturating_sub(probe.at_ms));
        let told = format!("{sure}{}: {} (found {age} ago)", probe.era, probe.how);
        story.fact("era", &told);
    }
    story.last_exit(&why.events, now_ms);
    story.fact(
        "failures",
        &format!("{} since the daemon started", server.n_failures),
    );
    if let Some(ms) = server.next_try_ms {
        story.fact("next try", &format!("in {}", duration(ms)));
    }
    if let Some(calls) = words::calls(server) {
        story.fact("calls", &calls);
    }
    if let Some(strays) = words::stray_answers(server) {
        story.fact("answers", &strays);
    }
    if let Some(found) = &why.program_found {
        story.fact("program", found);
    } else if server.state != "ready" {
        story.fact("program", "not found");
        story.fact("PATH", &why.path_searched);
    }
    for warning in &server.warnings {
        story.fact("warning", warning);
    }
    story.attempts(&why.events, now_ms);
    story.stderr(&why.stderr, Some(&why.log_file));
    story.advice(&why.advice);
    story.text
}

fn last_story(known: &FromJournal, now_ms: u64) -> String {
    let mut story = Story::default();
    let state = match (known.enabled, known.events.last()) {
        _ if !known.declared => "not declared any more".to_owned(),
        (false, _) => "disabled".to_owned(),
        (true, None) => "never started".to_owned(),
        (true, Some(event)) => format!("not running; last {}", escaped(&event.what.to_string())),
    };
    story.line(&format!("{}: {state}", known.name));
    if known.declared {
        story.fact("command", &command_line(&known.command));
    }
    story.last_exit(&known.events, now_ms);
    story.attempts(&known.events, now_ms);
    story.stderr(&known.stderr, None);
    story.advice(&known.advice);
    story.text
}

/// The story as it grows. Everything that a child may have written is escaped here.
#[derive(Debug, Default)]
struct Story {
    text: String,
}

impl Story {
    fn line(&mut self, line: &str) {
        // Writing to a String cannot fail.
        writeln!(self.text, "{line}").unwrap_or_default();
    }

    fn fact(&mut self, what: &str, value: &str) {
        self.line(&format!("  {what:<10}{}", escaped(value)));
    }

    fn last_exit(&mut self, events: &[SupervisionEvent], now_ms: u64) {
        let gone = events.iter().rev().find_map(|event| {
            let What::Gone { cause, .. } = &event.what else {
                return None;
            };
            Some((event, cause))
        });
        if let Some((event, cause)) = gone {
            let age = duration(now_ms.saturating_sub(event.at_ms));
            self.fact(
                "last end",
                &format!("{age} ago, run {}: {cause}", event.generation),
            );
        }
    }

    fn attempts(&mut self, events: &[SupervisionEvent], now_ms: u64) {
        if events.is_empty() {
            return;
        }
        self.line("\nWhat happened:");
        for event in events.iter().skip(events.len().saturating_sub(EVENTS_SHOWN)) {
            let age = duration(now_ms.saturating_sub(event.at_ms));
            let what = escaped(&event.what.to_string());
            self.line(&format!("  {}  ({age} ago)  {what}", words::moment(event.at_ms)));
        }
    }

    fn stderr(&mut self, lines: &[String], file: Option<&str>) {
        if !lines.is_empty() {
            self.line("\nThe last it wrote to stderr:");
        }
        for line in lines.iter().skip(lines.len().saturating_sub(STDERR_LINES_SHOWN)) {
            self.line(&format!("    {}", escaped(line)));
        }
        if let (false, Some(file)) = (lines.is_empty(), file) {
            self.line(&format!("  All of it: {}", escaped(file)));
        }
    }

    fn advice(&mut self, advice: &[String]) {
        if !advice.is_empty() {
            self.line("\nWhat to try:");
        }
        for (n, one) in advice.iter().enumerate() {
            self.line(&format!("  {}. {}", n + 1, escaped(one)));
        }
    }
}

fn last_cause(events: &[SupervisionEvent]) -> Option<&Cause> {
    events.iter().rev().find_map(|event| {
        let (What::Gone { cause, .. } | What::Failed { cause, .. }) = &event.what else {
            return None;
        };
        Some(cause)
    })
}

fn last_stderr(events: &[SupervisionEvent]) -> &[String] {
    let found = events.iter().rev().find_map(|event| {
        let What::Gone { stderr, .. } = &event.what else {
            return None;
        };
        Some(stderr.as_slice())
    });
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::words::tests::server;
    use crate::event::Exit;
    use crate::ids::Generation;

    fn events() -> Vec<SupervisionEvent> {
        let cause = Cause::ExitedInHandshake { exit: Exit::Code(1) };
        let stderr = vec!["API_KEY is required\x1b[2J".to_owned()];
        let all = [
            What::Spawned { pid: 7 },
            What::Gone { cause, stderr },
            What::Backoff {
                wait_ms: 500,
                failures: 1,
            },
        ];
        let event = |(n, what)| SupervisionEvent {
            at_ms: n,
            server: ServerName::parse("git").unwrap(),
            generation: Generation(1),
            what,
        };
        (0..).zip(all).map(event).collect()
    }

    fn why() -> Why {
        let mut it = server("git", "backoff");
        it.cause = Some("the process ended".to_owned());
        it.next_try_ms = Some(2000);
        Why {
            server: it,
            events: events(),
            stderr: last_stderr(&events()).to_vec(),
            path_searched: "/usr/bin:/bin".to_owned(),
            program_found: None,
            advice: vec!["Run `mcpctl add git --replace …`.".to_owned()],
            log_file: "logs/children/git.log".to_owned(),
        }
    }

    #[test]
    fn the_story_begins_with_state_and_cause_and_ends_with_advice() {
        let text = story(&why(), 60_000);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "git: backoff: the process ended; tried again in 2s");
        assert_eq!(*lines.last().unwrap(), "  1. Run `mcpctl add git --replace …`.");
        for expected in [
            "  last end  59s ago, run 1: the process ended before it had answered `initialize` (exit code 1)",
            "  next try  in 2s",
            "  PATH      /usr/bin:/bin",
            "started as process 7",
            "starts again in 500 ms (failure 1)",
            "    API_KEY is required\\x1b[2J",
            "  All of it: logs/children/git.log",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn no_child_can_write_to_the_terminal_through_its_story() {
        assert!(!story(&why(), 0).contains('\x1b'));
    }

    #[test]
    fn without_a_daemon_the_journal_still_tells() {
        let command = vec!["uvx".to_owned(), "x".to_owned()];
        let stderr = last_stderr(&events()).to_vec();
        let name = ServerName::parse("git").unwrap();
        let advice = advice_for(&name, last_cause(&events()).unwrap(), &command, &stderr);
        let known = FromJournal {
            name,
            declared: true,
            enabled: true,
            command,
            events: events(),
            stderr,
            advice,
        };
        let text = last_story(&known, 60_000);
        assert!(
            text.starts_with("git: not running; last starts again in"),
            "{text}"
        );
        assert!(
            text.contains("mcpctl add git --replace --env API_KEY=…"),
            "{text}"
        );
    }
}
