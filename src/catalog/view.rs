//! All children's lists as one: serialised once a change, with the tables that lead back. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::names;
use super::part::{Offered, Part, TaskSupport};
use super::snapshot::{Item, Kind};
use super::uris;
use crate::access::Scope;
use crate::ids::ServerName;
use crate::rpc::Raw;
use crate::rpc::mcp::{Era, Revision};

/// Items on one page: hosts often read the first page only, so a page is long.
pub const N_PAGE_ITEMS: usize = 2000;
/// What one server's instructions may take of ours, bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 2048;
/// What all instructions may take, bytes.
const ALL_INSTRUCTIONS_BYTES_MAX: usize = 8192;

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
    /// The same for clients of 2026-07-28, where that differs from both.
    pages_modern: Option<Vec<Raw>>,
    /// Exposed names of tools that run as tasks only.
    need_task: HashSet<String>,
    /// Exposed key to owner.
    owners: HashMap<String, Owner>,
    /// The exposed keys, in order.
    order: Vec<String>,
    /// How many are whose.
    n_items: HashMap<ServerName, usize>,
}

/// All children's lists as one.
#[derive(Debug, Clone, Default)]
pub struct View {
    tools: List,
    prompts: List,
    resources: List,
    templates: List,
    parts: Vec<Part>,
    /// Who sees it may see no more than this.
    scope: Option<Arc<Scope>>,
    /// The instructions of all, for the answer to `initialize`.
    pub instructions: Option<String>,
    /// What an operator should know: collisions.
    pub warnings: Vec<(ServerName, String)>,
}

impl View {
    /// Merges, in the order given. The first to offer a name keeps it.
    pub fn merge(parts: Vec<Part>) -> Self {
        Self::merge_within(parts, None)
    }

    /// The same as far as a scope reaches. Names are as they are for everybody, whoever has the first of them.
    pub fn within(&self, scope: &Arc<Scope>) -> Self {
        Self::merge_within(self.parts.clone(), Some(Arc::clone(scope)))
    }

