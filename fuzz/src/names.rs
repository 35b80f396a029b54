//! Exposed names and URIs.

use mcp_wrapper::catalog::names::{EXPOSED_CHARS_MAX, exposed};
use mcp_wrapper::catalog::uris::{fit, scheme, tagged, untagged};
use mcp_wrapper::ids::ServerName;

use crate::any::Any;

const PARTS: &[&str] = &[
    "file://",
    "x:",
    "/",
    "?",
    "&",
    "=",
    "#",
    "mcp-server=",
    "a",
    "b",
    "%20",
    "{a}",
    "{+a}",
    "{/a}",
    "{#a}",
    "{?a,b}",
    "{",
    "}",
    "é",
    "?mcp-server=a",
    "&mcp-server=b",
    "*",
    "",
];

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let server = any.pick(&["a", "fs", "a-b_c", "9"]);
    let uri = text(&mut any);
    let tag = tagged(&uri, server);
    let (bare, found) = untagged(&tag).expect("a tagged URI has a tag");
    assert_eq!((bare.as_str(), found), (uri.as_str(), server));
    untagged(&uri);
    scheme(&uri);
    let template = text(&mut any);
    if let Some(n) = fit(&template, &uri) {
        assert!(n <= template.len());
    }
    if !template.contains(['{', '}']) {
        assert_eq!(
            fit(&template, &uri).is_some(),
            template == uri,
            "{template} {uri}"
        );
    }
    let own = text(&mut any);
    let name = exposed(server, server, &own);
    assert!(
        name.chars().count() <= EXPOSED_CHARS_MAX && name.is_ascii(),
        "{name}"
    );
    assert!(
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    );
    assert_eq!(exposed(server, "", &own), own);
    if let Err(bad) = ServerName::parse(&own)
        && let Some(near) = bad.suggestion
    {
        assert!(ServerName::parse(&near).is_ok(), "{near}");
    }
}

fn text(any: &mut Any<'_>) -> String {
    let n = any.below(12);
    if any.byte() % 3 == 0 {
        return any.text(n * 8);
    }
    (0..n).map(|_| any.pick(PARTS)).collect()
}
