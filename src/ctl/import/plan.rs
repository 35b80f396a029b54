//! What will be done about each entry, given what is declared already.

use std::collections::HashSet;

use super::entry::{Candidate, Entry, Kind};
use crate::api::DefinitionOrigin;
use crate::ids::ServerName;

/// Servers of one name.
const N_NAMES_MAX: u32 = 100;

/// What will be done about one entry.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ctl) struct Step {
    /// The name it gets, or the one in the file when it gets none.
    pub(in crate::ctl) name: String,
    pub(in crate::ctl) action: Action,
    pub(in crate::ctl) command: Vec<String>,
    pub(in crate::ctl) notes: Vec<String>,
}

/// What will be done.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ctl) enum Action {
    /// Declared anew.
    Add(ServerName, Candidate),
    /// Its name is taken by another definition, which it replaces.
    Replace(ServerName, Candidate),
    /// Declared exactly like this already.
    Unchanged,
    /// Nothing; the notes say why.
    Skip,
}

impl Action {
    /// The word in the table.
    pub(in crate::ctl) fn word(&self) -> &'static str {
        match self {
            Self::Add(..) => "add",
            Self::Replace(..) => "replace",
            Self::Unchanged => "unchanged",
            Self::Skip => "skip",
        }
    }

    /// What is to be written, if anything.
    pub(in crate::ctl) fn change(&self) -> Option<(&ServerName, &Candidate)> {
        match self {
            Self::Add(name, it) | Self::Replace(name, it) => Some((name, it)),
            Self::Unchanged | Self::Skip => None,
        }
    }
}

/// A server that is declared already.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::ctl) struct Known {
    pub(in crate::ctl) name: ServerName,
    pub(in crate::ctl) origin: DefinitionOrigin,
    pub(in crate::ctl) definition: Candidate,
}

/// What will be done about the entries, in their order. `only` names entries; empty means all. `replace`: also what is
/// declared under a name in another way.
pub(in crate::ctl) fn plan(
    entries: Vec<Entry>,
    known: &[Known],
    only: &[String],
    replace: bool,
) -> Vec<Step> {
    let mut names = Names::of(&entries, known);
    // Those that are not wanted have their names all the same, so that each has the same one in every run.
    let steps = entries.into_iter().map(|entry| {
        let is_wanted = only.is_empty() || only.contains(&entry.name);
        (is_wanted, step(entry, known, &mut names, replace))
    });
    let wanted = steps.filter(|(is_wanted, _)| *is_wanted);
    wanted.map(|(_, step)| step).collect()
}

fn step(entry: Entry, known: &[Known], names: &mut Names<'_>, replace: bool) -> Step {
    let Entry {
        name,
        kind,
        mut notes,
    } = entry;
    let skipped = |name: String, command: Vec<String>, reason: String, mut notes: Vec<String>| {
        notes.insert(0, reason);
        Step {
            name,
            action: Action::Skip,
            command,
            notes,
        }
    };
    let it = match kind {
        Kind::Server(it) => it,
        Kind::Skip(reason) => return skipped(name, Vec::new(), reason, notes),
    };
    let command = it.command_line();
    let named = match names.take(&name, &it) {
        Ok(named) => named,
        Err(reason) => return skipped(name, command, reason, notes),
    };
    if named.as_str() != name {
        notes.insert(0, format!("called `{name}` in the file"));
    }
    let action = action(&named, it, known, replace, &mut notes);
    Step {
        name: named.as_str().to_owned(),
        action,
        command,
        notes,
    }
}

/// Which names are taken, and by what.
struct Names<'a> {
    known: &'a [Known],
    /// Names that stand in the settings and can be kept: nobody else gets them.
    exact: HashSet<String>,
    taken: Vec<(ServerName, Candidate)>,
}

