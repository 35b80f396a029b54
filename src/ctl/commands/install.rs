//! `mcpctl install CLIENT`: writes our one entry into the settings of a client, and takes it out again. Needs no daemon.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::import::{known, without_secrets};
use crate::ctl::args::{InstallArgs, SecretsTo};
use crate::ctl::clients::Client;
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::import::{self, Kind, Known, Step};
use crate::ctl::install::NAME;
use crate::ctl::install::backup::{self, Backup, Record};
use crate::ctl::install::edit::Change;
use crate::ctl::install::entry::{Entry, program};
use crate::ctl::install::partial::lost;
use crate::ctl::install::target::Target;
use crate::ctl::install::undo::{Ours, Undoing, undoing};
use crate::ctl::render::Out;
use crate::ctl::text::command_line;
use crate::registry::Declared;

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct Report<'a> {
    client: &'static str,
    file: &'a Path,
    backup: Option<PathBuf>,
    /// Entries that were taken out, as we have them.
    removed: &'a [String],
    /// Entries that we have only in part, and that stay.
    kept: &'a [Kept],
    /// Entries that stay beside ours.
    others: &'a [String],
    /// Entries that came back.
    put_back: &'a [String],
    /// Whether an earlier install can be undone, too.
    has_earlier: bool,
    done: bool,
}

/// An entry that was imported, and stays all the same.
#[derive(Debug, Serialize)]
struct Kept {
    name: String,
    reason: String,
}

/// Installs, or undoes it.
pub(super) async fn run(args: &InstallArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let target = Target::find(args, context)?;
    if args.undo {
        undo(&target, args, out)
    } else {
        install(&target, args, context, out).await
    }
}

impl<'a> Report<'a> {
    /// Nothing done yet.
    fn of(target: &'a Target) -> Self {
        Self {
            client: target.client.word(),
            file: &target.file,
            backup: None,
            removed: &[],
            kept: &[],
            others: &[],
            put_back: &[],
            has_earlier: false,
            done: false,
        }
    }
}

// === Installing ===

async fn install(
    target: &Target,
    args: &InstallArgs,
    context: &Context,
    out: &mut Out,
) -> Result<(), Failure> {
    let (remove, kept) = if args.replace_imported {
        let mut declared = context.declared_only(out).await?;
        declared.retain(|it| !it.shadowed);
        imported(target, &declared, context)
    } else {
        (Vec::new(), Vec::new())
    };
    let before = target.servers(target.text());
    if before.get(NAME).is_some_and(|there| !there.is_object()) {
        return Err(Failure::Refused(format!(
            "{} is left as it is: `{NAME}` in it is no server",
            target.file.display()
        )));
    }
    let fields = entry(context)?.fields(target.client);
    let change = Change {
        put: vec![(NAME.to_owned(), fields.clone())],
        remove: remove.clone(),
    };
    let after = target.edited(&change)?;
    let mut others: Vec<String> = target.servers(&after).keys().cloned().collect();
    others.retain(|name| name != NAME);
    let mut report = Report {
        removed: &remove,
        kept: &kept,
        others: &others,
        ..Report::of(target)
    };
    let is_there = target.text.as_deref() == Some(after.as_str());
    if !is_there {
        out.say(&target.diff(&after))?;
    }
    for it in &kept {
        out.say(&format!("`{}` stays there: {}", it.name, it.reason))?;
    }
    if is_there {
        out.say(&format!("It is there already: {}", target.file.display()))?;
        return Ok(out.json(&report)?);
    }
    if !may_go_on(args, out)? {
        out.json(&report)?;
        return if args.dry_run { Ok(()) } else { Err(Failure::Told) };
    }
    let is_removed = |name: &String| remove.contains(name);
    let removed = before.iter().filter(|(name, _)| is_removed(name));
    let removed = removed.map(|(name, value)| (name.clone(), value.clone()));
    let record = Record::new(
        &after,
        Value::Object(fields.into_iter().collect()),
        before.get(NAME).cloned(),
        removed.collect(),
    );
    let copy = backup::keep(&target.file, target.text.as_deref(), record).map_err(|error| {
        Failure::Refused(format!("no backup can be kept, so nothing was changed: {error}"))
    })?;
    target.write(&after)?;
    out.say(&format!(
        "Written: {}\nBefore:  {}\nRestart {} to use it; `{}` takes it out again.",
        target.file.display(),
        copy.as_ref()
            .map_or("there was no such file".to_owned(), |copy| copy
                .display()
                .to_string()),
        target.client.title(),
        target.undo_command(args)
    ))?;
    tell_importable(target, args, &after, &kept, out)?;
    report.backup = copy;
    report.done = true;
    Ok(out.json(&report)?)
}

