//! The command line: what to list, how to start, what to ignore.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::era::REVISIONS;
use crate::modern;
use crate::probe::Reaction;

/// The revisions with a handshake, newest first.
pub(crate) const LEGACY_REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// In which words the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// With a handshake.
    Legacy,
    /// 2026-07-28, without one.
    Modern,
    /// As the first message does, and then always so.
    Dual,
}

/// Everything that is fixed at start.
#[derive(Debug)]
pub(crate) struct Options {
    /// `--tools a,b,c`: names of the tools, each listed with the schema `{"type":"object"}`.
    pub(crate) tools: Vec<String>,
    /// `--prompts p,q`. Without it the server has no prompts capability.
    pub(crate) prompts: Vec<String>,
    /// `--resources URI,URI`. Without it and `--templates` there is no resources capability.
    pub(crate) resources: Vec<String>,
    /// `--templates T,T`: URI templates; a URI that starts as one of them can be read.
    pub(crate) templates: Vec<String>,
    /// `--unlisted URI,URI`: can be read, and stand in no list.
    pub(crate) unlisted: Vec<String>,
    /// `--read-error JSON`: the error to every `resources/read`, verbatim.
    pub(crate) read_error: Option<String>,
    /// `--page-size N`: all lists in pages of N.
    pub(crate) page_size: Option<usize>,
    /// `--empty-cursor`: the cursor of the second page is the empty string.
    pub(crate) empty_cursor: bool,
    /// `--revision REV`: answers `initialize` with it, whatever was asked.
    pub(crate) revision: Option<String>,
    /// `--exactly REV`: behaves as a server of this revision, with all that it has and nothing that came later.
    pub(crate) exactly: Option<String>,
    /// `--name NAME` of `serverInfo`.
    pub(crate) name: String,
    /// `--instructions TEXT`.
    pub(crate) instructions: Option<String>,
    /// `--journal FILE`: one line per event.
    pub(crate) journal: Option<PathBuf>,
    /// `--effects FILE`: one synced line per executed tool call that bears a `nonce`.
    pub(crate) effects: Option<PathBuf>,
    /// `--ignore-eof`: stays when stdin ends.
    pub(crate) ignore_eof: bool,
    /// `--ignore-sigterm`: only notes it.
    pub(crate) ignore_sigterm: bool,
    /// `--term-delay MS`: from SIGTERM to its end.
    pub(crate) term_delay: Duration,
    /// `--gate FILE`: waits at its start until there is such a file.
    pub(crate) gate: Option<PathBuf>,
    /// `--start-delay MS`: before it reads anything.
    pub(crate) start_delay: Duration,
    /// `--hang-handshake`: never answers `initialize`.
    pub(crate) hang_handshake: bool,
    /// `--exit-at-start CODE`.
    pub(crate) exit_at_start: Option<i32>,
    /// `--exit-in-handshake CODE`: when `initialize` arrives.
    pub(crate) exit_in_handshake: Option<i32>,
    /// `--stderr-at-start TEXT`: written before any of the exits at start.
    pub(crate) stderr_at_start: Option<String>,
    /// `--refuse-handshake TEXT`: a JSON-RPC error to `initialize`.
    pub(crate) refuse_handshake: Option<String>,
    /// `--noise N`: N junk lines at start and one before each answer.
    pub(crate) noise: Option<u64>,
    /// `--fail-first N` with `--state FILE`: exits 1 at start the first N times.
    pub(crate) fail_first: Option<u64>,
    /// `--state FILE`: where the failed starts are counted.
    pub(crate) state: Option<PathBuf>,
    /// `--grandchild`: starts `sleep 1000` in its own process group.
    pub(crate) grandchild: bool,
    /// `--family KIND,KIND`: other processes, see `family.rs`.
    pub(crate) family: Vec<String>,
    /// `--raw-tool-list FILE`: the `tools` array, verbatim, on one page.
    pub(crate) raw_tool_list: Option<Vec<u8>>,
    /// `--never-read`: stops reading stdin after the handshake.
    pub(crate) never_read: bool,
    /// `--silent-level`: never answers `logging/setLevel`.
    pub(crate) silent_level: bool,
    /// `--ask-at-start METHOD`: a request of its own, right after the handshake.
    pub(crate) ask_at_start: Option<String>,
    /// `--silent-ping`: never answers `ping`.
    pub(crate) silent_ping: bool,
    /// `--no-ping`: answers `ping` with -32601.
    pub(crate) no_ping: bool,
    /// `--exit-once METHOD` with `--state FILE`: exits 1 at the first such request that any process gets.
    pub(crate) exit_once: Option<String>,
    /// `--raw-init JSON`: the result of `initialize`, verbatim.
    pub(crate) raw_init: Option<String>,
    /// `--ask-first METHOD`: a request of its own before it answers `initialize`.
    pub(crate) ask_first: Option<String>,
    /// `--slow-read BYTES`: no more at once, and a millisecond between two reads.
    pub(crate) slow_read: Option<usize>,
    /// `--bom`: stdout begins with a byte order mark.
    pub(crate) bom: bool,
    /// `--crlf`: lines end with `\r\n`.
    pub(crate) crlf: bool,
    /// `--endless-pages`: every page of every list is the whole of it, and names another one after it.
    pub(crate) endless_pages: bool,
    /// `--tasks`: runs tools named `must_…` and `may_…` as tasks (see `jobs.rs`).
    pub(crate) tasks: bool,
    /// `--era legacy|modern|dual`.
    pub(crate) era: Era,
    /// `--supports REV,REV`: the revisions of a modern server; without it 2026-07-28, of a dual one all.
    pub(crate) supports: Vec<String>,
    /// `--on-discover REACTION`: see `probe.rs`.
    pub(crate) on_discover: Option<Reaction>,
    /// `--ttl MS`: how long the results of a modern server may be kept.
    pub(crate) ttl: u64,
    /// `--cache-scope public|private`: by whom.
    pub(crate) cache_scope: String,
    /// `--bare-results`: a modern server that leaves out what should be in every result.
    pub(crate) bare_results: bool,
    /// `--no-listen`: a modern server without `subscriptions/listen`.
    pub(crate) no_listen: bool,
    /// `--listen-honours KIND,KIND`: it acknowledges these kinds of notification only.
    pub(crate) listen_honours: Option<Vec<String>>,
}

