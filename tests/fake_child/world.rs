//! What all threads share: stdout, the journal, what is listed, and which calls still run.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::jobs::Jobs;
use crate::journal::Journal;
use crate::options::Options;

/// The one server of this process.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) journal: Journal,
    /// The tools that are listed now; `grow` and `shrink` change them.
    pub(crate) tools: Mutex<Vec<String>>,
    /// Tasks of 2025-11-25.
    pub(crate) jobs: Jobs,
    /// Calls that `out_of_order` holds back: id and arguments, as they came.
    pub(crate) held_back: Mutex<Vec<(String, String)>>,
    /// Answers that `glued_lines` and `batch_response` hold back: as lines without their ends.
    pub(crate) held_lines: Mutex<Vec<Vec<u8>>>,
    /// Nothing is said any more.
    pub(crate) mute: AtomicBool,
    /// The ids, as they came, of calls that are neither answered nor cancelled.
    running: Mutex<HashSet<String>>,
    cancelled: Condvar,
    /// Who waits for an answer of the client, by the id we gave.
    asked: Mutex<HashMap<String, Sender<String>>>,
    n_asked: AtomicU64,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            journal: Journal::open(options.journal.as_deref(), options.effects.as_deref()),
            tools: Mutex::new(options.tools.clone()),
            jobs: Jobs::default(),
            held_back: Mutex::default(),
            held_lines: Mutex::default(),
            mute: AtomicBool::new(false),
            running: Mutex::default(),
            cancelled: Condvar::new(),
            asked: Mutex::default(),
            n_asked: AtomicU64::new(0),
            options,
        }
    }

    /// Ends the process.
    pub(crate) fn leave(&self, code: i32) -> ! {
        self.journal.note("exit");
        std::process::exit(code)
    }

    /// Writes one line, byte for byte. It is in the journal before anybody can see it on stdout.
    pub(crate) fn write(&self, line: &[u8]) {
        // The lock also keeps the journal in the order of the wire.
        let mut stdout = io::stdout().lock();
        if self.mute.load(Ordering::Relaxed) {
            return;
        }
        self.journal.note_bytes("out", line);
        let end: &[u8] = if self.options.crlf { b"\r\n" } else { b"\n" };
        // A client that is gone is no news to this program: its stdin ends as well.
        let written = stdout
            .write_all(&[line, end].concat())
            .and_then(|()| stdout.flush());
        drop(written);
    }

    /// Writes the beginning of a line and leaves it there.
    pub(crate) fn write_unfinished(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        self.journal.note_bytes("out", bytes);
        drop(stdout.write_all(bytes).and_then(|()| stdout.flush()));
    }

    /// Answers with a result that is written as it is.
    pub(crate) fn answer(&self, id: &str, result: &[u8]) {
        if self.options.noise.is_some() {
            self.write(b"noise: this is not JSON");
        }
        self.write(
            &[
                br#"{"jsonrpc":"2.0","id":"#,
                id.as_bytes(),
                br#","result":"#,
                result,
                b"}",
            ]
            .concat(),
        );
    }

    /// Answers a tool call with one text.
    pub(crate) fn answer_text(&self, id: &str, text: &str) {
        let result = json!({ "content": [{ "type": "text", "text": text }] });
        self.answer(id, result.to_string().as_bytes());
    }

    /// Answers with an error.
    pub(crate) fn refuse(&self, id: &str, code: i32, message: &str) {
        if self.options.noise.is_some() {
            self.write(b"noise: this is not JSON");
        }
        let error = json!({ "code": code, "message": message });
        self.write(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).as_bytes());
    }

    /// Sends a notification; the params are written as they are.
    pub(crate) fn notify(&self, method: &str, params: &str) {
        self.write(format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#).as_bytes());
    }

    /// Notes that a call runs, so that it can be cancelled.
    pub(crate) fn begin(&self, id: &str) {
        self.running.lock().unwrap().insert(id.to_owned());
    }

    /// Takes a call off the list. False when it was cancelled: then it must not be answered.
    pub(crate) fn finish(&self, id: &str) -> bool {
        self.running.lock().unwrap().remove(id)
    }

    /// Cancels a call that runs.
    pub(crate) fn cancel(&self, id: &str) {
        if self.finish(id) {
            self.journal.note(&format!("cancelled {id}"));
            self.cancelled.notify_all();
        }
    }

    /// Waits. False when the call was cancelled meanwhile.
    pub(crate) fn wait(&self, id: &str, time: Duration) -> bool {
        let running = self.running.lock().unwrap();
        let (running, _) = self
            .cancelled
            .wait_timeout_while(running, time, |running| running.contains(id))
            .unwrap();
        running.contains(id)
    }

    /// Sends a request to the client. The answer comes as the whole line it was.
    pub(crate) fn ask(&self, method: &str, params: &str) -> Receiver<String> {
        let id = format!("\"ask-{}\"", self.n_asked.fetch_add(1, Ordering::Relaxed) + 1);
        let (answered, answer) = channel();
        self.asked.lock().unwrap().insert(id.clone(), answered);
        let method = json!(method);
        self.write(
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#).as_bytes(),
        );
        answer
    }

    /// Hands the client's answer to who asked; an answer that nobody waits for is noted as `stray`.
    pub(crate) fn answered(&self, id: &str, line: &str) {
        match self.asked.lock().unwrap().remove(id) {
            // The waiting thread goes only with the process.
            Some(waiting) => drop(waiting.send(line.to_owned())),
            None => self.journal.note(&format!("stray {id}")),
        }
    }
}
