//! The daemon: started in a scratch project, asked over its control socket, ended, and looked after.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};

use super::fake::{Fake, MARK};
use super::http::{HttpClient, Reply, send_over};
use super::{soon, until};
use crate::mcpctl::{Project, Ran};

/// Short times, so that nothing waits for long.
const DEFAULTS: &str = r#"[defaults]
backoff_initial = "50ms"
backoff_factor = 1.0
backoff_max = "200ms"
backoff_jitter = 0.0
eof_grace = "300ms"
term_grace = "500ms"
drain_timeout = "1s"
start_timeout = "30s"
queue_wait = "30s"
"#;

/// A project whose daemon is not started yet.
pub(crate) struct Setup {
    pub(crate) project: Project,
    pub(crate) mark: String,
    variables: Vec<(String, String)>,
    /// What starts the daemon, when it is not started directly.
    starter: Vec<String>,
}

/// A line that is awaited in a child's journal; shown with what stands there instead.
struct Awaited<'a> {
    setup: &'a Setup,
    server: &'a str,
    part: &'a str,
}

impl std::fmt::Display for Awaited<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const N_LINES: usize = 12;
        let journal = self.setup.journal(self.server);
        let last = journal[journal.len().saturating_sub(N_LINES)..].join("\n  ");
        write!(
            f,
            "`{}` in the journal of {}, which ends with\n  {last}\n",
            self.part, self.server
        )
    }
}

impl Setup {
    pub(crate) fn new(fakes: &[Fake]) -> Self {
        let project = Project::new();
        let mark = uuid_of(&project);
        let setup = Self {
            project,
            mark,
            variables: Vec::new(),
            starter: Vec::new(),
        };
        setup.declare(fakes);
        setup
    }

    /// A variable of the daemon's environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the daemon with this command line, which must become it.
    pub(crate) fn through(mut self, starter: &[&str]) -> Self {
        self.starter = starter.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Writes the servers file.
    pub(crate) fn declare(&self, fakes: &[Fake]) {
        let tables: String = fakes
            .iter()
            .map(|fake| fake.table(self.project.path(), &self.mark))
            .collect();
        self.project
            .write("servers.toml", &format!("{DEFAULTS}\n{tables}"));
    }

    pub(crate) fn path(&self) -> &Path {
        self.project.path()
    }

    /// The daemon's program with its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let ourselves = [env!("CARGO_BIN_EXE_mcp-wrapper").to_owned()];
        let words = if self.starter.is_empty() {
            ourselves.as_slice()
        } else {
            &self.starter
        };
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .env("MCP_PORT", "0")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) async fn start(self) -> Daemon {
        let command = self.command(&[]);
        self.start_by(command).await
    }

    /// The same by a command that becomes the daemon.
    pub(crate) async fn start_by(self, mut command: Command) -> Daemon {
        let log = self.path().join("stderr.txt");
        let stderr = std::fs::File::create(&log).unwrap();
        let process = command.stderr(stderr).spawn().unwrap();
        let address = until("a daemon that listens", async || {
            let text = std::fs::read_to_string(&log).unwrap();
            let (_, after) = text.split_once("listens on http://")?;
            Some(after.split_once("/mcp\n")?.0.to_owned())
        });
        let address = address.await;
        Daemon {
            setup: self,
            process,
            address,
        }
    }

    /// Runs the daemon where it is expected not to start.
    pub(crate) async fn refused(&self) -> Ran {
        let output = self
            .command(&[])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output();
        soon("the end of a daemon that cannot start", output)
            .await
            .unwrap()
            .into()
    }

    /// What a child has noted, line by line.
    pub(crate) fn journal(&self, server: &str) -> Vec<String> {
        self.lines(&format!("{server}.journal"))
    }

    /// Calls that took effect in a child.
    pub(crate) fn effects(&self, server: &str) -> Vec<String> {
        self.lines(&format!("{server}.effects"))
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let bytes = std::fs::read(self.path().join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Waits for a line in a child's journal.
    #[track_caller]
    pub(crate) fn noted<'a>(
        &'a self,
        server: &'a str,
        part: &'a str,
    ) -> impl Future<Output = String> + use<'a> {
        until(
            Awaited {
                setup: self,
                server,
                part,
            },
            async move || self.journal(server).into_iter().find(|line| line.contains(part)),
        )
    }

    /// Waits until a tool call has reached a child.
    #[track_caller]
    pub(crate) fn called(&self, server: &str, tool: &str) -> impl Future<Output = ()> {
        let name = format!(r#""name":"{tool}""#);
        let is_it = move |line: &String| {
            line.starts_with("in ") && line.contains(r#""method":"tools/call""#) && line.contains(&name)
        };
        until(format!("a call of {tool} in {server}"), async move || {
            self.journal(server).iter().any(&is_it).then_some(())
        })
    }

    /// Processes of this project: all that bear the mark in their environment.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let wanted = format!("{MARK}={}", self.mark);
        let bears_it = |pid: &i32| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ
                .split(|byte| *byte == 0)
                .any(|one| one == wanted.as_bytes())
        };
        let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.parse().ok()
        });
        all.filter(bears_it).collect()
    }
}

