//! The command line of `mcpctl`, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::access::{Pattern, Rate};
use crate::ids::ServerName;

/// Adds, removes, watches and questions the MCP servers of mcp-wrapper.
#[derive(Debug, Parser)]
#[command(
    name = "mcpctl",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 no daemon is running.\n\nEnvironment, as the daemon reads it, also from a file `.env` beside servers.toml: MCP_DATA_DIR (where its control\nsocket and the registry are), MCP_SERVERS_FILE, MCP_LOG_DIR. `mcp-wrapper --help` tells of all."
)]
pub struct Cli {
    /// Print one JSON value instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
    /// The project folder whose servers are meant; the current one if not given.
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a server, and start it if the daemon runs.
    #[command(
        after_help = "Example:\n  mcpctl add files -- npx -y @modelcontextprotocol/server-filesystem /srv/docs\n  mcpctl add github --env GITHUB_TOKEN=… -- docker run -i --rm -e GITHUB_TOKEN mcp/github"
    )]
    Add(AddArgs),
    /// Remove servers and end their processes.
    #[command(visible_alias = "rm", after_help = "Example:\n  mcpctl remove files github")]
    Remove(Names),
    /// List the declared servers.
    #[command(visible_alias = "ls", after_help = "Example:\n  mcpctl list --json")]
    List,
    /// Want servers again that were disabled.
    #[command(after_help = "Example:\n  mcpctl enable files")]
    Enable(Names),
    /// Keep servers declared, but stopped, also after a restart of the daemon.
    #[command(after_help = "Example:\n  mcpctl disable files")]
    Disable(Names),
    /// Start servers now.
    #[command(after_help = "Example:\n  mcpctl start files")]
    Start(Names),
    /// Stop servers until they are started again.
    #[command(after_help = "Example:\n  mcpctl stop files")]
    Stop(Names),
    /// Replace the processes of servers by fresh ones.
    #[command(after_help = "Example:\n  mcpctl restart files")]
    Restart(Names),
    /// End the daemon and all its servers. Calls in flight may finish first.
    #[command(
        after_help = "A desktop client that is still connected starts the daemon again when it next says something.\n\nExample:\n  mcpctl shutdown"
    )]
    Shutdown,
    /// Show the daemon and what its servers do.
    #[command(after_help = "Example:\n  mcpctl status\n  mcpctl status files")]
    Status(MaybeName),
    /// Show who is connected.
    #[command(after_help = "Example:\n  mcpctl sessions")]
    Sessions,
    /// End a client's session: its calls are cancelled, its streams end. It may open another.
    #[command(after_help = "Example:\n  mcpctl disconnect 18b004d7")]
    Disconnect(OneSession),
    /// Make, show, replace and revoke the keys with which clients come in over HTTP.
    #[command(
        subcommand,
        after_help = "Example:\n  mcpctl key create ci --expires 90d --servers git --rate 60/min\n  mcpctl key revoke ci"
    )]
    Key(KeyVerb),
    /// Show the tools on offer, under the names that clients call.
    #[command(after_help = "Example:\n  mcpctl tools files")]
    Tools(MaybeName),
    /// Call a tool and print what it returns.
    #[command(
        after_help = "Example:\n  mcpctl call files__read_file '{\"path\": \"/srv/docs/a.txt\"}'\n  echo '{}' | mcpctl call files__list_allowed_directories -"
    )]
    Call(CallArgs),
    /// Show what a server wrote to stderr.
    #[command(after_help = "Example:\n  mcpctl logs files -n 50\n  mcpctl logs files -f")]
    Logs(LogsArgs),
    /// Take servers over from the settings of another program.
    #[command(
        long_about = "Take servers over from the settings of other programs: Claude Desktop, Claude Code, Cursor, VS Code, Windsurf, Zed, Codex, Gemini, or any file with `mcpServers`.\n\nShows what it will do, and asks first. Secrets go into `.env`, and the definitions refer to them.",
        after_help = "Example:\n  mcpctl import --dry-run\n  mcpctl import cursor\n  mcpctl import ~/.claude.json --only github,files --yes"
    )]
    Import(ImportArgs),
    /// Write the entry for mcp-wrapper into the settings of a client, or take it out again.
    #[command(
        long_about = "Write the entry for mcp-wrapper into the settings of a client: claude-desktop, claude-code, cursor, vscode, windsurf, zed, codex, gemini.\n\nShows what it will change, and asks first. Comments and all other settings stay as they are written; what was there is kept beside the file.",
        after_help = "Example:\n  mcpctl install claude-desktop --dry-run\n  mcpctl install claude-desktop --replace-imported\n  mcpctl install claude-desktop --undo"
    )]
    Install(InstallArgs),
    /// Print the declared servers, for other programs or for servers.toml. Values of variables stay out.
    #[command(after_help = "Example:\n  mcpctl export > mcp.json\n  mcpctl export github --format toml")]
    Export(ExportArgs),
    /// Print the JSON Schema of servers.toml, with which editors complete and check it.
    #[command(after_help = "Example:\n  mcpctl schema > servers.schema.json")]
    Schema,
    /// Tell why a server is in the state it is in, and what to try.
    #[command(after_help = "Example:\n  mcpctl why files")]
    Why(OneName),
    /// Show what happened to servers.
    #[command(after_help = "Example:\n  mcpctl events files -n 50")]
    Events(EventsArgs),
    /// Print a script with which a shell completes these commands.
    #[command(
        after_help = "Example:\n  mcpctl completions bash > ~/.local/share/bash-completion/completions/mcpctl"
    )]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Make a key and print it, once.
    #[command(after_help = "Example:\n  mcpctl key create ci --expires 90d --tools 'git__*'")]
    Create(NewKeyArgs),
    /// List the keys: what they see, until when they open, when they were used. Never the keys themselves.
    #[command(visible_alias = "ls")]
    List,
    /// Take a key back: whoever is connected with it is out at once.
    Revoke(KeyName),
    /// Put a new key in the place of one, and print it, once. The one before opens no more.
    Rotate(KeyName),
}

