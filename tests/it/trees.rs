//! Whatever a server has started is gone with it: stopped, removed, with the daemon, without the daemon.
//!
//! The oracle is `/proc`, read here anew: who descended from the daemon before, by number and start, must not be
//! there after, dead or alive. `CHAOS_ROUNDS` and `CHURN_CYCLES` make two of the tests longer.

use std::collections::HashSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::fake::{Fake, MARK};
use crate::harness::{Daemon, PATIENCE, Setup, call, fake, text_of, until};

/// One of each kind; how many of them live on by themselves.
const ALL: (&str, usize) = (
    "plain,setsid,double_fork,deaf,bare,stopped,many:5,zombies,pipe",
    13,
);
/// After a stop has returned, everything is gone within this.
pub(crate) const AFTER_STOP: Duration = Duration::from_secs(1);
/// After the daemon was killed.
const AFTER_KILL: Duration = Duration::from_secs(8);

fn number_of(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

// === What /proc says ===

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) pid: i32,
    parent: i32,
    start: u64,
    pub(crate) state: String,
    pub(crate) name: String,
}

pub(crate) fn seen(pid: i32) -> Option<Seen> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let (before, after) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split(' ').collect();
    Some(Seen {
        pid,
        parent: fields[1].parse().ok()?,
        start: fields[19].parse().ok()?,
        state: fields[0].to_owned(),
        name: before.split_once('(')?.1.to_owned(),
    })
}

fn everybody() -> Vec<Seen> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(seen).collect()
}

pub(crate) fn below(root: i32) -> Vec<Seen> {
    let all = everybody();
    let mut inside = HashSet::from([root]);
    loop {
        let more: Vec<i32> = all
            .iter()
            .filter(|one| inside.contains(&one.parent) && !inside.contains(&one.pid))
            .map(|one| one.pid)
            .collect();
        if more.is_empty() {
            break;
        }
        inside.extend(more);
    }
    all.into_iter()
        .filter(|one| one.pid != root && inside.contains(&one.pid))
        .collect()
}

/// Everything below a process at one moment.
#[derive(Debug)]
pub(crate) struct Tree(pub(crate) Vec<Seen>);

impl Tree {
    /// Waits until so many live there that the fake children do not need.
    pub(crate) async fn grown(root: i32, n_relatives: usize) -> Self {
        let is_relative = |one: &Seen| one.name == "sleep" && one.state != "Z" || one.state == "T";
        until(format!("{n_relatives} relatives"), async || {
            let all = below(root);
            let n = all.iter().filter(|one| is_relative(one)).count();
            (n >= n_relatives).then_some(Self(all))
        })
        .await
    }

    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Seen> {
        self.0.iter().filter(move |one| one.name == name)
    }

    /// Those that are there still; zombies count.
    pub(crate) fn left(&self) -> Vec<Seen> {
        let still = |one: &Seen| seen(one.pid).filter(|now| now.start == one.start);
        self.0.iter().filter_map(still).collect()
    }

    /// Those that live still. Whose parents are dead is reaped by the first process, when that likes.
    fn alive(&self) -> Vec<Seen> {
        self.left().into_iter().filter(|one| one.state != "Z").collect()
    }

