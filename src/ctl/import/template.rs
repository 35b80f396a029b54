//! Placeholders in the texts of other programs, as placeholders of ours.
//!
//! | theirs | ours |
//! | --- | --- |
//! | `${env:NAME}` (VS Code, Cursor, Windsurf) | `${NAME}` |
//! | `${file:/PATH}` (Windsurf) | the same |
//! | `$NAME` (Gemini) | `${NAME}` |
//! | `${userHome}` (VS Code, Cursor) | `${HOME}` |
//! | `${NAME}`, `${NAME:-default}` (Claude Code) | the same |
//! | `${input:api-key}`, which the editor asks for | `${API_KEY}`, with a note |
//! | `${workspaceFolder}`, which only the editor knows | `${WORKSPACE_FOLDER}`, with a note |
//! | any other `${` | `$${`, which stands for the two characters themselves |

use crate::config::reference::is_variable_name;

/// A text with placeholders of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) text: String,
    /// What was known only to the other program: its placeholder and the variable that now stands for it.
    pub(super) asked_for: Vec<(String, String)>,
}

/// Replaces the placeholders of other programs. `has_bare`: `$NAME` is one, too.
pub(super) fn translated(text: &str, has_bare: bool) -> Translated {
    let braced;
    let text = if has_bare {
        braced = with_braces(text);
        &braced
    } else {
        text
    };
    let mut done = Translated {
        text: String::new(),
        asked_for: Vec::new(),
    };
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("${") {
        done.text.push_str(before);
        let ours = from
            .split_once('}')
            .and_then(|(inner, after)| Some((placeholder(inner)?, inner, after)));
        let Some((ours, inner, after)) = ours else {
            done.text.push_str("$${");
            rest = from;
            continue;
        };
        match ours {
            Placeholder::Known(template) => done.text.push_str(&format!("${{{template}}}")),
            Placeholder::AskedFor(variable) => {
                done.text.push_str(&format!("${{{variable}}}"));
                done.asked_for.push((format!("${{{inner}}}"), variable));
            }
        }
        rest = after;
    }
    done.text.push_str(rest);
    done
}

/// `${NAME}` for each `$NAME`.
fn with_braces(text: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once('$') {
        done.push_str(before);
        let end = from.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (name, after) = from.split_at(end.unwrap_or(from.len()));
        if is_variable_name(name) {
            done.push_str(&format!("${{{name}}}"));
            rest = after;
        } else {
            done.push('$');
            rest = from;
        }
    }
    done + rest
}

enum Placeholder {
    /// What stands between the braces now.
    Known(String),
    /// The variable that has to be set.
    AskedFor(String),
}

fn placeholder(inner: &str) -> Option<Placeholder> {
    if let Some(name) = inner.strip_prefix("env:") {
        return is_variable_name(name).then(|| Placeholder::Known(name.to_owned()));
    }
    if let Some(path) = inner.strip_prefix("file:") {
        let is_known = path.starts_with('/') || path.starts_with("~/");
        return is_known.then(|| Placeholder::Known(inner.to_owned()));
    }
    if inner == "userHome" {
        return Some(Placeholder::Known("HOME".to_owned()));
    }
    let editors_own = [
        "workspaceFolder",
        "workspaceFolderBasename",
        "workspaceRoot",
        "fileDirname",
    ];
    let asked = ["input:", "config:", "command:", "workspaceFolder:"]
        .iter()
        .find_map(|kind| inner.strip_prefix(kind));
    if let Some(id) = asked.or_else(|| editors_own.contains(&inner).then_some(inner)) {
        return Some(Placeholder::AskedFor(variable_for(id)));
    }
    let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
    (is_variable_name(name) && !default.contains("${")).then(|| Placeholder::Known(inner.to_owned()))
}

/// `perplexity-key` and `workspaceFolder` as the name of a variable: `PERPLEXITY_KEY`, `WORKSPACE_FOLDER`.
fn variable_for(id: &str) -> String {
    let mut name = String::new();
    let mut before = '_';
    for c in id.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            name.push('_');
        }
        name.push(if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        });
        before = c;
    }
    if is_variable_name(&name) {
        name
    } else {
        format!("VALUE_{name}")
    }
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
            ("", ""),
        ];
        for (given, expected) in cases {
            let done = translated(given, false);
            assert_eq!(done.text, expected, "{given}");
            assert!(done.asked_for.is_empty(), "{given}");
        }
    }

    #[test]
    fn variables_without_braces_are_some_programs_only() {
        for (given, expected) in [
            ("$A/b-$B_C", "${A}/b-${B_C}"),
            ("${A} $5 $", "${A} $5 $"),
            ("a$$A", "a$${A}"),
        ] {
            assert_eq!(with_braces(given), expected);
        }
        assert_eq!(translated("Bearer $KEY", true).text, "Bearer ${KEY}");
        assert_eq!(translated("Bearer $KEY", false).text, "Bearer $KEY");
        assert_eq!(translated("${file:/a}", false).text, "${file:/a}");
        assert_eq!(translated("${file:a}", false).text, "$${file:a}");
    }

    #[test]
    fn other_text_keeps_its_meaning() {
        let cases = [
            ("$5 and ${open", "$5 and $${open"),
            ("${1//a/b}", "$${1//a/b}"),
            ("${#x} ${env:A}", "$${#x} ${A}"),
            ("${}", "$${}"),
            ("$HOME", "$HOME"),
        ];
        for (given, expected) in cases {
            assert_eq!(translated(given, false).text, expected, "{given}");
        }
    }

    #[test]
    fn what_only_the_editor_knows_becomes_a_variable_and_is_told() {
        let done = translated("${input:api-key} in ${workspaceFolder}", false);
        assert_eq!(done.text, "${API_KEY} in ${WORKSPACE_FOLDER}");
        let told: Vec<_> = done
            .asked_for
            .iter()
            .map(|(theirs, ours)| format!("{theirs} {ours}"))
            .collect();
        assert_eq!(
            told,
            ["${input:api-key} API_KEY", "${workspaceFolder} WORKSPACE_FOLDER"]
        );
    }
}
