//! What a message asks for, apart from what the tools do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::deeds;
use crate::era;
use crate::interview::{Interview, Interviewer, told};
use crate::jobs::Jobs;
use crate::mischief;
use crate::modern::{self, Admitted};
use crate::options::Options;
use crate::probe;
use crate::rounds::Request;
use crate::shapes;
use crate::world::World;

/// Whether to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    ReadOn,
    StopReading,
    /// As above, and who writes to us is told so.
    CloseStdin,
}

/// Members of an object, each as it was written.
pub(crate) type Members<'l> = BTreeMap<Key, &'l RawValue>;

/// The key of a member; one with escapes that stand for no character is taken as it was written.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(
            serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned()),
        ))
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
struct Envelope<'l> {
    #[serde(borrow)]
    id: Option<&'l RawValue>,
    method: Option<String>,
    #[serde(borrow)]
    params: Option<Members<'l>>,
}

/// Takes one line. A line that is no message is in the journal, and that is all.
pub(crate) fn hear(world: &Arc<World>, line: &[u8]) -> Then {
    let Ok(line) = str::from_utf8(line) else {
        return Then::ReadOn;
    };
    let Ok(message) = serde_json::from_str::<Envelope<'_>>(line) else {
        return Then::ReadOn;
    };
    let params = message.params.unwrap_or_default();
    if message.id.is_some() {
        mischief::exit_once(world, message.method.as_deref());
    }
    match (message.method.as_deref(), message.id.map(RawValue::get)) {
        (Some(method), Some(id)) => asked(world, id, method, &params),
        (Some(method), None) => notified(world, method, &params),
        (None, Some(id)) => {
            world.answered(id, line);
            Then::ReadOn
        }
        (None, None) => Then::ReadOn,
    }
}

/// One request.
fn asked(world: &Arc<World>, id: &str, method: &str, params: &Members<'_>) -> Then {
    let admitted = modern::admit(world, id, method, params);
    let is_over = match (method, admitted) {
        (_, Admitted::Refused) => true,
        ("server/discover", _) if probe::run(world, id) => true,
        (_, Admitted::Modern) => modern::answer(world, id, method, params),
        (_, Admitted::Legacy) if world.options.tasks && method.starts_with("tasks/") => {
            Jobs::answer(world, id, method, params);
            true
        }
        (_, Admitted::Legacy) => false,
    };
    if is_over {
        return Then::ReadOn;
    }
    if method == "tools/call" {
        return call_tool(world, id, params);
    }
    answer(world, id, method, params);
    Then::ReadOn
}

/// A text member; absent or of another kind is the empty text.
pub(crate) fn text(members: &Members<'_>, name: &str) -> String {
    members
        .get(name)
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// An object member; absent or of another kind is the empty object.
pub(crate) fn object<'l>(members: &Members<'l>, name: &str) -> Members<'l> {
    members
        .get(name)
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

fn notified(world: &World, method: &str, params: &Members<'_>) -> Then {
    match method {
        "notifications/initialized" if world.options.never_read => return Then::StopReading,
        "notifications/initialized" => {
            if let Some(method) = &world.options.ask_at_start {
                // The journal tells the answer.
                drop(world.ask(method, "{}"));
            }
        }
        "notifications/cancelled" => {
            if let Some(id) = params.get("requestId") {
                world.cancel(id.get());
                world.listens.cancel(world, id.get());
            }
        }
        "notifications/progress" => world.hear_progress(),
        _ => {}
    }
    Then::ReadOn
}

fn call_tool(world: &Arc<World>, id: &str, params: &Members<'_>) -> Then {
    let name = text(params, "name");
    if world.options.raw_tool_list.is_none() && !world.tools.lock().unwrap().contains(&name) {
        world.refuse(id, -32602, &format!("Unknown tool: {name}"));
        return Then::ReadOn;
    }
    let supports = task_support(world, &name);
    if world.is_modern() {
        let is_task = supports.is_some_and(|told| Jobs::make_modern(world, id, params, told == "required"));
        if !is_task {
            return deeds::run(world, id, &name, params);
        }
        return Then::ReadOn;
    }
    if supports.is_some() && params.contains_key("task") {
        Jobs::make(world, id, params);
        return Then::ReadOn;
    }
    if supports == Some("required") {
        world.refuse(id, -32601, "this tool runs as a task only");
        return Then::ReadOn;
    }
    deeds::run(world, id, &name, params)
}

/// What a tool says of tasks.
fn task_support(world: &World, tool: &str) -> Option<&'static str> {
    let told = match tool {
        _ if tool.starts_with("must_") => "required",
        _ if tool.starts_with("may_") => "optional",
        _ => return None,
    };
    world.options.tasks.then_some(told)
}