    /// Checks that within a time nothing is there, not even dead.
    pub(crate) async fn is_gone_within(&self, bound: Duration) {
        let begun = Instant::now();
        while !self.left().is_empty() {
            assert!(begun.elapsed() < bound, "left after {bound:?}: {:?}", self.left());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Checks that within a time nothing lives. How long it took.
    async fn is_dead_within(&self, bound: Duration) -> Duration {
        let begun = Instant::now();
        while !self.alive().is_empty() {
            assert!(
                begun.elapsed() < bound,
                "alive after {bound:?}: {:?}",
                self.alive()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }
}

fn relatives(name: &str, kinds: &str) -> Fake {
    fake(name).arg("--family", kinds)
}

pub(crate) async fn tree_of(daemon: &Daemon, n_relatives: usize) -> Tree {
    Tree::grown(daemon.pid().as_raw(), n_relatives).await
}

pub(crate) fn end_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

// === Stopped, removed, with the daemon ===

#[tokio::test]
async fn p07_a_deaf_server_hears_eof_then_sigterm_and_is_killed_when_its_time_is_up() {
    let deaf = fake("a").flag("--ignore-eof").flag("--ignore-sigterm");
    let daemon = Daemon::start(&[deaf]).await;
    let tree = tree_of(&daemon, 0).await;
    let told = Instant::now();
    assert_eq!(daemon.mcpctl(&["stop", "a"]).await.code, 0);
    let took = told.elapsed();
    tree.is_gone_within(AFTER_STOP).await;
    let journal = daemon.setup.journal("a");
    let ends: Vec<&str> = journal
        .iter()
        .map(String::as_str)
        .filter(|line| matches!(*line, "eof" | "signal TERM" | "exit"))
        .collect();
    assert_eq!(ends, ["eof", "signal TERM"], "each once, in this order");
    // 300 ms for EOF and 500 ms for SIGTERM; what is above is the machine.
    assert!(took >= Duration::from_millis(790), "{took:?}");
    assert!(took < Duration::from_millis(800 + 1500), "{took:?}");
    daemon.end().await;
}

#[tokio::test]
async fn p08_a_death_is_told_though_a_grandchild_holds_the_pipe_and_that_goes_too() {
    let daemon = Daemon::start(&[relatives("a", "pipe").tools("hang,echo")]).await;
    let client = daemon.http().await;
    let tree = tree_of(&daemon, 1).await;
    let asked = call(1, "a__hang", json!({}));
    let pid = daemon.child_pid("a").await;
    let (reply, killed) = tokio::join!(client.post(&asked), async {
        daemon.setup.called("a", "hang").await;
        end_hard(pid);
        Instant::now()
    });
    let took = killed.elapsed();
    eprintln!("P08: told after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let answer = reply.json().await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    assert_eq!(answer["error"]["data"]["exit"], "signal 9 (SIGKILL)", "{answer}");
    tree.is_gone_within(AFTER_STOP).await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    daemon.end().await;
}

#[tokio::test]
async fn p09_sessions_of_their_own_double_forks_and_empty_environments_are_no_way_out() {
    let daemon = Daemon::start(&[relatives("a", "setsid,double_fork,bare"), fake("b")]).await;
    let other = daemon.child_pid("b").await;
    let tree = tree_of(&daemon, 3).await;
    let of_a = Tree(tree.0.into_iter().filter(|one| one.name == "sleep").collect());
    assert_eq!(daemon.mcpctl(&["stop", "a"]).await.code, 0);
    of_a.is_gone_within(AFTER_STOP).await;
    assert_eq!(daemon.child_pid("b").await, other, "another server goes on");
    assert_eq!(below(daemon.pid().as_raw()).len(), 2, "that and what is above it");
    daemon.end().await;
}

#[tokio::test]
async fn p10_two_hundred_and_a_deaf_one_are_gone_when_their_time_is_up() {
    let daemon = Daemon::start(&[relatives("a", "many:200,deaf,stopped")]).await;
    let tree = tree_of(&daemon, 202).await;
    let told = Instant::now();
    assert_eq!(daemon.mcpctl(&["remove", "a"]).await.code, 1, "it is declared");
    daemon.setup.declare(&[]);
    until("a daemon without it", async || {
        daemon.server("a").await.is_null().then_some(())
    })
    .await;
    tree.is_gone_within(Duration::from_secs(4)).await;
    eprintln!(
        "P10: {} processes were gone after {:?}",
        tree.0.len(),
        told.elapsed()
    );
    daemon.end().await;
}

#[tokio::test]
async fn p11_zombies_go_with_their_parents_and_none_is_ours() {
    let daemon = Daemon::start(&[relatives("a", "zombies:50,double_fork").tools("boom,echo")]).await;
    let client = daemon.http().await;
    for _round in 0..3 {
        let tree = tree_of(&daemon, 2).await;
        until("zombies", async || {
            let dead = below(daemon.pid().as_raw());
            (dead.iter().filter(|one| one.state == "Z").count() >= 50).then_some(())
        })
        .await;
        until("a death", async || {
            let answer = client.call("a__boom", json!({})).await;
            (answer["error"]["code"] == 1001).then_some(())
        })
        .await;
        tree.is_gone_within(AFTER_STOP).await;
        daemon.ready("a").await;
    }
    daemon.end().await;
}

#[tokio::test]
async fn p11_a_leash_that_is_killed_takes_its_tree_along_and_the_server_comes_back() {
    let daemon = Daemon::start(&[relatives("a", ALL.0), relatives("b", "plain")]).await;
    let other = daemon.child_pid("b").await;
    let before = daemon.child_pid("a").await;
    let leash = seen(before).unwrap().parent;
    assert_eq!(seen(leash).unwrap().name, "mcp-leash");
    let tree = Tree::grown(leash, ALL.1).await;
    end_hard(leash);
    tree.is_gone_within(Duration::from_secs(5)).await;
    until("another process", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["pid"] != json!(before)).then_some(())
    })
    .await;
    assert_eq!(daemon.child_pid("b").await, other);
    daemon.end().await;
}

#[tokio::test]
async fn p11_the_dead_that_come_from_elsewhere_are_reaped_and_the_living_are_left_alone() {
    let setup = Setup::new(&[fake("a")]);
    let program = env!("CARGO_BIN_EXE_mcp-wrapper");
    // A shell that becomes the daemon leaves it its children.
    let script = format!("sleep 0.1 & sleep 1000 & exec '{program}'");
    let daemon = setup.through(&["/bin/sh", "-c", &script]).start().await;
    daemon.ready("a").await;
    let sleepers = || {
        let children = below(daemon.pid().as_raw()).into_iter();
        children.filter(|one| one.name == "sleep").collect::<Vec<_>>()
    };
    until("one sleeper and no zombie", async || {
        (sleepers().len() == 1).then_some(())
    })
    .await;
    let before = daemon.child_pid("a").await;
    end_hard(seen(before).unwrap().parent);
    until("another process", async || {
        let server = daemon.server("a").await;
        (server["state"] == "ready" && server["pid"] != json!(before)).then_some(())
    })
    .await;
    let living = sleepers();
    assert_eq!(living.len(), 1, "it began before any leash");
    end_hard(living[0].pid);
    daemon.end().await;
}

#[tokio::test]
async fn p13_below_a_shell_or_a_runner_the_whole_tree_goes() {
    let setup = Setup::new(&[]);
    let script = format!(
        "sleep 1000 & setsid sleep 1000 & '{}' --tools echo; true",
        env!("CARGO_BIN_EXE_fake-child")
    );
    let mark = format!("{MARK}={}", setup.mark);
    let daemon = setup.start().await;
    let added = daemon
        .mcpctl(&["add", "a", "--env", &mark, "--", "sh", "-c", &script])
        .await;
    assert_eq!(added.code, 0, "{added:?}");
    daemon.ready("a").await;
    let tree = tree_of(&daemon, 2).await;
    assert_eq!(tree.named("fake-child").count(), 1);
    assert_eq!(daemon.mcpctl(&["remove", "a"]).await.code, 0);
    tree.is_gone_within(AFTER_STOP).await;
    daemon.end().await;
}

#[tokio::test]
async fn p07_to_p11_a_daemon_that_is_told_to_stop_leaves_nothing_of_any_kind() {
    let daemon = Daemon::start(&[relatives("a", ALL.0), relatives("b", ALL.0)]).await;
    let tree = tree_of(&daemon, 2 * ALL.1).await;
    assert_eq!(tree.named("mcp-leash").count(), 2);
    daemon.end().await;
    assert_eq!(tree.left(), [], "when the daemon has ended");
}

// === What a process gets ===

#[tokio::test]
async fn p14_a_process_has_its_pipes_and_nothing_else_of_ours() {
    // What the daemon inherits without knowing it is not for the servers either.
    let setup = Setup::new(&[fake("a").tools("env")]);
    let program = env!("CARGO_BIN_EXE_mcp-wrapper");
    let setup = setup.variable("SECRET_OF_THE_DAEMON", "s").through(&[
        "/bin/sh",
        "-c",
        &format!("exec 9</etc/passwd; exec '{program}'"),
    ]);
    let daemon = setup.start().await;
    daemon.ready("a").await;
    let pid = daemon.child_pid("a").await;
    let numbers_of = |pid: i32| {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let mut numbers: Vec<i32> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
    };
    let inherited = std::fs::read_link(format!("/proc/{}/fd/9", daemon.pid())).unwrap();
    assert_eq!(inherited.to_str(), Some("/etc/passwd"), "or this tests nothing");
    let open = until("the end of its start", async || {
        // The fake child opens its journal, and effects.
        let open = numbers_of(pid);
        (open.len() >= 5).then_some(open)
    })
    .await;
    let targets: Vec<String> = open
        .iter()
        .map(|fd| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap())
        .map(|target| target.display().to_string())
        .collect();
    let is_own = |target: &&String| target.ends_with("a.journal") || target.ends_with("a.effects");
    assert_eq!(
        targets.len(),
        3 + targets.iter().filter(is_own).count(),
        "{targets:?}"
    );
    assert!(
        targets[..3].iter().all(|target| target.starts_with("pipe:")),
        "{targets:?}"
    );
    let leash = seen(pid).unwrap().parent;
    let score = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(score(pid).trim(), "500");
    assert_eq!(score(leash).trim(), score(daemon.pid().as_raw()).trim());
    let session = |pid: i32| nix::unistd::getsid(Some(Pid::from_raw(pid))).unwrap();
    assert_eq!(session(pid).as_raw(), leash, "a session apart");
    assert_ne!(session(pid), session(daemon.pid().as_raw()));
    assert_eq!(
        nix::unistd::getpgid(Some(Pid::from_raw(pid))).unwrap().as_raw(),
        pid,
        "a group of its own"
    );
    let client = daemon.http().await;
    let answer = client.call("a__env", json!({})).await;
    let names: Vec<&str> = text_of(&answer)
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    assert_eq!(names, ["HOME", MARK, "MCP_WRAPPER_CHILD", "PATH"]);
    daemon.end().await;
}

#[tokio::test]
async fn p14_a_server_begins_with_no_signal_blocked_and_none_ignored_by_us() {
    let setup = Setup::new(&[fake("b")]);
    let mark = format!("{MARK}={}", setup.mark);
    let told = setup.path().join("status");
    let script = format!(
        "cat /proc/self/status > '{}'; exec '{}'",
        told.display(),
        env!("CARGO_BIN_EXE_fake-child")
    );
    let daemon = setup.start().await;
    let added = daemon
        .mcpctl(&["add", "a", "--env", &mark, "--", "sh", "-c", &script])
        .await;
    assert_eq!(added.code, 0, "{added:?}");
    daemon.ready("a").await;
    daemon.ready("b").await;
    let status = std::fs::read_to_string(told).unwrap();
    let bits = |field: &str| {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    };
    assert_eq!(bits("SigBlk"), 0);
    // A shell may unblock them for what it starts; so the program itself is looked at, that has blocked SIGTERM alone.
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child_pid("b").await)).unwrap();
    let line = status.lines().find(|line| line.starts_with("SigBlk")).unwrap();
    let blocked = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    let its_own = 15;
    assert_eq!(blocked, 1 << (its_own - 1), "{line}");
    // Others may be ignored wherever these tests are started.
    let (hup, int, pipe, term, chld) = (1, 2, 13, 15, 17);
    for signal in [hup, int, pipe, term, chld] {
        assert_eq!(bits("SigIgn") & (1 << (signal - 1)), 0, "signal {signal}");
    }
    daemon.end().await;
}

#[tokio::test]
async fn p12_a_leash_ends_with_its_tree_and_by_no_gentle_signal() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let pid = daemon.child_pid("a").await;
    let leash = seen(pid).unwrap().parent;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(Pid::from_raw(leash), signal).unwrap();
    }
    let client = daemon.http().await;
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    assert_eq!(daemon.child_pid("a").await, pid);
    daemon.end().await;
    assert_eq!(seen(leash), None);
}

