//! The daemon's binary: `serve` (the default), `stdio` for desktop clients, `demo` for children to try things with.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mcp_wrapper::app::{self, Started};
#[cfg(target_os = "linux")]
use mcp_wrapper::child::leash;
use mcp_wrapper::demo;

/// What `--help` says of the environment.
const ENVIRONMENT: &str = "\
Environment, also from a file `.env` beside servers.toml:
  MCP_HOST, MCP_PORT       where it listens; 127.0.0.1 and 8999
  MCP_AUTH_TOKEN           what clients must show; needed beyond loopback
  MCP_ALLOWED_HOSTS, MCP_ALLOWED_ORIGINS
                           further names and browser origins, with commas
  MCP_SERVERS_FILE         the declared servers; ./servers.toml
  MCP_DATA_DIR, MCP_LOG_DIR
                           its folders; ./data and ./logs
  LOG_LEVEL, DEBUG_MODE    error, warn, info, debug or trace; true for debug
Where the project folder has no servers.toml and none of MCP_SERVERS_FILE, MCP_DATA_DIR, MCP_LOG_DIR is set,
~/.config/mcp-wrapper and ~/.local/state/mcp-wrapper are used.";

/// One supervised MCP endpoint in front of many stdio MCP servers.
#[derive(Debug, Parser)]
#[command(name = "mcp-wrapper", version, about, after_help = ENVIRONMENT)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The project folder: act as if started there.
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon (the default).
    Serve {
        /// Started by a client: leave its session, and search the PATH of a login shell.
        #[arg(long, hide = true)]
        background: bool,
    },
    /// Speak MCP on stdin and stdout: what a desktop client launches. Starts the daemon if there is none.
    Stdio,
    /// Be a demo server on stdin and stdout, for example `demo tickets`.
    Demo {
        /// Which one.
        name: String,
        /// What it takes, for example `--interval 500ms --department sales --seed 79` for `analytics`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
        options: Vec<String>,
    },
}

fn main() -> ExitCode {
    // Before anything else: there is one for every server, so it is to be small.
    #[cfg(target_os = "linux")]
    if leash::is_asked_for(std::env::args_os().nth(1).as_deref()) {
        return leash::run();
    }
    let arguments = Arguments::parse();
    match arguments.verb {
        None => run(app::serve(&arguments.dir, Started::Foreground)),
        Some(Verb::Serve { background: false }) => run(app::serve(&arguments.dir, Started::Foreground)),
        Some(Verb::Serve { background: true }) => run(app::serve(&arguments.dir, Started::Background)),
        Some(Verb::Stdio) => run_small(app::stdio(&arguments.dir)),
        Some(Verb::Demo { name, options }) => demo::run(&name, &options),
    }
}

fn run(work: impl Future<Output = ExitCode>) -> ExitCode {
    in_runtime(&mut tokio::runtime::Builder::new_multi_thread(), work)
}

/// The shim copies bytes: one thread does.
fn run_small(work: impl Future<Output = ExitCode>) -> ExitCode {
    in_runtime(&mut tokio::runtime::Builder::new_current_thread(), work)
}

fn in_runtime(builder: &mut tokio::runtime::Builder, work: impl Future<Output = ExitCode>) -> ExitCode {
    let Ok(runtime) = builder.enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let code = runtime.block_on(work);
    // A read of stdin that nobody waits for any more must not keep the process.
    runtime.shutdown_background();
    code
}
