//! What servers turned out to be, so that each is asked only once: in memory here, on the disk by whoever saves.
//!
//! A verdict holds for one program as it is (its fingerprint) and for some time: a server that was updated may have
//! become modern, and an old verdict would never show that, because such servers often speak both. That a server is
//! modern holds until it is contradicted: it shows at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::probe::Finding;
use super::program;
use crate::config::spec::Command;
use crate::ids::ServerName;
use crate::rpc::mcp::Era;

/// How long a server is taken for legacy that has said so.
pub const DEFINITIVE_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The same for one that has said nothing.
pub const TENTATIVE_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Files among the arguments that count towards the fingerprint.
const N_FILES_MAX: usize = 16;
/// Endings of files that hold programs. Other files are what a server works with, and change with every run.
const PROGRAMS: &[&str] = &[
    "js", "mjs", "cjs", "ts", "mts", "cts", "py", "pyz", "rb", "sh", "php", "pl", "lua", "jar", "dll", "exs",
];

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The server has said or shown it.
    Definitive,
    /// It has said nothing: it may only be slow.
    Tentative,
}

/// Whether a server that needs no handshake also answers one. Its `supportedVersions` do not say: SDKs that answer both
/// list only what needs none. A process of its own shows it, which some client has to need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Older {
    /// Nobody has tried.
    #[default]
    Untried,
    /// It does.
    Spoken,
    /// It has refused one.
    Refused,
    /// The process that was to show it did not come up. That may have had any reason, and is not written down.
    Failed,
}

/// What one server turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Of the program as it was: see [`fingerprint`].
    pub fingerprint: String,
    /// The era.
    pub era: Era,
    /// The revision it spoke last; empty before the first handshake.
    pub revision: String,
    /// How sure that is.
    pub certainty: Certainty,
    /// Whether it ends when it is asked.
    pub crashes_on_probe: bool,
    /// Whether it also answers a handshake, where it needs none.
    pub older: Older,
    /// By what it was found, for people.
    pub how: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

impl Verdict {
    /// A verdict of now.
    pub fn of(finding: Finding, fingerprint: &str, at_ms: u64) -> Self {
        Self {
            fingerprint: fingerprint.to_owned(),
            era: finding.era,
            revision: String::new(),
            certainty: finding.certainty,
            crashes_on_probe: finding.crashes,
            older: Older::Untried,
            how: finding.how,
            at_ms,
        }
    }

    /// Whether it needs no handshake, and answers one all the same, as far as is known.
    pub fn may_shake_hands(&self) -> bool {
        self.era == Era::Modern && matches!(self.older, Older::Untried | Older::Spoken)
    }

    /// Whether it still holds for a program with this fingerprint.
    pub fn holds(&self, fingerprint: &str, now_ms: u64) -> bool {
        let kept = match (self.era, self.certainty) {
            (Era::Modern, _) => return self.fingerprint == fingerprint,
            (Era::Legacy, Certainty::Definitive) => DEFINITIVE_KEPT,
            (Era::Legacy, Certainty::Tentative) => TENTATIVE_KEPT,
        };
        let age = Duration::from_millis(now_ms.saturating_sub(self.at_ms));
        self.fingerprint == fingerprint && age < kept
    }
}

/// A verdict to be saved, or (`None`) to be forgotten.
pub type Saved = (ServerName, Option<Verdict>);

/// All verdicts. Cheap to clone. Nobody waits in here.
#[derive(Debug, Clone, Default)]
pub struct Verdicts(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    all: Mutex<HashMap<ServerName, Verdict>>,
    save: Option<mpsc::Sender<Saved>>,
}

impl Verdicts {
    /// Verdicts that go to `save` whenever they change.
    pub fn saved_by(save: mpsc::Sender<Saved>) -> Self {
        Self(Arc::new(Inner {
            all: Mutex::default(),
            save: Some(save),
        }))
    }

    /// Takes in what an earlier run has found.
    pub fn preload(&self, saved: impl IntoIterator<Item = (ServerName, Verdict)>) {
        self.all().extend(saved);
    }

    /// What is known of a server, whether it still holds or not.
    pub fn of(&self, server: &ServerName) -> Option<Verdict> {
        self.all().get(server).cloned()
    }

    /// Whether a server is known to need no handshake, and answers one all the same, as far as is known.
    pub fn may_shake_hands(&self, server: &ServerName) -> bool {
        self.all().get(server).is_some_and(Verdict::may_shake_hands)
    }