#[tokio::test]
async fn p12_a_leash_that_somebody_has_stopped_is_woken() {
    let daemon = Daemon::start(&[relatives("a", "setsid")]).await;
    let tree = tree_of(&daemon, 1).await;
    let leash = seen(daemon.child_pid("a").await).unwrap().parent;
    kill(Pid::from_raw(leash), Signal::SIGSTOP).unwrap();
    assert_eq!(daemon.mcpctl(&["stop", "a"]).await.code, 0);
    tree.is_gone_within(AFTER_STOP).await;
    daemon.end().await;
}

// === Without the daemon ===

#[tokio::test]
async fn p12_a_daemon_that_is_killed_again_and_again_leaves_no_survivor() {
    let rounds = number_of("CHAOS_ROUNDS", 3);
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    let fakes: Vec<Fake> = names
        .iter()
        .enumerate()
        .map(|(n, name)| match n % 4 {
            0 => relatives(name, ALL.0),
            1 => relatives(name, "setsid,deaf")
                .flag("--ignore-eof")
                .flag("--ignore-sigterm"),
            2 => relatives(name, "bare,double_fork").flag("--ignore-eof"),
            _ => relatives(name, "many:5"),
        })
        .collect();
    let n_relatives = 5 * (ALL.1 + 2 + 2 + 5);
    let mut setup = Setup::new(&fakes);
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let mut daemon = setup.start().await;
        // Every other time in the middle of the starts.
        let tree = if round % 2 == 0 {
            for name in &names {
                daemon.ready(name).await;
            }
            tree_of(&daemon, n_relatives).await
        } else {
            tree_of(&daemon, 1 + round % 7).await
        };
        end_hard(daemon.pid().as_raw());
        daemon.process.wait().await.unwrap();
        longest = longest.max(tree.is_dead_within(AFTER_KILL).await);
        setup = daemon.setup;
        // What was being made when we looked bears the mark.
        until("the end of all that bears the mark", async || {
            setup.processes().is_empty().then_some(())
        })
        .await;
        eprintln!("P12: round {round}: {} processes", tree.0.len());
    }
    eprintln!("P12: {rounds} rounds, the last survivor was gone after {longest:?} at most");
    let daemon = setup.start().await;
    daemon.ready("s0").await;
    daemon.end().await;
}

