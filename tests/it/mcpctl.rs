//! The built `mcpctl` in a scratch project, with nothing of the machine's environment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test harness may fail loudly"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mcp_wrapper::event::{SupervisionEvent, What};
use mcp_wrapper::ids::{Generation, ServerName};
use mcp_wrapper::registry::Registry;
use serde_json::Value;
use tempfile::TempDir;

/// A scratch project folder.
pub(crate) struct Project {
    folder: TempDir,
}

/// What one command gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Project {
    /// An empty project: a folder with a servers file that declares nothing.
    pub(crate) fn new() -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        project.write("servers.toml", "");
        std::fs::create_dir(project.path().join("data")).unwrap();
        project
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// Writes into the journal what a daemon would have written.
    pub(crate) fn happened(&self, server: &str, what: Vec<What>) {
        let event = |(at_ms, what)| SupervisionEvent {
            at_ms,
            server: ServerName::parse(server).unwrap(),
            generation: Generation(1),
            what,
        };
        let events: Vec<_> = (1..).zip(what).map(event).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let registry = Registry::open(&self.path().join("data")).await.unwrap();
            registry.append(&events).await.unwrap();
            registry.close().await.unwrap();
        });
    }

    /// The command, not started yet.
    pub(crate) fn mcpctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcpctl"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Runs `mcpctl` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.mcpctl(arguments).output().unwrap().into()
    }

    /// Runs `mcpctl` to its end with something on stdin.
    pub(crate) fn run_with_stdin(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut child = self
            .mcpctl(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Runs `mcpctl … --json`, which must succeed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[&["--json"], arguments].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }
}

impl Ran {
    /// The one JSON value on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the exit code, and that each of the texts was said somewhere.
    #[track_caller]
    pub(crate) fn said(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for text in texts {
            assert!(
                self.stdout.contains(text) || self.stderr.contains(text),
                "`{text}` is not in {self:?}"
            );
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
