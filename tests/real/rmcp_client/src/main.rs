//! Every feature by the official Rust client, over Streamable HTTP and as the parent of a stdio process.
//!
//!     rmcp-client CASE GATEWAY.json http|stdio…
//!     rmcp-client CASE GATEWAY.json eras SERVERS.json

// Sampling, roots, logging and subscriptions are of the revisions that the gateway speaks, whatever comes after them.
#![allow(deprecated)]

mod asked;
mod asking;
mod client;
mod eras;
mod report;
mod tape;

use std::process::ExitCode;

use serde_json::Value;

use crate::client::connect;
use crate::report::Report;
use crate::tape::Tape;

/// What a check says: a detail for the table, or why it failed.
pub type Checked = Result<String, Box<dyn std::error::Error>>;

// One thread: rmcp hands over each notification in a task of its own, and only so do they stay in order.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [case, gateway, kinds @ ..] = args.as_slice() else {
        eprintln!("rmcp-client CASE GATEWAY.json http|stdio…");
        return ExitCode::from(2);
    };
    let gateway = std::fs::read_to_string(gateway).expect("the gateway's file");
    let gateway: Value = serde_json::from_str(&gateway).expect("JSON in the gateway's file");
    if let [word, servers] = kinds
        && word == "eras"
    {
        return eras(case, &gateway, servers).await;
    }
    let tape = Tape::of(&gateway);
    let mut all_passed = true;
    for kind in kinds {
        let mut report = Report::new(case, kind);
        let client = match connect(&gateway, kind).await {
            Ok(client) => client,
            Err(error) => {
                println!("FAIL {case} {kind}: connect: {error}");
                return ExitCode::FAILURE;
            }
        };
        asked::all(&mut report, &tape, &client, kind).await;
        asking::all(&mut report, &client, kind).await;
        if let Err(error) = client.cancel().await {
            println!("FAIL {case} {kind}: close: {error}");
            all_passed = false;
        }
        all_passed &= report.has_passed();
    }
    if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn eras(case: &str, gateway: &Value, servers: &str) -> ExitCode {
    let servers = std::fs::read_to_string(servers).expect("the file of the servers");
    let servers: Value = serde_json::from_str(&servers).expect("JSON in the file of the servers");
    match eras::all(case, gateway, servers.as_object().expect("servers by their names")).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("FAIL {case}: connect: {error}");
            ExitCode::FAILURE
        }
    }
}
