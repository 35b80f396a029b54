//! Names that an operator gives to tools and prompts. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys::kind_of;

/// Longest exposed name, in characters: the limit of hosts.
pub const EXPOSED_CHARS_MAX: usize = 64;
/// Aliases that one server may have.
const N_ALIASES_MAX: usize = 1_000;

/// What is wrong with a table of aliases.
pub(super) fn aliases_fault(value: &Value) -> Option<String> {
    let Some(aliases) = value.as_object() else {
        return Some(format!(
            "must be a table such as {{ own_name = \"exposed_name\" }}, not {}",
            kind_of(value)
        ));
    };
    if aliases.len() > N_ALIASES_MAX {
        return Some(format!("must be at most {N_ALIASES_MAX} names"));
    }
    let mut given = BTreeMap::new();
    aliases.iter().find_map(|(own, exposed)| {
        let own = own.escape_debug().to_string();
        let Some(exposed) = exposed.as_str() else {
            return Some(format!("{own} must be a text in quotes, not {}", kind_of(exposed)));
        };
        if !is_exposable(exposed) {
            return Some(format!(
                "{own} must be 1 to {EXPOSED_CHARS_MAX} letters, digits, `_` or `-`: hosts accept nothing else"
            ));
        }
        let other = given.insert(exposed, own.clone())?;
        Some(format!("{own} and {other} cannot both be called `{exposed}`"))
    })
}

/// Whether hosts accept it as the name of a tool.
fn is_exposable(name: &str) -> bool {
    (1..=EXPOSED_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_what_hosts_accept_and_stands_once() {
        let longest = "x".repeat(EXPOSED_CHARS_MAX);
        for good in [
            json!({}),
            json!({ "a.b/c": "A_b-9", "": "e" }),
            json!({ "a": longest, "b": "a" }),
        ] {
            assert_eq!(aliases_fault(&good), None, "{good}");
        }
        for (bad, told) in [
            (json!(["a"]), "must be a table"),
            (json!({ "a": 5 }), "a must be a text"),
            (json!({ "a": "" }), "1 to 64"),
            (json!({ "a": "x.y" }), "a must be 1 to 64"),
            (json!({ "a": format!("{longest}x") }), "1 to 64"),
            (json!({ "a": "x", "b": "x" }), "b and a cannot both be called `x`"),
        ] {
            let fault = aliases_fault(&bad).unwrap_or_default();
            assert!(fault.contains(told), "{bad}: {fault}");
        }
    }
}
