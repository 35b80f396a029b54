//! The command line of mcp-wrapper: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcp_wrapper::ctl::run(std::env::args_os())
}
