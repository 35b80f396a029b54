//! What a server was given in confidence, and must not be shown when the server writes it down.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use crate::config::spec::{Command, Secret};

/// Shorter texts are words that anybody may write: `UTC`, `true`, `8080`. Characters.
const CHARS_MIN: usize = 8;
/// What a provider of secrets has given is one, however short; yet single letters would mask all there is. Characters.
const FETCHED_CHARS_MIN: usize = 4;
/// What stands for a secret.
const MASKED: &str = "***";

/// The secrets of one server. Cheap to clone; nothing is masked by the default.
#[derive(Debug, Clone, Default)]
pub struct Mask(Arc<[Secret]>);

impl Mask {
    /// The values of its variables, and its arguments as far as they came from variables; not what is the name of a
    /// file, which is no secret and is needed to understand what went wrong.
    pub fn of(command: &Command) -> Self {
        let variables = command.env.values().map(Secret::reveal);
        let both = std::iter::once(command).chain(command.stop.as_deref());
        // The declared command line: the program, then the arguments.
        let arguments = both.flat_map(|command| command.args.iter().zip(command.shown.iter().skip(1)));
        let filled = arguments.map(|(arg, shown)| filled_in(arg, shown));
        let lines = variables.chain(filled).flat_map(str::lines).map(str::trim);
        let is_secret = |text: &&str| text.chars().count() >= CHARS_MIN && !Path::new(text).exists();
        Self::hiding(lines.filter(is_secret).collect())
    }

    /// The same, and what providers of secrets have given.
    #[must_use]
    pub fn with<'s>(&self, fetched: impl Iterator<Item = &'s Secret>) -> Self {
        let lines = fetched.flat_map(|secret| secret.reveal().lines()).map(str::trim);
        let fetched = lines.filter(|text| text.chars().count() >= FETCHED_CHARS_MIN);
        Self::hiding(self.0.iter().map(Secret::reveal).chain(fetched).collect())
    }

    fn hiding(mut all: Vec<&str>) -> Self {
        // The longest first: one may be a part of another.
        all.sort_by_key(|text| (std::cmp::Reverse(text.len()), *text));
        all.dedup();
        Self(all.into_iter().map(Secret::new).collect())
    }

    /// The text with `***` for each secret.
    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut shown = Cow::Borrowed(text);
        for secret in self.0.iter().map(Secret::reveal) {
            if shown.contains(secret) {
                shown = Cow::Owned(shown.replace(secret, MASKED));
            }
        }
        shown
    }
}

/// What came from variables in a text whose template this was: of `--key=${KEY}` all but `--key=`.
fn filled_in<'t>(text: &'t str, template: &str) -> &'t str {
    let Some((before, rest)) = template.split_once("${") else {
        return "";
    };
    let (_, after) = rest.rsplit_once('}').unwrap_or_default();
    let value = text
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix(after));
    value.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn mask() -> Mask {
        let env = [
            ("TOKEN", "sk-0123456789"),
            ("LONGER", "sk-0123456789-and-more"),
            ("TZ", "UTC"),
            ("KEY_FILE", "/etc/passwd"),
            ("PEM", "-----BEGIN KEY-----\nMIIabcdefgh\n"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Mask::of(&Command {
            program: "x".to_owned(),
            args: texts(&[
                "--verbose-mode",
                "--key=hunter2hunter2",
                "plain-secret",
                "key other-secret is it",
            ]),
            env: BTreeMap::from(env),
            late: crate::config::spec::Late::default(),
            cwd: None,
            shown: texts(&[
                "x",
                "--verbose-mode",
                "--key=${KEY}",
                "${PLAIN}",
                "key ${OTHER} is it",
            ]),
            stop: None,
        })
    }

    #[test]
    fn what_was_given_in_confidence_is_masked_wherever_it_stands() {
        let mask = mask();
        for (text, shown) in [
            ("bad key sk-0123456789!", "bad key ***!"),
            ("sk-0123456789-and-more", "***"),
            ("it said hunter2hunter2 and plain-secret", "it said *** and ***"),
            ("MIIabcdefgh", "***"),
            ("key other-secret is it", "key *** is it"),
            (
                "UTC, /etc/passwd, --verbose-mode",
                "UTC, /etc/passwd, --verbose-mode",
            ),
        ] {
            assert_eq!(mask.hide(text), shown);
        }
    }

    #[test]
    fn what_was_fetched_is_masked_even_when_it_is_short_or_the_name_of_a_file() {
        let fetched = ["pass1", "/etc/passwd", "abc"].map(Secret::new);
        let mask = mask().with(fetched.iter());
        let text = "pass1 /etc/passwd abc sk-0123456789";
        assert_eq!(mask.hide(text), "*** *** abc ***");
    }

    #[test]
    fn a_mask_does_not_print_what_it_hides() {
        assert!(!format!("{:?}", mask()).contains("0123456789"));
    }
}
