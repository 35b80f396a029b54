//! What will be done about each entry, given what is declared already.

use super::entry::{Candidate, Entry, Kind};
use crate::api::DefinitionOrigin;
use crate::ids::ServerName;

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

/// What will be done about the entries, in their order. `only` names entries; empty means all. `replace`: also what a
/// person has declared in another way.
pub(in crate::ctl) fn plan(
    entries: Vec<Entry>,
    known: &[Known],
    only: &[String],
    replace: bool,
) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for entry in entries
        .into_iter()
        .filter(|entry| only.is_empty() || only.contains(&entry.name))
    {
        let step = step(entry, known, &steps, replace);
        steps.push(step);
    }
    steps
}

fn step(entry: Entry, known: &[Known], before: &[Step], replace: bool) -> Step {
    let Entry {
        name,
        kind,
        mut notes,
    } = entry;
    let it = match kind {
        Kind::Server(it) => it,
        Kind::Skip(reason) => {
            notes.insert(0, reason);
            return Step {
                name,
                action: Action::Skip,
                command: Vec::new(),
                notes,
            };
        }
    };
    let command = it.command_line();
    let named = match free_name(&name, &it, before) {
        Ok(named) => named,
        Err(reason) => {
            notes.insert(0, reason);
            return Step {
                name,
                action: Action::Skip,
                command,
                notes,
            };
        }
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

/// The nearest valid name that no earlier entry of the file has taken for something else.
fn free_name(given: &str, it: &Candidate, before: &[Step]) -> Result<ServerName, String> {
    let near = match ServerName::parse(given) {
        Ok(name) => name,
        Err(bad) => bad
            .suggestion
            .as_deref()
            .and_then(|near| ServerName::parse(near).ok())
            .ok_or("its name has no letter or digit to make a name of")?,
    };
    let holder = |name: &str| {
        before
            .iter()
            .find(|step| step.name == name && step.action.change().is_some())
    };
    let Some(first) = holder(near.as_str()) else {
        return Ok(near);
    };
    if first.action.change().is_some_and(|(_, other)| other == it) {
        return Err("the same server stands above already".to_owned());
    }
    (2..100)
        .filter_map(|n| ServerName::parse(&numbered(near.as_str(), n)).ok())
        .find(|name| holder(name.as_str()).is_none())
        .ok_or_else(|| "too many servers in the file have this name".to_owned())
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
        Some(one) if one.definition == it => Action::Unchanged,
        Some(one) if one.origin == DefinitionOrigin::File => {
            notes.insert(
                0,
                "servers.toml declares it differently, and the file wins".to_owned(),
            );
            Action::Skip
        }
        Some(one) if one.origin == DefinitionOrigin::Cli && !replace => {
            let note = "another server of this name was added with `mcpctl add`, and stays; `--replace` takes this one";
            notes.insert(0, note.to_owned());
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
                "replace other",
                "skip file",
                "add fresh",
                "skip by-hand"
            ]
        );
        let all = plan(entries, &known, &[], true);
        assert_eq!(told(&all)[2..], ["skip file", "add fresh", "replace by-hand"]);
        assert_eq!(steps[1].notes, ["was: old"]);
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
            ["add my-server", "add my-server-2", "skip my-server", "skip …"]
        );
        assert_eq!(steps[0].notes, ["called `my server` in the file"]);
        assert_eq!(steps[2].notes, ["the same server stands above already"]);
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
