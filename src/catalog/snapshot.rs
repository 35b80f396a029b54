//! What one child offers: its lists, checked item by item, as raw JSON in its own names.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::child::handshake::Handshake;
use crate::rpc::object::{Object, elements};
use crate::rpc::{Raw, mcp};

/// Longest saved snapshot, bytes; a longer one is fetched anew at each start.
pub const SAVED_BYTES_MAX: usize = 8 << 20;

/// Items of one list that are warned of one by one; the others are counted.
const N_WARNINGS_MAX: usize = 20;

/// The four kinds of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// Its place among all of them.
    pub(super) const fn at(self) -> usize {
        match self {
            Self::Tools => 0,
            Self::Prompts => 1,
            Self::Resources => 2,
            Self::Templates => 3,
        }
    }

    /// The method that lists it.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => mcp::method::TOOLS_LIST,
            Self::Prompts => mcp::method::PROMPTS_LIST,
            Self::Resources => mcp::method::RESOURCES_LIST,
            Self::Templates => mcp::method::TEMPLATES_LIST,
        }
    }

    /// The member of the result that holds the items.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that identifies it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The capability behind it.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }
}

/// One item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name, URI or template, as the child knows it.
    pub key: String,
    /// The whole item, as the child wrote it.
    pub raw: Raw,
}

/// What one child offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Name and version, as the child gave them.
    pub server_info: Option<Raw>,
    /// Its capabilities.
    pub capabilities: Raw,
    /// What it tells the model about itself.
    pub instructions: Option<String>,
    /// The items of each kind.
    pub tools: Vec<Item>,
    /// See `tools`.
    pub prompts: Vec<Item>,
    /// See `tools`.
    pub resources: Vec<Item>,
    /// See `tools`.
    pub templates: Vec<Item>,
    /// What was wrong with single items.
    pub warnings: Vec<String>,
    /// Whether it speaks 2026-07-28, and may so describe outputs that are no objects.
    pub is_modern: bool,
}

impl Snapshot {
    /// What a child offers that has just done its handshake: nothing yet.
    pub fn of(handshake: &Handshake) -> Self {
        Self {
            server_info: handshake.server_info.clone(),
            capabilities: handshake.capabilities.clone(),
            instructions: handshake.instructions.clone(),
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            warnings: Vec::new(),
            is_modern: handshake.revision.era() == mcp::Era::Modern,
        }
    }

    /// Whether it runs tool calls as tasks (MCP 2025-11-25, tasks, "Server Capabilities").
    pub fn makes_tasks(&self) -> bool {
        crate::child::handshake::makes_tasks(&self.capabilities)
    }

    /// Whether it makes tasks of calls as it sees fit (extension of 2026-07-28).
    pub fn extends_tasks(&self) -> bool {
        let part = |whole: &Raw, key| Object::of(whole)?.get(key).filter(Raw::is_object);
        self.is_modern
            && part(&self.capabilities, "extensions")
                .and_then(|extensions| part(&extensions, mcp::TASKS_EXTENSION))
                .is_some()
    }

