//! The command line.

use std::time::Duration;

use crate::Failed;

/// What is to be measured, and how much of it.
#[derive(Debug, Clone)]
pub struct Options {
    pub verb: String,
    /// `http://HOST:PORT/PATH`.
    pub url: String,
    /// Requests in flight: one on each connection.
    pub n_connections: usize,
    /// Sessions they share; at most one each.
    pub n_sessions: usize,
    /// How long is measured, after `warm`.
    pub lasts: Duration,
    pub warm: Duration,
    /// Ends after this many calls instead; 0 for no such end.
    pub n_calls: u64,
    /// 2026-07-28: no session, everything in the request.
    pub is_modern: bool,
    /// The tool, by its own name.
    pub tool: String,
    /// Bytes of text that go with each call.
    pub n_bytes_sent: usize,
    /// Bytes of text that are wanted back; 0: those sent.
    pub n_bytes_wanted: usize,
    /// Another method than `tools/call`.
    pub method: String,
    /// The process whose processor time and memory are told.
    pub pid: Option<u32>,
    /// Idle event streams that are open meanwhile.
    pub n_streams: usize,
    /// Servers whose tool of this name is awaited before anything is measured, and called in turn.
    pub n_servers: usize,
    /// How long they are awaited.
    pub patience: Duration,
    /// How long a child lives before it is made to die.
    pub rest: Duration,
    /// How often, for what happens once.
    pub n_rounds: usize,
    /// After `--`.
    pub command: Vec<String>,
}

impl Options {
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failed> {
        let mut options = Self {
            verb: words.next().unwrap_or_default(),
            url: String::new(),
            n_connections: 1,
            n_sessions: usize::MAX,
            lasts: Duration::from_secs(2),
            warm: Duration::from_millis(300),
            n_calls: 0,
            is_modern: false,
            tool: "echo".to_owned(),
            n_bytes_sent: 32,
            n_bytes_wanted: 0,
            method: "tools/call".to_owned(),
            pid: None,
            n_streams: 0,
            n_servers: 1,
            patience: Duration::from_secs(60),
            rest: Duration::ZERO,
            n_rounds: 10,
            command: Vec::new(),
        };
        while let Some(word) = words.next() {
            if word == "--" {
                options.command = words.collect();
                break;
            }
            if let Some(flag) = word.strip_prefix("--") {
                if flag == "modern" {
                    options.is_modern = true;
                    continue;
                }
                let value = words.next().ok_or_else(|| format!("--{flag} needs a value"))?;
                options.set(flag, &value)?;
            } else {
                options.url = word;
            }
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), Failed> {
        let bad = |_error| format!("--{flag}: {value} is no number");
        let number = || value.parse::<usize>().map_err(bad);
        let seconds = || {
            value
                .parse::<f64>()
                .map(|n| Duration::from_secs_f64(n.clamp(0.0, 3600.0)))
        };
        match flag {
            "connections" => self.n_connections = number()?.clamp(1, 4096),
            "sessions" => self.n_sessions = number()?.max(1),
            "seconds" => self.lasts = seconds().map_err(|_error| format!("--seconds: {value}"))?,
            "warm" => self.warm = seconds().map_err(|_error| format!("--warm: {value}"))?,
            "patience" => self.patience = seconds().map_err(|_error| format!("--patience: {value}"))?,
            "rest" => self.rest = seconds().map_err(|_error| format!("--rest: {value}"))?,
            "calls" => self.n_calls = number()? as u64,
            "tool" => value.clone_into(&mut self.tool),
            "method" => value.clone_into(&mut self.method),
            "send" => self.n_bytes_sent = number()?.min(32 << 20),
            "want" => self.n_bytes_wanted = number()?.min(32 << 20),
            "pid" => self.pid = Some(u32::try_from(number()?).map_err(|error| error.to_string())?),
            "streams" => self.n_streams = number()?.min(20_000),
            "servers" => self.n_servers = number()?.clamp(1, 1000),
            "rounds" => self.n_rounds = number()?.clamp(1, 1000),
            unknown => return Err(format!("unknown: --{unknown}")),
        }
        Ok(())
    }
}
