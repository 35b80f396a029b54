//! Revision 2026-07-28, which knows no handshake: each request says by itself which revision it speaks and what its
//! sender can do. A server of it never sends a request of its own.
//!
//! With `--era modern` the server speaks this revision only, with `--era dual` whichever the first message speaks. What
//! a tool does is the same in both eras; what differs in the words is here, in `rounds.rs` (questions), `listen.rs`
//! (subscriptions) and `jobs_modern.rs` (tasks).
//!
//! Sources: MCP 2026-07-28, `basic/index`, `basic/versioning`, `server/discover`, `server/utilities/{caching,logging}`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use crate::jobs::Jobs;
use crate::listen;
use crate::methods::{self, Members, object, text};
use crate::options::{Era, Options};
use crate::world::World;

pub(crate) const REVISION: &str = "2026-07-28";
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SERVER: &str = "io.modelcontextprotocol/serverInfo";
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// From the least to the most severe.
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];
/// Results that say how long they may be kept.
const CACHEABLE: [&str; 6] = [
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
];

/// Which era is spoken, and what the requests in flight have said of their senders.
#[derive(Debug, Default)]
pub(crate) struct Speech {
    /// Whether a dual server speaks this revision, once a message has decided it.
    chosen: OnceLock<bool>,
    said: Mutex<HashMap<String, Said>>,
}

/// What one request said of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    method: String,
    pub(crate) capabilities: Value,
    /// The place of the wanted level in [`LEVELS`].
    level: Option<usize>,
}

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    Legacy,
    Modern,
    /// It has its answer.
    Refused,
}

impl Speech {
    pub(crate) fn is_modern(&self, options: &Options) -> bool {
        match options.era {
            Era::Legacy => false,
            Era::Modern => true,
            Era::Dual => self.chosen.get() == Some(&true),
        }
    }

    /// What the request with this id has said; of one that is over, nothing.
    pub(crate) fn said(&self, id: &str) -> Said {
        self.said.lock().unwrap().get(id).cloned().unwrap_or_default()
    }

    /// Whether a log message of this level may be told to who has sent this request.
    pub(crate) fn wants_log(&self, id: &str, level: &str) -> bool {
        let least = self.said(id).level;
        let level = LEVELS.iter().position(|known| *known == level);
        least.is_some_and(|least| level.is_none_or(|level| level >= least))
    }

    /// The request is over. Returns its method.
    pub(crate) fn over(&self, id: &str) -> Option<String> {
        self.said.lock().unwrap().remove(id).map(|said| said.method)
    }

    /// The first word counts.
    fn choose(&self, is_modern: bool) {
        self.chosen.get_or_init(|| is_modern);
    }
}

/// Looks at the words in which a request comes.
pub(crate) fn admit(world: &World, id: &str, method: &str, params: &Members<'_>) -> Admitted {
    let meta = object(params, "_meta");
    let speaks_modern = method == "server/discover" || meta.contains_key(VERSION);
    match world.options.era {
        Era::Legacy => return Admitted::Legacy,
        Era::Modern => {}
        Era::Dual if method == "initialize" => world.speech.choose(false),
        Era::Dual if speaks_modern => world.speech.choose(true),
        Era::Dual => {}
    }
    if !world.is_modern() {
        if speaks_modern {
            world.refuse(id, -32600, "this connection speaks an earlier revision");
            return Admitted::Refused;
        }
        return Admitted::Legacy;
    }
    match refusal(&world.options, method, params, &meta) {
        Ok(said) => {
            world.speech.said.lock().unwrap().insert(id.to_owned(), said);
            Admitted::Modern
        }
        Err((code, why, data)) => {
            world.refuse_with(id, code, &why, &data);
            Admitted::Refused
        }
    }
}

/// What the request says of itself, or why it cannot be heard.
fn refusal(
    options: &Options,
    method: &str,
    params: &Members<'_>,
    meta: &Members<'_>,
) -> Result<Said, (i32, String, Value)> {
    let unsupported = |requested: String| {
        let data = json!({ "supported": options.supported(), "requested": requested });
        (-32022, "Unsupported protocol version".to_owned(), data)
    };
    if method == "initialize" {
        return Err(unsupported(text(params, "protocolVersion")));
    }
    let lacking: Vec<&str> = [VERSION, CAPABILITIES]
        .into_iter()
        .filter(|key| !meta.contains_key(*key))
        .collect();
    if !lacking.is_empty() {
        let why = format!("_meta lacks {}", lacking.join(" and "));
        return Err((-32602, why, json!({ "supported": options.supported() })));
    }
    let version = text(meta, VERSION);
    if !options.supported().contains(&version) || !is_modern(&version) {
        return Err(unsupported(version));
    }
    let level = match meta.get(LEVEL) {
        None => None,
        Some(_) => match LEVELS.iter().position(|known| *known == text(meta, LEVEL)) {
            Some(level) => Some(level),
            None => return Err((-32602, "there is no such log level".to_owned(), Value::Null)),
        },
    };
    let capabilities = meta
        .get(CAPABILITIES)
        .and_then(|raw| serde_json::from_str(raw.get()).ok());
    Ok(Said {
        method: method.to_owned(),
        capabilities: capabilities.unwrap_or_default(),
        level,
    })
}

