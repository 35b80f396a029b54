//! What a settings file was before we wrote it, beside it, for `--undo`.
//!
//! The name of a backup ends with the beginning of the hash of what we wrote: where the file still is that, undoing gives
//! back every byte. Where the client has written the file since, our entry is taken out and what we took out is put back.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::ctl::files;

/// Hex digits of the hash.
const HASH_CHARS: usize = 12;
/// At the end of the name where there was no file.
const ABSENT: &str = "-absent";

/// A backup that was found.
#[derive(Debug, Clone)]
pub(in crate::ctl) struct Backup {
    pub(in crate::ctl) file: PathBuf,
    /// `None`: there was no file.
    pub(in crate::ctl) text: Option<String>,
    /// Whether the settings file is still what was written then.
    pub(in crate::ctl) is_exact: bool,
}

/// Keeps what was there, before `after` is written in its place; only its owner may read it.
///
/// # Errors
/// What the system says.
pub(in crate::ctl) fn keep(file: &Path, before: Option<&str>, after: &str) -> io::Result<PathBuf> {
    let backup = named(file, &hash(after), before.is_none());
    files::write(&backup, before.unwrap_or_default(), Some(files::PRIVATE))?;
    Ok(backup)
}

/// The backup that gives back what was there before the present text; else the last one.
///
/// # Errors
/// What the system says.
pub(in crate::ctl) fn find(file: &Path, present: &str) -> io::Result<Option<Backup>> {
    for is_absent in [false, true] {
        let exact = named(file, &hash(present), is_absent);
        if let Some(text) = files::read(&exact)? {
            return Ok(Some(Backup {
                file: exact,
                text: (!is_absent).then_some(text),
                is_exact: true,
            }));
        }
    }
    let Some(last) = all(file)?.into_iter().max_by_key(|(when, _)| *when) else {
        return Ok(None);
    };
    let is_absent = last.1.to_string_lossy().ends_with(ABSENT);
    let text = files::read(&last.1)?.filter(|_| !is_absent);
    Ok(Some(Backup {
        file: last.1,
        text,
        is_exact: false,
    }))
}

fn all(file: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let begin = named(file, "", false);
    let begin = begin
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let entries = match std::fs::read_dir(file.parent().unwrap_or(Path::new("."))) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&begin) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    Ok(found)
}

fn named(file: &Path, hash: &str, is_absent: bool) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let end = if is_absent { ABSENT } else { "" };
    file.with_file_name(format!("{name}.before-mcp-wrapper-{hash}{end}"))
}

fn hash(text: &str) -> String {
    let hex: String = Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.chars().take(HASH_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backup_of_the_present_text_is_found_first_and_else_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.json");
        assert!(find(&file, "x").unwrap().is_none());
        keep(&file, None, "one").unwrap();
        let kept = keep(&file, Some("one"), "two").unwrap();
        assert!(
            kept.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("s.json.before-mcp-wrapper-")
        );
        let first = find(&file, "one").unwrap().unwrap();
        assert!(first.is_exact && first.text.is_none());
        let second = find(&file, "two").unwrap().unwrap();
        assert!(second.is_exact);
        assert_eq!(second.text.as_deref(), Some("one"));
        assert!(!find(&file, "three").unwrap().unwrap().is_exact);
    }
}
