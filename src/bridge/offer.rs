//! What is on offer, as clients of 2026-07-28 get it: put together once a change of the lists.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::ladder::SUPPORTED;
use super::mirror::Mirrored;
use crate::access::Scope;
use crate::catalog::scoped::N_SCOPES_MAX;
use crate::catalog::{Kind, View};
use crate::rpc::Raw;
use crate::rpc::mcp::{Implementation, Revision, TASKS_EXTENSION, meta};
use crate::rpc::object::{Object, elements};

/// So long a client may take a list for true without asking: it hears of changes when it listens.
pub const TTL_MS: u64 = 60_000;

/// The offers that belong to the view of now: of who sees everything, and of some scopes.
#[derive(Debug, Default)]
pub struct Cache {
    whole: Mutex<Option<Arc<Offer>>>,
    scoped: Mutex<HashMap<Arc<Scope>, Arc<Offer>>>,
}

/// What is on offer in one view.
#[derive(Debug)]
pub struct Offer {
    view: Arc<View>,
    /// The result of `server/discover`.
    pub discover: Raw,
    lists: HashMap<Kind, Vec<Raw>>,
    /// The tools over HTTP, where that differs: some tell their parameters in headers, and do it wrongly.
    http_tools: Option<Vec<Raw>>,
    mirrored: HashMap<String, Mirrored>,
}

impl Cache {
    /// The offer of this view, which is that of a scope.
    pub fn of(&self, view: &Arc<View>, scope: Option<&Arc<Scope>>) -> Arc<Offer> {
        let Some(scope) = scope else {
            return self.of_whole(view);
        };
        let mut cached = self.scoped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(offer) = cached.get(scope).filter(|offer| Arc::ptr_eq(&offer.view, view)) {
            return Arc::clone(offer);
        }
        if cached.len() >= N_SCOPES_MAX {
            // Rare enough that each is made anew then.
            cached.clear();
        }
        let offer = Arc::new(Offer::of(view));
        cached.insert(Arc::clone(scope), Arc::clone(&offer));
        offer
    }

    fn of_whole(&self, view: &Arc<View>) -> Arc<Offer> {
        let mut cached = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        match cached.as_ref() {
            Some(offer) if Arc::ptr_eq(&offer.view, view) => Arc::clone(offer),
            _older_or_none => {
                let offer = Arc::new(Offer::of(view));
                *cached = Some(Arc::clone(&offer));
                offer
            }
        }
    }
}

impl Offer {
    fn of(view: &Arc<View>) -> Self {
        let mut lists: HashMap<Kind, Vec<Raw>> = Kind::ALL
            .into_iter()
            .map(|kind| (kind, pages(view, kind)))
            .collect();
        let tools = lists.remove(&Kind::Tools).unwrap_or_default();
        let mut mirrored = HashMap::new();
        let http_tools: Vec<Raw> = tools.iter().map(|page| http_page(page, &mut mirrored)).collect();
        let differs = http_tools != tools;
        lists.insert(Kind::Tools, tools);
        Self {
            discover: discover(view),
            lists,
            http_tools: differs.then_some(http_tools),
            mirrored,
            view: Arc::clone(view),
        }
    }

    /// The result of a list request: the first page, or the one that a cursor of ours names.
    pub fn page(&self, kind: Kind, is_http: bool, cursor: Option<&str>) -> Option<&Raw> {
        let at = View::page_number(cursor)?;
        let pages = match &self.http_tools {
            Some(tools) if kind == Kind::Tools && is_http => tools,
            _all => self.lists.get(&kind)?,
        };
        pages.get(at)
    }

    /// Which parameters of a tool stand in headers.
    pub fn mirrored(&self, tool: &str) -> Option<&Mirrored> {
        self.mirrored.get(tool)
    }
}

fn pages(view: &View, kind: Kind) -> Vec<Raw> {
    view.list(kind).pages(Revision::NEWEST).iter().map(kept).collect()
}

/// A result that may be kept for a while, by the client alone: what it is shown may depend on who it is.
fn kept(result: &Raw) -> Raw {
    let members = [
        ("resultType", Raw::of(&"complete")),
        ("ttlMs", Raw::of(&TTL_MS)),
        ("cacheScope", Raw::of(&"private")),
        (
            "_meta",
            Raw::of(&json!({ meta::SERVER_INFO: Implementation::ourselves() })),
        ),
    ];
    members.iter().fold(result.clone(), |result, (key, value)| {
        Object::of(&result).map_or_else(|| result.clone(), |object| object.with(key, value))
    })
}

/// A page of tools without those that no client over HTTP may call; notes which parameters stand in headers.
fn http_page(page: &Raw, mirrored: &mut HashMap<String, Mirrored>) -> Raw {
    // A look at the text is enough for almost every page.
    if !page.as_str().contains("x-mcp-header") {
        return page.clone();
    }
    let Some(object) = Object::of(page) else {
        return page.clone();
    };
    let tools = object
        .get("tools")
        .as_ref()
        .and_then(elements)
        .unwrap_or_default();
    let good: Vec<Raw> = tools
        .into_iter()
        .filter(|tool| note_mirrored(tool, mirrored))
        .collect();
    object.with("tools", &Raw::array(&good))
}

fn note_mirrored(tool: &Raw, mirrored: &mut HashMap<String, Mirrored>) -> bool {
    let Some(object) = Object::of(tool) else {
        return true;
    };
    let (Some(name), Some(schema)) = (object.get_string("name"), object.get("inputSchema")) else {
        return true;
    };
    match Mirrored::of(&schema) {
        Ok(params) => {
            if !params.is_empty() {
                mirrored.insert(name, params);
            }
            true
        }
        Err(invalid) => {
            tracing::warn!(tool = name, why = %invalid, "a tool is not offered over HTTP: its x-mcp-header is not valid");
            false
        }
    }
}

/// What clients of every revision are offered, whichever servers are there: those come and go.
pub(super) fn capabilities() -> serde_json::Value {
    json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "subscribe": true, "listChanged": true },
        "completions": {},
        "logging": {},
    })
}

fn discover(view: &View) -> Raw {
    let mut capabilities = capabilities();
    if let Some(all) = capabilities.as_object_mut() {
        all.insert("extensions".to_owned(), json!({ TASKS_EXTENSION: {} }));
    }
    let mut result = json!({ "supportedVersions": SUPPORTED, "capabilities": capabilities });
    if let (Some(object), Some(text)) = (result.as_object_mut(), &view.instructions) {
        object.insert("instructions".to_owned(), json!(text));
    }
    kept(&Raw::of(&result))
}