/// Revisions are dates.
fn is_modern(revision: &str) -> bool {
    revision >= REVISION
}

/// Answers what only this revision has, and refuses what it has no more. False for any other request.
pub(crate) fn answer(world: &Arc<World>, id: &str, method: &str, params: &Members<'_>) -> bool {
    match method {
        "server/discover" => discover(world, id),
        "subscriptions/listen" if !world.options.no_listen => listen::open(world, id, params),
        "tasks/get" | "tasks/update" | "tasks/cancel" if world.options.tasks => {
            Jobs::answer_modern(world, id, method, params);
        }
        "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
            world.refuse(id, -32601, &format!("Method not found: {method}"));
        }
        _ => return false,
    }
    true
}

/// The answer to `server/discover`.
pub(crate) fn discover(world: &World, id: &str) {
    let options = &world.options;
    let mut capabilities = methods::capabilities(options);
    if options.tasks {
        capabilities["extensions"] = json!({ TASKS: {} });
    }
    discovered(world, id, &json!(options.supported()), capabilities);
}

/// An answer to `server/discover` with these revisions, which may be none of this era.
pub(crate) fn discovered(world: &World, id: &str, supported: &Value, capabilities: Value) {
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": supported,
        "capabilities": capabilities,
        "ttlMs": world.options.ttl,
        "cacheScope": world.options.cache_scope,
        "_meta": { SERVER: methods::server_info(&world.options) },
    });
    if let Some(instructions) = &world.options.instructions {
        result["instructions"] = json!(instructions);
    }
    world.speech.over(id);
    world.answer_verbatim(id, result.to_string().as_bytes());
}

/// A result with what this revision wants in each; the rest of it is as it was written.
pub(crate) fn filled(world: &World, id: &str, result: &[u8]) -> Vec<u8> {
    let method = world.speech.over(id).unwrap_or_default();
    let options = &world.options;
    if options.bare_results {
        return result.to_vec();
    }
    let Ok(written) = str::from_utf8(result) else {
        return result.to_vec();
    };
    let Ok(members) = serde_json::from_str::<Members<'_>>(written) else {
        return result.to_vec();
    };
    let mut added = Vec::new();
    if !members.contains_key("resultType") {
        added.push(r#""resultType":"complete""#.to_owned());
    }
    let is_complete = matches!(text(&members, "resultType").as_str(), "" | "complete");
    if is_complete && CACHEABLE.contains(&method.as_str()) {
        if !members.contains_key("ttlMs") {
            added.push(format!(r#""ttlMs":{}"#, options.ttl));
        }
        if !members.contains_key("cacheScope") {
            added.push(format!(r#""cacheScope":{}"#, json!(options.cache_scope)));
        }
    }
    let info = format!("{}:{}", json!(SERVER), methods::server_info(options));
    let mut filled = written.to_owned();
    match members.get("_meta") {
        None => added.push(format!(r#""_meta":{{{info}}}"#)),
        Some(meta) if object(&members, "_meta").contains_key(SERVER) || !meta.get().starts_with('{') => {}
        Some(meta) => {
            let at = meta.get().as_ptr().addr() - written.as_ptr().addr();
            let with_info = with_members(meta.get(), &[info]);
            filled.replace_range(at..at + meta.get().len(), &with_info);
        }
    }
    with_members(&filled, &added).into_bytes()
}

/// An object with more members before its own.
pub(crate) fn with_members(object: &str, added: &[String]) -> String {
    let own = object.trim_start().trim_start_matches('{').trim_start();
    if added.is_empty() {
        return object.to_owned();
    }
    let comma = if own.starts_with('}') { "" } else { "," };
    format!("{{{}{comma}{own}", added.join(","))
}

/// The error for a client that cannot do what a request needs.
pub(crate) fn refuse_incapable(world: &World, id: &str, required: &Value) {
    let data = json!({ "requiredCapabilities": required });
    world.refuse_with(id, -32021, "Missing required client capability", &data);
}
