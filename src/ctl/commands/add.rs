//! `mcpctl add NAME -- COMMAND ARGS…`: works without a daemon; with one, it waits for the first word of the server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::api::{DefinitionOrigin, ServerStatus};
use crate::config::first_of_words;
use crate::config::raw::{RawPolicy, RawServer};
use crate::config::spec::EraPolicy;
use crate::ctl::args::AddArgs;
use crate::ctl::context::Context;
use crate::ctl::declared::{NO_DAEMON, all, refused, reload};
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;
use crate::ctl::words;
use crate::ids::ServerName;
use crate::registry::{Put, Registry};

/// How long we look at a new server before we leave it to itself: most are ready by then.
const FIRST_LOOK: Duration = Duration::from_secs(8);

#[derive(Debug, Serialize)]
struct Added {
    name: ServerName,
    change: Change,
    daemon: bool,
    server: Option<ServerStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Added,
    Replaced,
    /// Saved, but the one in servers.toml counts.
    Shadowed,
}

impl From<Put> for Change {
    fn from(put: Put) -> Self {
        match put {
            Put::Added => Self::Added,
            Put::Replaced => Self::Replaced,
            Put::ShadowedByFile => Self::Shadowed,
        }
    }
}

/// Declares a server, and has a running daemon start it.
pub(super) async fn run(args: AddArgs, context: &Context, out: &mut Out) -> Result<(), Failure> {
    let registry = context.registry(out).await?;
    let (name, replace) = (args.name.clone(), args.replace);
    let raw = declared(args)?;
    if !replace {
        refuse_if_taken(&name, &registry).await?;
    }
    let put = registry
        .put(DefinitionOrigin::Cli, &name, &raw)
        .await
        .map_err(refused)?;
    let daemon = reload(context, out).await?.is_some();
    let is_shadowed = put == Put::ShadowedByFile;
    // A shadowed one is not started: what runs under this name is the file's.
    let server = if daemon && !is_shadowed {
        Some(context.until_settled(&name, FIRST_LOOK).await?)
    } else {
        None
    };
    tell(
        &Added {
            name,
            change: put.into(),
            daemon,
            server,
        },
        out,
    )
}

fn tell(added: &Added, out: &mut Out) -> Result<(), Failure> {
    let name = &added.name;
    if added.change == Change::Shadowed {
        out.remark(&format!(
            "mcpctl: servers.toml declares `{name}`, too, and the file wins: this one is saved, but counts only when the file no longer has it"
        ));
    }
    match &added.server {
        Some(server) => out.say(&words::state(server))?,
        None if added.daemon => out.say(&format!("{name}: saved"))?,
        None => out.say(&format!("{name}: saved; {NO_DAEMON}"))?,
    }
    out.json(added)?;
    let is_trouble = added.server.as_ref().is_some_and(words::has_trouble);
    if is_trouble { Err(Failure::Told) } else { Ok(()) }
}

async fn refuse_if_taken(name: &ServerName, registry: &Registry) -> Result<(), Failure> {
    // A name in the file is not taken: ours is kept behind it.
    let known = all(registry).await?;
    match known
        .iter()
        .find(|known| known.name == *name && known.origin != DefinitionOrigin::File)
    {
        Some(_) => Err(Failure::Refused(format!(
            "there is a server `{name}` already; give another name, or `--replace` to replace it"
        ))),
        None => Ok(()),
    }
}

