//! From the start of a gateway to its first full list.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failed;
use crate::http::{Client, Place};
use crate::options::Options;
use crate::target;

pub fn measure(options: &Options) -> Result<String, Failed> {
    let place = Place::of(&options.url)?;
    let (program, arguments) = options.command.split_first().ok_or("no command after --")?;
    let began = Instant::now();
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let measured = first_list(&place, options, began);
    // The gentle signal; the standard library has none.
    drop(Command::new("kill").arg(process.id().to_string()).status());
    let asked = Instant::now();
    while matches!(process.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(process.kill());
    drop(process.wait());
    measured
}

fn first_list(place: &Place, options: &Options, began: Instant) -> Result<String, Failed> {
    let is_over = || began.elapsed() > options.patience;
    let mut client = loop {
        match Client::new(place) {
            Ok(client) => break client,
            Err(why) if is_over() => return Err(why),
            Err(_not_yet) => std::thread::sleep(Duration::from_micros(200)),
        }
    };
    let door = began.elapsed();
    let said = client.open()?;
    loop {
        let (_status, _head, list) =
            client.ask(&said, br#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)?;
        let n = target::exposed(&list, &options.tool).len();
        if n >= options.n_servers {
            break;
        }
        if is_over() {
            return Err(format!("{n} of {} servers are on offer", options.n_servers));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let full = began.elapsed();
    Ok(format!(
        "{{\"door_ms\":{:.3},\"full_ms\":{:.3}}}",
        door.as_secs_f64() * 1000.0,
        full.as_secs_f64() * 1000.0
    ))
}
