//! What a key is limited to: servers, and tools by their exposed names. Pure.
//!
//! | servers | tools | what is there |
//! | --- | --- | --- |
//! | not named | not named | everything |
//! | named | not named | everything of these servers |
//! | not named | named | these tools, and nothing else |
//! | named | named | everything of these servers, but of their tools only these |
//!
//! What is not there is answered as if it did not exist.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::ids::ServerName;

/// Characters of one pattern.
const PATTERN_CHARS_MAX: usize = 256;

/// What a key is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    servers: Option<BTreeSet<ServerName>>,
    tools: Option<Vec<Pattern>>,
}

/// A pattern of exposed names: `*` stands for any characters, all else for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pattern of tools: write a name as `mcpctl tools` shows it, with * for any characters")]
pub struct BadPattern(String);

impl Scope {
    /// A scope of these servers and tools; `None` when it is limited to nothing in particular.
    pub fn of(servers: Option<Vec<ServerName>>, tools: Option<Vec<Pattern>>) -> Option<Self> {
        if servers.is_none() && tools.is_none() {
            return None;
        }
        Some(Self {
            servers: servers.map(|servers| servers.into_iter().collect()),
            tools,
        })
    }

    /// Whether everything of a server but its tools is there: prompts, resources, templates.
    pub fn has_server(&self, server: &str) -> bool {
        match &self.servers {
            Some(servers) => servers.contains(server),
            None => self.tools.is_none(),
        }
    }

    /// Whether a tool of a server is there, by its exposed name.
    pub fn has_tool(&self, server: &str, exposed: &str) -> bool {
        let is_named = self
            .servers
            .as_ref()
            .is_none_or(|servers| servers.contains(server));
        let fits = |tools: &Vec<Pattern>| tools.iter().any(|pattern| pattern.fits(exposed));
        is_named && self.tools.as_ref().is_none_or(fits)
    }
}

impl Pattern {
    /// Whether a name fits.
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let mut last = None;
        for part in parts {
            // Each but the last at its first place: what fits later fits then as well.
            if let Some(part) = last.replace(part) {
                let Some(at) = rest.find(part) else { return false };
                let Some(after) = rest.get(at + part.len()..) else {
                    return false;
                };
                rest = after;
            }
        }
        match last {
            Some(last) => rest.ends_with(last),
            None => rest.is_empty(),
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.*/".contains(&byte);
        if text.is_empty() || text.len() > PATTERN_CHARS_MAX || !text.bytes().all(is_good) {
            return Err(BadPattern(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str) -> ServerName {
        ServerName::parse(name).unwrap()
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, good, bad) in [
            ("git__*", vec!["git__", "git__log"], vec!["git_", "xgit__log"]),
            ("*", vec!["", "a"], vec![]),
            ("a*b*c", vec!["abc", "axbxc", "abbcc"], vec!["ab", "acb", "abcx"]),
            ("a*a", vec!["aa", "aba"], vec!["a", "ab"]),
            ("*_read*", vec!["git_read", "x_read_y"], vec!["read"]),
            ("git", vec!["git"], vec!["git2", "gi"]),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            for name in good {
                assert!(parsed.fits(name), "{pattern} {name}");
            }
            for name in bad {
                assert!(!parsed.fits(name), "{pattern} {name}");
            }
        }
        for bad in ["", "a b", "a\n", "ä"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_named_is_there_and_nothing_else() {
        let of = |servers: &[&str], tools: &[&str]| {
            let servers = (!servers.is_empty()).then(|| servers.iter().map(|name| server(name)).collect());
            let tools = (!tools.is_empty()).then(|| tools.iter().map(|text| text.parse().unwrap()).collect());
            Scope::of(servers, tools)
        };
        assert_eq!(of(&[], &[]), None);
        let git = of(&["git"], &[]).unwrap();
        assert!(git.has_server("git") && git.has_tool("git", "git__log"));
        assert!(!git.has_server("mail") && !git.has_tool("mail", "git__log"));
        let tools = of(&[], &["git__*"]).unwrap();
        assert!(tools.has_tool("git", "git__log") && !tools.has_tool("git", "log"));
        assert!(!tools.has_server("git"), "a pattern of tools gives no resources");
        let both = of(&["git"], &["*_log"]).unwrap();
        assert!(both.has_server("git") && both.has_tool("git", "git__log"));
        assert!(!both.has_tool("git", "git__push") && !both.has_tool("mail", "mail_log"));
    }
}
