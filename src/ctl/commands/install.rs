//! `mcpctl install CLIENT`: writes our one entry into the settings of a client, and takes it out again. Needs no daemon.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::import::{known, without_secrets};
use crate::ctl::args::{InstallArgs, SecretsTo};
use crate::ctl::clients::{Client, Format, Platform, places};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::import::{self, Kind, Known};
use crate::ctl::install::NAME;
use crate::ctl::install::backup::{self, Backup};
use crate::ctl::install::edit::{Change, edited};
use crate::ctl::install::entry::{Entry, program};
use crate::ctl::render::Out;
use crate::ctl::{diff, files, lenient};

/// What was done, or would be.
#[derive(Debug, Serialize)]
struct Report<'a> {
    client: &'static str,
    file: &'a Path,
    backup: Option<PathBuf>,
    /// Entries that were taken out, as we have them.
    removed: &'a [String],
    /// Entries that stay beside ours.
    others: &'a [String],
    done: bool,
}

/// One settings file.
struct Target {
    client: Client,
    file: PathBuf,
    format: Format,
    /// `None`: there is none yet.
    text: Option<String>,
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

impl Target {
    fn find(args: &InstallArgs, context: &Context) -> Result<Self, Failure> {
        let client = Client::of_word(&args.client).ok_or_else(|| {
            Failure::Usage(format!(
                "there is no client `{}`; the clients are {}",
                args.client,
                Client::ALL.map(Client::word).join(", ")
            ))
        })?;
        let file = match &args.file {
            Some(file) => file.clone(),
            None => {
                let places = places(client, &context.homes()?, Platform::here());
                let own = places.into_iter().next().map(|place| place.file);
                own.ok_or_else(|| Failure::Usage("name its settings with `--file`".to_owned()))?
            }
        };
        let text = files::read(&file)
            .map_err(|error| Failure::Refused(format!("{} cannot be read: {error}", file.display())))?;
        Ok(Self {
            client,
            format: client.format(),
            file,
            text,
        })
    }

    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    fn edited(&self, change: &Change) -> Result<String, Failure> {
        edited(self.text(), self.format, self.client.servers_key(), change)
            .map_err(|why| Failure::Refused(format!("{} is left as it is: {why}", self.file.display())))
    }

    /// The servers in a text of this form.
    fn servers(&self, text: &str) -> serde_json::Map<String, Value> {
        let value = lenient::parse(text, self.format).unwrap_or_default();
        let servers = value.get(self.client.servers_key());
        servers.and_then(Value::as_object).cloned().unwrap_or_default()
    }