/// Arguments of `key create`.
#[derive(Debug, Args)]
pub struct NewKeyArgs {
    /// What it is called: letters, digits, `.`, `_`, `-`, `@`.
    #[arg(value_parser = key_name)]
    pub name: String,
    /// How long it opens, for example 90d or 12h; for ever if not given.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub expires: Option<std::time::Duration>,
    /// Only these servers are there for it.
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = ServerName::parse)]
    pub servers: Vec<ServerName>,
    /// Only tools with these names, as `mcpctl tools` shows them; `*` stands for any characters. Without --servers
    /// nothing but these tools is there.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub tools: Vec<Pattern>,
    /// Its holder may control the daemon.
    #[arg(long)]
    pub admin: bool,
    /// How often its holder may ask, for example 10/s, 60/min or 1000/h; as often as it likes if not given.
    #[arg(long, value_name = "N/TIME")]
    pub rate: Option<Rate>,
}

/// One key.
#[derive(Debug, Args)]
pub struct KeyName {
    /// What it is called.
    #[arg(value_parser = key_name)]
    pub name: String,
}

fn key_name(text: &str) -> Result<String, String> {
    const CHARS_MAX: usize = 64;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    if text.is_empty() || text.len() > CHARS_MAX || text.starts_with('-') || !text.bytes().all(is_good) {
        return Err(format!(
            "a key is called by 1 to {CHARS_MAX} letters, digits, `.`, `_`, `-` or `@`"
        ));
    }
    Ok(text.to_owned())
}

fn lifetime(text: &str) -> Result<std::time::Duration, String> {
    let read = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 90d or 12h"))?;
    if read.is_zero() {
        return Err("it would never open".to_owned());
    }
    Ok(read)
}