impl<'a> Names<'a> {
    fn of(entries: &[Entry], known: &'a [Known]) -> Self {
        let servers = entries
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::Server(_)));
        let exact = servers.filter(|entry| ServerName::parse(&entry.name).is_ok());
        Self {
            known,
            exact: exact.map(|entry| entry.name.clone()).collect(),
            taken: Vec::new(),
        }
    }

    /// The name under which this server is declared already; else the nearest valid one that nobody has.
    fn take(&mut self, given: &str, it: &Candidate) -> Result<ServerName, String> {
        let near = match ServerName::parse(given) {
            Ok(name) => name,
            Err(bad) => bad
                .suggestion
                .as_deref()
                .and_then(|near| ServerName::parse(near).ok())
                .ok_or("its name has no letter or digit to make a name of")?,
        };
        let numbered = (2..N_NAMES_MAX).filter_map(|n| ServerName::parse(&numbered(near.as_str(), n)).ok());
        let names: Vec<ServerName> = std::iter::once(near.clone()).chain(numbered).collect();
        let holder = |name: &ServerName| self.taken.iter().find(|(taken, _)| taken == name);
        if names
            .iter()
            .filter_map(holder)
            .any(|(_, other)| is_same(other, it))
        {
            return Err("the same server stands above already".to_owned());
        }
        let is_its_own = |name: &&ServerName| {
            let known = self.known.iter().find(|one| one.name == **name);
            known.is_some_and(|one| is_same(&one.definition, it)) && holder(name).is_none()
        };
        let is_anothers = |name: &ServerName| {
            let is_exact = self.exact.contains(name.as_str()) && name.as_str() != given;
            is_exact || holder(name).is_some()
        };
        let is_declared = |name: &ServerName| self.known.iter().any(|one| one.name == *name);
        let named = names
            .iter()
            .find(is_its_own)
            .or_else(|| {
                // The first one gets its name also where something else is declared under it: that is told.
                names
                    .iter()
                    .find(|name| !is_anothers(name) && (**name == near || !is_declared(name)))
            })
            .ok_or("too many servers in the file have this name")?
            .clone();
        self.taken.push((named.clone(), it.clone()));
        Ok(named)
    }
}

/// Whether it is the same server. Whether it is switched on is the operator's business, here and there.
fn is_same(one: &Candidate, other: &Candidate) -> bool {
    let enabled = other.enabled;
    let one = Candidate {
        enabled,
        ..one.clone()
    };
    one == *other
}

/// A name with a number behind it, shortened so that it stays a name.
fn numbered(name: &str, n: u32) -> String {
    let end = format!("-{n}");
    let kept: String = name
        .chars()
        .take(crate::ids::SERVER_NAME_CHARS_MAX - end.len())
        .collect();
    kept + &end
}

