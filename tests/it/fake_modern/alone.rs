//! A scripted child without a daemon: what is written to it, and what it writes.

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::meta;
use crate::harness::{soon, until};

/// A child, and its two ends.
pub(super) struct Alone {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: Lines<BufReader<ChildStdout>>,
    pub(super) process: tokio::process::Child,
    folder: TempDir,
    pub(super) n_asked: u64,
    /// It has a handshake, and so questions of its own.
    pub(super) may_ask: bool,
}

impl Alone {
    pub(super) fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_fake-child"))
            .arg("--journal")
            .arg(folder.path().join("journal"))
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdin: process.stdin.take().unwrap(),
            stdout: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
            folder,
            n_asked: 0,
            may_ask: false,
        }
    }

    pub(super) fn modern(flags: &[&str]) -> Self {
        Self::start(&[&["--era", "modern"], flags].concat())
    }

    pub(super) async fn tell(&mut self, message: Value) {
        let line = format!("{message}\n");
        soon("room in the pipe", self.stdin.write_all(line.as_bytes()))
            .await
            .unwrap();
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        let line = soon("a line", self.stdout.next_line()).await.unwrap()?;
        let message: Value = serde_json::from_str(&line).unwrap();
        let is_request = message.get("method").is_some() && message.get("id").is_some();
        assert!(
            self.may_ask || !is_request,
            "a server of this era asks nothing by itself: {line}"
        );
        Some(message)
    }

    pub(super) async fn some(&mut self) -> Value {
        self.next().await.expect("one more line")
    }

    /// Sends a request whose `_meta` is as it stands here. Returns its id.
    pub(super) async fn send(&mut self, method: &str, mut params: Value, meta: Value) -> u64 {
        self.n_asked += 1;
        params["_meta"] = meta;
        let id = self.n_asked;
        self.tell(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    /// The answer to a request of a client that can do this.
    pub(super) async fn ask(&mut self, method: &str, params: Value, able: &Value) -> Value {
        let id = self.send(method, params, meta(able)).await;
        let answer = self.some().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    pub(super) async fn call(&mut self, arguments: Value, able: &Value) -> Value {
        let params = json!({ "name": "echo", "arguments": arguments });
        self.ask("tools/call", params, able).await
    }

    /// Waits for a line of the journal that contains this.
    pub(super) async fn noted(&self, what: &str) {
        let path = self.folder.path().join("journal");
        until(format!("`{what}` in the journal"), async || {
            let journal = std::fs::read_to_string(&path).unwrap_or_default();
            journal.lines().any(|line| line.contains(what)).then_some(())
        })
        .await;
    }
}