impl Options {
    fn defaults() -> Self {
        Self {
            tools: vec!["echo".to_owned()],
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            unlisted: Vec::new(),
            read_error: None,
            page_size: None,
            empty_cursor: false,
            revision: None,
            exactly: None,
            name: "fake-child".to_owned(),
            instructions: None,
            journal: None,
            effects: None,
            ignore_eof: false,
            ignore_sigterm: false,
            term_delay: Duration::ZERO,
            gate: None,
            start_delay: Duration::ZERO,
            hang_handshake: false,
            exit_at_start: None,
            exit_in_handshake: None,
            stderr_at_start: None,
            refuse_handshake: None,
            noise: None,
            fail_first: None,
            state: None,
            grandchild: false,
            family: Vec::new(),
            raw_tool_list: None,
            never_read: false,
            silent_level: false,
            ask_at_start: None,
            silent_ping: false,
            no_ping: false,
            exit_once: None,
            raw_init: None,
            ask_first: None,
            slow_read: None,
            bom: false,
            crlf: false,
            endless_pages: false,
            tasks: false,
            era: Era::Legacy,
            supports: Vec::new(),
            on_discover: None,
            ttl: 600_000,
            cache_scope: "private".to_owned(),
            bare_results: false,
            no_listen: false,
            listen_honours: None,
        }
    }