    fn diff(&self, after: &str) -> String {
        let values = [self.text(), after].map(|text| lenient::parse(text, self.format).unwrap_or_default());
        let [before, now] = &values;
        diff::unified(
            &self.file.display().to_string(),
            self.text(),
            after,
            &[before, now],
        )
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        files::write(&self.file, text, None)
            .map_err(|error| Failure::Refused(format!("{} cannot be written: {error}", self.file.display())))
    }
}

// === Installing ===

async fn install(
    target: &Target,
    args: &InstallArgs,
    context: &Context,
    out: &mut Out,
) -> Result<(), Failure> {
    let remove = if args.replace_imported {
        let declared = context.declared_only(out).await?;
        imported(
            target,
            declared
                .into_iter()
                .filter(|it| !it.shadowed)
                .map(known)
                .collect(),
            context,
        )
    } else {
        Vec::new()
    };
    let change = Change {
        put: vec![(NAME.to_owned(), entry(context)?.fields(target.client))],
        remove: remove.clone(),
    };
    let after = target.edited(&change)?;
    let mut others: Vec<String> = target.servers(&after).keys().cloned().collect();
    others.retain(|name| name != NAME);
    let mut report = Report {
        client: target.client.word(),
        file: &target.file,
        backup: None,
        removed: &remove,
        others: &others,
        done: false,
    };
    if target.text.as_deref() == Some(after.as_str()) {
        out.say(&format!("It is there already: {}", target.file.display()))?;
        return Ok(out.json(&report)?);
    }
    out.say(&target.diff(&after))?;
    if !may_go_on(args, out)? {
        out.json(&report)?;
        return if args.dry_run { Ok(()) } else { Err(Failure::Told) };
    }
    let kept = backup::keep(&target.file, target.text.as_deref(), &after).map_err(|error| {
        Failure::Refused(format!("no backup can be kept, so nothing was changed: {error}"))
    })?;
    target.write(&after)?;
    let title = target.client.title();
    out.say(&format!(
        "Written: {}\nBefore:  {}\nRestart {title} to use it; `mcpctl install {} --undo` takes it out again.",
        target.file.display(),
        kept.display(),
        target.client.word()
    ))?;
    if !others.is_empty() {
        out.say(&format!(
            "{title} still starts by itself: {}. `mcpctl import {}` takes them over, `--replace-imported` takes them out there.",
            others.join(", "),
            target.client.word()
        ))?;
    }
    report.backup = Some(kept);
    report.done = true;
    Ok(out.json(&report)?)
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

/// Names of entries there that we have exactly like this.
fn imported(target: &Target, known: Vec<Known>, context: &Context) -> Vec<String> {
    let only = serde_json::json!({ "mcpServers": target.servers(target.text()) });
    let entries = import::read_value(&only, Some(target.client)).unwrap_or_default();
    let forms = [SecretsTo::Dotenv, SecretsTo::Files, SecretsTo::Keep]
        .map(|to| without_secrets(entries.clone(), to, context).0);
    let ours = forms.into_iter().flatten().filter(|entry| match &entry.kind {
        Kind::Server(it) => known.iter().any(|known| known.definition == *it),
        Kind::Skip(_) => false,
    });
    let mut names: Vec<String> = ours.map(|entry| entry.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

// === Undoing ===

fn undo(target: &Target, args: &InstallArgs, out: &mut Out) -> Result<(), Failure> {
    let found = backup::find(&target.file, target.text())
        .map_err(|error| Failure::Refused(format!("the backups cannot be read: {error}")))?;
    let is_there = target.servers(target.text()).contains_key(NAME);
    let Some(found) = found.filter(|found| found.is_exact || is_there) else {
        if !is_there {
            return Err(Failure::Refused(format!(
                "there is nothing to undo in {}",
                target.file.display()
            )));
        }
        let nothing = Backup {
            file: PathBuf::new(),
            text: None,
            is_exact: false,
        };
        return put_back(target, &nothing, args, out);
    };
    put_back(target, &found, args, out)
}

fn put_back(target: &Target, found: &Backup, args: &InstallArgs, out: &mut Out) -> Result<(), Failure> {
    let after = match (&found.text, found.is_exact) {
        (Some(text), true) => text.clone(),
        (None, true) => String::new(),
        // The client has written it since: all that is not ours stays.
        (text, false) => without_ours(target, text.as_deref().unwrap_or_default())?,
    };
    let report = |done| Report {
        client: target.client.word(),
        file: &target.file,
        backup: Some(found.file.clone()).filter(|file| !file.as_os_str().is_empty()),
        removed: &[],
        others: &[],
        done,
    };
    out.say(&target.diff(&after))?;
    if !may_go_on(args, out)? {
        out.json(&report(false))?;
        return if args.dry_run { Ok(()) } else { Err(Failure::Told) };
    }
    if found.is_exact && found.text.is_none() {
        std::fs::remove_file(&target.file).map_err(|error| {
            Failure::Refused(format!("{} cannot be removed: {error}", target.file.display()))
        })?;
    } else {
        target.write(&after)?;
    }
    if found.is_exact {
        // What it held is in its place again. One that stays is found at the next undoing only by chance.
        std::fs::remove_file(&found.file).ok();
    }
    let how = if found.is_exact {
        "as it was"
    } else {
        "without our entry"
    };
    out.say(&format!(
        "{} is {how}. Restart {}.",
        target.file.display(),
        target.client.title()
    ))?;
    Ok(out.json(&report(true))?)
}

fn without_ours(target: &Target, before: &str) -> Result<String, Failure> {
    let now = target.servers(target.text());
    let before = target.servers(before);
    let missing = before.into_iter().filter(|(name, _)| !now.contains_key(name));
    let put = missing.filter_map(|(name, value)| match value {
        Value::Object(members) => Some((name, members.into_iter().collect())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    });
    target.edited(&Change {
        put: put.collect(),
        remove: vec![NAME.to_owned()],
    })
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