/// Arguments of `add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The name: letters, digits, `-`, `_`; its tools are then called NAME__TOOL.
    #[arg(value_parser = ServerName::parse)]
    pub name: ServerName,
    /// A variable for the server's environment; may be given many times. The value is never printed.
    #[arg(long, value_name = "K=V", value_parser = Variable::parse)]
    pub env: Vec<Variable>,
    /// The folder it runs in; the daemon's own if not given.
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// What stands before `__` in the names of its tools instead of NAME; empty for nothing at all.
    #[arg(long, value_name = "P")]
    pub prefix: Option<String>,
    /// The name under which clients see one of its tools or prompts; may be given many times.
    #[arg(long = "alias", value_name = "OWN=EXPOSED", value_parser = alias)]
    pub aliases: Vec<(String, String)>,
    /// A folder that it is told of, where no client tells it of its own; may be given many times.
    #[arg(long = "root", value_name = "DIR")]
    pub roots: Vec<PathBuf>,
    /// What it speaks: found out at its first start, if not given; `legacy` needs a handshake (up to 2025-11-25),
    /// `modern` is 2026-07-28, `both` has a process for each where the server answers both.
    #[arg(long, value_name = "ERA", value_parser = ["auto", "legacy", "modern", "both"])]
    pub era: Option<String>,
    /// Declare it, but do not start it.
    #[arg(long)]
    pub disabled: bool,
    /// Replace the server that has this name.
    #[arg(long)]
    pub replace: bool,
    /// The program and its arguments, after `--`. No shell takes part.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// One variable for a child, its value a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: crate::config::spec::Secret,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=hidden", self.name)
    }
}

impl Variable {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(format!(
                "a variable is given as K=V; to pass on the value that mcp-wrapper itself has, write `--env '{text}=${{{text}}}'`"
            ));
        };
        if name.is_empty() || name.contains('\0') {
            return Err("the name before `=` is empty".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            value: crate::config::spec::Secret::new(value),
        })
    }
}

/// The last `=` counts: an own name may hold one, an exposed name cannot.
fn alias(text: &str) -> Result<(String, String), String> {
    let (own, exposed) = text
        .rsplit_once('=')
        .ok_or("an alias is given as OWN=EXPOSED: the server's own name first")?;
    Ok((own.to_owned(), exposed.to_owned()))
}

/// One or more servers.
#[derive(Debug, Args)]
pub struct Names {
    /// The servers.
    #[arg(required = true, value_name = "NAME", value_parser = ServerName::parse)]
    pub names: Vec<ServerName>,
}

/// One server.
#[derive(Debug, Args)]
pub struct OneName {
    /// The server.
    #[arg(value_parser = ServerName::parse)]
    pub name: ServerName,
}

/// One session.
#[derive(Debug, Args)]
pub struct OneSession {
    /// The beginning of its id, as `mcpctl sessions` shows it.
    #[arg(value_parser = session_id)]
    pub id: String,
}

/// It becomes part of a path.
fn session_id(text: &str) -> Result<String, String> {
    let is_one = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_one {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("the id of a session is made of the digits 0-9 and a-f".to_owned())
    }
}

/// One server, or all.
#[derive(Debug, Args)]
pub struct MaybeName {
    /// Only this server.
    #[arg(value_parser = ServerName::parse)]
    pub name: Option<ServerName>,
}

