//! What is on offer, as clients of 2026-07-28 get it: put together once a change of the lists.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use super::ladder::SUPPORTED;
use super::mirror::Mirrored;
use crate::access::Scope;
use crate::catalog::scoped::N_SCOPES_MAX;
use crate::catalog::standing::{Lacking, TTL_MAX};
use crate::catalog::{Kind, Standing, View};
use crate::rpc::Raw;
use crate::rpc::mcp::{Implementation, Revision, TASKS_EXTENSION, meta};
use crate::rpc::object::{Object, elements};

/// The member of `_meta` that names the servers whose lists are missing or may be old.
const DEGRADED: &str = "mcp-wrapper/degraded";

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
    discover: Dressed,
    lists: HashMap<Kind, Vec<Dressed>>,
    /// The tools over HTTP, where that differs: some tell their parameters in headers, and do it wrongly.
    http_tools: Option<Vec<Dressed>>,
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
        let pages = |kind| view.list(kind).pages(Revision::NEWEST);
        let all = |pages: &[Raw]| pages.iter().map(Dressed::of).collect();
        let lists = Kind::ALL.into_iter().map(|kind| (kind, all(pages(kind))));
        let mut mirrored = HashMap::new();
        let tools = pages(Kind::Tools);
        let http_tools: Vec<Raw> = tools.iter().map(|page| http_page(page, &mut mirrored)).collect();
        Self {
            discover: Dressed::of(&discover(view)),
            lists: lists.collect(),
            http_tools: (http_tools != tools).then(|| all(&http_tools)),
            mirrored,
            view: Arc::clone(view),
        }
    }

    /// The result of `server/discover`.
    pub fn discovered(&self, standing: &Standing) -> Raw {
        self.discover.with(standing.least_ttl_ms(), &[])
    }

    /// The result of a list request: the first page, or the one that a cursor of ours names.
    pub fn page(&self, kind: Kind, is_http: bool, cursor: Option<&str>, standing: &Standing) -> Option<Raw> {
        let at = View::page_number(cursor)?;
        let pages = match &self.http_tools {
            Some(tools) if kind == Kind::Tools && is_http => tools,
            _all => self.lists.get(&kind)?,
        };
        let page = pages.get(at)?;
        Some(page.with(standing.ttl_ms(kind), standing.lacking(kind)))
    }

    /// Which parameters of a tool stand in headers.
    pub fn mirrored(&self, tool: &str) -> Option<&Mirrored> {
        self.mirrored.get(tool)
    }
}

/// A result that may be kept for a while, as it goes out when all is well; and as it went out last.
#[derive(Debug)]
struct Dressed {
    own: Raw,
    well: Raw,
    last: Mutex<Option<(u64, Vec<Lacking>, Raw)>>,
}

impl Dressed {
    fn of(own: &Raw) -> Self {
        Self {
            own: own.clone(),
            well: kept(own, ttl_max_ms(), &[]),
            last: Mutex::default(),
        }
    }

    /// Put together only when something else is to be said than before.
    fn with(&self, ttl_ms: u64, lacking: &[Lacking]) -> Raw {
        if ttl_ms == ttl_max_ms() && lacking.is_empty() {
            return self.well.clone();
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.as_ref() {
            Some((of_ttl, of_lacking, result)) if *of_ttl == ttl_ms && of_lacking == lacking => {
                result.clone()
            }
            _another => {
                let result = kept(&self.own, ttl_ms, lacking);
                *last = Some((ttl_ms, lacking.to_vec(), result.clone()));
                result
            }
        }
    }
}

fn ttl_max_ms() -> u64 {
    u64::try_from(TTL_MAX.as_millis()).unwrap_or(u64::MAX)
}

/// A result that may be kept for a while, by the client alone: what it is shown may depend on who it is.
fn kept(result: &Raw, ttl_ms: u64, lacking: &[Lacking]) -> Raw {
    let mut meta = json!({ meta::SERVER_INFO: Implementation::ourselves() });
    if let (Some(meta), false) = (meta.as_object_mut(), lacking.is_empty()) {
        let lacking = lacking.iter();
        let lacking = lacking.map(|it| json!({ "server": it.server.as_str(), "state": it.state }));
        meta.insert(DEGRADED.to_owned(), lacking.collect());
    }
    let members = [
        ("resultType", Raw::of(&"complete")),
        ("ttlMs", Raw::of(&ttl_ms)),
        ("cacheScope", Raw::of(&"private")),
        ("_meta", Raw::of(&meta)),
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
    Raw::of(&result)
}
