//! `load`: a closed-loop load generator on one thread, which spends as little of the machine as it can.
//!
//! ```text
//! load http URL …          calls over keep-alive connections, and what they cost the process under --pid
//! load stdio … -- COMMAND  the same through the pipes of a process
//! load death URL …         what callers of a dying child see
//! load start URL … -- COMMAND   from the start of a gateway to its first full list
//! ```
//!
//! Writes one line of JSON. What is wrong with an answer ends it with a sentence on stderr: figures of failed calls are
//! no figures.

mod death;
mod histogram;
mod http;
mod options;
mod response;
mod run;
mod start;
mod stdio;
mod streams;
mod target;
mod usage;

use std::process::ExitCode;

use options::Options;

/// Why there is no figure.
type Failed = String;

fn main() -> ExitCode {
    let done = Options::read(std::env::args().skip(1)).and_then(|options| match options.verb.as_str() {
        "http" => run::measure(&options),
        "stdio" => stdio::measure(&options),
        "death" => death::measure(&options),
        "start" => start::measure(&options),
        unknown => Err(format!("unknown: {unknown}")),
    });
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}
