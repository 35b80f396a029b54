//! What all threads share: stdout, the journal, what is listed, and which calls still run.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::jobs::Jobs;
use crate::journal::Journal;
use crate::listen::{self, Listens};
use crate::modern::{self, Speech};
use crate::options::Options;

/// The one server of this process.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) journal: Journal,
    /// The tools that are listed now; `grow` and `shrink` change them.
    pub(crate) tools: Mutex<Vec<String>>,
    /// The era that is spoken.
    pub(crate) speech: Speech,
    /// Subscriptions of 2026-07-28.
    pub(crate) listens: Listens,
    /// The ids of asking requests, by what they asked: for those that bear no state.
    pub(crate) retried: Mutex<HashMap<String, Vec<String>>>,
    /// Words that were said, and elicitations that are complete.
    pub(crate) words: Mutex<HashSet<String>>,
    /// What the client declared in the handshake.
    declared: Mutex<Value>,
    /// Progress that the client has told.
    n_progress: AtomicU64,
    /// Tasks.
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
            speech: Speech::default(),
            listens: Listens::default(),
            retried: Mutex::default(),
            words: Mutex::default(),
            declared: Mutex::default(),
            n_progress: AtomicU64::new(0),
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

    /// Whether this connection speaks 2026-07-28, as far as that is decided.
    pub(crate) fn is_modern(&self) -> bool {
        self.speech.is_modern(&self.options)
    }

    /// Keeps what the client declared in the handshake.
    pub(crate) fn declare(&self, capabilities: Value) {
        *self.declared.lock().unwrap() = capabilities;
    }

    pub(crate) fn client_capabilities(&self) -> Value {
        self.declared.lock().unwrap().clone()
    }

    /// The client has told of progress.
    pub(crate) fn hear_progress(&self) {
        self.n_progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn n_progress_heard(&self) -> u64 {
        self.n_progress.load(Ordering::Relaxed)
    }

    /// Answers with a result that is written as it is, apart from what the modern era has in each.
    pub(crate) fn answer(&self, id: &str, result: &[u8]) {
        self.make_noise();
        self.write(&self.answer_line(id, result));
    }

    /// The same as a line.
    pub(crate) fn answer_line(&self, id: &str, result: &[u8]) -> Vec<u8> {
        if self.is_modern() {
            line_of(id, &modern::filled(self, id, result))
        } else {
            line_of(id, result)
        }
    }

    /// Answers with a result that is written as it is.
    pub(crate) fn answer_verbatim(&self, id: &str, result: &[u8]) {
        self.make_noise();
        self.write(&line_of(id, result));
    }

    fn make_noise(&self) {
        if self.options.noise.is_some() {
            self.write(b"noise: this is not JSON");
        }
    }

    /// Answers a tool call with one text.
    pub(crate) fn answer_text(&self, id: &str, text: &str) {
        let result = json!({ "content": [{ "type": "text", "text": text }] });
        self.answer(id, result.to_string().as_bytes());
    }

    /// Answers with an error.
    pub(crate) fn refuse(&self, id: &str, code: i32, message: &str) {
        self.refuse_with(id, code, message, &Value::Null);
    }

    /// The same with `data`; null is none.
    pub(crate) fn refuse_with(&self, id: &str, code: i32, message: &str, data: &Value) {
        self.make_noise();
        self.speech.over(id);
        let mut error = json!({ "code": code, "message": message });
        if !data.is_null() {
            error["data"] = data.clone();
        }
        self.write(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).as_bytes());
    }

    /// Sends a notification; the params are written as they are. In the modern era only those hear of what has changed who
    /// listen to it, and there is nobody to be told of anything else that belongs to no request.
    pub(crate) fn notify(&self, method: &str, params: &str) {
        if self.is_modern() && listen::is_for_listeners(method) {
            let told: Value = serde_json::from_str(params).unwrap_or_default();
            self.listens.tell(self, method, told["uri"].as_str(), params);
        } else {
            self.notify_verbatim(method, params);
        }
    }

    /// Sends a notification to whoever reads, as it is written.
    pub(crate) fn notify_verbatim(&self, method: &str, params: &str) {
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

    /// Whether a call is neither answered nor cancelled.
    pub(crate) fn is_running(&self, id: &str) -> bool {
        self.running.lock().unwrap().contains(id)
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
        self.ask_as(method, params).1
    }

    /// The same, with the id that it has, as it is written.
    pub(crate) fn ask_as(&self, method: &str, params: &str) -> (String, Receiver<String>) {
        assert!(!self.is_modern(), "a server of 2026-07-28 sends no requests");
        let id = format!("\"ask-{}\"", self.n_asked.fetch_add(1, Ordering::Relaxed) + 1);
        self.ask_under(id, method, params)
    }

    /// The same under this id, as it is written.
    pub(crate) fn ask_under(&self, id: String, method: &str, params: &str) -> (String, Receiver<String>) {
        let (answered, answer) = channel();
        self.asked.lock().unwrap().insert(id.clone(), answered);
        let asked = id.clone();
        let method = json!(method);
        self.write(
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{params}}}"#).as_bytes(),
        );
        (asked, answer)
    }

    /// Hands the client's answer to who asked; an answer that nobody waits for is noted as `stray`.
    pub(crate) fn answered(&self, id: &str, line: &str) {
        let waiting = self.asked.lock().unwrap().remove(id);
        if waiting.is_none_or(|waiting| waiting.send(line.to_owned()).is_err()) {
            self.journal.note(&format!("stray {id}"));
        }
    }
}

fn line_of(id: &str, result: &[u8]) -> Vec<u8> {
    [
        br#"{"jsonrpc":"2.0","id":"#,
        id.as_bytes(),
        br#","result":"#,
        result,
        b"}",
    ]
    .concat()
}
