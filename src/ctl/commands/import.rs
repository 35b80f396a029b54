//! `mcpctl import FILE`: shows what it will do, asks, does it. Works without a daemon.

use std::io::{IsTerminal, Read};
use std::path::Path;

use serde::Serialize;

use crate::api::DefinitionOrigin;
use crate::config::raw::RawServer;
use crate::ctl::args::ImportArgs;
use crate::ctl::context::Context;
use crate::ctl::declared::{NO_DAEMON, all, refused, reload};
use crate::ctl::failure::Failure;
use crate::ctl::import::{self, Action, Candidate, Entry, Known, Step};
use crate::ctl::render::{Look, Out};
use crate::ctl::table::Table;
use crate::ctl::text::command_line;
use crate::registry::Declared;

/// Longest settings file, bytes: Claude Code keeps its whole history in its own.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Serialize)]
struct Report<'a> {
    steps: Vec<StepReport<'a>>,
    done: bool,
    daemon: bool,
}

#[derive(Debug, Serialize)]
struct StepReport<'a> {
    name: &'a str,
    action: &'static str,
    command: &'a [String],
    notes: &'a [String],
}

/// Takes servers over from the settings of another program.
pub(super) async fn run(args: &ImportArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let entries = read(&args.file)?;
    refuse_unknown(&args.only, &entries, &args.file)?;
    let registry = context.registry(out).await?;
    let known: Vec<Known> = all(&registry)
        .await?
        .into_iter()
        .filter(|it| !it.shadowed)
        .map(known)
        .collect();
    let steps = import::plan(entries, &known, &args.only);
    out.say(&text(&steps, out.look()))?;
    let n_changes = steps.iter().filter(|step| step.action.change().is_some()).count();
    if n_changes == 0 {
        out.say("Nothing to do.")?;
        return report(&steps, false, false, out);
    }
    if !(args.yes || is_wanted(n_changes, out)) {
        report(&steps, false, false, out)?;
        out.remark("mcpctl: nothing was changed; give `--yes` to do it");
        return Err(Failure::Told);
    }
    for (name, candidate) in steps.iter().filter_map(|step| step.action.change()) {
        registry
            .put(DefinitionOrigin::Import, name, &raw(candidate))
            .await
            .map_err(refused)?;
    }
    let daemon = reload(context, out).await?.is_some();
    let then = if daemon {
        "`mcpctl status` shows how they do"
    } else {
        NO_DAEMON
    };
    out.say(&format!("{n_changes} saved; {then}"))?;
    report(&steps, true, daemon, out)
}

fn read(file: &Path) -> Result<Vec<Entry>, Failure> {
    let shown = file.display();
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| Failure::Refused(format!("{shown} cannot be read: {error}")))?;
    import::read(&text).map_err(|error| Failure::Refused(format!("nothing to take over in {shown}: {error}")))
}

fn refuse_unknown(only: &[String], entries: &[Entry], file: &Path) -> Result<(), Failure> {
    match only
        .iter()
        .find(|wanted| !entries.iter().any(|entry| entry.name == **wanted))
    {
        None => Ok(()),
        Some(name) => {
            let there: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            Err(Failure::Usage(format!(
                "{} has no server `{name}`; it has: {}",
                file.display(),
                there.join(", ")
            )))
        }
    }
}

fn known(declared: Declared) -> Known {
    let enabled = declared.enabled;
    let raw = declared.raw;
    let definition = Candidate {
        command: raw.command.unwrap_or_default(),
        args: raw.args.unwrap_or_default(),
        env: raw.env.unwrap_or_default(),
        cwd: raw.cwd,
        enabled,
    };
    Known {
        name: declared.name,
        origin: declared.origin,
        definition,
    }
}

fn raw(candidate: &Candidate) -> RawServer {
    RawServer {
        command: Some(candidate.command.clone()),
        args: Some(candidate.args.clone()).filter(|args| !args.is_empty()),
        env: Some(candidate.env.clone()).filter(|env| !env.is_empty()),
        cwd: candidate.cwd.clone(),
        enabled: (!candidate.enabled).then_some(false),
        ..RawServer::default()
    }
}

/// Asks a person; where there is none, nobody wants it.
fn is_wanted(n_changes: usize, out: &mut Out) -> bool {
    if out.is_json() || !std::io::stdin().is_terminal() {
        return false;
    }
    out.ask(&format!("Save {n_changes} of these? [y/N] "));
    let mut answer = String::new();
    let is_read = std::io::stdin().read_line(&mut answer).is_ok();
    is_read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn text(steps: &[Step], look: Look) -> String {
    if steps.is_empty() {
        return "The file declares no servers.".to_owned();
    }
    let mut table = Table::wrapping(&["NAME", "ACTION", "COMMAND", "NOTE"]);
    for step in steps {
        let command = if step.command.is_empty() {
            "-".to_owned()
        } else {
            command_line(&step.command)
        };
        let off = matches!(step.action.change(), Some((_, it)) if !it.enabled);
        let notes: Vec<&str> = off
            .then_some("disabled there, and here")
            .into_iter()
            .chain(step.notes.iter().map(String::as_str))
            .collect();
        table.row(&[&step.name, step.action.word(), &command, &notes.join("; ")]);
    }
    table.text(look)
}

fn report(steps: &[Step], done: bool, daemon: bool, out: &mut Out) -> Result<(), Failure> {
    let steps = steps
        .iter()
        .map(|step| StepReport {
            name: &step.name,
            action: Action::word(&step.action),
            command: &step.command,
            notes: &step.notes,
        })
        .collect();
    Ok(out.json(&Report { steps, done, daemon })?)
}