impl Drop for Setup {
    /// After a test that failed nothing may stay.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_dir(self.path().join("logs"))
                .into_iter()
                .flatten()
                .flatten();
            for file in log.filter(|entry| entry.path().is_file()) {
                let text = std::fs::read_to_string(file.path()).unwrap_or_default();
                eprintln!("{}:\n{text}", file.path().display());
            }
        }
        // A daemon that a shim has started is nobody's child; its command line names this project.
        let background = std::fs::read_to_string(self.path().join("data/daemon.pid")).unwrap_or_default();
        let background = background.trim().parse().ok().filter(|pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&self.path().display().to_string())
        });
        for pid in self.processes().into_iter().chain(background) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
        }
    }
}

fn uuid_of(project: &Project) -> String {
    format!("{}-{}", std::process::id(), project.path().display())
}

/// A daemon that runs.
pub(crate) struct Daemon {
    // First: the daemon goes before its children are looked for.
    pub(crate) process: Child,
    pub(crate) setup: Setup,
    pub(crate) address: String,
}

impl Daemon {
    /// A daemon with these children, all of them ready with their tools.
    pub(crate) async fn start(fakes: &[Fake]) -> Self {
        let daemon = Setup::new(fakes).start().await;
        for fake in fakes.iter().filter(|fake| fake.is_awaited) {
            daemon.ready(&fake.name).await;
        }
        daemon
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id().unwrap()).unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.setup.path().to_owned()
    }

    /// A client of Streamable HTTP that has shaken hands.
    pub(crate) async fn http(&self) -> HttpClient {
        let mut client = HttpClient::new(&self.address);
        client.initialize("2025-11-25").await;
        client
    }

    /// A client of Streamable HTTP that has shaken hands with these parameters.
    pub(crate) async fn introduced(&self, params: Value) -> HttpClient {
        let mut client = HttpClient::new(&self.address);
        client.introduce(params).await;
        client
    }

    /// Asks the control socket.
    pub(crate) async fn api(&self, method: &str, path: &str, body: &str) -> Reply {
        let socket = self.setup.path().join("data/control.sock");
        let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let headers = [("host", "localhost"), ("content-type", "application/json")];
        send_over(stream, method, path, &headers, body.as_bytes().to_vec()).await
    }

    /// One server as the control API tells of it; null when there is none.
    pub(crate) async fn server(&self, name: &str) -> Value {
        let reply = self.api("GET", &format!("/api/servers/{name}"), "").await;
        if reply.status == 200 {
            reply.json().await
        } else {
            Value::Null
        }
    }

    pub(crate) async fn child_pid(&self, name: &str) -> i32 {
        let pid = self.server(name).await["pid"].as_i64().unwrap();
        i32::try_from(pid).unwrap()
    }

    /// Waits until a server is ready and its tools are on offer.
    #[track_caller]
    pub(crate) fn ready(&self, name: &str) -> impl Future<Output = Value> {
        until(format!("{name}, ready with tools"), async move || {
            let server = self.server(name).await;
            (server["state"] == "ready" && server["n_tools"].as_u64() > Some(0)).then_some(server)
        })
    }

    /// Waits until a server is in a state.
    #[track_caller]
    pub(crate) fn in_state(&self, name: &str, state: &str) -> impl Future<Output = Value> {
        until(format!("{name} in state {state}"), async move || {
            let server = self.server(name).await;
            (server["state"] == state).then_some(server)
        })
    }

    /// `mcpctl` in the daemon's project.
    pub(crate) async fn mcpctl(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::from(self.setup.project.mcpctl(arguments));
        command.kill_on_drop(true);
        soon("the end of mcpctl", command.output()).await.unwrap().into()
    }

    /// Waits until `mcpctl` says all of this: what has happened is in the journal a moment later.
    #[track_caller]
    pub(crate) fn tells(&self, arguments: &[&str], words: &[&str]) -> impl Future<Output = ()> {
        until(format!("{words:?} from {arguments:?}"), async move || {
            let ran = self.mcpctl(arguments).await;
            (ran.code == 0 && words.iter().all(|word| ran.stdout.contains(word))).then_some(())
        })
    }

    /// `mcpctl … --json`, which must succeed.
    pub(crate) async fn mcpctl_json(&self, arguments: &[&str]) -> Value {
        let ran = self.mcpctl(&[&["--json"], arguments].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }

    /// Tells it to stop; it must end well and leave nothing behind.
    pub(crate) async fn end(self) {
        let setup = self.end_but_keep().await;
        drop(setup);
    }

    /// The same, and the project stays.
    pub(crate) async fn end_but_keep(self) -> Setup {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        self.ended().await
    }

    /// Waits for its end, which must be a good one that leaves nothing behind.
    pub(crate) async fn ended(mut self) -> Setup {
        let status = soon("the end of the daemon", self.process.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        let left = self.setup.processes();
        assert!(left.is_empty(), "processes {left:?} are left\n{}", self.log());
        self.setup
    }

    /// Ends it with SIGKILL, and waits until its children have followed.
    pub(crate) async fn killed(mut self) -> Setup {
        kill(self.pid(), Signal::SIGKILL).unwrap();
        soon("the end of the daemon", self.process.wait()).await.unwrap();
        let setup = self.setup;
        until("an end of its children", async || {
            setup.processes().is_empty().then_some(())
        })
        .await;
        setup
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.setup.path().join("stderr.txt")).unwrap_or_default()
    }
}
