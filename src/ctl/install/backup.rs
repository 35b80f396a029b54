//! What a settings file was before we wrote it, and what we did to it, beside it, for `--undo`.
//!
//! Each install has a number, a copy of what was there (`NAME.before-mcp-wrapper-3`, none where there was no file), and a
//! record (`NAME.before-mcp-wrapper-3.json`): the hash of what was written, our entry, and the entries that were taken out.
//! Copies of earlier versions have the beginning of that hash instead of a number, and no record.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::ctl::files;

/// Installs of one file that can be undone.
const N_RECORDS_MAX: usize = 64;
/// Hex digits of the hash in the name of a copy without a record.
const HASH_CHARS: usize = 12;
/// At the end of such a name where there was no file.
const ABSENT: &str = "-absent";

/// What one install did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::ctl) struct Record {
    /// The hash of the text that was written, or its beginning.
    pub(in crate::ctl) written: String,
    /// Whether there was a file.
    pub(in crate::ctl) had_file: bool,
    /// Our entry.
    pub(in crate::ctl) put: Value,
    /// What stood under its name.
    pub(in crate::ctl) replaced: Option<Value>,
    /// The entries that were taken out.
    pub(in crate::ctl) removed: Map<String, Value>,
    /// It was undone, and is kept for what could not be put back.
    pub(in crate::ctl) undone: bool,
}

/// One install that can be undone.
#[derive(Debug, Clone)]
pub(in crate::ctl) struct Backup {
    /// `None`: it was made without one.
    record_file: Option<PathBuf>,
    /// The copy, if there is to be one.
    pub(in crate::ctl) copy: Option<PathBuf>,
    pub(in crate::ctl) record: Record,
}

impl Record {
    /// What is about to be done: `after` is the text that will be written.
    pub(in crate::ctl) fn new(
        after: &str,
        put: Value,
        replaced: Option<Value>,
        removed: Map<String, Value>,
    ) -> Self {
        Self {
            written: hash(after),
            had_file: false,
            put,
            replaced,
            removed,
            undone: false,
        }
    }
}

impl Backup {
    /// Whether the settings are still what was written then, and what was there before is known to the byte.
    pub(in crate::ctl) fn is_exact(&self, present: Option<&str>) -> bool {
        let is_same = present.is_some_and(|text| hash(text).starts_with(&self.record.written));
        is_same && (!self.record.had_file || self.copy.as_ref().is_some_and(|copy| copy.is_file()))
    }

    /// Whether it is known what was taken out.
    pub(in crate::ctl) fn is_recorded(&self) -> bool {
        self.record_file.is_some()
    }

    /// What was there before; `None`: no file.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::ctl) fn text(&self) -> io::Result<Option<String>> {
        match &self.copy {
            Some(copy) if self.record.had_file => files::read(copy),
            Some(_) | None => Ok(None),
        }
    }

    /// Takes it away, now that it was undone. `keeps_copy`: not all of it could be put back. What cannot be taken away is
    /// passed over at the next undoing, because nothing of it is left to do.
    pub(in crate::ctl) fn forget(&self, keeps_copy: bool) {
        match &self.record_file {
            Some(file) if keeps_copy => {
                let undone = Record {
                    undone: true,
                    ..self.record.clone()
                };
                if let Ok(text) = serde_json::to_string_pretty(&undone) {
                    files::write(file, &text, Some(files::PRIVATE)).ok();
                }
            }
            Some(_) | None if keeps_copy => {}
            record_file => {
                let files = record_file.iter().chain(&self.copy);
                files.for_each(|file| drop(std::fs::remove_file(file)));
            }
        }
    }
}

/// Keeps what was there and what is about to be done; only their owner may read the files. The copy, if there is one.
///
/// # Errors
/// What the system says, or there are too many already.
pub(in crate::ctl) fn keep(file: &Path, before: Option<&str>, record: Record) -> io::Result<Option<PathBuf>> {
    let there = names(file)?;
    if there.iter().filter(|(rest, _)| rest.ends_with(".json")).count() >= N_RECORDS_MAX {
        return Err(io::Error::other(format!(
            "there are {N_RECORDS_MAX} already, {}; undo some installs, or move these files away",
            named(file, "*").display()
        )));
    }
    let numbers = there.iter().filter_map(|(rest, _)| number(rest));
    let next = numbers.max().unwrap_or(0).saturating_add(1);
    let copy = before.map(|text| (named(file, &next.to_string()), text));
    if let Some((copy, text)) = &copy {
        files::write(copy, text, Some(files::PRIVATE))?;
    }
    let record = Record {
        had_file: before.is_some(),
        ..record
    };
    let text = serde_json::to_string_pretty(&record).map_err(io::Error::other)?;
    files::write(&named(file, &format!("{next}.json")), &text, Some(files::PRIVATE))?;
    Ok(copy.map(|(copy, _)| copy))
}

