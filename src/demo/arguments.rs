//! Reading a tool's arguments. Every error is a sentence that lets the caller correct itself.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::nearest::nearest;
use super::server::Params;
use super::words::Word;

/// Refuses a misspelt argument: silently ignoring it would answer another question.
pub(super) fn refuse_unknown(arguments: &Params, known: &[&str]) -> Result<(), String> {
    match arguments.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(unknown) if known.is_empty() => Err(format!("There is no argument `{unknown}`; none is taken.")),
        Some(unknown) => Err(format!(
            "There is no argument `{unknown}`. Known: {}.{}",
            known.join(", "),
            perhaps(unknown, known)
        )),
    }
}

/// A word from a known list, in the spelling of the list.
pub(super) fn word<W: Word>(arguments: &Params, name: &str) -> Result<Option<W>, String> {
    let Some(given) = text(arguments, name)? else {
        return Ok(None);
    };
    W::parse(given)
        .map(Some)
        .ok_or_else(|| not_allowed(name, given, &W::words()))
}

/// The sentence about a value that is not on the list.
pub(super) fn not_allowed(name: &str, given: &str, allowed: &[&str]) -> String {
    format!(
        "`{given}` is not a {name}. Allowed: {}.{}",
        allowed.join(", "),
        perhaps(given, allowed)
    )
}

fn perhaps(given: &str, known: &[&str]) -> String {
    nearest(given, known.iter().copied())
        .map(|near| format!(" Did you mean `{near}`?"))
        .unwrap_or_default()
}

/// `null` counts as absent: models send it for arguments they leave out.
pub(super) fn text<'a>(arguments: &'a Params, name: &str) -> Result<Option<&'a str>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim())),
        Some(other) => Err(format!("`{name}` must be a string, not {other}.")),
    }
}

/// A yes or a no.
pub(super) fn flag(arguments: &Params, name: &str) -> Result<Option<bool>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(format!("`{name}` must be true or false, not {other}.")),
    }
}

/// A whole number within a range.
pub(super) fn whole_number<N>(
    arguments: &Params,
    name: &str,
    range: RangeInclusive<N>,
) -> Result<Option<N>, String>
where
    N: TryFrom<u64> + PartialOrd + Display,
{
    let given = match arguments.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(given) => given,
    };
    given
        .as_u64()
        .and_then(|n| N::try_from(n).ok())
        .filter(|n| range.contains(n))
        .map(Some)
        .ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("`{name}` must be a whole number from {least} to {most}, not {given}.")
        })
}