    /// The items of a kind.
    pub fn items(&self, kind: Kind) -> &[Item] {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
        }
    }

    /// Replaces the items of a kind by what the child listed; bad items are left out, with a warning each, as far as
    /// those are not too many.
    pub fn take(&mut self, kind: Kind, listed: &[Raw]) {
        self.warnings
            .retain(|warning| !warning.starts_with(kind.method()));
        let mut items: Vec<Item> = Vec::with_capacity(listed.len());
        let (mut keys, mut n_bad) = (HashSet::new(), 0);
        for raw in listed {
            let why = match checked(kind, raw) {
                Ok(item) if keys.insert(item.key.clone()) => {
                    items.push(item);
                    continue;
                }
                Ok(item) => format!("`{}` is listed twice; the first counts", item.key),
                Err(why) => format!("an item was left out: {why}"),
            };
            n_bad += 1;
            if n_bad <= N_WARNINGS_MAX {
                self.warnings.push(format!("{}: {why}", kind.method()));
            }
        }
        if n_bad > N_WARNINGS_MAX {
            let n_more = n_bad - N_WARNINGS_MAX;
            self.warnings
                .push(format!("{}: {n_more} more items were left out", kind.method()));
        }
        match kind {
            Kind::Tools => self.tools = items,
            Kind::Prompts => self.prompts = items,
            Kind::Resources => self.resources = items,
            Kind::Templates => self.templates = items,
        }
    }

    /// The name and version, for people.
    pub fn server_line(&self) -> Option<String> {
        let info: mcp::Implementation = self.server_info.as_ref()?.read().ok()?;
        Some(format!("{} {}", info.name, info.version).trim().to_owned())
    }

    /// The snapshot as it is saved; `None` when it is too long for that.
    pub fn to_saved(&self) -> Option<String> {
        let raws = |items: &[Item]| items.iter().filter_map(|item| boxed(&item.raw)).collect();
        let saved = Saved {
            server_info: self.server_info.as_ref().and_then(boxed),
            capabilities: boxed(&self.capabilities)?,
            instructions: self.instructions.clone(),
            tools: raws(&self.tools),
            prompts: raws(&self.prompts),
            resources: raws(&self.resources),
            templates: raws(&self.templates),
            is_modern: self.is_modern,
        };
        serde_json::to_string(&saved)
            .ok()
            .filter(|text| text.len() <= SAVED_BYTES_MAX)
    }

    /// Reads a saved snapshot.
    pub fn from_saved(text: &str) -> Option<Self> {
        let saved: Saved = serde_json::from_str(text).ok()?;
        let mut snapshot = Self {
            server_info: saved.server_info.as_deref().map(unboxed),
            capabilities: unboxed(&saved.capabilities),
            instructions: saved.instructions,
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            warnings: Vec::new(),
            is_modern: saved.is_modern,
        };
        let lists = [saved.tools, saved.prompts, saved.resources, saved.templates];
        for (kind, list) in Kind::ALL.into_iter().zip(lists) {
            let raws: Vec<Raw> = list.iter().map(|raw| unboxed(raw)).collect();
            snapshot.take(kind, &raws);
        }
        Some(snapshot)
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    server_info: Option<Box<RawValue>>,
    capabilities: Box<RawValue>,
    instructions: Option<String>,
    tools: Vec<Box<RawValue>>,
    prompts: Vec<Box<RawValue>>,
    resources: Vec<Box<RawValue>>,
    templates: Vec<Box<RawValue>>,
    #[serde(default)]
    is_modern: bool,
}

fn boxed(raw: &Raw) -> Option<Box<RawValue>> {
    RawValue::from_string(raw.as_str().to_owned()).ok()
}

fn unboxed(value: &RawValue) -> Raw {
    Raw::trusted(value.get().to_owned())
}

/// Longest name of an item, in characters.
const KEY_CHARS_MAX: usize = 2048;

/// Checks one item as far as a client would stumble over it.
fn checked(kind: Kind, raw: &Raw) -> Result<Item, String> {
    let object = Object::of(raw).ok_or("it is no object")?;
    let key = object
        .get_string(kind.key())
        .ok_or_else(|| format!("it has no `{}`", kind.key()))?;
    if key.is_empty() || key.chars().count() > KEY_CHARS_MAX || key.chars().any(char::is_control) {
        return Err(format!(
            "its `{}` is empty, too long, or has control characters",
            kind.key()
        ));
    }
    if kind != Kind::Tools {
        return Ok(Item {
            key,
            raw: raw.compact(),
        });
    }
    let schema = object.get("inputSchema").filter(Raw::is_object);
    let schema = schema.ok_or_else(|| format!("tool `{key}` has no `inputSchema` that is an object"))?;
    let has_type = Object::of(&schema).is_some_and(|schema| schema.get("type").is_some());
    if has_type {
        return Ok(Item {
            key,
            raw: raw.compact(),
        });
    }
    // Clients demand it, and it can only be this.
    let typed = Object::of(&schema)
        .map(|schema| schema.with("type", &Raw::of(&"object")))
        .unwrap_or(schema);
    Ok(Item {
        key,
        raw: object.with("inputSchema", &typed),
    })
}

