//! Secrets that are fetched at each start: given to the server, shown to nobody, and missed without harm.

use serde_json::json;

use crate::harness::fake::MARK;
use crate::harness::{Daemon, Setup, fake, text_of, until};

const FIRST: &str = "hunter2-first";
const SECOND: &str = "hunter2-second";

/// A server with these variables besides its own, as TOML.
fn with_variables(variables: &str) -> Setup {
    let setup = Setup::new(&[]);
    setup.declare(&[fake("a").tools("env,stderr")]);
    let file = setup.path().join("servers.toml");
    let declared = std::fs::read_to_string(&file).unwrap();
    let with = declared.replace("env = { ", &format!("env = {{ {variables}, "));
    assert_ne!(with, declared);
    std::fs::write(&file, with).unwrap();
    setup
}

/// The value of a variable, as the server has it.
async fn value(daemon: &Daemon, name: &str) -> Option<String> {
    let client = daemon.http().await;
    let answer = client.call("a__env", json!({})).await;
    let told = text_of(&answer);
    let begin = format!("{name}=");
    told.lines()
        .find_map(|line| Some(line.strip_prefix(&begin)?.to_owned()))
}

#[tokio::test]
async fn a_rotated_secret_counts_at_the_next_start_and_is_shown_nowhere() {
    let setup = with_variables(
        r#"TOKEN = "Bearer ${file:~/token}", CODE = "${cmd:sh -c 'echo ab12'}", DIR = "${file:~/no:-fallback}""#,
    );
    setup.project.write("token", &format!("{FIRST}\n"));
    let daemon = setup.start().await;
    daemon.ready("a").await;
    assert_eq!(value(&daemon, "TOKEN").await, Some(format!("Bearer {FIRST}")));
    assert_eq!(value(&daemon, "CODE").await.as_deref(), Some("ab12"));
    assert_eq!(value(&daemon, "DIR").await.as_deref(), Some("fallback"));

    let before = daemon.child_pid("a").await;
    daemon.setup.project.write("token", SECOND);
    daemon.api("POST", "/api/reload", "").await;
    assert_eq!(daemon.child_pid("a").await, before, "its definition is the same");
    assert_eq!(daemon.mcpctl(&["restart", "a"]).await.code, 0);
    daemon.ready("a").await;
    assert_eq!(value(&daemon, "TOKEN").await, Some(format!("Bearer {SECOND}")));

    let client = daemon.http().await;
    let said = json!({ "text": format!("the key is {SECOND}, the code is ab12, the end") });
    client.call("a__stderr", said).await;
    daemon
        .tells(&["logs", "a"], &["the key is ***, the code is ***, the end"])
        .await;
    let mut shown = daemon.log();
    for verb in [
        &["why", "a"][..],
        &["status", "a"],
        &["events"],
        &["list"],
        &["status", "--json"],
    ] {
        let ran = daemon.mcpctl(verb).await;
        shown += &(ran.stdout + &ran.stderr);
    }
    assert!(!shown.contains(FIRST) && !shown.contains(SECOND), "{shown}");
    assert!(!shown.contains("without a secret"), "{shown}");
    daemon.end().await;
}

#[tokio::test]
async fn what_cannot_be_fetched_is_left_out_and_told() {
    let setup = with_variables(concat!(
        r#"ABSENT = "x${file:~/absent}", UNSET = "${env:NOT_SET_HERE}", FAILED = "${cmd:sh -c 'echo s3cret-s3cret; exit 3'}", "#,
        r#"NO_PROGRAM = "${cmd:no-such-program}", FINE = "y""#
    ));
    let daemon = setup.start().await;
    daemon.ready("a").await;
    for missing in ["ABSENT", "UNSET", "FAILED", "NO_PROGRAM"] {
        assert_eq!(value(&daemon, missing).await, None, "{missing}");
    }
    assert_eq!(value(&daemon, "FINE").await.as_deref(), Some("y"));
    let why = daemon.mcpctl(&["why", "a"]).await;
    why.said(
        0,
        &[
            "starts without a secret",
            "warning   runs without a secret: env.ABSENT is not set: the file `",
            "env.UNSET is not set: the variable NOT_SET_HERE is not set",
            "env.FAILED is not set: `sh` failed (exit code 3)",
            "env.NO_PROGRAM is not set: cannot be started: `no-such-program`: command not found",
        ],
    );
    assert!(daemon.log().contains("starts without a secret"));
    assert!(!why.stdout.contains("s3cret") && !daemon.log().contains("s3cret"));

    // What was missing may be there at the next start.
    daemon.setup.project.write("absent", "there");
    assert_eq!(daemon.mcpctl(&["restart", "a"]).await.code, 0);
    daemon.ready("a").await;
    assert_eq!(value(&daemon, "ABSENT").await.as_deref(), Some("xthere"));
    let warnings = daemon.server("a").await["warnings"].to_string();
    assert!(
        !warnings.contains("ABSENT") && warnings.contains("UNSET"),
        "{warnings}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_daemon_goes_down_while_a_secret_is_waited_for() {
    let setup = with_variables(r#"SLOW = "${cmd:sh -c 'sleep 1000'}""#);
    // The program has the daemon's environment, so it is found by the mark.
    let mark = setup.mark.clone();
    let daemon = setup.variable(MARK, &mark).start().await;
    until("the program", async || {
        (daemon.setup.processes().len() > 1).then_some(())
    })
    .await;
    daemon.end().await;
}