/// The installs that were not undone, the last first; those without a record at the end, whichever fits `present` first.
///
/// # Errors
/// What the system says, or a record that cannot be read.
pub(in crate::ctl) fn all(file: &Path, present: Option<&str>) -> io::Result<Vec<Backup>> {
    let (mut recorded, mut old) = (Vec::new(), Vec::new());
    for (rest, path) in names(file)? {
        match (rest.strip_suffix(".json"), number(&rest)) {
            (Some(plain), Some(number)) => {
                let backup = recorded_one(path, named(file, plain))?;
                if !backup.record.undone {
                    recorded.push((number, backup));
                }
            }
            (None, None) => {
                let when = std::fs::metadata(&path)?.modified()?;
                old.extend(unrecorded(&rest, path).map(|backup| (when, backup)));
            }
            (_, _) => {}
        }
    }
    recorded.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    old.sort_by_key(|(when, backup): &(SystemTime, Backup)| {
        (!backup.is_exact(present), std::cmp::Reverse(*when))
    });
    let recorded = recorded.into_iter().map(|(_, backup)| backup);
    Ok(recorded
        .chain(old.into_iter().map(|(_, backup)| backup))
        .collect())
}

fn recorded_one(record_file: PathBuf, copy: PathBuf) -> io::Result<Backup> {
    let text = files::read(&record_file)?.unwrap_or_default();
    let record: Record = serde_json::from_str(&text)
        .map_err(|error| io::Error::other(format!("{}: {error}", record_file.display())))?;
    Ok(Backup {
        copy: record.had_file.then_some(copy),
        record_file: Some(record_file),
        record,
    })
}

fn unrecorded(rest: &str, path: PathBuf) -> Option<Backup> {
    let written = rest.strip_suffix(ABSENT);
    let had_file = written.is_none();
    let written = written.unwrap_or(rest);
    let is_hash = written.len() == HASH_CHARS && written.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| Backup {
        record_file: None,
        copy: Some(path),
        record: Record {
            written: written.to_owned(),
            had_file,
            put: Value::Null,
            replaced: None,
            removed: Map::new(),
            undone: false,
        },
    })
}

/// The number in the end of a name, which may be that of a copy or of a record. A hash has more digits.
fn number(rest: &str) -> Option<u32> {
    let digits = rest.strip_suffix(".json").unwrap_or(rest);
    (digits.len() < HASH_CHARS).then(|| digits.parse().ok()).flatten()
}

/// Files of this kind beside a file, each with the end of its name.
fn names(file: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let begin = named(file, "");
    let begin = begin.file_name().unwrap_or_default().to_string_lossy();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = match std::fs::read_dir(folder.unwrap_or(Path::new("."))) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some(rest) = name.to_string_lossy().strip_prefix(&*begin) {
            found.push((rest.to_owned(), file.with_file_name(&name)));
        }
    }
    Ok(found)
}

fn named(file: &Path, end: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{name}.before-mcp-wrapper-{end}"))
}

fn hash(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn record(after: &str) -> Record {
        let removed = json!({"x": {"command": "y"}});
        Record::new(
            after,
            json!({"command": "b"}),
            None,
            removed.as_object().cloned().unwrap(),
        )
    }

    #[test]
    fn installs_are_found_from_the_last_to_the_first_and_gone_when_undone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.json");
        assert!(all(&file, Some("x")).unwrap().is_empty());
        assert_eq!(keep(&file, None, record("one")).unwrap(), None);
        let copy = keep(&file, Some("one"), record("two")).unwrap().unwrap();
        // The same text once more: the record of the first time stays.
        keep(&file, Some("three"), record("two")).unwrap();
        let found = all(&file, Some("two")).unwrap();
        let texts: Vec<_> = found.iter().map(|backup| backup.text().unwrap()).collect();
        assert_eq!(texts, [Some("three".to_owned()), Some("one".to_owned()), None]);
        assert!(found.iter().all(|backup| backup.record.removed.contains_key("x")));
        assert!(found[0].is_exact(Some("two")) && !found[0].is_exact(Some("three")));
        assert!(found[2].is_exact(Some("one")) && !found[2].is_exact(None));
        for (_, path) in names(&file).unwrap() {
            assert_eq!(
                std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }

        found[0].forget(false);
        found[1].forget(true);
        assert!(copy.is_file());
        let left = all(&file, None).unwrap();
        assert_eq!(
            (left.len(), left[0].record.written.as_str()),
            (1, hash("one").as_str())
        );
        // Without its copy it cannot be put back to the byte.
        std::fs::remove_file(&copy).unwrap();
        assert!(!found[1].is_exact(Some("two")));
    }

    #[test]
    fn copies_without_a_record_are_known_by_their_hash() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.json");
        let old = |text: &str, end: &str| {
            let begin: String = hash(text).chars().take(HASH_CHARS).collect();
            std::fs::write(named(&file, &format!("{begin}{end}")), "before").unwrap();
        };
        old("one", "");
        old("two", ABSENT);
        std::fs::write(named(&file, "notes"), "").unwrap();
        let found = all(&file, Some("one")).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].is_exact(Some("one")) && !found[0].is_recorded());
        assert_eq!(found[0].text().unwrap().as_deref(), Some("before"));
        let found = all(&file, Some("two")).unwrap();
        assert!(found[0].is_exact(Some("two")));
        assert_eq!(found[0].text().unwrap(), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.json");
        for _ in 0..N_RECORDS_MAX {
            keep(&file, None, record("x")).unwrap();
        }
        let told = keep(&file, None, record("x")).unwrap_err().to_string();
        assert!(told.contains("64 already"), "{told}");
        assert_eq!(all(&file, None).unwrap().len(), N_RECORDS_MAX);
    }
}
