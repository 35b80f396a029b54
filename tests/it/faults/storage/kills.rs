//! SIGKILL while databases are written, in rounds.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use mcp_wrapper::api::DefinitionOrigin;
use mcp_wrapper::registry::Registry;
use rusqlite::Connection;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::faults::case;
use crate::harness::http::{BOTH, JSON};
use crate::harness::{Daemon, Dice, HttpClient, Setup, dice, fake, greeting, request, soon};

/// Rounds in the ordinary run; `CHAOS_ROUNDS` asks for more.
const N_ROUNDS: usize = 16;
/// Processes that write at once.
const N_WRITERS: usize = 4;
/// Clients that come at once.
const N_CLIENTS: usize = 4;
/// A handshake that was answered within this time is written down: an answer waits 250 ms for it.
const IN_TIME: Duration = Duration::from_millis(200);

fn n_rounds() -> usize {
    let asked = std::env::var("CHAOS_ROUNDS");
    asked.map_or(N_ROUNDS, |asked| asked.parse().expect("CHAOS_ROUNDS is a number"))
}

fn assert_whole(file: &Path) {
    let connection = Connection::open(file).unwrap();
    let found: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(found, "ok", "{}", file.display());
}

/// SIGKILL at some moment within 150 ms, and its end.
async fn killed_somewhen(daemon: Daemon, dice: &mut Dice) -> Setup {
    tokio::time::sleep(Duration::from_millis(u64::try_from(dice.below(150)).unwrap())).await;
    daemon.killed().await
}

/// What must be true of a name after the round.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    There,
    Gone,
    /// The change of this round was not acknowledged.
    Either,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q06_the_registry_survives_sigkill_while_it_is_written() {
    case("Q06");
    let mut dice = Dice::new(dice::seeds(&[6])[0]);
    // One that never comes up, so that the daemon has something to write all the time, too.
    let mut setup = Setup::new(&[fake("a").arg("--exit-at-start", "1")]);
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let mut n_acknowledged = 0;
    for round in 0..n_rounds() {
        let daemon = setup.start().await;
        let mut writers: Vec<(String, Known, Child)> = Vec::new();
        for n in 0..N_WRITERS {
            let old = known
                .iter()
                .find(|(name, is)| **is == Known::There && writers.iter().all(|(taken, ..)| taken != *name));
            let (name, wanted) = match old {
                Some((name, _)) if n % 2 == 0 => (name.clone(), Known::Gone),
                _none => (format!("s{round}-{n}"), Known::There),
            };
            let add = ["add", &name, "--disabled", "--", "/bin/true", &name];
            let arguments = if wanted == Known::Gone {
                &["remove", &name]
            } else {
                &add[..]
            };
            let mut command = daemon.setup.project.mcpctl(arguments);
            let child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            writers.push((name, wanted, child));
        }
        // The moments are what is tried here: first of some writers, then of the daemon, then of some others.
        let mut victims: Vec<bool> = writers.iter().map(|_| dice.one_in(2)).collect();
        let n_early = dice.below(N_WRITERS);
        let early = Duration::from_millis(u64::try_from(dice.below(80)).unwrap());
        tokio::time::sleep(early).await;
        for (victim, (_, _, child)) in victims.iter_mut().zip(&mut writers).take(n_early) {
            if std::mem::take(victim) {
                child.kill().unwrap();
            }
        }
        setup = killed_somewhen(daemon, &mut dice).await;
        for (victim, (name, wanted, mut child)) in victims.into_iter().zip(writers) {
            if victim {
                child.kill().unwrap();
            }
            let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
            let ended = soon("the end of mcpctl", ended).await.unwrap();
            // Whatever it says on stdout it says when the change is committed.
            let is_told = ended.status.success() || !ended.stdout.is_empty();
            n_acknowledged += usize::from(is_told);
            known.insert(name, if is_told { wanted } else { Known::Either });
        }
        check_registry(setup.path(), &mut known).await;
    }
    assert!(
        n_acknowledged > 0,
        "no change was ever acknowledged: nothing was tried"
    );
    eprintln!(
        "Q06: {} rounds, {n_acknowledged} acknowledged changes",
        n_rounds()
    );
    setup.start().await.end().await;
}

