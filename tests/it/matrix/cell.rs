//! What a cell of the matrix is: a door, the revision of the client and the revision of the child.

use std::rc::Rc;

use serde_json::{Value, json};

use super::peer::Peer;
use crate::harness::fake::Fake;
use crate::harness::{Daemon, fake};

/// All revisions; the last has no handshake. They are dates, so that their order is the order of their texts.
pub(crate) const REVISIONS: [Revision; 5] = [V24, V03, V06, V11, V26];
pub(crate) const V24: Revision = "2024-11-05";
pub(crate) const V03: Revision = "2025-03-26";
pub(crate) const V06: Revision = "2025-06-18";
pub(crate) const V11: Revision = "2025-11-25";
pub(crate) const V26: Revision = "2026-07-28";

pub(crate) type Revision = &'static str;

/// Templates of the child that makes a list longer than one page towards clients.
pub(crate) const N_MANY: usize = 2001;

/// How a client comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// Lines, through the shim that desktop clients launch.
    Stdio,
    /// HTTP+SSE.
    Sse,
    /// Streamable HTTP.
    Http,
}

impl Door {
    pub(crate) const ALL: [Self; 3] = [Self::Stdio, Self::Sse, Self::Http];

    /// Whether clients of a revision can come in here.
    pub(crate) fn is_open_to(self, client: Revision) -> bool {
        match self {
            Self::Stdio => true,
            Self::Sse => client < V26,
            Self::Http => client >= V03,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Sse => "HTTP+SSE",
            Self::Http => "Streamable HTTP",
        }
    }
}

/// One daemon with a child of each revision, and the clients of one revision that come in through one door.
pub(crate) struct Group {
    pub(crate) door: Door,
    pub(crate) client: Revision,
    pub(crate) daemon: Daemon,
}

impl Group {
    pub(crate) async fn start(door: Door, client: Revision) -> Rc<Self> {
        let mut fakes: Vec<Fake> = REVISIONS
            .into_iter()
            .map(|revision| child(&shared_name(revision), revision))
            .collect();
        fakes.extend(
            REVISIONS.map(|revision| child(&own_name(revision), revision).key("sharing", "\"per-session\"")),
        );
        let templates: Vec<String> = (0..N_MANY).map(|n| format!("m{n}://{{x}}")).collect();
        fakes.push(fake("many").arg("--templates", &templates.join(",")));
        Rc::new(Self {
            door,
            client,
            daemon: Daemon::start(&fakes).await,
        })
    }
}

/// A child of exactly one revision, with everything that a feature needs.
fn child(name: &str, revision: Revision) -> Fake {
    let tools =
        "echo,show,raw,raw_error,progress,sleep,log,ask,ask_many,grow,updated,notify,boom,pid,in_batch";
    let fake = if revision == V26 {
        let shapes = "shape_array,shape_text,shape_ref";
        fake(name)
            .flag("--tasks")
            .tools(&format!("{tools},{shapes},may_work,must_work"))
    } else if revision == V11 {
        fake(name)
            .flag("--tasks")
            .tools(&format!("{tools},may_work,must_work"))
    } else {
        fake(name).tools(tools)
    };
    fake.arg("--exactly", revision)
        .arg("--prompts", "plain,show,third")
        .arg(
            "--resources",
            &format!("res-{name}://1,res-{name}://2,res-{name}://3"),
        )
        .arg("--templates", &format!("tpl-{name}://{{x}}"))
        .arg("--page-size", "2")
}

/// The child of this revision that all clients share.
fn shared_name(revision: Revision) -> String {
    format!("c{}", &revision[2..7])
}

/// The child of this revision of which every session has a process of its own.
fn own_name(revision: Revision) -> String {
    format!("own{}", &revision[2..7])
}

/// One cell.
#[derive(Clone)]
pub(crate) struct Cell {
    pub(crate) group: Rc<Group>,
    pub(crate) door: Door,
    pub(crate) client: Revision,
    pub(crate) child: Revision,
}

/// What came of a feature in a cell; a failure is a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it has to be. The mark says which of the possible ways that was.
    Pass(&'static str),
    /// The revisions or the door have nothing of the kind, for this reason.
    NotDefined(&'static str),
}

impl Cell {
    pub(crate) fn new(group: &Rc<Group>, child: Revision) -> Self {
        Self {
            group: Rc::clone(group),
            door: group.door,
            client: group.client,
            child,
        }
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        &self.group.daemon
    }

    /// The name of the child that all clients share.
    pub(crate) fn server(&self) -> String {
        shared_name(self.child)
    }

    /// The name of the child that no two clients share.
    pub(crate) fn own_server(&self) -> String {
        own_name(self.child)
    }

    /// A tool of the child as clients know it.
    pub(crate) fn tool(&self, name: &str) -> String {
        format!("{}__{name}", self.server())
    }

    /// A resource of the child.
    pub(crate) fn uri(&self, n: u32) -> String {
        format!("res-{}://{n}", self.server())
    }

    /// A resource template of the child.
    pub(crate) fn template(&self) -> String {
        format!("tpl-{}://{{x}}", self.server())
    }

    /// How much the child has noted until now.
    pub(crate) fn noted_until_now(&self) -> usize {
        self.daemon().setup.journal(&self.server()).len()
    }

    /// What the child has noted after that.
    pub(crate) fn noted_since(&self, n: usize) -> Vec<String> {
        self.daemon().setup.journal(&self.server()).split_off(n)
    }

    /// Whether the client knows no handshake.
    pub(crate) fn is_bare(&self) -> bool {
        self.client == V26
    }

    /// Whether the child knows no handshake.
    pub(crate) fn has_bare_child(&self) -> bool {
        self.child == V26
    }

    /// All that a client of this cell's revision can say it can do.
    pub(crate) fn abilities(&self) -> Value {
        let mut all = json!({ "sampling": {}, "roots": { "listChanged": true } });
        if self.client >= V06 {
            all["elicitation"] = json!({});
        }
        if self.client >= V11 {
            all["elicitation"] = json!({ "form": {}, "url": {} });
            all["sampling"] = json!({ "tools": {} });
        }
        all
    }

    /// A client that can do all that its revision has, after its handshake.
    pub(crate) async fn able(&self) -> Peer {
        Peer::open(self, &self.abilities()).await
    }

    /// A client that can do nothing that servers ask for, after its handshake.
    pub(crate) async fn plain(&self) -> Peer {
        Peer::open(self, &json!({})).await
    }
}