fn action(
    name: &ServerName,
    it: Candidate,
    known: &[Known],
    replace: bool,
    notes: &mut Vec<String>,
) -> Action {
    match known.iter().find(|one| one.name == *name) {
        None => Action::Add(name.clone(), it),
        Some(one) if is_same(&one.definition, &it) => {
            if !one.definition.enabled && it.enabled {
                notes.insert(0, "disabled here, and stays so".to_owned());
            }
            Action::Unchanged
        }
        Some(one) if one.origin == DefinitionOrigin::File => {
            notes.insert(
                0,
                "servers.toml declares it differently, and the file wins".to_owned(),
            );
            Action::Skip
        }
        Some(one) if !replace => {
            let how = match one.origin {
                DefinitionOrigin::Import => "imported before",
                DefinitionOrigin::Cli | DefinitionOrigin::File => "added with `mcpctl add`",
            };
            let before = crate::ctl::text::command_line(&one.definition.command_line());
            let note = format!(
                "another server of this name was {how}, and stays; `--replace` takes this one; it is: {before}"
            );
            notes.insert(0, note);
            Action::Skip
        }
        Some(one) => {
            let before = crate::ctl::text::command_line(&one.definition.command_line());
            let now = crate::ctl::text::command_line(&it.command_line());
            notes.insert(
                0,
                if before == now {
                    "was declared with other settings".to_owned()
                } else {
                    format!("was: {before}")
                },
            );
            Action::Replace(name.clone(), it)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(command: &str) -> Candidate {
        Candidate {
            command: command.to_owned(),
            args: Vec::new(),
            env: std::collections::BTreeMap::new(),
            cwd: None,
            enabled: true,
        }
    }

    fn entry(name: &str, command: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            kind: Kind::Server(server(command)),
            notes: Vec::new(),
        }
    }

    fn known(name: &str, command: &str, origin: DefinitionOrigin) -> Known {
        Known {
            name: ServerName::parse(name).unwrap(),
            origin,
            definition: server(command),
        }
    }

    fn told(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .map(|step| format!("{} {}", step.action.word(), step.name))
            .collect()
    }

    #[test]
    fn what_is_declared_already_decides() {
        let known = [
            known("same", "a", DefinitionOrigin::Cli),
            known("other", "old", DefinitionOrigin::Import),
            known("file", "old", DefinitionOrigin::File),
            known("by-hand", "old", DefinitionOrigin::Cli),
        ];
        let entries = vec![
            entry("same", "a"),
            entry("other", "new"),
            entry("file", "new"),
            entry("fresh", "b"),
            entry("by-hand", "new"),
        ];
        let steps = plan(entries.clone(), &known, &[], false);
        assert_eq!(
            told(&steps),
            [
                "unchanged same",
                "skip other",
                "skip file",
                "add fresh",
                "skip by-hand"
            ]
        );
        let all = plan(entries, &known, &[], true);
        assert_eq!(
            told(&all)[1..],
            ["replace other", "skip file", "add fresh", "replace by-hand"]
        );
        assert_eq!(all[1].notes, ["was: old"]);
        assert!(steps[1].notes[0].contains("imported before"), "{steps:?}");
        assert!(steps[2].notes[0].contains("the file wins"));
    }

    #[test]
    fn invalid_and_equal_names_are_changed_and_told() {
        let entries = vec![
            entry("my server", "a"),
            entry("my-server", "b"),
            entry("my-server", "a"),
            entry("…", "c"),
        ];
        let steps = plan(entries, &[], &[], false);
        assert_eq!(
            told(&steps),
            ["add my-server-2", "add my-server", "skip my-server", "skip …"],
            "who has a name keeps it"
        );
        assert_eq!(steps[0].notes, ["called `my server` in the file"]);
        assert_eq!(steps[2].notes, ["the same server stands above already"]);
    }

    #[test]
    fn what_was_planned_and_done_is_unchanged_ever_after() {
        let entries = vec![
            entry("files", "desktop"),
            entry("files", "code"),
            entry("my files", "x"),
            entry("my-files", "y"),
        ];
        let steps = plan(entries.clone(), &[], &[], false);
        assert_eq!(
            told(&steps),
            ["add files", "add files-2", "add my-files-2", "add my-files"]
        );
        let mut known: Vec<Known> = steps
            .iter()
            .filter_map(|step| step.action.change())
            .map(|(name, it)| known(name.as_str(), &it.command, DefinitionOrigin::Import))
            .collect();
        // An operator's word is not taken back by the next import.
        known[0].definition.enabled = false;
        for entries in [entries.clone(), entries.iter().rev().cloned().collect()] {
            let again = plan(entries, &known, &[], true);
            assert!(
                again.iter().all(|step| step.action == Action::Unchanged),
                "{again:?}"
            );
        }
        // One by one they have the names that they have together.
        let one = plan(entries, &known, &["my files".to_owned()], false);
        assert_eq!(told(&one), ["unchanged my-files-2"]);
        // And another client's server of the same name takes nobody's place.
        let other = plan(vec![entry("files", "third")], &known, &[], false);
        assert_eq!(told(&other), ["skip files"]);
    }

    #[test]
    fn a_long_name_with_a_number_stays_a_name() {
        let long = "x".repeat(60);
        let steps = plan(vec![entry(&long, "a"), entry(&long, "b")], &[], &[], false);
        assert!(
            steps.iter().all(|step| ServerName::parse(&step.name).is_ok()),
            "{steps:?}"
        );
        assert_ne!(steps[0].name, steps[1].name);
    }

    #[test]
    fn only_some_can_be_wanted() {
        let steps = plan(
            vec![entry("a", "a"), entry("b", "b")],
            &[],
            &["b".to_owned()],
            false,
        );
        assert_eq!(told(&steps), ["add b"]);
    }
}
