//! Exposed names: `<prefix>__<own name>`, always found again by a table, never by splitting. Pure.
//!
//! Hosts accept `[A-Za-z0-9_-]` and at most 64 characters; a name that is longer or has other characters is
//! shortened or mapped, and gets a suffix that depends only on the server and the own name, so that it is stable.
//! Source: MCP 2025-11-25, tools, "Tool Names"; the limit of 64 is that of hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::config::spec::ServerSpec;

pub use crate::config::EXPOSED_CHARS_MAX;

/// Stands between prefix and own name.
pub const SEPARATOR: &str = "__";

const N_SUFFIX_CHARS: usize = 6;
/// What stays of a name that gets a suffix.
const N_KEPT_CHARS: usize = EXPOSED_CHARS_MAX - N_SUFFIX_CHARS - 1;

/// How one server's names are exposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// What stands before its names; empty for nothing.
    pub prefix: String,
    /// Names that the operator chose, by own names: they win over the prefix.
    pub aliases: Arc<BTreeMap<String, String>>,
}

impl Naming {
    /// As the server is declared.
    pub fn of(spec: &ServerSpec) -> Self {
        let name = || spec.name.as_str().to_owned();
        Self {
            prefix: spec.prefix.clone().unwrap_or_else(name),
            aliases: Arc::clone(&spec.aliases),
        }
    }

    /// The name that the operator chose for an own name.
    pub fn alias(&self, own: &str) -> Option<&str> {
        self.aliases.get(own).map(String::as_str)
    }

    /// Whether an exposed name can be one of this server's, as far as can be told without its lists.
    pub fn may_own(&self, exposed: &str) -> bool {
        if self.prefix.is_empty() || self.aliases.values().any(|alias| alias == exposed) {
            return true;
        }
        let begin = format!("{}{SEPARATOR}", self.prefix);
        let mut begin = begin
            .chars()
            .map(|c| if is_accepted(c) { c } else { '_' })
            .take(N_KEPT_CHARS);
        let mut exposed = exposed.chars();
        begin.all(|c| exposed.next() == Some(c))
    }
}

/// The name under which a server's `own` name is exposed. An empty prefix exposes it as it is.
pub fn exposed(server: &str, prefix: &str, own: &str) -> String {
    if prefix.is_empty() {
        return own.to_owned();
    }
    let plain = format!("{prefix}{SEPARATOR}{own}");
    let mapped: String = plain
        .chars()
        .map(|c| if is_accepted(c) { c } else { '_' })
        .collect();
    if mapped == plain && plain.len() <= EXPOSED_CHARS_MAX {
        return plain;
    }
    let kept: String = mapped.chars().take(N_KEPT_CHARS).collect();
    format!("{kept}_{}", suffix(server, own))
}

fn is_accepted(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '-'
}

/// Six characters of base 32 (RFC 4648, lower case) of a hash of both names: 30 bits.
fn suffix(server: &str, own: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = Sha256::digest(format!("{server}\0{own}"));
    let bits = digest
        .iter()
        .take(4)
        .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    (0..N_SUFFIX_CHARS)
        .filter_map(|n| ALPHABET.get(usize::try_from(bits >> (5 * n) & 31).unwrap_or_default()))
        .map(|byte| char::from(*byte))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_name_gets_its_prefix_and_nothing_else() {
        assert_eq!(exposed("git", "git", "git_status"), "git__git_status");
        assert_eq!(exposed("git", "", "a.b/c"), "a.b/c");
        assert_eq!(exposed("a", "a", "x__y"), "a__x__y");
    }

    #[test]
    fn a_name_that_hosts_refuse_is_mapped_and_stays_stable() {
        let name = exposed("s", "s", "notes/read.all");
        assert_eq!(name, exposed("s", "s", "notes/read.all"));
        assert!(
            name.starts_with("s__notes_read_all_") && name.len() == "s__notes_read_all_".len() + 6,
            "{name}"
        );
        assert_ne!(name, exposed("s", "s", "notes/read_all"));
    }

    #[test]
    fn names_of_other_servers_are_not_its_own() {
        let aliases = Arc::new(BTreeMap::from([("own".to_owned(), "short".to_owned())]));
        let naming = Naming {
            prefix: "git".to_owned(),
            aliases,
        };
        assert!(naming.may_own("git__status") && naming.may_own("short"));
        assert!(!naming.may_own("github__status") && !naming.may_own("git") && !naming.may_own("own"));
    }

    proptest! {
        #[test]
        fn exposed_names_are_what_hosts_accept(own in ".{1,200}", server in "[a-z]{1,40}") {
            let name = exposed(&server, &server, &own);
            prop_assert!(name.len() <= EXPOSED_CHARS_MAX && name.chars().all(is_accepted));
        }

        #[test]
        fn a_server_may_own_its_names(own in ".{1,90}", prefix in "[a-z_.]{0,70}") {
            let naming = Naming { prefix: prefix.clone(), aliases: Arc::default() };
            prop_assert!(naming.may_own(&exposed("s", &prefix, &own)));
        }

        #[test]
        fn two_names_of_a_server_stay_two(a in "[a-zA-Z0-9_./-]{1,90}", b in "[a-zA-Z0-9_./-]{1,90}") {
            prop_assume!(a != b);
            prop_assert_ne!(exposed("s", "s", &a), exposed("s", "s", &b));
        }
    }
}