    /// Reads the arguments after the program's name.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::defaults();
        while let Some(flag) = arguments.next() {
            if !options.switch(&flag) {
                let value = arguments
                    .next()
                    .ok_or_else(|| format!("`{flag}` is unknown or lacks its value"))?;
                options.set(&flag, value)?;
            }
        }
        if options.page_size == Some(0) {
            return Err("`--page-size` must be at least 1".to_owned());
        }
        let needs_state = options.fail_first.is_some() || options.exit_once.is_some();
        if needs_state != options.state.is_some() {
            return Err("`--fail-first` or `--exit-once`, and `--state`, go together".to_owned());
        }
        Ok(options)
    }

    /// The revisions that `server/discover` names.
    pub(crate) fn supported(&self) -> Vec<String> {
        let legacy: &[&str] = match self.era {
            Era::Dual => &LEGACY_REVISIONS,
            Era::Legacy | Era::Modern => &[],
        };
        if self.supports.is_empty() {
            let all = [modern::REVISION].into_iter().chain(legacy.iter().copied());
            return all.map(str::to_owned).collect();
        }
        self.supports.clone()
    }

    pub(crate) fn has_resources(&self) -> bool {
        !(self.resources.is_empty() && self.templates.is_empty())
    }

    /// Flags without a value. False for any other.
    fn switch(&mut self, flag: &str) -> bool {
        let on = match flag {
            "--empty-cursor" => &mut self.empty_cursor,
            "--ignore-eof" => &mut self.ignore_eof,
            "--ignore-sigterm" => &mut self.ignore_sigterm,
            "--hang-handshake" => &mut self.hang_handshake,
            "--grandchild" => &mut self.grandchild,
            "--silent-level" => &mut self.silent_level,
            "--never-read" => &mut self.never_read,
            "--silent-ping" => &mut self.silent_ping,
            "--no-ping" => &mut self.no_ping,
            "--bom" => &mut self.bom,
            "--crlf" => &mut self.crlf,
            "--endless-pages" => &mut self.endless_pages,
            "--tasks" => &mut self.tasks,
            "--bare-results" => &mut self.bare_results,
            "--no-listen" => &mut self.no_listen,
            _ => return false,
        };
        *on = true;
        true
    }

    fn set(&mut self, flag: &str, value: String) -> Result<(), String> {
        match flag {
            "--tools" => self.tools = list(&value),
            "--prompts" => self.prompts = list(&value),
            "--resources" => self.resources = list(&value),
            "--templates" => self.templates = list(&value),
            "--unlisted" => self.unlisted = list(&value),
            "--read-error" => self.read_error = Some(value),
            "--page-size" => self.page_size = Some(number(flag, &value)?),
            "--revision" => self.revision = Some(value),
            "--exactly" if REVISIONS.contains(&value.as_str()) => {
                if value == modern::REVISION {
                    self.era = Era::Modern;
                }
                self.revision = Some(value.clone());
                self.exactly = Some(value);
            }
            "--era" => {
                self.era = match value.as_str() {
                    "legacy" => Era::Legacy,
                    "modern" => Era::Modern,
                    "dual" => Era::Dual,
                    _ => return Err(format!("`--era` knows no `{value}`")),
                }
            }
            "--supports" => self.supports = list(&value),
            "--on-discover" => self.on_discover = Some(value.parse()?),
            "--ttl" => self.ttl = number(flag, &value)?,
            "--cache-scope" => self.cache_scope = value,
            "--listen-honours" => self.listen_honours = Some(list(&value)),
            "--name" => self.name = value,
            "--instructions" => self.instructions = Some(value),
            "--journal" => self.journal = Some(value.into()),
            "--effects" => self.effects = Some(value.into()),
            "--term-delay" => self.term_delay = Duration::from_millis(number(flag, &value)?),
            "--gate" => self.gate = Some(value.into()),
            "--start-delay" => self.start_delay = Duration::from_millis(number(flag, &value)?),
            "--exit-at-start" => self.exit_at_start = Some(number(flag, &value)?),
            "--exit-in-handshake" => self.exit_in_handshake = Some(number(flag, &value)?),
            "--stderr-at-start" => self.stderr_at_start = Some(value),
            "--refuse-handshake" => self.refuse_handshake = Some(value),
            "--ask-at-start" => self.ask_at_start = Some(value),
            "--noise" => self.noise = Some(number(flag, &value)?),
            "--fail-first" => self.fail_first = Some(number(flag, &value)?),
            "--state" => self.state = Some(value.into()),
            "--family" => self.family = list(&value),
            "--exit-once" => self.exit_once = Some(value),
            "--raw-init" => self.raw_init = Some(value),
            "--ask-first" => self.ask_first = Some(value),
            "--slow-read" => self.slow_read = Some(number(flag, &value)?),
            "--raw-tool-list" => {
                let read = std::fs::read(&value).map_err(|why| format!("{value}: {why}"))?;
                self.raw_tool_list = Some(read.trim_ascii().to_vec());
            }
            _ => return Err(format!("`{flag}` is unknown")),
        }
        Ok(())
    }
}

fn list(value: &str) -> Vec<String> {
    value
        .split(',')
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

fn number<N: FromStr>(flag: &str, value: &str) -> Result<N, String> {
    value
        .parse()
        .map_err(|_| format!("`{flag}` takes a number, not `{value}`"))
}
