//! A client that launches `mcp-wrapper stdio`, as desktop clients do.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::daemon::Setup;
use super::{greeting, request, soon};

/// The shim and its two pipes.
#[derive(Debug)]
pub(crate) struct LineClient {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl LineClient {
    /// Launches the shim.
    pub(crate) fn launch(setup: &Setup) -> Self {
        let project = setup.path().display().to_string();
        let mut command = setup.command(&["stdio", "--dir", &project]);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        Self {
            process,
            stdin,
            stdout,
        }
    }

    /// Launches the shim and shakes hands.
    pub(crate) async fn greeted(setup: &Setup) -> Self {
        let mut client = Self::launch(setup);
        client.greet("2025-11-25").await;
        client
    }

    pub(crate) async fn greet(&mut self, revision: &str) -> Value {
        self.introduce(greeting(revision)).await
    }

    /// Shakes hands with these parameters. Returns the answer.
    pub(crate) async fn introduce(&mut self, params: Value) -> Value {
        let answer = self.ask(&request("init", "initialize", params)).await;
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
            .await;
        serde_json::from_str(&answer).unwrap()
    }

    pub(crate) async fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }

    /// The next line; `None` when stdout is closed.
    pub(crate) async fn maybe_next(&mut self) -> Option<String> {
        soon("a line", self.stdout.next_line()).await.unwrap()
    }

    pub(crate) async fn next(&mut self) -> String {
        self.maybe_next().await.expect("one more line")
    }

    pub(crate) async fn next_json(&mut self) -> Value {
        serde_json::from_str(&self.next().await).unwrap()
    }

    /// Sends a request and returns the next line.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.send(line).await;
        self.next().await
    }

    pub(crate) async fn ask_json(&mut self, line: &str) -> Value {
        serde_json::from_str(&self.ask(line).await).unwrap()
    }

    /// What comes until the answer to a request, and that.
    pub(crate) async fn until_answer(&mut self, id: u64) -> (Vec<Value>, Value) {
        let mut before = Vec::new();
        loop {
            let next = self.next_json().await;
            if next["id"] == id && next.get("method").is_none() {
                return (before, next);
            }
            before.push(next);
        }
    }

    /// Ends it without a word, as a crash does.
    pub(crate) async fn kill(mut self) {
        soon("the death of the shim", self.process.kill()).await.unwrap();
    }

    /// The process and its two pipes.
    pub(crate) fn into_parts(self) -> (Child, ChildStdin, Lines<BufReader<ChildStdout>>) {
        (self.process, self.stdin.expect("stdin is open"), self.stdout)
    }

    /// Closes stdin, and reads what still comes.
    pub(crate) async fn finish(mut self) -> (Vec<String>, i32) {
        drop(self.stdin.take());
        let mut last = Vec::new();
        while let Some(line) = self.maybe_next().await {
            last.push(line);
        }
        let status = soon("the end of the shim", self.process.wait()).await.unwrap();
        (last, status.code().unwrap_or(-1))
    }
}