/// The definition as the registry keeps it. Paths are made absolute: the daemon stands in another folder.
fn declared(args: AddArgs) -> Result<RawServer, Failure> {
    let mut words = args.command.into_iter();
    let Some(program) = words.next() else {
        return Err(Failure::Usage(
            "the command is missing: mcpctl add NAME -- COMMAND ARGS…".to_owned(),
        ));
    };
    if let Some(first) = first_of_words(&program) {
        return Err(Failure::Usage(format!(
            "the command is one text with several words, and no shell splits it: take the quotes away, `mcpctl add {} -- {first} …`",
            args.name
        )));
    }
    let program = if args.cwd.is_none() && (program.starts_with("./") || program.starts_with("../")) {
        absolute(Path::new(&program))?
    } else {
        program
    };
    let cwd = args.cwd.as_deref().map(absolute).transpose()?;
    let env: std::collections::BTreeMap<_, _> = args
        .env
        .into_iter()
        .map(|variable| (variable.name, variable.value))
        .collect();
    let roots: Vec<String> = args
        .roots
        .iter()
        .map(|root| absolute(root))
        .collect::<Result<_, _>>()?;
    let aliases: std::collections::BTreeMap<_, _> = args.aliases.into_iter().collect();
    let policy = RawPolicy {
        era: args.era.as_deref().and_then(era),
        ..RawPolicy::default()
    };
    let raw = RawServer {
        policy,
        command: Some(program),
        aliases: Some(aliases).filter(|aliases| !aliases.is_empty()),
        roots: Some(roots).filter(|roots| !roots.is_empty()),
        args: Some(words.collect::<Vec<_>>()).filter(|args| !args.is_empty()),
        env: Some(env).filter(|env| !env.is_empty()),
        cwd,
        enabled: args.disabled.then_some(false),
        prefix: args.prefix,
        ..RawServer::default()
    };
    let faults = raw.faults();
    if faults.is_empty() {
        Ok(raw)
    } else {
        Err(Failure::Usage(faults.join("\n")))
    }
}

fn era(word: &str) -> Option<EraPolicy> {
    match word {
        "auto" => Some(EraPolicy::Auto),
        "legacy" => Some(EraPolicy::Legacy),
        "modern" => Some(EraPolicy::Modern),
        "both" => Some(EraPolicy::Both),
        _another => None,
    }
}

fn absolute(path: &Path) -> Result<String, Failure> {
    // A template is not a path yet.
    let path = if path.to_string_lossy().starts_with("${") {
        path.to_owned()
    } else {
        std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
    };
    path.into_os_string().into_string().map_err(|path| {
        Failure::Usage(format!(
            "`{}` is no UTF-8, and cannot be saved: rename it",
            path.to_string_lossy()
        ))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::ctl::args::{Cli, Verb};

    fn raw(line: &str) -> RawServer {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Verb::Add(args) = cli.verb else {
            panic!("another verb")
        };
        declared(args).unwrap()
    }

    #[test]
    fn what_was_not_said_is_not_declared() {
        let raw = raw("mcpctl add x -- server");
        assert_eq!(
            raw,
            RawServer {
                command: Some("server".to_owned()),
                ..RawServer::default()
            }
        );
    }

    #[test]
    fn a_command_in_one_text_is_refused_with_what_to_write() {
        let cli = Cli::try_parse_from(["mcpctl", "add", "x", "--", "npx -y @x/y"]).unwrap();
        let Verb::Add(args) = cli.verb else {
            panic!("another verb")
        };
        let told = declared(args).unwrap_err().to_string();
        assert!(told.contains("`mcpctl add x -- npx …`"), "{told}");
    }

    #[test]
    fn names_and_folders_are_declared() {
        let here = std::env::current_dir().unwrap();
        let it = raw("mcpctl add x --alias a=b=c --alias d=e --root sub --root ${HOME}/y -- s");
        let aliases = it.aliases.unwrap();
        assert_eq!((aliases["a=b"].as_str(), aliases["d"].as_str()), ("c", "e"));
        let roots = it.roots.unwrap();
        assert_eq!(roots, [here.join("sub").to_str().unwrap(), "${HOME}/y"]);
    }

    #[test]
    fn the_era_is_declared_where_it_is_given() {
        let it = raw("mcpctl add x --era modern -- s");
        assert_eq!(it.policy.era, Some(EraPolicy::Modern));
        assert!(Cli::try_parse_from("mcpctl add x --era newer -- s".split(' ')).is_err());
    }

    #[test]
    fn paths_are_those_of_the_person_not_of_the_daemon() {
        let here = std::env::current_dir().unwrap();
        let it = raw("mcpctl add x --cwd sub -- server ./a");
        assert_eq!(it.cwd.as_deref(), here.join("sub").to_str());
        assert_eq!(it.args.as_deref(), Some(&["./a".to_owned()][..]));
        assert_eq!(
            raw("mcpctl add x -- ./server").command.as_deref(),
            here.join("server").to_str()
        );
        assert_eq!(
            raw("mcpctl add x --cwd ${HOME}/y -- s").cwd.as_deref(),
            Some("${HOME}/y")
        );
    }
}