/// Names the servers that the client still starts, and that could be ours.
fn tell_importable(
    target: &Target,
    args: &InstallArgs,
    after: &str,
    kept: &[Kept],
    out: &mut Out,
) -> Result<(), Failure> {
    let mut names = importable(&target.servers(after), target.client);
    names.retain(|name| kept.iter().all(|it| it.name != *name));
    if names.is_empty() {
        return Ok(());
    }
    let source = args.file.as_ref().map(|file| file.display().to_string());
    let source = source.unwrap_or_else(|| target.client.word().to_owned());
    Ok(out.say(&format!(
        "{} still starts by itself: {}. `{}` takes them over, `--replace-imported` takes them out there.",
        target.client.title(),
        names.join(", "),
        command_line(&["mcpctl".to_owned(), "import".to_owned(), source])
    ))?)
}

/// The servers that `import` would take, and that are switched on.
fn importable(servers: &Map<String, Value>, client: Client) -> Vec<String> {
    let only = serde_json::json!({ "mcpServers": servers });
    let entries = import::read_value(&only, Some(client)).unwrap_or_default();
    let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    let steps = import::plan(entries, &[], &[], false);
    let is_taken = |step: &Step| step.action.change().is_some_and(|(_, it)| it.enabled);
    let taken = names.into_iter().zip(&steps).filter(|(_, step)| is_taken(step));
    taken.map(|(name, _)| name).collect()
}

fn entry(context: &Context) -> Result<Entry, Failure> {
    let program = program().ok_or_else(|| {
        Failure::Refused("the program `mcp-wrapper` is neither beside mcpctl nor in the PATH".to_owned())
    })?;
    let settings = &context.settings;
    // A folder that has nothing to do with it may get a servers.toml of its own, or go away.
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|_| settings.is_of_user);
    let told = [
        ("MCP_DATA_DIR", &settings.data_dir),
        ("MCP_LOG_DIR", &settings.log_dir),
        ("MCP_SERVERS_FILE", &settings.servers_file),
    ];
    let env = told
        .into_iter()
        .filter(|(name, _)| std::env::var_os(name).is_some())
        .map(|(name, path)| (name.to_owned(), path.display().to_string()));
    Ok(Entry {
        program,
        project: home.unwrap_or_else(|| context.project.clone()),
        env: env.collect(),
    })
}

/// Names of entries there that we have exactly like this, and those of which something would be lost.
fn imported(target: &Target, declared: &[Declared], context: &Context) -> (Vec<String>, Vec<Kept>) {
    let only = serde_json::json!({ "mcpServers": target.servers(target.text()) });
    let entries = import::read_value(&only, Some(target.client)).unwrap_or_default();
    let known: Vec<_> = declared.iter().cloned().map(known).collect();
    let forms = [SecretsTo::Dotenv, SecretsTo::Files, SecretsTo::Keep]
        .map(|to| without_secrets(entries.clone(), to, context).0);
    let (mut whole, mut kept) = (Vec::new(), Vec::new());
    for (at, entry) in entries.iter().enumerate() {
        let forms = forms.iter().filter_map(|form| match &form.get(at)?.kind {
            Kind::Server(it) => Some(it),
            Kind::Skip(_) => None,
        });
        let is_ours = |(known, _): &(&Known, &Declared)| forms.clone().any(|it| known.definition == *it);
        let ours = known.iter().zip(declared).filter(is_ours);
        let lost: Vec<Option<String>> = ours
            .map(|(_, it)| {
                let environment = &context.settings.environment;
                lost(&entry.notes, &it.name, &it.raw, environment, Path::is_file)
            })
            .collect();
        if lost.contains(&None) {
            whole.push(entry.name.clone());
        } else if let Some(reason) = lost.into_iter().flatten().next() {
            kept.push(Kept {
                name: entry.name.clone(),
                reason,
            });
        }
    }
    (whole, kept)
}

// === Undoing ===

/// What undoing will do.
struct Plan {
    /// `None`: there was no install that we know of, but our entry is there.
    backup: Option<Backup>,
    /// Later installs of which nothing is left.
    passed: Vec<Backup>,
    /// `None`: there will be no file.
    after: Option<String>,
    /// `None`: every byte is as it was.
    undoing: Option<Undoing>,
    has_earlier: bool,
}

fn undo(target: &Target, args: &InstallArgs, out: &mut Out) -> Result<(), Failure> {
    let unread = |error| Failure::Refused(format!("the backups cannot be read: {error}"));
    let all = backup::all(&target.file, target.text.as_deref()).map_err(unread)?;
    let plan = planned(target, all)?;
    let after = plan.after.as_deref().unwrap_or_default();
    let back: Vec<String> = plan
        .undoing
        .iter()
        .flat_map(|it| &it.back)
        .map(|(name, _)| name.clone())
        .collect();
    let mut report = Report {
        backup: plan.backup.as_ref().and_then(|backup| backup.copy.clone()),
        put_back: &back,
        has_earlier: plan.has_earlier,
        ..Report::of(target)
    };
    out.say(&target.diff(after))?;
    if !may_go_on(args, out)? {
        out.json(&report)?;
        return if args.dry_run { Ok(()) } else { Err(Failure::Told) };
    }
    match &plan.after {
        Some(after) => target.write(after)?,
        None => std::fs::remove_file(&target.file).map_err(|error| {
            Failure::Refused(format!("{} cannot be removed: {error}", target.file.display()))
        })?,
    }
    let keeps_copy = plan.undoing.as_ref().is_some_and(|it| !it.others.is_empty());
    for passed in &plan.passed {
        passed.forget(true);
    }
    if let Some(backup) = &plan.backup {
        // What a copy without a record has more than the file is known to nobody.
        backup.forget(keeps_copy || plan.undoing.is_some() && !backup.is_recorded());
    }
    tell_undone(target, args, &plan, &back, out)?;
    report.done = true;
    Ok(out.json(&report)?)
}

