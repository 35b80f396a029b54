//! The person's side: `mcpctl`.
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | refused or failed |
//! | 2 | wrong command line |
//! | 3 | no daemon is running, and the verb needs one |
//!
//! Starts no child and needs no daemon to change definitions: they go straight into the registry,
//! and a daemon that runs is told to read it again. `args` is the command line, `commands` one file a verb,
//! `client` the socket, `render` the only place that prints.

pub mod args;
mod client;
mod clients;
mod commands;
mod context;
mod declared;
mod definitions;
mod diff;
mod failure;
mod files;
mod import;
mod install;
mod lenient;
mod render;
mod sources;
mod table;
mod text;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use self::failure::Failure;

use self::args::Cli;
use self::context::Context;
use self::render::Out;

/// Does what the command line asks, and says so in the exit code.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(told) => {
            // Help goes to stdout with code 0, a wrong command line to stderr with code 2. Nobody may be reading.
            told.print().ok();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2));
        }
    };
    let mut out = Out::of_process(cli.json);
    match do_it(cli, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure, &mut out);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn do_it(cli: Cli, out: &mut Out) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::Refused(format!("this process cannot wait for input and output: {error}"))
        })?;
    let done = runtime.block_on(async {
        let context = Context::new(cli.dir)?;
        commands::run(cli.verb, &context, out).await
    });
    // A blocking read of stdin must not hold the process.
    runtime.shutdown_background();
    done
}

/// Says what went wrong: for people on stderr, and with `--json` as a value on stdout, too.
fn tell(failure: &Failure, out: &mut Out) {
    if failure.is_silent() {
        return;
    }
    // When stdout is closed there is still stderr, and the exit code.
    out.json(&serde_json::json!({ "error": failure.to_string() }))
        .ok();
    out.remark(&format!("mcpctl: {failure}"));
}

/// What is private here and takes any text, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzed {
    pub use super::import::fuzzed::import;
    pub use super::text::fuzzed::*;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_is_code_2() {
        let code = run(["mcpctl", "nonsense"].into_iter().map(OsString::from));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(2)));
    }
}