fn answer(world: &Arc<World>, id: &str, method: &str, params: &Members<'_>) {
    let options = &world.options;
    // Whoever asks may say what the answer shall be, byte for byte.
    if let Some(result) = params.get("x-answer") {
        world.answer_verbatim(id, result.get().as_bytes());
        return;
    }
    let has_prompts = !options.prompts.is_empty();
    let has_resources = options.has_resources();
    match method {
        "initialize" => initialize(world, id, params),
        "logging/setLevel" if options.silent_level => {}
        "ping" if options.silent_ping => {}
        "ping" if options.no_ping => world.refuse(id, -32601, "Method not found: ping"),
        "ping" | "logging/setLevel" => world.answer(id, b"{}"),
        "tools/list" => list_tools(world, id, params),
        "prompts/list" if has_prompts => {
            list(world, id, params, "prompts", &options.prompts, |name| {
                adorned(world, name, json!({ "name": name }))
            });
        }
        "prompts/get" if has_prompts => get_prompt(world, id, params),
        "resources/list" if has_resources => {
            list(world, id, params, "resources", &options.resources, |uri| {
                adorned(world, uri, json!({ "uri": uri, "name": uri }))
            });
        }
        "resources/templates/list" if has_resources => {
            list(
                world,
                id,
                params,
                "resourceTemplates",
                &options.templates,
                |template| {
                    let item = json!({ "uriTemplate": template, "name": template });
                    adorned(world, template, item)
                },
            );
        }
        "resources/read" if has_resources => read_resource(world, id, params),
        "resources/subscribe" | "resources/unsubscribe" if has_resources => {
            let verb = method.trim_start_matches("resources/");
            world.journal.note(&format!("{verb} {}", text(params, "uri")));
            world.answer(id, b"{}");
        }
        "completion/complete" => complete(world, id, params),
        _ => world.refuse(id, -32601, &format!("Method not found: {method}")),
    }
}

fn initialize(world: &World, id: &str, params: &Members<'_>) {
    let options = &world.options;
    let declared = params
        .get("capabilities")
        .map(|raw| serde_json::from_str(raw.get()));
    world.declare(declared.and_then(Result::ok).unwrap_or_default());
    if options.hang_handshake {
        return;
    }
    if let Some(code) = options.exit_in_handshake {
        world.leave(code);
    }
    if let Some(why) = &options.refuse_handshake {
        world.refuse(id, -32603, why);
        return;
    }
    if let Some(method) = &options.ask_first {
        // The journal tells the answer.
        drop(world.ask(method, "{}"));
    }
    if let Some(result) = &options.raw_init {
        world.answer(id, result.as_bytes());
        return;
    }
    let mut capabilities = capabilities(options);
    if options.tasks {
        capabilities["tasks"] = json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
    }
    let mut result = json!({
        "protocolVersion": options.revision.clone().unwrap_or_else(|| text(params, "protocolVersion")),
        "capabilities": capabilities,
        "serverInfo": server_info(options),
    });
    if let Some(instructions) = &options.instructions {
        result["instructions"] = json!(instructions);
    }
    world.answer(id, result.to_string().as_bytes());
}

/// What the server can do, apart from tasks.
pub(crate) fn capabilities(options: &Options) -> Value {
    let mut capabilities = json!({ "tools": { "listChanged": true }, "logging": {}, "completions": {} });
    if !options.prompts.is_empty() {
        capabilities["prompts"] = json!({ "listChanged": true });
    }
    if options.has_resources() {
        capabilities["resources"] = json!({ "subscribe": true, "listChanged": true });
    }
    era::capabilities(options, &mut capabilities);
    capabilities
}

/// Who the server is.
pub(crate) fn server_info(options: &Options) -> Value {
    let mut info = json!({ "name": options.name, "version": "1.0.0" });
    era::adorn(options, &options.name, &mut info);
    info
}