fn planned(target: &Target, all: Vec<Backup>) -> Result<Plan, Failure> {
    let unread = |error| Failure::Refused(format!("the backup cannot be read: {error}"));
    let copies: Vec<String> = all
        .iter()
        .filter_map(|backup| Some(backup.copy.as_ref()?.display().to_string()))
        .collect();
    let mut all = all.into_iter();
    let mut passed = Vec::new();
    let mut plan = None;
    for backup in all.by_ref() {
        if backup.is_exact(target.text.as_deref()) {
            plan = Some((backup.text().map_err(unread)?, None, Some(backup)));
            break;
        }
        let undoing = undoing(&backup.record, &target.servers(target.text()));
        // Where the servers cannot be read, the edit says so.
        let after = target.edited(&undoing.change())?;
        if !undoing.is_nothing() {
            plan = Some((Some(after), Some(undoing), Some(backup)));
            break;
        }
        passed.push(backup);
    }
    let (after, undoing, backup) = match plan {
        Some(plan) => plan,
        None if target.servers(target.text()).contains_key(NAME) => {
            let undoing = Undoing {
                ours: Ours::Goes,
                back: Vec::new(),
                others: Vec::new(),
            };
            (Some(target.edited(&undoing.change())?), Some(undoing), None)
        }
        None => return Err(nothing(target, &copies)),
    };
    let has_earlier = all.any(|it| is_left(&it, target, after.as_deref()));
    Ok(Plan {
        backup,
        passed,
        after,
        undoing,
        has_earlier,
    })
}

/// Whether something of an install is left in a text.
fn is_left(backup: &Backup, target: &Target, text: Option<&str>) -> bool {
    let servers = target.servers(text.unwrap_or_default());
    backup.is_exact(text) || !undoing(&backup.record, &servers).is_nothing()
}

fn nothing(target: &Target, copies: &[String]) -> Failure {
    let file = target.file.display();
    Failure::Refused(match copies {
        [] => format!("there is nothing to undo in {file}"),
        copies => format!(
            "there is nothing to undo in {file}; what it was before is in {}",
            copies.join(", ")
        ),
    })
}

fn tell_undone(
    target: &Target,
    args: &InstallArgs,
    plan: &Plan,
    back: &[String],
    out: &mut Out,
) -> Result<(), Failure> {
    let file = target.file.display();
    let ours = plan.undoing.as_ref().map(|it| &it.ours);
    let how = match (ours, &plan.after) {
        (None, None) => "is gone, as it was before the last install",
        (None, Some(after)) if target.servers(after).contains_key(NAME) => {
            "is as it was before the last install, with our entry of an earlier time"
        }
        (None, Some(_)) => "is as it was before the last install",
        (Some(Ours::Goes), _) => "is without our entry",
        (Some(Ours::Before(_)), _) => "has our entry as it was before the last install",
        (Some(Ours::Stays), _) => "has again what was taken out",
    };
    out.say(&format!("{file} {how}. Restart {}.", target.client.title()))?;
    if !back.is_empty() {
        out.say(&format!("Put back: {}.", back.join(", ")))?;
    }
    let copy = plan.backup.as_ref().and_then(|backup| backup.copy.as_ref());
    if let (Some(undoing), Some(copy)) = (&plan.undoing, copy) {
        let copy = copy.display();
        for name in &undoing.others {
            out.say(&format!(
                "`{name}` stands there in another way, and stays; as it was then it is in {copy}."
            ))?;
        }
        if plan.backup.as_ref().is_some_and(|backup| !backup.is_recorded()) {
            out.say(&format!(
                "What else that install took out is not known; the file before it is {copy}."
            ))?;
        }
    }
    if plan.has_earlier {
        out.say(&format!(
            "An earlier install can be undone, too: `{}`.",
            target.undo_command(args)
        ))?;
    }
    Ok(())
}

/// Whether it is to be done, after it was shown. Where nobody can be asked, only with `--yes`.
fn may_go_on(args: &InstallArgs, out: &mut Out) -> Result<bool, Failure> {
    if args.dry_run {
        out.say("Nothing was changed.")?;
        return Ok(false);
    }
    if args.yes {
        return Ok(true);
    }
    if !out.is_json() && std::io::stdin().is_terminal() {
        out.ask("Write this? [y/N] ");
        let mut answer = String::new();
        let is_read = std::io::stdin().read_line(&mut answer).is_ok();
        if is_read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
            return Ok(true);
        }
    }
    out.remark("mcpctl: nothing was changed; give `--yes` to do it");
    Ok(false)
}