    fn merge_within(mut parts: Vec<Part>, scope: Option<Arc<Scope>>) -> Self {
        let mut warnings = Vec::new();
        let mut list = |kind| List::merge(kind, &parts, scope.as_deref(), &mut warnings);
        let (tools, prompts) = (list(Kind::Tools), list(Kind::Prompts));
        let (resources, templates) = (list(Kind::Resources), list(Kind::Templates));
        idle_aliases(&parts, &mut warnings);
        if let Some(scope) = &scope {
            parts.retain(|part| scope.has_server(part.server.as_str()) || tools.n_of(&part.server) > 0);
        }
        let instructions = instructions(&parts);
        Self {
            tools,
            prompts,
            resources,
            templates,
            parts,
            scope,
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

    /// An item of a list by its exposed key, as its server wrote it.
    pub fn item(&self, kind: Kind, exposed: &str) -> Option<&Raw> {
        let owner = self.list(kind).owner(exposed)?;
        let items = self.part(&owner.server)?.snapshot.items(kind);
        let item = items.iter().find(|item| item.key == owner.own)?;
        Some(&item.raw)
    }

    /// The page that a cursor of ours names; the first without one.
    pub fn page_number(cursor: Option<&str>) -> Option<usize> {
        let Some(cursor) = cursor else { return Some(0) };
        let number = cursor.strip_prefix("page-")?.parse().ok();
        number.filter(|number| *number > 0)
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
            .or_else(|| seen().filter(|server| self.has_resources_of(server)).map(as_seen))
            .or_else(|| self.by_template(uri))
            .or_else(|| self.by_scheme(uri))
    }

    fn has_resources_of(&self, server: &ServerName) -> bool {
        self.scope
            .as_ref()
            .is_none_or(|scope| scope.has_server(server.as_str()))
    }

    fn tagged(&self, uri: &str) -> Option<Owner> {
        let (own, server) = uris::untagged(uri)?;
        let part = self.parts.iter().find(|part| part.server.as_str() == server)?;
        if !self.has_resources_of(&part.server) {
            return None;
        }
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
        let parts = self
            .parts
            .iter()
            .filter(|part| self.has_resources_of(&part.server));
        let mut users = parts.filter(uses);
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
    fn merge(
        kind: Kind,
        parts: &[Part],
        scope: Option<&Scope>,
        warnings: &mut Vec<(ServerName, String)>,
    ) -> Self {
        let mut list = Self::default();
        let claims = Claims::of(kind, parts);
        let (mut items, mut hidden) = (Vec::new(), Vec::new());
        for part in parts {
            let mut n_items = 0;
            for (at, item) in part.snapshot.items(kind).iter().enumerate() {
                let prepared = part.prepared(kind, at);
                let Some(offered) = list.exposed(kind, part, item, prepared, &claims, warnings) else {
                    continue;
                };
                let is_there = |scope: &Scope| is_within(scope, kind, part.server.as_str(), &offered.key);
                let is_hidden = !scope.is_none_or(is_there);
                if offered.tasks == TaskSupport::Required && !is_hidden {
                    list.need_task.insert(offered.key.clone());
                }
                let owner = Owner {
                    server: part.server.clone(),
                    own: item.key.clone(),
                };
                list.owners.insert(offered.key.clone(), owner);
                if is_hidden {
                    // It holds its name until all have theirs.
                    hidden.push(offered.key);
                    continue;
                }
                list.order.push(offered.key.clone());
                items.push(offered);
                n_items += 1;
            }
            list.n_items.insert(part.server.clone(), n_items);
        }
        for key in &hidden {
            list.owners.remove(key);
        }
        list.pages = pages(kind, items.iter().map(|item| &item.raw));
        if items.iter().any(|item| item.tasks != TaskSupport::Unsaid) {
            let older = items
                .iter()
                .map(|item| item.before_tasks.as_ref().unwrap_or(&item.raw));
            list.pages_before_tasks = Some(pages(kind, older));
        }
        if items.iter().any(|item| item.modern.is_some()) {
            let modern = items.iter().map(|item| {
                item.modern
                    .as_ref()
                    .or(item.before_tasks.as_ref())
                    .unwrap_or(&item.raw)
            });
            list.pages_modern = Some(pages(kind, modern));
        }
        list
    }

    /// The item as it is exposed, or a warning.
    fn exposed(
        &self,
        kind: Kind,
        part: &Part,
        item: &Item,
        prepared: Option<&Offered>,
        claims: &Claims<'_>,
        warnings: &mut Vec<(ServerName, String)>,
    ) -> Option<Offered> {
        let bare = match prepared {
            Some(prepared) => claims.name_of(part, &item.key, &prepared.key, warnings),
            None => item.key.clone(),
        };
        let claimed = claims
            .first_of(&bare)
            .filter(|(claimer, own)| claimer.server != part.server || **own != item.key);
        let taken = self.owners.get(&bare).map(|owner| &owner.server);
        let Some(first) = taken.or(claimed.map(|(claimer, _)| &claimer.server)) else {
            let as_prepared = prepared.filter(|prepared| prepared.key == bare);
            return Some(as_prepared.map_or_else(|| part.offered(kind, item, bare), Offered::clone));
        };
        if prepared.is_some() {
            let what = kind.member();
            let told = format!(
                "{what}: `{bare}` is already offered by `{first}`, which comes first; give one of the two servers another prefix, or `{}` an alias",
                item.key
            );
            warnings.push((part.server.clone(), told));
            return None;
        }
        let key = uris::tagged(&item.key, part.server.as_str());
        Some(part.offered(kind, item, key))
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
        self.n_items.get(server).copied().unwrap_or_default()
    }

    /// Whether a tool, by its exposed name, runs as a task only.
    pub fn needs_task(&self, exposed: &str) -> bool {
        !self.need_task.is_empty() && self.need_task.contains(exposed)
    }

    /// The result of a list request: the first page, or the one that a cursor of ours names.
    pub fn page(&self, revision: Revision, cursor: Option<&str>) -> Option<&Raw> {
        self.pages(revision).get(View::page_number(cursor)?)
    }

    /// All pages, for clients of this revision.
    pub fn pages(&self, revision: Revision) -> &[Raw] {
        if let (Some(pages), Era::Modern) = (&self.pages_modern, revision.era()) {
            return pages;
        }
        let without_tasks = self
            .pages_before_tasks
            .as_ref()
            .filter(|_| revision != Revision::V2025_11_25);
        without_tasks.unwrap_or(&self.pages)
    }

    /// Whether a client that has read the one has read the other.
    pub fn reads_like(&self, other: &Self) -> bool {
        self.pages == other.pages && self.pages_modern == other.pages_modern
    }
}

/// Whether an item is there for who has this scope.
fn is_within(scope: &Scope, kind: Kind, server: &str, exposed: &str) -> bool {
    match kind {
        Kind::Tools => scope.has_tool(server, exposed),
        Kind::Prompts | Kind::Resources | Kind::Templates => scope.has_server(server),
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
    fn name_of(
        &self,
        part: &Part,
        own: &str,
        prefixed: &str,
        warnings: &mut Vec<(ServerName, String)>,
    ) -> String {
        let Some(alias) = part.naming.alias(own) else {
            return prefixed.to_owned();
        };
        match self.first_of(alias) {
            Some((first, _)) if first.server != part.server => {
                let told = format!(
                    "aliases: `{alias}` is already an alias of `{}`, which comes first; `{own}` keeps its name with the prefix",
                    first.server
                );
                warnings.push((part.server.clone(), told));
                prefixed.to_owned()
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

fn pages<'i>(kind: Kind, mut items: impl ExactSizeIterator<Item = &'i Raw>) -> Vec<Raw> {
    let n_pages = items.len().div_ceil(N_PAGE_ITEMS).max(1);
    let page = |n: usize| {
        let mut text = format!("{{\"{}\":[", kind.member()).into_bytes();
        for (at, item) in items.by_ref().take(N_PAGE_ITEMS).enumerate() {
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