/// The items of one page, and the cursor of the next.
///
/// # Errors
/// A sentence: the result has no such list.
pub fn page(kind: Kind, result: &Raw) -> Result<(Vec<Raw>, Option<String>), String> {
    let object = Object::of(result).ok_or("the result is no object")?;
    let list = object.get(kind.member()).as_ref().and_then(elements);
    let list = list.ok_or_else(|| format!("the result has no list `{}`", kind.member()))?;
    // The empty string is a cursor like any other; anything that is no string means the end.
    Ok((list, object.get_string("nextCursor")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        Raw::parse(&text.to_owned().into()).unwrap()
    }

    fn empty() -> Snapshot {
        Snapshot::of(&Handshake::read(&Ok(raw(r#"{"protocolVersion":"2025-11-25"}"#))).unwrap())
    }

    #[test]
    fn bad_items_are_left_out_one_by_one() {
        let mut snapshot = empty();
        snapshot.take(
            Kind::Tools,
            &[
                raw(r#"{"name":"good","inputSchema":{"type":"object"},"x":1e400}"#),
                raw(r#"{"name":"no schema"}"#),
                raw(r#"{"name":"bad schema","inputSchema":7}"#),
                raw(r#"{"name":7,"inputSchema":{}}"#),
                raw(r#"{"name":"good","inputSchema":{}}"#),
                raw("3"),
                raw(r#"{"name":"typeless","inputSchema":{"properties":{}}}"#),
            ],
        );
        let keys: Vec<_> = snapshot.tools.iter().map(|item| item.key.as_str()).collect();
        assert_eq!(keys, ["good", "typeless"]);
        assert_eq!(
            snapshot.tools[0].raw.as_str(),
            r#"{"name":"good","inputSchema":{"type":"object"},"x":1e400}"#
        );
        assert!(
            snapshot.tools[1]
                .raw
                .as_str()
                .contains(r#"{"properties":{},"type":"object"}"#)
        );
        assert_eq!(snapshot.warnings.len(), 5);
        snapshot.take(Kind::Tools, &[]);
        assert!(snapshot.warnings.is_empty());
    }

    #[test]
    fn a_saved_snapshot_comes_back_to_the_byte() {
        let mut snapshot = empty();
        snapshot.instructions = Some("hi".to_owned());
        snapshot.take(
            Kind::Tools,
            &[raw(
                r#"{"name":"a","z":null,"n":9007199254740993,"inputSchema":{"type":"object"}}"#,
            )],
        );
        snapshot.take(Kind::Resources, &[raw(r#"{"uri":"a://b","name":"b"}"#)]);
        assert_eq!(
            Snapshot::from_saved(&snapshot.to_saved().unwrap()),
            Some(snapshot)
        );
        assert_eq!(Snapshot::from_saved("nonsense"), None);
    }

    #[test]
    fn of_many_bad_items_the_first_are_told_and_the_others_counted() {
        let mut snapshot = empty();
        let good = raw(r#"{"name":"a","inputSchema":{"type":"object"}}"#);
        snapshot.take(Kind::Tools, &vec![good; 1000]);
        assert_eq!(snapshot.tools.len(), 1);
        assert_eq!(snapshot.warnings.len(), N_WARNINGS_MAX + 1);
        assert_eq!(
            snapshot.warnings.last().unwrap(),
            "tools/list: 979 more items were left out"
        );
        snapshot.take(Kind::Tools, &[]);
        assert!(snapshot.warnings.is_empty());
    }

    #[test]
    fn pages_end_where_the_cursor_is_no_string() {
        assert_eq!(
            page(Kind::Tools, &raw(r#"{"tools":[],"nextCursor":""}"#))
                .unwrap()
                .1
                .as_deref(),
            Some("")
        );
        assert_eq!(
            page(Kind::Tools, &raw(r#"{"tools":[1],"nextCursor":null}"#))
                .unwrap()
                .1,
            None
        );
        assert!(page(Kind::Tools, &raw(r#"{"tools":7}"#)).is_err());
    }
}
