//! Headers: formats, and who may come in.

use std::net::IpAddr;
use std::path::Path;
use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use mcp_wrapper::config::{Environment, Settings};
use mcp_wrapper::front::http::guard::Guard;
use mcp_wrapper::front::http::headers::{accepts, is_json};

use crate::any::Any;

const PARTS: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "[::1]",
    "example.com",
    "localhost.evil.com",
    ":",
    "8080",
    ".",
    "http://",
    "https://",
    "*/*",
    "application/*",
    "application/json",
    "text/event-stream",
    ";",
    "q=0",
    "q=",
    "0.0",
    ",",
    " ",
    "Bearer ",
    "secret",
    "null",
    "[",
    "]",
    "@",
    "127.1",
    "0",
    "::ffff:127.0.0.1",
    "APPLICATION/JSON",
];

static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    let variables = |name: &str| match name {
        "MCP_AUTH_TOKEN" => Some("secret-secret-secret-secret-secret".to_owned()),
        "HOME" => Some("/nonexistent".to_owned()),
        "MCP_ALLOWED_HOSTS" => Some("gateway.example".to_owned()),
        _other => None,
    };
    let settings = Settings::load(Path::new("/nonexistent"), &Environment::new(variables));
    Guard::new(&settings.expect("these settings are good"))
});

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let mut headers = HeaderMap::new();
    for name in [
        header::ACCEPT,
        header::CONTENT_TYPE,
        header::AUTHORIZATION,
        header::HOST,
        header::ORIGIN,
    ] {
        for _ in 0..any.below(3) {
            if let Ok(value) = HeaderValue::from_bytes(&value(&mut any)) {
                headers.append(name.clone(), value);
            }
        }
    }
    for wanted in ["application/json", "text/event-stream"] {
        if accepts(&headers, wanted) && headers.contains_key(header::ACCEPT) {
            let family = wanted.split('/').next().unwrap_or_default();
            let named = headers.get_all(header::ACCEPT).iter().any(|value| {
                let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
                value.contains(wanted) || value.contains(&format!("{family}/*")) || value.contains("*/*")
            });
            assert!(named, "{headers:?} does not take {wanted}");
        }
    }
    if is_json(&headers) {
        let value = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        assert!(value.is_some_and(|value| value.trim().to_ascii_lowercase().starts_with("application/json")));
    }
    let uri = String::from_utf8_lossy(&value(&mut any))
        .parse()
        .unwrap_or(Uri::from_static("/mcp"));
    if GUARD.check_host_and_origin(&uri, &headers).is_ok() {
        let hosts: Vec<_> = headers.get_all(header::HOST).iter().collect();
        assert_eq!(hosts.len(), 1);
        assert!(
            is_ours(hosts[0].to_str().expect("it was read")),
            "{hosts:?} came in"
        );
    }
    if GUARD.admit(&headers, IpAddr::from([192, 0, 2, 1])).is_ok() {
        let given = headers.get(header::AUTHORIZATION).expect("a token is asked for");
        assert!(
            given
                .as_bytes()
                .trim_ascii_end()
                .ends_with(b"secret-secret-secret-secret-secret")
        );
    }
}

/// The name before the port is one of ours, and nothing else stands there.
fn is_ours(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    matches!(name, "localhost" | "gateway.example")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn value(any: &mut Any<'_>) -> Vec<u8> {
    if any.byte() % 4 == 0 {
        let n = any.below(24);
        return any.take(n).to_vec();
    }
    (0..1 + any.below(5))
        .flat_map(|_| any.pick(PARTS).bytes())
        .collect()
}
