//! All children's lists as one: serialised once a change, with the tables that lead back. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::names::{self, Naming};
use super::snapshot::{Item, Kind, Snapshot};
use super::uris;
use crate::ids::ServerName;
use crate::rpc::Raw;
use crate::rpc::mcp::Revision;
use crate::rpc::object::Object;

/// Items on one page: hosts often read the first page only, so a page is long.
pub const N_PAGE_ITEMS: usize = 2000;
/// What one server's instructions may take of ours, bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 2048;
/// What all instructions may take, bytes.
const ALL_INSTRUCTIONS_BYTES_MAX: usize = 8192;

/// One server's part in the view.
#[derive(Debug, Clone)]
pub struct Part {
    /// Whose.
    pub server: ServerName,
    /// How its names are exposed.
    pub naming: Naming,
    /// What it offers.
    pub snapshot: Arc<Snapshot>,
}

/// Where an exposed name or URI leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Whose it is.
    pub server: ServerName,
    /// What it is called there.
    pub own: String,
}

/// One kind's merged list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The result of a list request, page by page; the last has no cursor.
    pages: Vec<Raw>,
    /// The same for clients of revisions before tasks, where that differs.
    pages_before_tasks: Option<Vec<Raw>>,
    /// Exposed names of tools that run as tasks only.
    need_task: HashSet<String>,
    /// Exposed key to owner.
    owners: HashMap<String, Owner>,
    /// The exposed keys, in order.
    order: Vec<String>,
}

/// All children's lists as one.
#[derive(Debug, Clone, Default)]
pub struct View {
    tools: List,
    prompts: List,
    resources: List,
    templates: List,
    parts: Vec<Part>,
    /// The instructions of all, for the answer to `initialize`.
    pub instructions: Option<String>,
    /// What an operator should know: collisions.
    pub warnings: Vec<(ServerName, String)>,
}

impl View {
    /// Merges, in the order given. The first to offer a name keeps it.
    pub fn merge(parts: Vec<Part>) -> Self {
        let mut warnings = Vec::new();
        let mut list = |kind| List::merge(kind, &parts, &mut warnings);
        let (tools, prompts) = (list(Kind::Tools), list(Kind::Prompts));
        let (resources, templates) = (list(Kind::Resources), list(Kind::Templates));
        idle_aliases(&parts, &mut warnings);
        let instructions = instructions(&parts);
        Self {
            tools,
            prompts,
            resources,
            templates,
            parts,
            instructions,
            warnings,
        }
    }

    /// The list of a kind.
    pub fn list(&self, kind: Kind) -> &List {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
        }
    }

    /// One server's part.
    pub fn part(&self, server: &ServerName) -> Option<&Part> {
        self.parts.iter().find(|part| part.server == *server)
    }

    /// Whose resource a URI is, in this order: its tag, the lists, the server in whose messages the client has
    /// `seen` it, the templates (the longest literal wins), a scheme that only one server uses.
    pub fn owner_of_uri(&self, uri: &str, seen: impl FnOnce() -> Option<ServerName>) -> Option<Owner> {
        let as_seen = |server| Owner {
            server,
            own: uri.to_owned(),
        };
        self.tagged(uri)
            .or_else(|| self.resources.owners.get(uri).cloned())
            .or_else(|| seen().map(as_seen))
            .or_else(|| self.by_template(uri))
            .or_else(|| self.by_scheme(uri))
    }

    fn tagged(&self, uri: &str) -> Option<Owner> {
        let (own, server) = uris::untagged(uri)?;
        let part = self.parts.iter().find(|part| part.server.as_str() == server)?;
        Some(Owner {
            server: part.server.clone(),
            own,
        })
    }

    fn by_template(&self, uri: &str) -> Option<Owner> {
        let fits = self.templates.order.iter().rev().filter_map(|template| {
            let owner = self.templates.owners.get(template)?;
            Some((uris::fit(&owner.own, uri)?, owner))
        });
        // Of equals `max_by_key` takes the last, which is the first in order here.
        let (_, owner) = fits.max_by_key(|(n_literal, _)| *n_literal)?;
        Some(Owner {
            server: owner.server.clone(),
            own: uri.to_owned(),
        })
    }

    fn by_scheme(&self, uri: &str) -> Option<Owner> {
        let scheme = uris::scheme(uri)?;
        let uses = |part: &&Part| {
            let resources = part.snapshot.resources.iter().map(|item| item.key.as_str());
            let mut all = resources.chain(part.snapshot.templates.iter().map(|item| item.key.as_str()));
            all.any(|uri| uris::scheme(uri) == Some(scheme))
        };
        let mut users = self.parts.iter().filter(uses);
        let (only, None) = (users.next()?, users.next()) else {
            return None;
        };
        Some(Owner {
            server: only.server.clone(),
            own: uri.to_owned(),
        })
    }

    /// The exposed form of a child's own URI: tagged where another server has the bare one.
    pub fn exposed_uri(&self, server: &ServerName, own: &str) -> String {
        match self.resources.owners.get(own) {
            Some(owner) if owner.server != *server => uris::tagged(own, server.as_str()),
            _its_own_or_unlisted => own.to_owned(),
        }
    }
}

