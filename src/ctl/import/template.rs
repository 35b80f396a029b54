//! Placeholders in the texts of other programs, as placeholders of ours.
//!
//! | theirs | ours |
//! | --- | --- |
//! | `${env:NAME}` (VS Code, Cursor, Windsurf) | `${NAME}` |
//! | `${userHome}` (VS Code, Cursor) | `${HOME}` |
//! | `${NAME}`, `${NAME:-default}` (Claude Code) | the same |
//! | `${input:id}`, `${workspaceFolder}` and others | the same text, with a note: we have nobody to ask |

/// A text with placeholders of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) text: String,
    /// The placeholders for which there is nothing here, as they stand in the file.
    pub(super) without_meaning: Vec<String>,
}

/// Replaces the placeholders of other programs.
pub(super) fn translated(text: &str) -> Translated {
    let mut done = Translated {
        text: String::new(),
        without_meaning: Vec::new(),
    };
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("${") {
        done.text.push_str(before);
        let Some((inner, after)) = from.split_once('}') else {
            // Not closed, so no placeholder: it stays as it is.
            done.text.push_str("${");
            rest = from;
            continue;
        };
        done.text.push_str(&ours(inner, &mut done.without_meaning));
        rest = after;
    }
    done.text.push_str(rest);
    done
}

fn ours(inner: &str, without_meaning: &mut Vec<String>) -> String {
    if let Some(name) = inner.strip_prefix("env:") {
        return format!("${{{name}}}");
    }
    if inner == "userHome" {
        return "${HOME}".to_owned();
    }
    let whole = format!("${{{inner}}}");
    let foreign = [
        "workspaceFolder",
        "workspaceFolderBasename",
        "pathSeparator",
        "file",
        "cwd",
    ];
    let asks = ["input:", "config:", "command:", "workspaceFolder:"];
    if foreign.contains(&inner) || asks.iter().any(|kind| inner.starts_with(kind)) {
        without_meaning.push(whole.clone());
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_other_programs_become_ours() {
        let cases = [
            ("${env:TOKEN}", "${TOKEN}"),
            ("a ${env:A} b ${userHome}/x", "a ${A} b ${HOME}/x"),
            ("${TOKEN}", "${TOKEN}"),
            ("${TOKEN:-none}", "${TOKEN:-none}"),
            ("$5 and ${open", "$5 and ${open"),
            ("", ""),
        ];
        for (given, expected) in cases {
            let done = translated(given);
            assert_eq!(done.text, expected, "{given}");
            assert!(done.without_meaning.is_empty(), "{given}");
        }
    }

    #[test]
    fn what_has_no_meaning_here_is_named() {
        let done = translated("${input:key} in ${workspaceFolder}");
        assert_eq!(done.text, "${input:key} in ${workspaceFolder}");
        assert_eq!(done.without_meaning, ["${input:key}", "${workspaceFolder}"]);
    }
}
