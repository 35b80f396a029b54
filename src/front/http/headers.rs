//! What the headers of a request say about formats. Pure.

use axum::http::{HeaderMap, header};

/// Whether the client takes this type, for example `application/json` (RFC 9110, 12.5.1). Without the header it
/// takes anything.
pub fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .peekable();
    if ranges.peek().is_none() {
        return !headers.contains_key(header::ACCEPT);
    }
    let family = wanted.split('/').next().unwrap_or_default();
    let mut best: Option<(u8, bool)> = None;
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        // The most specific range decides.
        let precision = if name.eq_ignore_ascii_case(wanted) {
            3
        } else if name
            .strip_suffix("/*")
            .is_some_and(|name| name.eq_ignore_ascii_case(family))
        {
            2
        } else if name == "*/*" {
            1
        } else {
            continue;
        };
        let refused = parts.any(is_zero_quality);
        if best.is_none_or(|(known, _)| precision > known) {
            best = Some((precision, !refused));
        }
    }
    best.is_some_and(|(_, accepted)| accepted)
}

fn is_zero_quality(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else {
        return false;
    };
    name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0)
}

/// Whether the body is said to be JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let name = value.split(';').next().unwrap_or_default().trim();
    name.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(accept: &str) -> (bool, bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        (
            accepts(&headers, "application/json"),
            accepts(&headers, "text/event-stream"),
        )
    }

    #[test]
    fn the_accept_header_is_read_as_the_standard_says() {
        assert_eq!(accepted("application/json, text/event-stream"), (true, true));
        assert_eq!(accepted("application/json"), (true, false));
        assert_eq!(accepted("Text/Event-Stream;charset=utf-8"), (false, true));
        assert_eq!(accepted("*/*"), (true, true));
        assert_eq!(accepted("application/*, text/event-stream;q=0"), (true, false));
        assert_eq!(accepted("*/*, application/json;q=0.0"), (false, true));
        assert_eq!(accepted("text/html"), (false, false));
        assert_eq!(accepted(""), (false, false));
        assert!(accepts(&HeaderMap::new(), "application/json"));
    }

    #[test]
    fn only_json_is_json() {
        for (value, wanted) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/jsonx", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(is_json(&headers), wanted, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
