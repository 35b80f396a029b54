//! `${…}` in a text. Nothing else is special: `$VAR` stays, `$${` gives `${`.
//!
//! What may stand between the braces: `reference`.

use thiserror::Error;

use super::reference::{self, Part, Provider, Reference, Source};
use super::spec::Secret;

/// Why a text could not be expanded. Names variables, never their values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum BadTemplate {
    #[error(
        "variable {name} is not set; set it in the environment or in .env, or give a default: ${{{name}:-…}}"
    )]
    Unset { name: String },
    #[error("`${{` without `}}`; for the two characters themselves write `$${{`")]
    Open,
    #[error(
        "`${{…}}` must hold the name of a variable (letters, digits, `_`), or one of env:NAME, file:PATH, cmd:PROGRAM ARGS…, keyring:NAME, perhaps with `:-default`; for the characters themselves write `$${{`"
    )]
    BadName,
    #[error(
        "`${{cmd:…}}` must hold a program and its arguments (at most 64 words), with each quote closed; no shell takes part"
    )]
    BadCommand,
    #[error("the path in `${{file:…}}` must begin with `/` or `~/`")]
    RelativeFile,
    #[error("the default of {name} holds another `${{`, which is not supported; set {name} in .env instead")]
    Nested { name: String },
    #[error(
        "`${{{kind}:…}}` can stand in args, env and stop_command only: here the value has to be known before the start"
    )]
    TooEarly { kind: &'static str },
}

/// A text with its variables replaced.
#[derive(PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    pub(super) faults: Vec<BadTemplate>,
}

/// A text with what is known of it already.
#[derive(PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) parts: Vec<Part>,
    pub(super) faults: Vec<BadTemplate>,
}

/// Replaces every variable, in a text that must be known at once. A faulty place is left out, and told.
pub(super) fn expand(template: &str, lookup: impl Fn(&str) -> Option<String>) -> Expanded {
    let Parsed { parts, mut faults } = parse(template, lookup);
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Known(known) => text.push_str(known.reveal()),
            Part::Fetched { provider, .. } => faults.push(too_early(provider)),
        }
    }
    Expanded { text, faults }
}

fn too_early(provider: Provider) -> BadTemplate {
    match provider {
        Provider::Variable(name) => BadTemplate::Unset { name },
        Provider::File(_) => BadTemplate::TooEarly { kind: "file" },
        Provider::Program(_) => BadTemplate::TooEarly { kind: "cmd" },
        Provider::Keyring(_) => BadTemplate::TooEarly { kind: "keyring" },
    }
}

/// Replaces every variable; what has to be fetched at each start stays to be fetched. What is known and stands together
/// is one part. A faulty place is left out, and told.
pub(super) fn parse(template: &str, lookup: impl Fn(&str) -> Option<String>) -> Parsed {
    let mut out = Parsed {
        parts: Vec::new(),
        faults: Vec::new(),
    };
    let mut known = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            known.push_str(literal);
            known.push_str("${");
            rest = after;
            continue;
        }
        known.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            out.faults.push(BadTemplate::Open);
            rest = "";
            break;
        };
        match reference::read(inside).and_then(|read| part_of(read, &lookup)) {
            Ok(Part::Known(value)) => known.push_str(value.reveal()),
            Ok(fetched @ Part::Fetched { .. }) => {
                if !known.is_empty() {
                    out.parts
                        .push(Part::Known(Secret::new(std::mem::take(&mut known))));
                }
                out.parts.push(fetched);
            }
            Err(fault) => out.faults.push(fault),
        }
        rest = after;
    }
    known.push_str(rest);
    if !known.is_empty() {
        out.parts.push(Part::Known(Secret::new(known)));
    }
    out
}

