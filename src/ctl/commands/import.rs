//! `mcpctl import [CLIENT|FILE]`: shows what it will do, asks, does it. Works without a daemon.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::api::DefinitionOrigin;
use crate::config::raw::RawServer;
use crate::ctl::args::{ImportArgs, SecretsTo};
use crate::ctl::context::Context;
use crate::ctl::declared::{NO_DAEMON, all, refused, reload};
use crate::ctl::definitions::{is_reference, toml_of, with_values};
use crate::ctl::failure::Failure;
use crate::ctl::import::secrets::{Moved, Standing, dotenv_line, moved};
use crate::ctl::import::{self, Action, Candidate, Entry, Known, Step};
use crate::ctl::render::{Look, Out};
use crate::ctl::table::Table;
use crate::ctl::text::command_line;
use crate::ctl::{diff, files, sources};
use crate::registry::Declared;

#[derive(Debug, Serialize)]
struct Report<'a> {
    files: &'a [PathBuf],
    steps: Vec<StepReport<'a>>,
    /// Names of secrets that are, or would be, kept apart.
    secrets: Vec<&'a str>,
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

/// What will be done.
struct Plan {
    files: Vec<PathBuf>,
    known: Vec<Known>,
    steps: Vec<Step>,
    /// Secrets that the steps need, and that are not yet where they refer to.
    secrets: Vec<Moved>,
}