impl List {
    fn merge(kind: Kind, parts: &[Part], warnings: &mut Vec<(ServerName, String)>) -> Self {
        let mut list = Self::default();
        let claims = Claims::of(kind, parts);
        let mut items = Vec::new();
        let mut has_tasks = false;
        for part in parts {
            for item in part.snapshot.items(kind) {
                let Some((key, raw)) = list.exposed(kind, part, item, &claims, warnings) else {
                    continue;
                };
                let (support, raw) = task_support(kind, part, raw);
                if support == TaskSupport::Required {
                    list.need_task.insert(key.clone());
                }
                has_tasks |= support != TaskSupport::Unsaid;
                list.owners.insert(
                    key.clone(),
                    Owner {
                        server: part.server.clone(),
                        own: item.key.clone(),
                    },
                );
                list.order.push(key);
                items.push(raw);
            }
        }
        list.pages = pages(kind, &items);
        if has_tasks {
            let older: Vec<Raw> = items.iter().map(without_execution).collect();
            list.pages_before_tasks = Some(pages(kind, &older));
        }
        list
    }

    /// The exposed key and item, or a warning.
    fn exposed(
        &self,
        kind: Kind,
        part: &Part,
        item: &Item,
        claims: &Claims<'_>,
        warnings: &mut Vec<(ServerName, String)>,
    ) -> Option<(String, Raw)> {
        let bare = match kind {
            Kind::Tools | Kind::Prompts => claims.name_of(part, &item.key, warnings),
            Kind::Resources | Kind::Templates => item.key.clone(),
        };
        let claimed = claims
            .first_of(&bare)
            .filter(|(claimer, own)| claimer.server != part.server || **own != item.key);
        let taken = self.owners.get(&bare).map(|owner| &owner.server);
        let Some(first) = taken.or(claimed.map(|(claimer, _)| &claimer.server)) else {
            let raw = if bare == item.key {
                item.raw.clone()
            } else {
                renamed(kind, item, &bare)
            };
            return Some((bare, raw));
        };
        if matches!(kind, Kind::Tools | Kind::Prompts) {
            let what = kind.member();
            let told = format!(
                "{what}: `{bare}` is already offered by `{first}`, which comes first; give one of the two servers another prefix, or `{}` an alias",
                item.key
            );
            warnings.push((part.server.clone(), told));
            return None;
        }
        let key = uris::tagged(&item.key, part.server.as_str());
        let raw = renamed(kind, item, &key);
        Some((key, raw))
    }

    /// Whose an exposed key is.
    pub fn owner(&self, exposed: &str) -> Option<&Owner> {
        self.owners.get(exposed)
    }

    /// The exposed keys with their owners, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Owner)> {
        self.order
            .iter()
            .filter_map(|key| Some((key.as_str(), self.owners.get(key)?)))
    }

    /// How many of a server's items are on offer.
    pub fn n_of(&self, server: &ServerName) -> usize {
        self.owners
            .values()
            .filter(|owner| owner.server == *server)
            .count()
    }

    /// Whether a tool, by its exposed name, runs as a task only.
    pub fn needs_task(&self, exposed: &str) -> bool {
        !self.need_task.is_empty() && self.need_task.contains(exposed)
    }

    /// The result of a list request: the first page, or the one that a cursor of ours names.
    pub fn page(&self, revision: Revision, cursor: Option<&str>) -> Option<&Raw> {
        let at = match cursor {
            None => 0,
            Some(cursor) => cursor
                .strip_prefix("page-")?
                .parse::<usize>()
                .ok()
                .filter(|at| *at > 0)?,
        };
        let older = self
            .pages_before_tasks
            .as_ref()
            .filter(|_| revision < Revision::V2025_11_25);
        older.unwrap_or(&self.pages).get(at)
    }

    /// Whether a client that has read the one has read the other.
    pub fn reads_like(&self, other: &Self) -> bool {
        self.pages == other.pages
    }
}

/// What a tool says of tasks, as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TaskSupport {
    /// Nothing.
    Unsaid,
    /// It runs as a plain call too, or as one only.
    Said,
    /// It runs as a task only.
    Required,
}

/// What a tool says of tasks, and the tool. We declare tasks for all servers, so a tool of one that makes none must not
/// say that it supports them.
fn task_support(kind: Kind, part: &Part, raw: Raw) -> (TaskSupport, Raw) {
    let said = || {
        let execution = Object::of(&raw)?.get("execution")?;
        Object::of(&execution)?.get_string("taskSupport")
    };
    let Some(said) = (if kind == Kind::Tools { said() } else { None }) else {
        return (TaskSupport::Unsaid, raw);
    };
    if !part.snapshot.makes_tasks() {
        return (TaskSupport::Unsaid, without_execution(&raw));
    }
    let support = if said == "required" {
        TaskSupport::Required
    } else {
        TaskSupport::Said
    };
    (support, raw)
}