#[tokio::test]
async fn p12_eight_seconds_are_the_limit_whatever_was_declared() {
    let patient = relatives("a", "deaf,bare")
        .flag("--ignore-eof")
        .flag("--ignore-sigterm")
        .key("eof_grace", "\"1h\"")
        .key("term_grace", "\"1h\"");
    let mut daemon = Daemon::start(&[patient]).await;
    let tree = tree_of(&daemon, 2).await;
    end_hard(daemon.pid().as_raw());
    daemon.process.wait().await.unwrap();
    let took = tree.is_dead_within(AFTER_KILL).await;
    assert!(took > Duration::from_secs(6), "it was asked first: {took:?}");
    assert!(daemon.setup.journal("a").contains(&"signal TERM".to_owned()));
}

#[tokio::test]
async fn p12_a_daemon_and_its_leashes_that_are_killed_are_cleared_away_by_the_next_start() {
    // None that is stopped: the kernel itself sends SIGHUP to its group when nobody outside of it is left above.
    let kinds = "plain,setsid,double_fork,deaf,many:5,pipe";
    let fakes = [
        relatives("a", kinds).flag("--ignore-eof"),
        relatives("b", kinds)
            .flag("--ignore-eof")
            .flag("--ignore-sigterm"),
    ];
    let mut daemon = Daemon::start(&fakes).await;
    let tree = tree_of(&daemon, 20).await;
    end_hard(daemon.pid().as_raw());
    for leash in tree.named("mcp-leash") {
        end_hard(leash.pid);
    }
    daemon.process.wait().await.unwrap();
    assert!(tree.alive().len() >= 20, "{:?}", tree.alive());
    // It bears another daemon's name, and is none of our business.
    let mut stranger = tokio::process::Command::new("sleep");
    stranger.arg("1000").env("MCP_WRAPPER_CHILD", "0123456789/a/1/0");
    let mut stranger = stranger.kill_on_drop(true).spawn().unwrap();
    let begun = Instant::now();
    let daemon = daemon.setup.start().await;
    eprintln!("P12: the next daemon listened after {:?}", begun.elapsed());
    assert_eq!(tree.alive(), [], "when the next daemon listens");
    assert!(stranger.try_wait().unwrap().is_none());
    daemon.ready("a").await;
    daemon.end().await;
}