    /// A server has turned out to be this. Whether it also shakes hands stays as it was known of the same program.
    pub fn note(&self, server: &ServerName, mut verdict: Verdict) {
        let mut all = self.all();
        let is_same_program =
            |known: &&Verdict| known.fingerprint == verdict.fingerprint && known.era == verdict.era;
        if let Some(known) = all.get(server).filter(is_same_program) {
            verdict.older = known.older;
        }
        let same = |known: &Verdict| {
            Verdict {
                at_ms: verdict.at_ms,
                ..known.clone()
            } == verdict
        };
        let is_young = |known: &Verdict| verdict.at_ms.saturating_sub(known.at_ms) < FRESH_MS;
        if all
            .get(server)
            .is_some_and(|known| same(known) && is_young(known))
        {
            return;
        }
        all.insert(server.clone(), verdict.clone());
        drop(all);
        self.save((server.clone(), Some(verdict)));
    }

    /// A process has shown whether a server that needs no handshake answers one. `fingerprint`: of its program, where
    /// there was a process.
    pub fn tried(&self, server: &ServerName, fingerprint: Option<&str>, older: Older) {
        let mut all = self.all();
        let is_it = |known: &&mut Verdict| {
            fingerprint.is_none_or(|fingerprint| known.fingerprint == fingerprint) && known.older != older
        };
        let Some(known) = all.get_mut(server).filter(is_it) else {
            return;
        };
        known.older = older;
        let known = known.clone();
        drop(all);
        self.save((server.clone(), Some(known)));
    }

    /// What was only thought of a server is forgotten, and what it has said or shown is not: its next process is asked
    /// anew.
    pub fn doubt(&self, server: &ServerName) {
        let mut all = self.all();
        let Some(known) = all.get_mut(server) else { return };
        if known.older == Older::Failed {
            known.older = Older::Untried;
        }
        let is_thought = (known.era, known.certainty) == (Era::Legacy, Certainty::Tentative);
        drop(all);
        if is_thought {
            self.wipe(server);
        }
    }

    /// What was known of a server is contradicted.
    pub fn wipe(&self, server: &ServerName) {
        if self.all().remove(server).is_some() {
            self.save((server.clone(), None));
        }
    }

