//! What the tools do, good and bad. The tool's name says it, or the `do` member of the arguments.
//!
//! Deeds that take time run on a thread of their own, so that other requests are answered meanwhile; the
//! others run where the line was read, so that their answers keep the order of the calls.
//!
//! What goes wrong with the bytes of a line is in `framing.rs`, what the whole process does wrong in `mischief.rs`, and
//! what asks the client in `questions.rs`.
//!
//! A call whose arguments bear a `nonce` leaves it in the effects file when it is executed; `boom` does not.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, raise};
use serde_json::json;

use crate::answers::{self, Asked};
use crate::framing;
use crate::methods::{Members, Then, object, text};
use crate::mischief;
use crate::rounds::Request;
use crate::world::World;
use crate::{era, greed, questions, shapes};

/// One tool call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) world: Arc<World>,
    /// As it came.
    pub(crate) id: String,
    /// As they came.
    pub(crate) arguments: String,
    /// As it came, when the caller wants progress.
    pub(crate) progress_token: Option<String>,
    /// The trace context that came with it.
    pub(crate) traceparent: String,
    /// The same as one that may be a retry.
    pub(crate) request: Request,
}

/// Does what the call asks for.
pub(crate) fn run(world: &Arc<World>, id: &str, tool: &str, params: &Members<'_>) -> Then {
    let raw = |members: &Members<'_>, name: &str| members.get(name).map(|raw| raw.get().to_owned());
    let call = Call {
        world: Arc::clone(world),
        id: id.to_owned(),
        arguments: raw(params, "arguments").unwrap_or_else(|| "{}".to_owned()),
        progress_token: raw(&object(params, "_meta"), "progressToken"),
        traceparent: text(&object(params, "_meta"), "traceparent"),
        request: Request::new(id, "tools/call", params),
    };
    let told = call.text("do");
    let deed = if told.is_empty() { tool } else { &told };
    if deed != "boom" {
        call.leave_nonce();
    }
    let n = call.number("n", 1);
    if let Some(text) = crate::hungry::run(deed, n) {
        call.answer_text(&text);
        if deed == "burn" {
            crate::hungry::burn(n);
        }
        return Then::ReadOn;
    }
    if call.ends(deed) || call.garbles(deed) || call.lists(deed) || call.tells(deed) {
        return if deed == "stop_reading" {
            Then::StopReading
        } else {
            Then::ReadOn
        };
    }
    if framing::run(world, id, deed, &call.members(), &call.arguments)
        || mischief::run(world, id, deed, &call.members(), &call.arguments)
    {
        return Then::ReadOn;
    }
    if world.is_modern() && shapes::run(world, id, deed) {
        return Then::ReadOn;
    }
    if answers::run(&call.asked(), deed) {
        return Then::ReadOn;
    }
    if let Some(then) = greed::run(world, &call.id, &call.arguments, deed) {
        return then;
    }
    let Some(call) = questions::run(call, deed) else {
        return Then::ReadOn;
    };
    match deed {
        "sleep" => call.in_background(Call::sleep),
        "progress" => call.in_background(Call::progress),
        // A tool of any other name echoes; a `do` of any other name is a mistake in the test.
        _ if told.is_empty() => call.echo(),
        _ => call
            .world
            .refuse(&call.id, -32602, &format!("fake-child cannot do `{told}`")),
    }
    Then::ReadOn
}