#[tokio::test]
async fn p12_a_daemon_that_ends_well_leaves_no_note() {
    let daemon = Daemon::start(&[fake("a")]).await;
    let note = daemon.path().join("data/run.json");
    let text: Value = serde_json::from_slice(&std::fs::read(&note).unwrap()).unwrap();
    assert_eq!(text["pid"], json!(daemon.pid().as_raw()));
    let setup = daemon.end_but_keep().await;
    assert!(!note.exists());
    drop(setup);
}

// === Again and again ===

/// Descriptors, threads, and memory in KiB.
fn weight(pid: i32) -> (usize, usize, usize) {
    let entries = |folder: &str| {
        std::fs::read_dir(format!("/proc/{pid}/{folder}"))
            .unwrap()
            .count()
    };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (entries("fd"), entries("task"), kib)
}

#[tokio::test]
async fn p14_starts_and_stops_leave_no_descriptor_no_thread_and_no_memory_behind() {
    let cycles = number_of("CHURN_CYCLES", 40);
    let warm_up = 20.min(cycles / 2);
    let daemon = Daemon::start(&[relatives("a", "setsid")]).await;
    let (pid, mut first) = (daemon.pid().as_raw(), None);
    let mut n_left = 0;
    for cycle in 0..cycles {
        let reply = daemon.api("POST", "/api/servers/a/restart", "").await;
        assert_eq!(reply.status, 200);
        let generation = cycle + 2;
        let deadline = Instant::now() + PATIENCE;
        while daemon.server("a").await["generation"] != json!(generation)
            || daemon.server("a").await["state"] != "ready"
        {
            assert!(
                Instant::now() < deadline,
                "cycle {cycle}: {}",
                daemon.server("a").await
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if cycle == warm_up {
            first = Some(weight(pid));
        }
        n_left = n_left.max(below(pid).iter().filter(|one| one.state == "Z").count());
    }
    let (first, last) = (first.unwrap(), weight(pid));
    eprintln!("P14: {cycles} cycles: descriptors, threads, KiB: {first:?}, then {last:?}");
    assert!(last.0 <= first.0 + 3, "descriptors: {first:?} {last:?}");
    assert!(last.1 <= first.1 + 2, "threads: {first:?} {last:?}");
    // A tenth, and what the allocator and SQLite keep of a busy time.
    assert!(
        last.2 <= first.2 + first.2 / 10 + 1024,
        "memory: {first:?} {last:?}"
    );
    assert!(n_left <= 2, "{n_left} zombies at once");
    daemon.end().await;
}
