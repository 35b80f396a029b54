//! `mcpctl completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::ctl::args::Cli;
use crate::ctl::failure::Failure;
use crate::ctl::render::Out;

/// Prints the script with which a shell completes our commands.
pub(super) fn run(shell: Shell, out: &mut Out) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mcpctl", &mut script);
    let script = String::from_utf8_lossy(&script);
    Ok(out.either(
        &serde_json::json!({ "shell": shell.to_string(), "script": script }),
        &script,
    )?)
}
