//! Who is let in through the front door, header by header.

use std::net::Ipv4Addr;

use super::*;

fn guard(host: IpAddr) -> Guard {
    Guard {
        host,
        allowed_hosts: vec!["mcp.example.org".to_owned()],
        allowed_origins: vec!["https://app.example.org".to_owned()],
        token: Some(Sha256::digest("a secret of sixteen").into()),
    }
}

fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), value.parse().unwrap()))
        .fold(HeaderMap::new(), |mut map, (n, v)| {
            map.append(n, v);
            map
        })
}

fn check(pairs: &[(header::HeaderName, &str)]) -> Result<(), Refused> {
    guard(Ipv4Addr::LOCALHOST.into()).check_host_and_origin(&Uri::from_static("/mcp"), &headers(pairs))
}

#[test]
fn only_our_own_hosts_are_served() {
    for good in [
        "localhost",
        "localhost:8999",
        "LOCALHOST.:1",
        "127.0.0.1:8999",
        "[::1]:8999",
        "127.0.0.2",
        "mcp.example.org",
    ] {
        assert_eq!(check(&[(header::HOST, good)]), Ok(()), "{good}");
    }
    for bad in [
        "evil.example",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "10.0.0.1",
        "",
        "[::2]:1",
        // No port, but something else.
        "127.0.0.1[",
        "127.0.0.1[::1]",
        "[127.0.0.1]evil.example",
        "[::1]evil.example",
        "[::1",
        "localhost:x",
        "localhost:1:2",
    ] {
        assert_eq!(check(&[(header::HOST, bad)]), Err(Refused::ForeignHost), "{bad}");
    }
    assert_eq!(check(&[]), Err(Refused::BadHost));
    assert_eq!(
        check(&[(header::HOST, "localhost"), (header::HOST, "localhost")]),
        Err(Refused::BadHost)
    );
}

#[test]
fn the_absolute_form_of_a_target_is_checked_too() {
    let uri = Uri::from_static("http://evil.example/mcp");
    let told = guard(Ipv4Addr::LOCALHOST.into())
        .check_host_and_origin(&uri, &headers(&[(header::HOST, "localhost")]));
    assert_eq!(told, Err(Refused::ForeignHost));
}

#[test]
fn beyond_loopback_an_address_is_a_host_but_a_name_is_not() {
    let open = guard(Ipv4Addr::UNSPECIFIED.into());
    let check =
        |host| open.check_host_and_origin(&Uri::from_static("/mcp"), &headers(&[(header::HOST, host)]));
    assert_eq!(check("192.0.2.7:8999"), Ok(()));
    assert_eq!(check("evil.example"), Err(Refused::ForeignHost));
}

#[test]
fn an_origin_must_be_the_servers_own_or_configured() {
    let with = |origin: &str| check(&[(header::HOST, "localhost:8999"), (header::ORIGIN, origin)]);
    assert_eq!(with("http://localhost:8999"), Ok(()));
    assert_eq!(with("https://APP.example.org"), Ok(()));
    for bad in [
        "null",
        "http://localhost:1",
        "http://localhost.evil.com:8999",
        "https://evil.example",
        "",
    ] {
        assert_eq!(with(bad), Err(Refused::ForeignOrigin), "{bad}");
    }
}

#[test]
fn the_token_is_asked_for_where_there_is_one() {
    let guard = guard(Ipv4Addr::LOCALHOST.into());
    let with = |value: &str| guard.has_right_token(&headers(&[(header::AUTHORIZATION, value)]));
    assert!(with("Bearer a secret of sixteen") && with("bearer a secret of sixteen"));
    for bad in [
        "Bearer",
        "Bearer x",
        "Basic a secret of sixteen",
        "a secret of sixteen",
        "",
    ] {
        assert!(!with(bad), "{bad}");
    }
    assert!(!guard.has_right_token(&HeaderMap::new()));
}