/// Checks all names, and takes down what became of those that were open.
async fn check_registry(project: &Path, known: &mut BTreeMap<String, Known>) {
    let data = project.join("data");
    assert_whole(&data.join("registry.db"));
    let registry = Registry::open(&data).await.unwrap();
    let there: BTreeMap<String, _> = registry
        .servers()
        .await
        .unwrap()
        .into_iter()
        .filter(|declared| declared.origin != DefinitionOrigin::File)
        .map(|declared| (declared.name.to_string(), declared))
        .collect();
    registry.close().await.unwrap();
    assert!(there.keys().all(|name| known.contains_key(name)), "{there:?}");
    for (name, is) in known {
        let found = there.get(name);
        match is {
            Known::There => assert!(found.is_some(), "{name} was added and is not there"),
            Known::Gone => assert!(found.is_none(), "{name} was removed and is there"),
            Known::Either => {}
        }
        if let Some(found) = found {
            assert_eq!(found.raw.command.as_deref(), Some("/bin/true"), "{name}");
            assert_eq!(found.raw.args, Some(vec![name.clone()]), "{name} is whole");
            assert!(!found.enabled, "{name} is whole");
        }
        *is = if found.is_some() {
            Known::There
        } else {
            Known::Gone
        };
    }
}

/// The status and the session in the answer to one request; `None` when the daemon was gone before.
async fn asked(
    address: &str,
    method: &str,
    session: Option<&str>,
    body: &str,
) -> Option<(u16, Option<String>)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let session = session.map_or_else(String::new, |id| format!("mcp-session-id: {id}\r\n"));
    let text = format!(
        "{method} /mcp HTTP/1.1\r\nhost: {address}\r\n{}: {}\r\n{}: {}\r\n{session}content-length: {}\r\n\r\n{body}",
        BOTH.0,
        BOTH.1,
        JSON.0,
        JSON.1,
        body.len()
    );
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while !head.windows(4).any(|part| part == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let session = head
        .lines()
        .find_map(|line| line.strip_prefix("mcp-session-id: "));
    Some((status, session.map(str::to_owned)))
}

/// Shakes hands, and perhaps goes again; the session, and what must be true of it. `None` where the daemon was gone
/// before there was an answer.
async fn come_and_go(address: String, leaves: bool) -> Option<(String, Known)> {
    let started = Instant::now();
    let hello = request("init", "initialize", greeting("2025-11-25"));
    let (status, session) = asked(&address, "POST", None, &hello).await?;
    assert_eq!(status, 200);
    let session = session?;
    let is_kept = started.elapsed() < IN_TIME;
    if !leaves {
        return Some((session, if is_kept { Known::There } else { Known::Either }));
    }
    let started = Instant::now();
    let gone = asked(&address, "DELETE", Some(&session), "").await;
    let is_gone = gone.is_some_and(|(status, _)| status < 300) && started.elapsed() < IN_TIME;
    Some((session, if is_gone { Known::Gone } else { Known::Either }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q06b_sessions_survive_sigkill_while_they_are_written() {
    case("Q06b");
    let mut dice = Dice::new(dice::seeds(&[60])[0]);
    let mut setup = Setup::new(&[fake("a").tools("echo")]);
    let mut n_in_time = 0;
    for _round in 0..n_rounds() {
        let daemon = setup.start().await;
        let mut clients = JoinSet::new();
        for n in 0..N_CLIENTS {
            clients.spawn(come_and_go(daemon.address.clone(), n % 2 == 1));
        }
        setup = killed_somewhen(daemon, &mut dice).await;
        let told = soon("the clients", clients.join_all()).await;
        assert_whole(&setup.path().join("data/sessions.db"));
        let daemon = setup.start().await;
        for (session, known) in told.into_iter().flatten() {
            let mut client = HttpClient::new(&daemon.address);
            client.session = Some(session);
            let status = client.post(&request(1, "ping", json!({}))).await.status;
            n_in_time += usize::from(known != Known::Either);
            match known {
                Known::There => assert_eq!(status, 200, "an answered handshake is kept"),
                Known::Gone => assert_eq!(status, 404, "a session that has ended stays so"),
                Known::Either => assert!(matches!(status, 200 | 404), "{status}"),
            }
        }
        setup = daemon.end_but_keep().await;
    }
    assert!(
        n_in_time > 0,
        "no session was ever written down in time: nothing was tried"
    );
    eprintln!(
        "Q06b: {} rounds, {n_in_time} sessions that had to be there or gone",
        n_rounds()
    );
}
