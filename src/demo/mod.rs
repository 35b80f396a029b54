//! Children to try things with, no installation needed: `mcp-wrapper demo tickets`.
//!
//! Each demo is an MCP server of its own process, on stdin and stdout, and knows nothing of the daemon.
//! A new demo is one more [`server::DemoServer`] and one more line in [`start`].

mod fault;
mod nearest;
mod server;
mod tickets;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use server::DemoServer;

/// The demos there are, as `mcp-wrapper demo NAME` takes them.
pub const NAMES: [&str; 1] = ["tickets"];

/// Exit code of a command line that names no demo.
const USAGE: u8 = 2;

/// Runs one demo on stdin and stdout until its input ends.
///
/// Exit codes: 0 at the end of input or when the client is gone, 1 when the wire fails, 2 for an unknown name.
pub fn run(name: &str) -> ExitCode {
    let mut server = match start(name) {
        Ok(server) => server,
        Err(why) => {
            tell(&why);
            return ExitCode::from(USAGE);
        }
    };
    tell(&format!(
        "demo {name}: {}; an MCP server on stdin and stdout, it ends with its input",
        server.about().title
    ));
    match wire::serve(server.as_mut(), &mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The client hung up without closing our input first: its right, and nobody is left to tell.
        Err(failed) if failed.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failed) => {
            tell(&format!("demo {name}: stdin or stdout failed: {failed}"));
            ExitCode::FAILURE
        }
    }
}

fn start(name: &str) -> Result<Box<dyn DemoServer>, String> {
    match name {
        "tickets" => tickets::Tickets::load()
            .map(|server| -> Box<dyn DemoServer> { Box::new(server) })
            .map_err(|why| format!("demo tickets: the built-in tickets cannot be read: {why}")),
        _ => Err(format!(
            "there is no demo `{name}`; the demos are: {}",
            NAMES.join(", ")
        )),
    }
}

/// One line on stderr. A closed stderr must not end the demo, so a failure to write is let go.
fn tell(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_on_the_list_starts_and_another_is_told_the_list() {
        for name in NAMES {
            assert!(start(name).is_ok(), "{name}");
        }
        let told = start("ticket").err().unwrap();
        assert_eq!(told, "there is no demo `ticket`; the demos are: tickets");
    }
}