/// A tool as revisions before tasks know it.
pub(super) fn without_execution(tool: &Raw) -> Raw {
    let Some(object) = Object::of(tool) else {
        return tool.clone();
    };
    let Some(execution) = object.get("execution").filter(Raw::is_object) else {
        return tool.clone();
    };
    let rest = Object::of(&execution).map(|execution| execution.without(&["taskSupport"]));
    match rest {
        Some(rest) if Object::of(&rest).is_some_and(|rest| !rest.is_empty()) => {
            object.with("execution", &rest)
        }
        _empty => object.without(&["execution"]),
    }
}

/// The names that operators chose for what there is: they are given away before all others.
#[derive(Debug, Default)]
struct Claims<'a>(HashMap<&'a str, (&'a Part, &'a String)>);

impl<'a> Claims<'a> {
    /// Of two claims to a name the first in order holds.
    fn of(kind: Kind, parts: &'a [Part]) -> Self {
        let mut claims = Self::default();
        if !matches!(kind, Kind::Tools | Kind::Prompts) {
            return claims;
        }
        for part in parts.iter().filter(|part| !part.naming.aliases.is_empty()) {
            for item in part.snapshot.items(kind) {
                if let Some(alias) = part.naming.alias(&item.key) {
                    claims.0.entry(alias).or_insert((part, &item.key));
                }
            }
        }
        claims
    }

    fn first_of(&self, exposed: &str) -> Option<(&'a Part, &'a String)> {
        self.0.get(exposed).copied()
    }

    /// The chosen name where there is one and it is free, else the one with the prefix.
    fn name_of(&self, part: &Part, own: &String, warnings: &mut Vec<(ServerName, String)>) -> String {
        let prefixed = || names::exposed(part.server.as_str(), &part.naming.prefix, own);
        let Some(alias) = part.naming.alias(own) else {
            return prefixed();
        };
        match self.first_of(alias) {
            Some((first, _)) if first.server != part.server => {
                let told = format!(
                    "aliases: `{alias}` is already an alias of `{}`, which comes first; `{own}` keeps its name with the prefix",
                    first.server
                );
                warnings.push((part.server.clone(), told));
                prefixed()
            }
            _its_own => alias.to_owned(),
        }
    }
}

/// Aliases for what a server offers neither as a tool nor as a prompt: most likely slips.
fn idle_aliases(parts: &[Part], warnings: &mut Vec<(ServerName, String)>) {
    for part in parts {
        let has = |kind, own: &str| part.snapshot.items(kind).iter().any(|item| item.key == own);
        let idle = part.naming.aliases.keys();
        let idle = idle.filter(|own| !has(Kind::Tools, own) && !has(Kind::Prompts, own));
        warnings.extend(idle.map(|own| {
            let told = format!("aliases: the server offers no tool or prompt `{own}`");
            (part.server.clone(), told)
        }));
    }
}

fn renamed(kind: Kind, item: &Item, key: &str) -> Raw {
    let object = Object::of(&item.raw);
    object.map_or_else(
        || item.raw.clone(),
        |object| object.with(kind.key(), &Raw::of(&key)),
    )
}

fn pages(kind: Kind, items: &[Raw]) -> Vec<Raw> {
    let n_pages = items.len().div_ceil(N_PAGE_ITEMS).max(1);
    let page = |n: usize| {
        let on_it = items.iter().skip(n * N_PAGE_ITEMS).take(N_PAGE_ITEMS);
        let mut text = format!("{{\"{}\":[", kind.member()).into_bytes();
        for (at, item) in on_it.enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(item.as_bytes());
        }
        text.push(b']');
        if n + 1 < n_pages {
            text.extend_from_slice(format!(",\"nextCursor\":\"page-{}\"", n + 1).as_bytes());
        }
        text.push(b'}');
        Raw::trusted(text)
    };
    (0..n_pages).map(page).collect()
}

fn instructions(parts: &[Part]) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        let Some(own) = part
            .snapshot
            .instructions
            .as_deref()
            .map(str::trim)
            .filter(|own| !own.is_empty())
        else {
            continue;
        };
        let own = cut(own, INSTRUCTIONS_BYTES_MAX);
        let prefix = &part.naming.prefix;
        let names = match (prefix.is_empty(), part.naming.aliases.is_empty()) {
            (true, _) => String::new(),
            (false, is_all) => format!(
                " ({} begin with `{prefix}{}`)",
                if is_all {
                    "its tools and prompts"
                } else {
                    "most of its tools and prompts"
                },
                names::SEPARATOR
            ),
        };
        let block = format!("# {}{names}\n{own}\n\n", part.server);
        if text.len() + block.len() > ALL_INSTRUCTIONS_BYTES_MAX {
            break;
        }
        text.push_str(&block);
    }
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

fn cut(text: &str, n_bytes_max: usize) -> &str {
    let at = (0..=n_bytes_max.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default();
    text.get(..at).unwrap_or_default()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
