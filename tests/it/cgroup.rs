//! Where the daemon is given a cgroup of its own, each server gets one below it, and the kernel keeps it to its limits.
//!
//! Tried for real where one can be made: by root on a machine that has cgroups of version 2, if only beside those of
//! version 1; the limits where the controllers are of version 2 as well. Elsewhere the output says so.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::faults::{case, skipped};
use crate::harness::{Setup, fake, until};

/// A cgroup for one daemon, as a service manager would make it.
struct Delegated(PathBuf);

impl Delegated {
    fn make(setup: &Setup) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let name = setup
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace('.', "_");
        let folder = Path::new(mount.split(' ').nth(4)?).join(format!("mcp-it-{name}"));
        std::fs::create_dir(&folder).ok()?;
        Some(Self(folder))
    }

    /// The daemon begins its life in it.
    fn around(&self, setup: Setup) -> Setup {
        let enter = format!("echo 0 > {}/cgroup.procs && exec \"$0\" \"$@\"", self.0.display());
        setup.through(&["sh", "-c", &enter, env!("CARGO_BIN_EXE_mcp-wrapper")])
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }

    fn members(&self, leaf: &str) -> Vec<i32> {
        let all = self.read(&format!("{leaf}/cgroup.procs"));
        all.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    fn leaves(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap().flatten();
        let folders = entries.filter(|entry| entry.path().is_dir());
        let mut names: Vec<_> = folders
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for leaf in self.leaves() {
            std::fs::remove_dir(self.0.join(leaf)).ok();
        }
        std::fs::remove_dir(&self.0).ok();
    }
}

#[tokio::test]
async fn p15_a_server_with_all_that_it_starts_is_in_a_cgroup_of_its_own_and_leaves_none_behind() {
    case("P15");
    let family = fake("a").arg("--family", "plain,setsid,double_fork,bare,many:5");
    let setup = Setup::new(&[family, fake("b")]);
    let Some(cgroup) = Delegated::make(&setup) else {
        return skipped("P15", "no cgroup of version 2 can be made here");
    };
    let daemon = cgroup.around(setup).start().await;
    daemon.ready("a").await;
    daemon.ready("b").await;
    let (ours, server) = ("daemon", "server-a-1-0".to_owned());
    let leaves = cgroup.leaves();
    assert_eq!(leaves.len(), 3, "{leaves:?}");
    let leaf = leaves
        .iter()
        .find(|name| name.starts_with("server-a-1-"))
        .unwrap_or(&server);
    until("the server's whole family in its cgroup", async || {
        let members = cgroup.members(leaf);
        (members.len() >= 9 && members.contains(&daemon.child_pid("a").await)).then_some(())
    })
    .await;
    let home = cgroup.members(ours);
    assert_eq!(home.len(), 3, "the daemon and two leashes: {home:?}");
    assert!(home.contains(&daemon.pid().as_raw()) && cgroup.members("").is_empty());
    // What is in no session, no environment and no group of ours is in its cgroup still, also without its leash.
    let leash = *home.iter().find(|pid| is_leash_of(**pid, "a")).unwrap();
    let before = cgroup.members(leaf);
    kill(Pid::from_raw(leash), Signal::SIGKILL).unwrap();
    until("the end of the whole family", async || {
        cgroup.members(leaf).is_empty().then_some(())
    })
    .await;
    assert!(before.iter().all(|pid| !lives(*pid)), "{before:?}");
    until("another process in another cgroup", async || {
        let leaves = cgroup.leaves();
        (leaves.len() == 3 && !leaves.contains(leaf)).then_some(())
    })
    .await;
    let setup = daemon.end_but_keep().await;
    assert_eq!(cgroup.leaves(), [""; 0], "it is given back as it was found");
    // And can be taken again.
    let daemon = cgroup.around(setup).start().await;
    daemon.ready("b").await;
    assert_eq!(cgroup.leaves().len(), 3);
    daemon.end().await;
}

fn is_leash_of(pid: i32, server: &str) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(2) == Some(server.as_bytes())
}

fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn q01b_what_takes_memory_faster_than_it_is_measured_is_stopped_by_the_kernel() {
    case("Q01b");
    let greedy = fake("a")
        .tools("leak,echo")
        .key("memory_max", "\"16MiB\"")
        .key("fail_burst", "100");
    let setup = Setup::new(&[greedy, fake("b")]);
    let Some(cgroup) = Delegated::make(&setup) else {
        return skipped("Q01b", "no cgroup of version 2 can be made here");
    };
    if !cgroup.read("cgroup.controllers").contains("memory") {
        return skipped("Q01b", "the controller of memory is not of version 2 here");
    }
    let daemon = cgroup.around(setup).start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    let word = "memory: killed by the kernel's limit, `memory_max` is 16 MiB";
    // Who is measured in that very moment is replaced for what was measured.
    for attempt in 1_u64.. {
        let answer = client.call("a__leak", json!({ "n": 64 })).await;
        assert_eq!(answer["error"]["code"], 1001, "{answer}");
        until("the next process", async || {
            let server = daemon.server("a").await;
            (server["generation"].as_u64()? > attempt && server["state"] == "ready").then_some(())
        })
        .await;
        if daemon.mcpctl(&["events", "a"]).await.stdout.contains(word) {
            break;
        }
        assert!(attempt < 5, "{}", daemon.log());
    }
    daemon.ready("a").await;
    assert_eq!(daemon.server("b").await["generation"], 1);
    daemon.end().await;
}
