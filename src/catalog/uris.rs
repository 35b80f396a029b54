//! Resource URIs: passed through unchanged, tagged only where two servers offer the same one. Pure.
//!
//! Rewriting every URI would break what hosts do with them (`ui://`, `https://`, links in text). So the first
//! server in order keeps the bare URI, and a later one's gets `mcp-server=<name>` as the last query parameter.

/// The query parameter of a tag.
const TAG: &str = "mcp-server=";

/// The URI with a tag for `server`.
pub fn tagged(uri: &str, server: &str) -> String {
    let (body, fragment) = match uri.split_once('#') {
        Some((body, fragment)) => (body, format!("#{fragment}")),
        None => (uri, String::new()),
    };
    let joint = if body.contains('?') { '&' } else { '?' };
    format!("{body}{joint}{TAG}{server}{fragment}")
}

/// The bare URI and the server of a tagged one.
pub fn untagged(uri: &str) -> Option<(String, &str)> {
    // What looks like a tag in the fragment is none.
    let (tagged, fragment) = uri.split_at(uri.find('#').unwrap_or(uri.len()));
    let (before, server) = tagged.rsplit_once(TAG)?;
    let body = before.strip_suffix('?').or_else(|| before.strip_suffix('&'))?;
    Some((format!("{body}{fragment}"), server))
}

/// The scheme of a URI, as far as one can tell (RFC 3986, 3.1).
pub fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then_some(scheme)
}

/// How well a URI fits a template (RFC 6570): the number of its literal characters, or `None` when it does not.
///
/// An expression stands for one or more characters without `/`; with the operators `+`, `#` and `/` for any.
pub fn fit(template: &str, uri: &str) -> Option<usize> {
    let mut rest = uri;
    let mut template = template;
    let mut n_literal = 0;
    loop {
        let (literal, expression) = match template.split_once('{') {
            Some((literal, after)) => (literal, after.split_once('}')),
            None => (template, None),
        };
        rest = rest.strip_prefix(literal)?;
        n_literal += literal.len();
        let Some((expression, after)) = expression else {
            return rest.is_empty().then_some(n_literal);
        };
        let next_literal = after.split('{').next().unwrap_or_default();
        let any = expression.starts_with(['+', '#', '/', '?', '&']);
        let n_taken = taken(rest, next_literal, any)?;
        rest = rest.get(n_taken..)?;
        template = after;
    }
}

/// How much of `rest` an expression stands for, up to the literal after it.
fn taken(rest: &str, next_literal: &str, any: bool) -> Option<usize> {
    let n_most = if any {
        rest.len()
    } else {
        rest.find('/').unwrap_or(rest.len())
    };
    if next_literal.is_empty() {
        return (n_most > 0 || any).then_some(n_most);
    }
    // A literal that begins with `/` may stand right behind the last character an expression may take.
    let window = rest
        .get(..(n_most + next_literal.len()).min(rest.len()))
        .unwrap_or(rest);
    let at = if any {
        window.rfind(next_literal)
    } else {
        window.find(next_literal)
    }?;
    (at > 0 || any).then_some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tag_goes_before_the_fragment_and_comes_off_again() {
        assert_eq!(tagged("file:///a", "fs"), "file:///a?mcp-server=fs");
        assert_eq!(tagged("x://a?b=1#f", "fs"), "x://a?b=1&mcp-server=fs#f");
        assert_eq!(
            untagged("x://a?b=1&mcp-server=fs#f"),
            Some(("x://a?b=1#f".to_owned(), "fs"))
        );
        assert_eq!(untagged("x://a?b=1"), None);
    }

    #[test]
    fn templates_fit_what_they_describe_and_nothing_else() {
        assert_eq!(fit("t://ticket/{id}", "t://ticket/T-1"), Some(11));
        assert_eq!(fit("t://ticket/{id}", "t://ticket/"), None);
        assert_eq!(fit("t://ticket/{id}", "t://ticket/a/b"), None);
        assert_eq!(
            fit("test://template/{id}/data", "test://template/7/data"),
            Some(21)
        );
        assert_eq!(fit("test://template/{id}/data", "test://template/7/other"), None);
        assert_eq!(fit("file:///{+path}", "file:///a/b"), Some(8));
        assert_eq!(fit("a://{x}.{y}", "a://1.2"), Some(5));
        assert_eq!(fit("a://b", "a://b"), Some(5));
        assert_eq!(fit("a://{broken", "a://x"), None);
    }

    #[test]
    fn what_looks_like_a_tag_in_the_fragment_is_none() {
        let uri = "x://a#?mcp-server=b";
        assert_eq!(untagged(uri), None);
        assert_eq!(untagged(&tagged(uri, "c")), Some((uri.to_owned(), "c")));
    }

    #[test]
    fn schemes_are_recognised() {
        assert_eq!(scheme("file:///a"), Some("file"));
        assert_eq!(scheme("no scheme:"), None);
        assert_eq!(scheme("/a"), None);
    }

    proptest! {
        #[test]
        fn tags_come_off_as_they_went_on(
            uri in "[a-z]{1,5}://[a-z/]{0,9}(\\?[a-z=&]{0,9})?(#[a-z]{0,5})?", server in "[a-z-]{1,9}",
        ) {
            let tagged = tagged(&uri, &server);
            prop_assert_eq!(untagged(&tagged), Some((uri, server.as_str())));
        }

        #[test]
        fn matching_never_panics(template in "\\PC{0,20}", uri in "\\PC{0,20}") {
            fit(&template, &uri);
            untagged(&uri);
        }
    }
}
