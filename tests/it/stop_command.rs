//! What a server has started elsewhere, where no signal of ours arrives, is ended by the command declared for it.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::faults::case;
use crate::harness::fake::Fake;
use crate::harness::{Daemon, Setup, fake, text_of, until};

/// Notes what it was told, ends the process that stands for a container, and waits as long as it has to.
const DOCKER: &str = r#"echo "docker $* for $MCP_IT_MARK"
echo "docker $*" >> docker.calls
kill "$(cat "$2.container")"
while [ -e hold ]; do sleep 0.01; done
"#;

/// A server with a process that is no child of it, as a container is none of `docker run`.
fn contained(setup: &Setup) -> Fake {
    let docker = setup.path().join("docker").display().to_string();
    fake("a")
        .tools("echo")
        .key("cwd", &format!("{:?}", setup.path().display().to_string()))
        .key("stop_command", &format!(r#"["sh", {docker:?}, "kill", "box"]"#))
}

struct Docker(Child);

impl Docker {
    fn run(setup: &Setup) -> Self {
        setup.project.write("docker", DOCKER);
        let container = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        setup
            .project
            .write("box.container", &container.id().unwrap().to_string());
        Self(container)
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

async fn started() -> (Daemon, Docker) {
    let setup = Setup::new(&[]);
    let container = Docker::run(&setup);
    setup.declare(&[contained(&setup), fake("b")]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    (daemon, container)
}

fn calls(daemon: &Daemon) -> Vec<String> {
    let text = std::fs::read_to_string(daemon.path().join("docker.calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_runs_elsewhere_goes_with_its_server_and_the_words_of_the_command_are_in_its_log() {
    let (daemon, mut container) = started().await;
    assert!(container.runs() && calls(&daemon).is_empty());
    assert_eq!(daemon.mcpctl(&["stop", "a"]).await.code, 0);
    until("the end of the container", async || {
        (!container.runs()).then_some(())
    })
    .await;
    daemon.tells(&["logs", "a"], &["docker kill box for ***"]).await;
    assert_eq!(calls(&daemon), ["docker kill box"]);
    let setup = daemon.end_but_keep().await;
    let calls = std::fs::read_to_string(setup.path().join("docker.calls")).unwrap();
    assert_eq!(
        calls, "docker kill box\n",
        "a server that is stopped is not stopped again"
    );
}

#[tokio::test]
async fn what_a_server_that_crashed_has_left_elsewhere_goes_before_the_next_process_is_made() {
    case("P16");
    let (daemon, mut container) = started().await;
    daemon.setup.project.write("hold", "");
    kill(Pid::from_raw(daemon.child_pid("a").await), Signal::SIGKILL).unwrap();
    until("the end of the container", async || {
        (!container.runs()).then_some(())
    })
    .await;
    daemon.in_state("a", "spawning").await;
    // Time enough for others to be stopped and started, and for `a` if it did not wait.
    for _ in 0..3 {
        assert_eq!(daemon.mcpctl(&["restart", "b"]).await.code, 0);
    }
    daemon.ready("b").await;
    let waiting = daemon.server("a").await;
    assert_eq!(waiting["state"], "spawning", "{waiting}");
    assert_eq!(
        (&waiting["generation"], &waiting["pid"]),
        (&json!(2), &json!(null))
    );
    std::fs::remove_file(daemon.path().join("hold")).unwrap();
    daemon.ready("a").await;
    let client = daemon.http().await;
    let answer = client.call("a__echo", json!({ "n": 1 })).await;
    assert_eq!(text_of(&answer), r#"{"n":1}"#);
    assert_eq!(calls(&daemon), ["docker kill box"]);
    // A daemon that ends waits for the command as well.
    let setup = daemon.end_but_keep().await;
    let calls = std::fs::read_to_string(setup.path().join("docker.calls")).unwrap();
    assert_eq!(calls, "docker kill box\n".repeat(2));
}