    fn save(&self, saved: Saved) {
        // What is lost here is found out again at the next start.
        if self
            .0
            .save
            .as_ref()
            .is_some_and(|save| save.try_send(saved).is_err())
        {
            tracing::debug!("a verdict could not be saved");
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ServerName, Verdict>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same verdict is not written down again within this time.
const FRESH_MS: u64 = 3_600_000;

/// The time of day, milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, super::telling::millis)
}

/// SHA-256, as hex, over what decides what a server speaks: command, arguments, folder, names of variables, and size
/// and time of change of the program and of programs among its arguments.
///
/// A few looks at the file system.
pub fn fingerprint(command: &Command, path: &str) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update(text.len().to_string());
        hash.update(":");
        hash.update(text);
    };
    part(&command.program);
    part(&command.args.len().to_string());
    command.args.iter().for_each(|arg| part(arg));
    let folder = command.cwd.clone().unwrap_or_default();
    part(&folder.to_string_lossy());
    command.env.keys().for_each(|name| part(name));
    if let Ok(file) = program::find(command, path) {
        part(&looks_of(&file));
    }
    let files = command.args.iter().map(|arg| folder.join(arg));
    let is_program = |file: &PathBuf| {
        let ending = file.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| PROGRAMS.contains(&ending))
    };
    for file in files.filter(is_program).take(N_FILES_MAX) {
        part(&looks_of(&file));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn looks_of(file: &Path) -> String {
    let Ok(meta) = std::fs::metadata(file) else {
        return String::new();
    };
    let changed = meta.modified().ok();
    let changed = changed.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    format!("{} {} {:?}", file.display(), meta.len(), changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(era: Era, certainty: Certainty) -> Verdict {
        Verdict {
            fingerprint: "f".to_owned(),
            era,
            revision: String::new(),
            certainty,
            crashes_on_probe: false,
            older: Older::Untried,
            how: String::new(),
            at_ms: 1_000,
        }
    }

    #[test]
    fn a_verdict_holds_for_one_program_and_a_time() {
        let day = 24 * 3_600_000;
        for (era, certainty, age_ms, wanted) in [
            (Era::Legacy, Certainty::Tentative, day - 1, true),
            (Era::Legacy, Certainty::Tentative, day, false),
            (Era::Legacy, Certainty::Definitive, 7 * day - 1, true),
            (Era::Legacy, Certainty::Definitive, 7 * day, false),
            (Era::Modern, Certainty::Definitive, 1000 * day, true),
        ] {
            let verdict = verdict(era, certainty);
            assert_eq!(
                verdict.holds("f", 1_000 + age_ms),
                wanted,
                "{era:?} {certainty:?}"
            );
            assert!(!verdict.holds("g", 1_000));
        }
        // A clock that was set back makes nothing older.
        assert!(verdict(Era::Legacy, Certainty::Definitive).holds("f", 0));
    }

    #[test]
    fn a_changed_script_is_another_program() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("server.sh");
        let command = Command {
            program: "sh".to_owned(),
            args: vec!["server.sh".to_owned()],
            env: [("K".to_owned(), crate::config::spec::Secret::new("1"))].into(),
            late: crate::config::spec::Late::default(),
            cwd: Some(folder.path().to_owned()),
            shown: Vec::new(),
            stop: None,
        };
        std::fs::write(&script, "one").unwrap();
        let one = fingerprint(&command, "/usr/bin:/bin");
        assert_eq!(one, fingerprint(&command, "/usr/bin:/bin"));
        let mut other = command.clone();
        other.env = [("K".to_owned(), crate::config::spec::Secret::new("2"))].into();
        assert_eq!(one, fingerprint(&other, "/usr/bin:/bin"), "values are not in it");
        other = command.clone();
        other.args.push("data.db".to_owned());
        let with_data = fingerprint(&other, "/usr/bin:/bin");
        std::fs::write(folder.path().join("data.db"), "x").unwrap();
        assert_eq!(
            with_data,
            fingerprint(&other, "/usr/bin:/bin"),
            "data is no program"
        );
        std::fs::write(&script, "longer").unwrap();
        assert_ne!(one, fingerprint(&command, "/usr/bin:/bin"));
    }

    #[test]
    fn what_was_tried_of_a_program_stays_known_of_it_and_of_no_other() {
        let (verdicts, name) = (Verdicts::default(), ServerName::parse("a").unwrap());
        let known = verdict(Era::Modern, Certainty::Definitive);
        verdicts.note(&name, known.clone());
        assert!(verdicts.of(&name).unwrap().may_shake_hands(), "nobody has tried");
        verdicts.tried(&name, Some("another"), Older::Refused);
        assert_eq!(verdicts.of(&name).unwrap().older, Older::Untried);
        verdicts.tried(&name, Some("f"), Older::Refused);
        verdicts.note(&name, known.clone());
        assert!(!verdicts.of(&name).unwrap().may_shake_hands());
        let fingerprint = "g".to_owned();
        verdicts.note(&name, Verdict { fingerprint, ..known });
        assert!(verdicts.of(&name).unwrap().may_shake_hands(), "another program");
        assert!(!verdict(Era::Legacy, Certainty::Definitive).may_shake_hands());
    }

    #[test]
    fn what_was_only_thought_is_forgotten_and_what_was_shown_stays() {
        let name = ServerName::parse("a").unwrap();
        let stays = |known: Verdict| {
            let verdicts = Verdicts::default();
            verdicts.note(&name, known);
            verdicts.doubt(&name);
            verdicts.of(&name)
        };
        assert_eq!(stays(verdict(Era::Legacy, Certainty::Tentative)), None);
        let shown = verdict(Era::Legacy, Certainty::Definitive);
        assert_eq!(stays(shown.clone()), Some(shown));
        for (older, wanted) in [(Older::Failed, Older::Untried), (Older::Refused, Older::Refused)] {
            let known = verdict(Era::Modern, Certainty::Definitive);
            assert_eq!(stays(Verdict { older, ..known }).unwrap().older, wanted);
        }
        Verdicts::default().doubt(&name);
    }

    #[tokio::test]
    async fn what_changes_is_saved_once() {
        let (save, mut saved) = mpsc::channel(8);
        let verdicts = Verdicts::saved_by(save);
        let name = ServerName::parse("a").unwrap();
        let known = verdict(Era::Modern, Certainty::Definitive);
        verdicts.note(&name, known.clone());
        verdicts.note(&name, known.clone());
        assert_eq!(verdicts.of(&name), Some(known.clone()));
        verdicts.wipe(&name);
        verdicts.wipe(&name);
        assert_eq!(saved.try_recv().unwrap(), (name.clone(), Some(known)));
        assert_eq!(saved.try_recv().unwrap(), (name, None));
        assert!(saved.try_recv().is_err());
    }
}
