//! What goes and what does not: who needs how much asking, who cannot be killed, and who stands below a runner.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use super::super::{case, skipped};
use crate::harness::fake::MARK;
use crate::harness::{Daemon, Setup, fake, text_of, until};
use crate::trees::{AFTER_STOP, Tree, below, seen};

#[tokio::test]
async fn p07b_who_goes_by_itself_is_asked_no_harder() {
    case("P07b");
    let daemon = Daemon::start(&[
        fake("polite").key("eof_grace", "\"300s\""),
        fake("busy").flag("--ignore-eof").key("term_grace", "\"300s\""),
        fake("slow")
            .flag("--ignore-eof")
            .arg("--term-delay", "700")
            .key("term_grace", "\"300s\""),
    ])
    .await;
    for (name, wanted) in [
        ("polite", ["eof", "exit"].as_slice()),
        ("busy", &["eof", "signal TERM", "exit"]),
        ("slow", &["eof", "signal TERM", "exit"]),
    ] {
        assert_eq!(daemon.mcpctl(&["stop", name]).await.code, 0);
        let journal = daemon.setup.journal(name);
        let ends: Vec<&str> = journal
            .iter()
            .map(String::as_str)
            .filter(|line| matches!(*line, "eof" | "signal TERM" | "exit"))
            .collect();
        assert_eq!(ends, wanted, "{name}");
        let events = daemon.mcpctl_json(&["events", name]).await;
        assert!(!events.to_string().contains("killed"), "{events}");
    }
    daemon.end().await;
}

/// A cgroup (v1) in which processes can be frozen: nothing ends one that is, not even SIGKILL, and its state is D.
struct Freezer(PathBuf);