/// Arguments of `call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The name of the tool as `mcpctl tools` prints it.
    pub tool: String,
    /// Its arguments, a JSON object; `-` reads it from stdin.
    #[arg(default_value = "{}", value_name = "JSON")]
    pub arguments: String,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The server.
    #[arg(value_parser = ServerName::parse)]
    pub name: ServerName,
    /// Go on with new lines until Ctrl-C.
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines.
    #[arg(short = 'n', long, default_value_t = 100)]
    pub lines: u32,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The other program (claude-desktop, claude-code, cursor, vscode, windsurf, zed, codex, gemini), or a settings file;
    /// all of these programs if not given.
    #[arg(value_name = "CLIENT|FILE")]
    pub source: Option<String>,
    /// Do it without asking.
    #[arg(long, short)]
    pub yes: bool,
    /// Show what would change, and change nothing.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Only these servers, by the names they have in the file.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub only: Vec<String>,
    /// Take the place of servers that were added by hand under the same names.
    #[arg(long)]
    pub replace: bool,
    /// Where secrets in `env` go: into `.env`, into files of their own below the data folder, or nowhere.
    #[arg(long, value_enum, default_value_t = SecretsTo::Dotenv)]
    pub secrets: SecretsTo,
}

/// Where secrets of imported servers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SecretsTo {
    /// Into `.env` beside servers.toml.
    Dotenv,
    /// Each into a file of its own, below the data folder.
    Files,
    /// They stay in the definition.
    Keep,
}

/// Arguments of `install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The client.
    #[arg(value_name = "CLIENT")]
    pub client: String,
    /// Its settings file, if it is not where the client has it by default: that of a project, for example.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Also take out the servers that we have exactly like this: the client would start them once more.
    #[arg(long, conflicts_with = "undo")]
    pub replace_imported: bool,
    /// Show what would change, and change nothing.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Put back what was there before.
    #[arg(long)]
    pub undo: bool,
    /// Do it without asking.
    #[arg(long, short)]
    pub yes: bool,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Only these servers.
    #[arg(value_name = "NAME", value_parser = ServerName::parse)]
    pub names: Vec<ServerName>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
    pub format: ExportFormat,
    /// With the values of variables in `env`, as far as they are known before a start.
    #[arg(long)]
    pub with_secrets: bool,
}

/// How servers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// `mcpServers`, as most clients have it.
    Json,
    /// Tables of servers.toml, with all that is about supervision.
    Toml,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only this server.
    #[arg(value_parser = ServerName::parse)]
    pub name: Option<ServerName>,
    /// How many of the last events.
    #[arg(short = 'n', long = "number", default_value_t = 50)]
    pub number: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent_and_every_verb_has_an_example() {
        Cli::command().debug_assert();
        for verb in Cli::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains(&format!("mcpctl {}", verb.get_name())),
                "{}",
                verb.get_name()
            );
        }
    }

    #[test]
    fn add_takes_the_rest_of_the_line_as_the_command() {
        let cli = parse("mcpctl add git --env A=b=c --disabled -- uvx mcp-server-git --json -x").unwrap();
        let Verb::Add(add) = cli.verb else {
            panic!("another verb")
        };
        assert_eq!(add.command, ["uvx", "mcp-server-git", "--json", "-x"]);
        assert_eq!(add.env[0].value.reveal(), "b=c");
        assert!(add.disabled && !cli.json);
    }

    #[test]
    fn a_variable_without_a_value_is_explained() {
        let told = parse("mcpctl add git --env TOKEN -- x").unwrap_err();
        assert_eq!(told.exit_code(), 2);
        assert!(told.to_string().contains("--env 'TOKEN=${TOKEN}'"), "{told}");
    }

    #[test]
    fn a_secret_does_not_show_in_debug() {
        let cli = parse("mcpctl add git --env TOKEN=s3cret -- x").unwrap();
        assert!(!format!("{cli:?}").contains("s3cret"));
    }

    #[test]
    fn a_bad_name_comes_with_a_good_one() {
        let told = parse("mcpctl remove my.server").unwrap_err();
        assert!(told.to_string().contains("my-server"), "{told}");
    }

    #[test]
    fn options_for_all_verbs_may_stand_behind_the_verb() {
        let cli = parse("mcpctl list --json --dir /x").unwrap();
        assert!(cli.json);
        assert_eq!(cli.dir, Some(PathBuf::from("/x")));
    }
}
