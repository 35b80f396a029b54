//! `mcp-wrapper stdio`: what a desktop client launches.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{Daemon, LineClient, Setup, call, fake, text_of, until};

/// The daemon that a shim has started.
fn background(setup: &Setup) -> Pid {
    let text = std::fs::read_to_string(setup.path().join("data/daemon.pid")).unwrap();
    Pid::from_raw(text.trim().parse().unwrap())
}

/// Ends it, and sees that nothing is left.
async fn end(setup: &Setup) {
    let pid = background(setup);
    kill(pid, Signal::SIGTERM).unwrap();
    until("the end of the daemon in the background", async || {
        // Nobody may have reaped it: a zombie is an end as well.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
    assert!(setup.processes().is_empty());
}

#[tokio::test]
async fn without_a_daemon_the_shim_starts_one_that_outlives_it() {
    let setup = Setup::new(&[fake("a")]).variable("SHELL", "/bin/sh");
    let mut client = LineClient::launch(&setup);
    let greeted = client.greet("2025-06-18").await;
    assert_eq!(greeted["result"]["protocolVersion"], "2025-06-18", "{greeted}");
    let (_, code) = client.finish().await;
    assert_eq!(code, 0);
    let pid = background(&setup);
    kill(pid, None).expect("the daemon goes on");
    let mut again = LineClient::greeted(&setup).await;
    until("its tools", async || {
        let answer = again.ask_json(&call(1, "a__echo", json!({}))).await;
        answer["result"].is_object().then_some(())
    })
    .await;
    assert_eq!(background(&setup), pid, "the second client uses the same daemon");
    drop(again);
    end(&setup).await;
}

#[tokio::test]
async fn two_shims_at_once_share_one_daemon() {
    let setup = Setup::new(&[fake("a")]).variable("SHELL", "/bin/sh");
    let (mut one, mut two) = tokio::join!(LineClient::greeted(&setup), LineClient::greeted(&setup));
    for client in [&mut one, &mut two] {
        until("an answer", async || {
            let answer = client.ask_json(&call(1, "a__echo", json!({}))).await;
            answer["result"].is_object().then_some(())
        })
        .await;
    }
    let starts = setup
        .journal("a")
        .iter()
        .filter(|line| line.starts_with("start "))
        .count();
    assert_eq!(starts, 1);
    end(&setup).await;
}

#[tokio::test]
async fn a_program_that_only_the_login_shell_finds_is_found() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let setup = Setup::new(&[]);
    let folder = setup.path().join("versions/bin");
    std::fs::create_dir_all(&folder).unwrap();
    symlink(env!("CARGO_BIN_EXE_fake-child"), folder.join("only-here")).unwrap();
    // Prints something of its own first, as start-up files do, and then what it is asked.
    let shell = setup.path().join("shell");
    let text = format!(
        "#!/bin/sh\necho welcome\nPATH={}:$PATH\neval \"$2\"\n",
        folder.display()
    );
    std::fs::write(&shell, text).unwrap();
    std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o700)).unwrap();
    let table = fake("a").table(setup.path(), &setup.mark);
    let program = format!("\"{}\"", env!("CARGO_BIN_EXE_fake-child"));
    setup
        .project
        .write("servers.toml", &table.replace(&program, "\"only-here\""));
    let setup = setup.variable("SHELL", &shell.display().to_string());
    let mut client = LineClient::greeted(&setup).await;
    until("an answer", async || {
        let answer = client.ask_json(&call(1, "a__echo", json!({}))).await;
        answer["result"].is_object().then_some(())
    })
    .await;
    let why = setup.project.json(&["why", "a"]);
    let searched = why["path_searched"].as_str().unwrap();
    assert!(searched.starts_with(&folder.display().to_string()), "{why}");
    assert_eq!(
        why["program_found"],
        folder.join("only-here").display().to_string()
    );
    end(&setup).await;
}

#[tokio::test]
async fn the_end_of_stdin_ends_the_shim_after_the_last_answers() {
    let daemon = Daemon::start(&[fake("a").tools("sleep,echo")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    client.send(&call(1, "a__sleep", json!({ "ms": 500 }))).await;
    client.send(&call(2, "a__echo", json!({}))).await;
    let (last, code) = client.finish().await;
    assert_eq!(code, 0);
    assert_eq!(last.len(), 2, "{last:?}");
    assert!(
        last[0].contains(r#""id":2"#) && last[1].contains(r#""id":1"#),
        "{last:?}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_line_that_is_no_message_is_answered_and_the_next_one_too() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    assert_eq!(client.ask_json("{oops").await["error"]["code"], -32700);
    assert_eq!(client.ask_json("[]").await["error"]["code"], -32600);
    client.send("").await;
    let crlf = format!("{}\r", call(1, "a__echo", json!({})));
    assert_eq!(text_of(&client.ask_json(&crlf).await), "{}");
    let unknown = r#"{"jsonrpc":"2.0","id":2,"method":"no/such"}"#;
    assert_eq!(client.ask_json(unknown).await["error"]["code"], -32601);
    daemon.end().await;
}

#[tokio::test]
async fn a_daemon_that_takes_a_client_in_and_ends_at_once_is_not_asked_without_a_pause() {
    let setup = Setup::new(&[]);
    let data = setup.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let door = tokio::net::UnixListener::bind(data.join("mcp.sock")).unwrap();
    let client = LineClient::launch(&setup);
    let shut_at_once = async || drop(door.accept().await.unwrap());
    shut_at_once().await;
    let since = tokio::time::Instant::now();
    for _again in 0..4 {
        shut_at_once().await;
    }
    // 50 + 100 + 200 + 400 ms, but for what the first one took.
    let waited = since.elapsed().as_millis();
    assert!(waited >= 500, "five clients in {waited} ms");
    drop(door);
    std::fs::remove_file(data.join("mcp.sock")).unwrap();
    let (_, code) = client.finish().await;
    assert_eq!(code, 0, "the end of stdin is heard in a pause, too");
}
