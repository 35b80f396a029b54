//! Children to try things with, no installation needed: `mcp-wrapper demo tickets`, `mcp-wrapper demo analytics`.
//!
//! Each demo is an MCP server of its own process, on stdin and stdout, and knows nothing of the daemon.
//! A new demo is one more `DemoServer` and one more line in `start`.

mod analytics;
mod arguments;
mod call;
mod calls;
mod fault;
mod message;
mod nearest;
mod outcome;
mod outlet;
mod reply;
mod server;
#[cfg(test)]
mod talk;
mod tickets;
mod wire;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

use server::DemoServer;

/// The demos there are, as `mcp-wrapper demo NAME` takes them.
pub const NAMES: [&str; 2] = ["tickets", "analytics"];

/// Exit code of a command line that names no demo, or options that it does not have.
const USAGE: u8 = 2;

/// Runs one demo on stdin and stdout until its input ends.
///
/// Exit codes: 0 at the end of input or when the client is gone, 1 when the wire fails, 2 for an unknown name or option.
pub fn run(name: &str, options: &[String]) -> ExitCode {
    let mut server = match start(name, options) {
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
    match wire::serve(server.as_mut(), &mut io::stdin().lock(), Box::new(io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        // The client hung up without closing our input first: its right, and nobody is left to tell.
        Err(failed) if failed.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failed) => {
            tell(&format!("demo {name}: stdin or stdout failed: {failed}"));
            ExitCode::FAILURE
        }
    }
}

fn start(name: &str, options: &[String]) -> Result<Box<dyn DemoServer>, String> {
    match name {
        "tickets" => start_tickets(options),
        "analytics" => Ok(Box::new(analytics::Analytics::new(analytics::Settings::read(
            options,
        )?))),
        _ => Err(format!(
            "there is no demo `{name}`; the demos are: {}",
            NAMES.join(", ")
        )),
    }
}

fn start_tickets(options: &[String]) -> Result<Box<dyn DemoServer>, String> {
    if let Some(option) = options.first() {
        return Err(format!(
            "demo tickets: there is no option `{option}`; it takes none"
        ));
    }
    match tickets::Tickets::load() {
        Ok(server) => Ok(Box::new(server)),
        Err(why) => Err(format!(
            "demo tickets: the built-in tickets cannot be read: {why}"
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
            assert!(start(name, &[]).is_ok(), "{name}");
        }
        let told = start("ticket", &[]).err().unwrap();
        assert_eq!(
            told,
            "there is no demo `ticket`; the demos are: tickets, analytics"
        );
    }

    #[test]
    fn an_option_that_a_demo_does_not_have_is_refused() {
        for (name, told) in [
            (
                "tickets",
                "demo tickets: there is no option `--seat`; it takes none",
            ),
            (
                "analytics",
                "demo analytics: there is no option `--seat`. It takes --interval, --department and --seed. Did you mean `--seed`?",
            ),
        ] {
            assert_eq!(start(name, &["--seat".to_owned()]).err().unwrap(), told);
        }
    }
}