impl Call {
    fn asked(&self) -> Asked<'_> {
        Asked {
            world: &self.world,
            id: &self.id,
            arguments: &self.arguments,
            progress_token: self.progress_token.as_deref(),
        }
    }

    fn members(&self) -> Members<'_> {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        text(&self.members(), name)
    }

    pub(crate) fn raw(&self, name: &str, default: &str) -> String {
        self.members()
            .get(name)
            .map_or_else(|| default.to_owned(), |raw| raw.get().to_owned())
    }

    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str, default: N) -> N {
        self.members()
            .get(name)
            .and_then(|raw| raw.get().parse().ok())
            .unwrap_or(default)
    }

    pub(crate) fn answer_text(&self, text: &str) {
        self.world.answer_text(&self.id, text);
    }

    pub(crate) fn echo(&self) {
        self.answer_text(&self.arguments);
    }

    fn leave_nonce(&self) {
        let nonce = self.text("nonce");
        if !nonce.is_empty() {
            self.world.journal.effect(&nonce);
        }
    }

    pub(crate) fn in_background(self, deed: impl FnOnce(&Self) + Send + 'static) {
        self.world.begin(&self.id);
        thread::spawn(move || deed(&self));
    }

    /// Ends of the process, or of its stdout. False when the deed is none of these.
    fn ends(&self, deed: &str) -> bool {
        match deed {
            "boom" | "boom_after_effect" => self.world.leave(self.number("code", 1)),
            "kill_self" => raise(Signal::SIGKILL).expect("a process may kill itself"),
            "half_line" => {
                let half = format!(r#"{{"jsonrpc":"2.0","id":{},"resu"#, self.id);
                self.world.write_unfinished(half.as_bytes());
                self.world.leave(self.number("code", 1));
            }
            "close_stdout" => {
                let null = std::fs::File::options().write(true).open("/dev/null");
                // Put over fd 1, so that no file opened later gets the number 1 and our answers in it.
                nix::unistd::dup2_stdout(null.expect("/dev/null can be opened"))
                    .expect("fd 1 can be replaced");
            }
            _ => return false,
        }
        true
    }

    /// Silence, and faults on the wire.
    fn garbles(&self, deed: &str) -> bool {
        let world = &self.world;
        match deed {
            "hang" => world.begin(&self.id),
            "junk" => {
                for n in 0..self.number("lines", 3) {
                    world.write(format!("junk {n}: {{not json").as_bytes());
                }
                self.echo();
            }
            "huge" => self.answer_text(&"x".repeat(self.number("bytes", 1024))),
            "invalid_utf8" => {
                let (before, after) = (br#"{"content":[{"type":"text","text":"bad "#, br#" byte"}]}"#);
                world.answer(&self.id, &[before.as_slice(), b"\xff", after].concat());
            }
            "twice" => {
                self.echo();
                self.echo();
            }
            // Nobody asked under this id, and the call itself is never answered.
            "wrong_id" => {
                world.begin(&self.id);
                world.answer_text("987654321", &self.arguments);
            }
            _ => return false,
        }
        true
    }

    /// Changes of what is listed, and news about it.
    fn lists(&self, deed: &str) -> bool {
        let world = &self.world;
        let name = self.text("name");
        match deed {
            "grow" => world.tools.lock().unwrap().push(name),
            // Without a name, the last tool goes.
            "shrink" => {
                let mut tools = world.tools.lock().unwrap();
                let gone = if name.is_empty() {
                    tools.last().cloned()
                } else {
                    Some(name)
                };
                tools.retain(|tool| Some(tool) != gone.as_ref());
            }
            "grow_unchanged" => {}
            "changed" => {
                let method = format!("notifications/{}/list_changed", self.text("what"));
                world.notify(&method, "{}");
                self.echo();
                return true;
            }
            "end_listens" => {
                world.listens.end(world, &self.text("how"));
                self.echo();
                return true;
            }
            "updated" => {
                let uri = json!({ "uri": self.text("uri") });
                world.notify("notifications/resources/updated", &uri.to_string());
                self.echo();
                return true;
            }
            _ => return false,
        }
        world.notify("notifications/tools/list_changed", "{}");
        self.echo();
        true
    }

    /// Deeds that are over at once and answer what they are asked.
    fn tells(&self, deed: &str) -> bool {
        match deed {
            "echo" | "effect" | "stop_reading" => self.echo(),
            // With `bare` a modern server adds nothing to it.
            "raw" if !self.text("bare").is_empty() => {
                let result = self.raw("result", "{}");
                self.world.answer_verbatim(&self.id, result.as_bytes());
            }
            "raw" => self.world.answer(&self.id, self.raw("result", "{}").as_bytes()),
            "raw_error" => self.raw_error(),
            "log" => self.log(),
            "show" => {
                let shown = era::shown(&self.world.options).to_string();
                self.world.answer(&self.id, shown.as_bytes());
            }
            "notify" => {
                self.world
                    .notify_verbatim(&self.text("method"), &self.raw("params", "{}"));
                self.echo();
            }
            "in_batch" => self.in_batch(),
            "stderr" => {
                for _ in 0..self.number("lines", 1) {
                    eprintln!("{}", self.text("text"));
                }
                self.echo();
            }
            "env" => self.answer_text(&environment()),
            "cwd" => {
                let cwd = std::env::current_dir().map(|cwd| cwd.display().to_string());
                self.answer_text(&cwd.unwrap_or_else(|why| why.to_string()));
            }
            "pid" => self.answer_text(&std::process::id().to_string()),
            "fork_setsid" => self.answer_text(&spawn_in_own_session().to_string()),
            "out_of_order" => self.hold_back(),
            _ => return false,
        }
        true
    }

    /// The member `error` is the answer's, as it came.
    fn raw_error(&self) {
        let error = self.raw("error", "{}");
        let line = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, self.id);
        self.world.write(line.as_bytes());
    }

    /// `n` log messages of `level`, with `logger` and `data` as they came, then the answer; with `traced` they bear the
    /// call's trace context, with `at_once` the answer goes first.
    fn log(&self) {
        let level = self.text("level");
        let level = if level.is_empty() { "info" } else { &level };
        if self.world.is_modern() && !self.world.speech.wants_log(&self.id, level) {
            return self.echo();
        }
        let answers_first = !self.text("at_once").is_empty();
        if answers_first {
            self.echo();
        }
        for n in 1..=self.number("n", 1) {
            let data = self.raw("data", &format!("\"message {n}\""));
            let logger = self.raw("logger", "\"fake-child\"");
            let meta = match self.text("traced").is_empty() {
                true => String::new(),
                false => format!(r#","_meta":{}"#, json!({ "traceparent": self.traceparent })),
            };
            let params = format!(r#"{{"data":{data},"level":"{level}","logger":{logger}{meta}}}"#);
            self.world.notify("notifications/message", &params);
        }
        if !answers_first {
            self.echo();
        }
    }

    /// A warning and the answer in one array, as servers of 2025-03-26 may; any other server refuses.
    fn in_batch(&self) {
        if self.world.options.exactly.as_deref() != Some("2025-03-26") {
            return self
                .world
                .refuse(&self.id, -32603, "batches exist only in revision 2025-03-26");
        }
        let log = json!({
            "jsonrpc": "2.0",
            "method": "notifications/message",
            "params": { "level": "warning", "logger": "fake-child", "data": "in a batch" },
        });
        let result = json!({ "content": [{ "type": "text", "text": self.arguments }] });
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.id);
        self.world.write(format!("[{log},{answer}]").as_bytes());
    }

    /// Answers nobody until `count` calls are there, and then the last first.
    fn hold_back(&self) {
        let mut held = self.world.held_back.lock().unwrap();
        held.push((self.id.clone(), self.arguments.clone()));
        if held.len() >= self.number("count", 2) {
            for (id, arguments) in held.drain(..).rev() {
                self.world.answer_text(&id, &arguments);
            }
        }
    }

    /// Answers after `ms`, unless it was cancelled by then.
    fn sleep(&self) {
        self.world
            .wait(&self.id, Duration::from_millis(self.number("ms", 100)));
        self.finish(&self.arguments);
    }

    /// `n` steps, `ms` apart, each told under the caller's token with `message` as it came; then the answer.
    fn progress(&self) {
        let (n, pause) = (
            self.number("n", 3_u64),
            Duration::from_millis(self.number("ms", 0)),
        );
        let own = if era::has(&self.world.options, "2025-03-26") {
            "\"on the way\""
        } else {
            ""
        };
        let message = self.raw("message", own);
        let message = if message.is_empty() {
            message
        } else {
            format!(r#","message":{message}"#)
        };
        for step in 1..=n {
            if let Some(token) = &self.progress_token {
                let params = format!(r#"{{"progressToken":{token},"progress":{step},"total":{n}{message}}}"#);
                self.world.notify("notifications/progress", &params);
            }
            if !self.world.wait(&self.id, pause) {
                return self.dropped();
            }
        }
        self.finish(&self.arguments);
    }

    pub(crate) fn finish(&self, text: &str) {
        if self.world.finish(&self.id) {
            self.answer_text(text);
        } else {
            self.dropped();
        }
    }

    /// It was cancelled, and from now on nothing more comes of it.
    pub(crate) fn dropped(&self) {
        self.world.journal.note(&format!("dropped {}", self.id));
    }
}

fn environment() -> String {
    let mut lines: Vec<String> = std::env::vars_os()
        .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
        .collect();
    lines.sort();
    lines.join("\n")
}

/// A `sleep 1000` that no signal to our process group reaches. Who asked for it has to end it.
fn spawn_in_own_session() -> u32 {
    let term = SigSet::from(Signal::SIGTERM);
    // It would inherit our mask, and then no SIGTERM could end it.
    term.thread_unblock().expect("SIGTERM can be unblocked");
    let sleep = Command::new("setsid")
        .args(["sleep", "1000"])
        .stdin(Stdio::null())
        .spawn();
    term.thread_block().expect("SIGTERM can be blocked");
    let mut sleep = sleep.expect("`setsid` can be started");
    let pid = sleep.id();
    // Reaped when it ends, so that a test that looks for its id does not find a zombie.
    thread::spawn(move || sleep.wait());
    pid
}
