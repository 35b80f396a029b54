//! What browsers have to be told before a page of another origin may speak to us. Only origins that are configured are
//! told anything; who they are is checked by the guard.
//!
//! Source: Fetch, "CORS protocol"; the headers are those of MCP's transports.

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode};

/// Headers of requests that pages may set, apart from those of tools' parameters.
const ALLOWED: &str = "authorization, content-type, accept, mcp-session-id, mcp-protocol-version, last-event-id, \
                       mcp-method, mcp-name, traceparent, tracestate";
/// Headers of answers that pages may read.
const EXPOSED: &str = "mcp-session-id, www-authenticate, retry-after";
/// Parameters of tools that stand in headers begin with this (MCP 2026-07-28, Streamable HTTP).
const PARAMETER: &str = "mcp-param-";
/// How long a browser may remember the answer.
const MAX_AGE_SECONDS: &str = "600";
/// Bytes of the list of headers that a page wants to set.
const WANTED_BYTES_MAX: usize = 4096;

/// Whether a path is one that pages may speak to.
pub(super) fn is_for_pages(path: &str) -> bool {
    matches!(path, "/mcp" | "/sse" | "/messages")
}

/// The answer to the question whether a page may send a request, if this is one.
pub(super) fn preflight(request: &Request<Body>, origin: &HeaderValue) -> Option<Response<Body>> {
    let is_one = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !is_one {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, DELETE"),
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed(request));
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(MAX_AGE_SECONDS),
    );
    // Asked for by browsers whose page comes from a public network.
    let private = HeaderName::from_static("access-control-request-private-network");
    if request.headers().contains_key(private) {
        headers.insert(
            HeaderName::from_static("access-control-allow-private-network"),
            HeaderValue::from_static("true"),
        );
    }
    told(&mut response, origin);
    Some(response)
}

/// Any answer to a page.
pub(super) fn told(response: &mut Response<Body>, origin: &HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

/// Those that are always allowed, and of those that are asked for the parameters of tools.
fn allowed(request: &Request<Body>) -> HeaderValue {
    let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let wanted = wanted.and_then(|wanted| wanted.to_str().ok()).unwrap_or_default();
    let mut all = ALLOWED.to_owned();
    let names = wanted.split(',').map(|name| name.trim().to_ascii_lowercase());
    for name in names.filter(|name| name.starts_with(PARAMETER)) {
        if wanted.len() <= WANTED_BYTES_MAX && HeaderName::try_from(&name).is_ok() {
            all.push_str(", ");
            all.push_str(&name);
        }
    }
    HeaderValue::from_str(&all).unwrap_or_else(|_| HeaderValue::from_static(ALLOWED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, headers: &[(&str, &str)]) -> Request<Body> {
        let mut request = Request::builder().method(method).uri("/mcp");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_page_is_told_what_it_may_send() {
        let origin = HeaderValue::from_static("https://a.example");
        let request = asked(
            Method::OPTIONS,
            &[
                ("access-control-request-method", "POST"),
                (
                    "access-control-request-headers",
                    "Mcp-Param-X, x-other, mcp-param-a b",
                ),
            ],
        );
        let response = preflight(&request, &origin).unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let told = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(told("access-control-allow-origin"), "https://a.example");
        let allowed = told("access-control-allow-headers");
        assert!(allowed.contains("mcp-session-id"), "{allowed}");
        assert!(allowed.ends_with(", mcp-param-x"), "{allowed}");
        assert!(told("access-control-expose-headers").contains("mcp-session-id"));
        assert!(preflight(&asked(Method::OPTIONS, &[]), &origin).is_none());
        let post = asked(Method::POST, &[("access-control-request-method", "POST")]);
        assert!(preflight(&post, &origin).is_none());
    }
}