/// Takes servers over from the settings of other programs.
pub(super) async fn run(args: &ImportArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let found = sources::read(args.source.as_deref(), context.homes(), out)?;
    let files: Vec<PathBuf> = found.iter().map(|one| one.file.clone()).collect();
    let entries: Vec<Entry> = found.into_iter().flat_map(|one| one.entries).collect();
    refuse_unknown(&args.only, &entries, &files)?;
    if args.dry_run {
        let known = context.declared_only(out).await?;
        let plan = planned(files, entries, known, args, context);
        out.say(&text(&plan.steps, out.look()))?;
        out.say(&changes(&plan, args, context)?)?;
        out.say("Nothing was changed.")?;
        return report(&plan, false, false, out);
    }
    let registry = context.registry(out).await?;
    let plan = planned(files, entries, all(&registry).await?, args, context);
    out.say(&text(&plan.steps, out.look()))?;
    let n_changes = plan
        .steps
        .iter()
        .filter(|step| step.action.change().is_some())
        .count();
    if n_changes == 0 {
        out.say("Nothing to do.")?;
        return report(&plan, false, false, out);
    }
    if !(args.yes || is_wanted(n_changes, out)) {
        report(&plan, false, false, out)?;
        out.remark("mcpctl: nothing was changed; give `--yes` to do it");
        return Err(Failure::Told);
    }
    // First, because definitions that refer to nothing cannot be started.
    keep_secrets(&plan.secrets, args, context, out)?;
    for (name, candidate) in plan.steps.iter().filter_map(|step| step.action.change()) {
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
    report(&plan, true, daemon, out)
}

fn planned(
    files: Vec<PathBuf>,
    entries: Vec<Entry>,
    declared: Vec<Declared>,
    args: &ImportArgs,
    context: &Context,
) -> Plan {
    let known: Vec<Known> = declared
        .into_iter()
        .filter(|it| !it.shadowed)
        .map(known)
        .collect();
    let (entries, secrets) = without_secrets(entries, args.secrets, context);
    let steps = import::plan(entries, &known, &args.only, args.replace);
    let is_needed = |secret: &Moved| {
        let reference = reference(&secret.name, args.secrets, context);
        let changes = steps.iter().filter_map(|step| step.action.change());
        changes
            .flat_map(|(_, it)| it.env.values())
            .any(|value| value.reveal() == reference)
    };
    Plan {
        secrets: secrets.into_iter().filter(is_needed).collect(),
        files,
        known,
        steps,
    }
}

/// The entries with their secrets elsewhere, as far as that is wanted.
pub(super) fn without_secrets(
    entries: Vec<Entry>,
    to: SecretsTo,
    context: &Context,
) -> (Vec<Entry>, Vec<Moved>) {
    let refer = |name: &str| reference(name, to, context);
    match to {
        SecretsTo::Keep => (entries, Vec::new()),
        SecretsTo::Dotenv => {
            let environment = &context.settings.environment;
            // The daemon may be started where this shell's variables are not.
            let there = |name: &str| {
                let kept = environment.in_dotenv(name).map(Standing::Kept);
                kept.or_else(|| environment.lookup(name).map(Standing::Elsewhere))
            };
            moved(entries, there, refer)
        }
        SecretsTo::Files => {
            // What cannot be read is taken: nothing is written over.
            let there = |name: &str| {
                let text = files::read(&secret_file(name, context)).unwrap_or(Some(String::new()));
                text.map(Standing::Kept)
            };
            moved(entries, there, refer)
        }
    }
}

fn reference(name: &str, to: SecretsTo, context: &Context) -> String {
    match to {
        SecretsTo::Dotenv | SecretsTo::Keep => format!("${{{name}}}"),
        SecretsTo::Files => format!("${{file:{}}}", secret_file(name, context).display()),
    }
}

fn secret_file(name: &str, context: &Context) -> PathBuf {
    context.settings.data_dir.join("secrets").join(name)
}

fn keep_secrets(
    secrets: &[Moved],
    args: &ImportArgs,
    context: &Context,
    out: &mut Out,
) -> Result<(), Failure> {
    if secrets.is_empty() {
        return Ok(());
    }
    let unwritten = |file: &Path, error: std::io::Error| {
        Failure::Refused(format!(
            "{} cannot be written: {error}; nothing was changed",
            file.display()
        ))
    };
    let place = match args.secrets {
        SecretsTo::Keep => return Ok(()),
        SecretsTo::Files => {
            for secret in secrets {
                let file = secret_file(&secret.name, context);
                files::write(&file, secret.value.reveal(), Some(files::PRIVATE))
                    .map_err(|error| unwritten(&file, error))?;
            }
            context.settings.data_dir.join("secrets")
        }
        SecretsTo::Dotenv => {
            let file = context.settings.dotenv_file.clone();
            let before = files::read(&file).map_err(|error| unwritten(&file, error))?;
            let after = with_lines(&before.unwrap_or_default(), secrets, dotenv_line);
            files::write(&file, &after, Some(files::PRIVATE)).map_err(|error| unwritten(&file, error))?;
            file
        }
    };
    let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
    out.say(&format!(
        "Secrets are in {}, for you alone to read: {}",
        place.display(),
        names.join(", ")
    ))?;
    Ok(())
}

/// A `.env` with more lines at its end.
fn with_lines(before: &str, secrets: &[Moved], line: impl Fn(&Moved) -> String) -> String {
    let mut text = before.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for secret in secrets {
        text.push_str(&line(secret));
        text.push('\n');
    }
    text
}

/// What would change, as a diff. Values of variables are hidden, unless they are references.
fn changes(plan: &Plan, args: &ImportArgs, context: &Context) -> Result<String, Failure> {
    let hidden =
        |raw: RawServer| with_values(&raw, |_, value| (!is_reference(value)).then(|| "***".to_owned()));
    let as_text = |name, it: &Candidate| {
        let raw = hidden(raw(it));
        toml_of(std::iter::once((name, &raw))).map_err(Failure::Refused)
    };
    let mut shown = String::new();
    for (name, it) in plan.steps.iter().filter_map(|step| step.action.change()) {
        let before = plan.known.iter().find(|known| known.name == *name);
        let before = before.map(|known| as_text(name, &known.definition)).transpose()?;
        let after = as_text(name, it)?;
        let title = format!("definition of {name}");
        shown.push_str(&diff::unified(&title, &before.unwrap_or_default(), &after, &[]));
    }
    if args.secrets == SecretsTo::Dotenv {
        let after = with_lines("", &plan.secrets, |secret| format!("{}=***", secret.name));
        let file = context.settings.dotenv_file.display().to_string();
        shown.push_str(&diff::unified(&file, "", &after, &[]));
    } else {
        for secret in &plan.secrets {
            let file = secret_file(&secret.name, context).display().to_string();
            shown.push_str(&diff::unified(&file, "", "***\n", &[]));
        }
    }
    Ok(shown)
}

fn refuse_unknown(only: &[String], entries: &[Entry], files: &[PathBuf]) -> Result<(), Failure> {
    match only
        .iter()
        .find(|wanted| !entries.iter().any(|entry| entry.name == **wanted))
    {
        None => Ok(()),
        Some(name) => {
            let there: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            Err(Failure::Usage(format!(
                "{} has no server `{name}`; it has: {}",
                files.join(", "),
                there.join(", ")
            )))
        }
    }
}

pub(super) fn known(declared: Declared) -> Known {
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

fn report(plan: &Plan, done: bool, daemon: bool, out: &mut Out) -> Result<(), Failure> {
    let steps = plan
        .steps
        .iter()
        .map(|step| StepReport {
            name: &step.name,
            action: Action::word(&step.action),
            command: &step.command,
            notes: &step.notes,
        })
        .collect();
    let secrets = plan.secrets.iter().map(|secret| secret.name.as_str()).collect();
    Ok(out.json(&Report {
        files: &plan.files,
        steps,
        secrets,
        done,
        daemon,
    })?)
}
