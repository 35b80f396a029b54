//! `${VAR}` and `${VAR:-default}` in a text. Nothing else is special: `$VAR` stays, `$${` gives `${`.

use thiserror::Error;

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
        "`${{…}}` must hold the name of a variable (letters, digits, `_`), perhaps with `:-default`; for the characters themselves write `$${{`"
    )]
    BadName,
    #[error("the default of {name} holds another `${{`, which is not supported; set {name} in .env instead")]
    Nested { name: String },
}

/// A text with its variables replaced.
#[derive(PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    pub(super) faults: Vec<BadTemplate>,
}

/// Replaces every variable. A faulty place is left out, and told.
pub(super) fn expand(template: &str, lookup: impl Fn(&str) -> Option<String>) -> Expanded {
    let mut out = Expanded {
        text: String::with_capacity(template.len()),
        faults: Vec::new(),
    };
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            out.text.push_str(literal);
            out.text.push_str("${");
            rest = after;
            continue;
        }
        out.text.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            out.faults.push(BadTemplate::Open);
            return out;
        };
        match value_of(inside, &lookup) {
            Ok(value) => out.text.push_str(&value),
            Err(fault) => out.faults.push(fault),
        }
        rest = after;
    }
    out.text.push_str(rest);
    out
}

fn value_of(inside: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, BadTemplate> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_variable_name(name) {
        return Err(BadTemplate::BadName);
    }
    match (lookup(name), default) {
        (_, Some(default)) if default.contains("${") => Err(BadTemplate::Nested {
            name: name.to_owned(),
        }),
        // As in a shell: with `:-` an empty variable counts as unset.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(BadTemplate::Unset {
            name: name.to_owned(),
        }),
    }
}

/// Letters, digits and `_`, not starting with a digit (POSIX, "Name").
pub(super) fn is_variable_name(name: &str) -> bool {
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    starts_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
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