fn part_of(reference: Reference<'_>, lookup: impl Fn(&str) -> Option<String>) -> Result<Part, BadTemplate> {
    let default = reference.default.map(Secret::new);
    let provider = match reference.source {
        Source::Variable(name) | Source::Env(name) => {
            // As in a shell: with `:-` an empty variable counts as unset.
            let set = lookup(name).filter(|value| default.is_none() || !value.is_empty());
            if let Some(value) = set.map(Secret::new).or(default) {
                return Ok(Part::Known(value));
            }
            let name = name.to_owned();
            if matches!(reference.source, Source::Variable(_)) {
                return Err(BadTemplate::Unset { name });
            }
            return Ok(Part::Fetched {
                provider: Provider::Variable(name),
                default: None,
            });
        }
        Source::File(path) => {
            let home = || lookup("HOME").filter(|home| !home.is_empty());
            Provider::File(
                match path.strip_prefix("~/").and_then(|rest| Some((home()?, rest))) {
                    Some((home, rest)) => std::path::Path::new(&home).join(rest),
                    None => path.into(),
                },
            )
        }
        Source::Program(words) => Provider::Program(words),
        Source::Keyring(name) => Provider::Keyring(name.to_owned()),
    };
    Ok(Part::Fetched { provider, default })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${A}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once_and_nothing_else_is() {
        for (template, expected) in [
            ("", ""),
            ("${A}", "one"),
            ("x${A}y${A}z", "xoneyonez"),
            ("$A", "$A"),
            ("$", "$"),
            ("$${A}", "${A}"),
            ("a$$b", "a$$b"),
            ("${NO:-two}", "two"),
            ("${NO:-}", ""),
            ("${NO:-a:-b}", "a:-b"),
            ("${EMPTY}", ""),
            ("${EMPTY:-two}", "two"),
            ("${A:-two}", "one"),
            ("${TRICK}", "${A}"),
            ("{}", "{}"),
        ] {
            let expanded = expand(template, lookup);
            assert_eq!(
                (expanded.text.as_str(), expanded.faults),
                (expected, vec![]),
                "{template}"
            );
        }
    }

    #[test]
    fn every_fault_of_a_text_is_told() {
        let faults = expand("${NO} ${} ${a-b} ${B:-${A}} ${A", lookup).faults;
        let unset = BadTemplate::Unset {
            name: "NO".to_owned(),
        };
        assert_eq!(faults.first(), Some(&unset));
        assert_eq!(
            faults.get(1..3),
            Some(&[BadTemplate::BadName, BadTemplate::BadName][..])
        );
        assert_eq!(faults.get(3), Some(&BadTemplate::Nested { name: "B".to_owned() }));
        assert_eq!(faults.last(), Some(&BadTemplate::Open));
        assert!(unset.to_string().contains("variable NO is not set"));
    }

    #[test]
    fn what_is_fetched_at_the_start_stays_apart_from_what_is_known() {
        let parsed = parse("${A}-${file:/x}${cmd:a b:-c}.", lookup);
        let fetched = |provider, default: Option<&str>| Part::Fetched {
            provider,
            default: default.map(Secret::new),
        };
        let program = Provider::Program(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(
            parsed.parts,
            [
                Part::Known(Secret::new("one-")),
                fetched(Provider::File("/x".into()), None),
                fetched(program, Some("c")),
                Part::Known(Secret::new(".")),
            ]
        );
        assert!(parsed.faults.is_empty());
        let unset = parse("${env:NO}", lookup);
        assert_eq!(unset.parts, [fetched(Provider::Variable("NO".to_owned()), None)]);
        let set = parse("${env:A} ${env:NO:-x} ${env:EMPTY:-y}", lookup);
        assert_eq!(set.parts, [Part::Known(Secret::new("one x y"))]);
    }

    #[test]
    fn a_text_that_must_be_known_at_once_refuses_what_is_fetched_later() {
        let faults = expand("${file:/x}${env:NO}", lookup).faults;
        assert_eq!(faults.first(), Some(&BadTemplate::TooEarly { kind: "file" }));
        assert_eq!(
            faults.last(),
            Some(&BadTemplate::Unset {
                name: "NO".to_owned()
            })
        );
    }

    proptest! {
        #[test]
        fn a_text_without_a_brace_after_a_dollar_stays(text in "[^{]*") {
            let expanded = expand(&text, lookup);
            prop_assert!(expanded.faults.is_empty());
            prop_assert_eq!(expanded.text, text);
        }

        #[test]
        fn any_text_can_be_written_by_escaping(text in ".*") {
            let escaped = text.replace("${", "$${");
            prop_assert_eq!(expand(&escaped, lookup).text, text);
        }
    }
}