impl Freezer {
    /// None where there is no such thing, or we may not use it.
    fn new() -> Option<Self> {
        let folder = Path::new("/sys/fs/cgroup/freezer").join(format!("mcp-it-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let freezer = Self(folder);
        freezer.0.join("freezer.state").exists().then_some(freezer)
    }

    async fn freeze(&self, pid: i32) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
        std::fs::write(self.0.join("freezer.state"), "FROZEN").unwrap();
        until("a frozen process", async || {
            let state = std::fs::read_to_string(self.0.join("freezer.state")).unwrap();
            (state.trim() == "FROZEN").then_some(())
        })
        .await;
    }

    fn thaw(&self) {
        std::fs::write(self.0.join("freezer.state"), "THAWED").unwrap();
    }
}

impl Drop for Freezer {
    /// After a test that failed nothing may stay as it is.
    fn drop(&mut self) {
        std::fs::write(self.0.join("freezer.state"), "THAWED").ok();
        std::fs::remove_dir(&self.0).ok();
    }
}

#[tokio::test]
async fn p07c_what_cannot_be_killed_is_named_and_has_no_second_beside_it() {
    let Some(freezer) = Freezer::new() else {
        return skipped("P07c", "no process can be frozen here");
    };
    case("P07c");
    let daemon = Daemon::start(&[fake("a"), fake("b")]).await;
    let client = daemon.http().await;
    let pid = daemon.child_pid("a").await;
    freezer.freeze(pid).await;
    let told = format!(
        "process {pid} does not end even when killed (state D: the kernel holds it); no other is started before it is gone"
    );
    assert_ne!(daemon.mcpctl(&["stop", "a"]).await.code, 0, "it is not stopped");
    let server = daemon.in_state("a", "failed").await;
    assert_eq!(
        (&server["cause"], &server["pid"], &server["next_try_ms"]),
        (&json!(told), &json!(pid), &json!(null)),
        "{server}"
    );
    assert_eq!(server["calls"], "are refused at once (error 1003)");
    daemon.tells(&["status", "a"], &[&told]).await;
    daemon
        .tells(
            &["why", "a"],
            &["made to go: SIGKILL", &format!("failed: {told}"), "wchan"],
        )
        .await;
    let answer = client.call("a__echo", json!({})).await;
    assert_eq!(answer["error"]["code"], 1003, "{answer}");
    assert!(
        answer["error"]["message"].as_str().unwrap().contains(&told),
        "{answer}"
    );
    let health = client.send("GET", "/health", &[], b"").await.json().await;
    assert_eq!(health["circuits"][0]["server"], "a", "{health}");
    assert_ne!(
        daemon.mcpctl(&["restart", "a"]).await.code,
        0,
        "it cannot be done yet"
    );
    let n_fakes = || {
        let all = below(daemon.pid().as_raw()).into_iter();
        all.filter(|one| one.name == "fake-child").count()
    };
    assert_eq!(n_fakes(), 2, "its own and that of the other server");
    assert_eq!(text_of(&client.call("b__echo", json!({})).await), "{}");
    assert_eq!(seen(pid).map(|one| one.state), Some("D".to_owned()));
    freezer.thaw();
    let server = daemon.ready("a").await;
    assert_ne!(server["pid"], json!(pid), "the restart that was asked for");
    assert_eq!(server["generation"], 2, "{server}");
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
    until("an empty freezer", async || std::fs::remove_dir(&freezer.0).ok()).await;
}

fn is_there(program: &str) -> bool {
    ["/usr/bin", "/bin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists())
}

/// A package whose program starts one process apart, and a server.
fn write_package(setup: &Setup) -> PathBuf {
    let folder = setup.path().join("package");
    std::fs::create_dir(&folder).unwrap();
    let manifest = json!({ "name": "it-server", "version": "1.0.0", "bin": { "it-server": "run.js" } });
    std::fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
    let script = format!(
        "#!/usr/bin/env node\n\
         const {{ spawn }} = require('node:child_process');\n\
         spawn('sleep', ['1000'], {{ detached: true, stdio: 'ignore' }});\n\
         spawn({}, ['--tools', 'echo'], {{ stdio: 'inherit' }});\n",
        json!(env!("CARGO_BIN_EXE_fake-child"))
    );
    let file = folder.join("run.js");
    std::fs::write(&file, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&file, mode).unwrap();
    folder
}

/// Runners take their time on a busy machine: so many times the patience of the harness.
async fn ready_some_time(daemon: &Daemon, name: &str) {
    let deadline = tokio::time::Instant::now() + 9 * crate::harness::PATIENCE;
    while daemon.server(name).await["state"] != "ready" {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{}",
            daemon.server(name).await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn p13b_below_npx_the_whole_tree_goes() {
    if !is_there("npx") || !is_there("node") {
        return skipped("P13b", "there is no npx");
    }
    case("P13b");
    let setup = Setup::new(&[]);
    let package = write_package(&setup).display().to_string();
    let table = format!(
        "[servers.a]\ncommand = \"npx\"\nargs = [\"--yes\", \"--offline\", {}]\nstart_timeout = \"300s\"\n\
         env = {{ {MARK} = {}, npm_config_update_notifier = \"false\" }}\n",
        json!(package),
        json!(setup.mark)
    );
    setup.project.write("servers.toml", &table);
    let daemon = setup.start().await;
    ready_some_time(&daemon, "a").await;
    let tree = Tree::grown(daemon.pid().as_raw(), 1).await;
    assert_eq!(tree.named("fake-child").count(), 1, "{tree:?}");
    assert!(
        tree.0.len() >= 4,
        "npx, node, the server and what is apart: {tree:?}"
    );
    assert_eq!(daemon.mcpctl(&["stop", "a"]).await.code, 0);
    tree.is_gone_within(AFTER_STOP).await;
    daemon.end().await;
}

/// Words of docker, or none where it does not answer.
async fn docker(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("docker");
    let output = command.args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(crate::harness::PATIENCE, output)
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

#[tokio::test]
async fn p13c_a_container_goes_with_its_child() {
    if docker(&["version", "--format", "{{.Server.Version}}"])
        .await
        .is_none()
    {
        return skipped("P13c", "no docker answers");
    }
    let Ok(image) = std::env::var("IT_DOCKER_IMAGE") else {
        return skipped("P13c", "`IT_DOCKER_IMAGE` names no image");
    };
    case("P13c");
    // A server of a few words, so that any image with a shell will do.
    const SERVER: &str = r#"read -r line
echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}'
while read -r line; do :; done"#;
    let setup = Setup::new(&[]);
    let name = format!("mcp-it-{}", std::process::id());
    let found = std::env::var_os("PATH")
        .and_then(|path| {
            std::env::split_paths(&path)
                .map(|folder| folder.join("docker"))
                .find(|file| file.exists())
        })
        .unwrap();
    let table = format!(
        "[servers.a]\ncommand = {}\nargs = [\"run\", \"-i\", \"--rm\", \"--init\", \"--network\", \"none\", \"--name\", {}, {}, \"sh\", \"-c\", {}]\n\
         start_timeout = \"300s\"\neof_grace = \"60s\"\n",
        json!(found.display().to_string()),
        json!(name),
        json!(image),
        json!(SERVER)
    );
    setup.project.write("servers.toml", &table);
    let daemon = setup.start().await;
    ready_some_time(&daemon, "a").await;
    let filter = format!("name={name}");
    let of_it = ["ps", "-a", "-q", "--filter", &filter];
    assert_ne!(docker(&of_it).await.unwrap(), "", "it runs in a container");
    assert_eq!(daemon.mcpctl(&["stop", "a"]).await.code, 0);
    until("the end of the container", async || {
        (docker(&of_it).await?.is_empty()).then_some(())
    })
    .await;
    daemon.end().await;
}