fn list_tools(world: &World, id: &str, params: &Members<'_>) {
    if let Some(tools) = &world.options.raw_tool_list {
        world.answer(id, &[br#"{"tools":"#, tools.as_slice(), b"}"].concat());
        return;
    }
    let tools = world.tools.lock().unwrap().clone();
    list(world, id, params, "tools", &tools, |name| {
        let mut tool = json!({ "name": name, "description": format!("fake tool {name}"), "inputSchema": { "type": "object" } });
        era::adorn_tool(&world.options, name, &mut tool);
        if world.is_modern() {
            shapes::adorn(name, &mut tool);
        } else if let Some(support) = task_support(world, name) {
            tool["execution"] = json!({ "taskSupport": support });
        }
        tool
    });
}

/// A listed thing with what the server's revision has for people.
fn adorned(world: &World, name: &str, mut item: Value) -> Value {
    era::adorn(&world.options, name, &mut item);
    item
}

/// One page of a list. The cursor of the second page may be empty; the others are `at-OFFSET`.
fn list(
    world: &World,
    id: &str,
    params: &Members<'_>,
    key: &str,
    items: &[String],
    show: impl Fn(&str) -> Value,
) {
    if world.options.endless_pages {
        let shown: Vec<Value> = items.iter().map(|item| show(item)).collect();
        let next = format!("{}+", text(params, "cursor"));
        world.answer(
            id,
            json!({ key: shown, "nextCursor": next }).to_string().as_bytes(),
        );
        return;
    }
    let size = world.options.page_size.unwrap_or(usize::MAX);
    let start = match params.get("cursor").map(|_| text(params, "cursor")) {
        None => Some(0),
        Some(cursor) if cursor.is_empty() && world.options.empty_cursor => Some(size),
        Some(cursor) => cursor.strip_prefix("at-").and_then(|at| at.parse().ok()),
    };
    let Some(page) = start.and_then(|start| items.get(start..)) else {
        world.refuse(id, -32602, "no such cursor");
        return;
    };
    let (page, rest) = page.split_at(size.min(page.len()));
    let shown: Vec<Value> = page.iter().map(|item| show(item)).collect();
    let mut result = json!({ key: shown });
    if !rest.is_empty() {
        let next = items.len() - rest.len();
        let empty = world.options.empty_cursor && next == size;
        result["nextCursor"] = if empty {
            json!("")
        } else {
            json!(format!("at-{next}"))
        };
    }
    world.answer(id, result.to_string().as_bytes());
}

fn get_prompt(world: &Arc<World>, id: &str, params: &Members<'_>) {
    let name = text(params, "name");
    if !world.options.prompts.contains(&name) {
        world.refuse(id, -32602, &format!("Unknown prompt: {name}"));
        return;
    }
    if name == "show" {
        let result = json!({ "messages": era::messages(&world.options) });
        world.answer(id, result.to_string().as_bytes());
        return;
    }
    let arguments = params.get("arguments").map_or("{}", |raw| raw.get());
    let text = format!("prompt {name} {arguments}");
    let show = |text: String| {
        let content = json!({ "type": "text", "text": text });
        json!({ "messages": [{ "role": "user", "content": content }] }).to_string()
    };
    match name.strip_prefix("ask_") {
        Some(kind) => interview(world, id, ("prompts/get", params), kind, move |told| {
            show(format!("{text} {told}"))
        }),
        None => world.answer(id, show(text).as_bytes()),
    }
}

/// Asks one question of this kind, and answers with what `show` makes of the answer.
fn interview(
    world: &Arc<World>,
    id: &str,
    (method, params): (&str, &Members<'_>),
    kind: &str,
    show: impl FnOnce(String) -> String + Send + 'static,
) {
    let token = object(params, "_meta")
        .get("progressToken")
        .map(|raw| raw.get().to_owned());
    let interviewer = Interviewer {
        world: Arc::clone(world),
        request: Request::new(id, method, params),
        token,
        interview: Interview::about(kind),
    };
    world.begin(id);
    let id = id.to_owned();
    thread::spawn(move || {
        if let Some(answers) = interviewer.run() {
            interviewer.world.answer(&id, show(told(&answers)).as_bytes());
        }
    });
}

fn read_resource(world: &Arc<World>, id: &str, params: &Members<'_>) {
    let uri = text(params, "uri");
    let options = &world.options;
    if let Some(error) = &options.read_error {
        world.write(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).as_bytes());
        return;
    }
    let from_template = |template: &String| {
        let start = template.split('{').next().unwrap_or_default();
        !start.is_empty() && uri.starts_with(start)
    };
    let is_known = options.resources.contains(&uri) || options.unlisted.contains(&uri);
    if !is_known && !options.templates.iter().any(from_template) {
        let why = format!("Resource not found: {uri}");
        return match world.is_modern() {
            true => world.refuse_with(id, -32602, &why, &json!({ "uri": uri })),
            false => world.refuse(id, -32002, &why),
        };
    }
    let show = |uri: &str, text: String| json!({ "contents": [{ "uri": uri, "text": text }] }).to_string();
    match uri.strip_prefix("ask:") {
        Some(kind) => {
            let uri = uri.clone();
            interview(world, id, ("resources/read", params), kind, move |told| {
                show(&uri, told)
            });
        }
        None => world.answer(id, show(&uri, format!("text of {uri}")).as_bytes()),
    }
}

fn complete(world: &World, id: &str, params: &Members<'_>) {
    let value = text(&object(params, "argument"), "value");
    let values = [format!("{value}1"), format!("{value}2")];
    let result = json!({ "completion": { "values": values, "total": 2, "hasMore": false } });
    world.answer(id, result.to_string().as_bytes());
}
