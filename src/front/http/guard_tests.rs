//! Who is let in through the front door, header by header.

use std::net::Ipv4Addr;

use super::*;

fn guard(host: IpAddr) -> Guard {
    Guard {
        host,
        allowed_hosts: vec!["mcp.example.org".to_owned()],
        allowed_origins: vec!["https://app.example.org".to_owned()],
        token: Some((key::hash("a secret of sixteen"), Arc::new(Principal::token()))),
        keyring: Keyring::default(),
        anybody: Arc::new(Principal::anybody()),
        asks: true,
        exempt: vec!["10.0.0.0/8".parse().unwrap()],
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

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn shown(value: &str) -> HeaderMap {
    headers(&[(header::AUTHORIZATION, value)])
}

#[test]
fn the_token_is_asked_for_where_there_is_one() {
    let guard = guard(HERE);
    let with = |value: &str| guard.admit(&shown(value), HERE).is_ok_and(|who| who.is_admin);
    assert!(with("Bearer a secret of sixteen") && with("bearer a secret of sixteen"));
    for bad in [
        "Bearer",
        "Bearer x",
        "Basic a secret of sixteen",
        "a secret of sixteen",
        "",
    ] {
        assert_eq!(
            guard.admit(&shown(bad), HERE).err(),
            Some(Denied::WrongKey),
            "{bad}"
        );
    }
    assert_eq!(guard.admit(&HeaderMap::new(), HERE).err(), Some(Denied::NoKey));
    let both = [
        (header::AUTHORIZATION, "Bearer a secret of sixteen"),
        (header::AUTHORIZATION, "Bearer x"),
    ];
    assert_eq!(guard.admit(&headers(&both), HERE).err(), Some(Denied::WrongKey));
}

#[test]
fn who_comes_from_an_exempt_network_is_asked_for_nothing_but_a_key_that_is_shown_counts() {
    let guard = guard(HERE);
    let there: IpAddr = "10.9.8.7".parse().unwrap();
    let anybody = guard.admit(&HeaderMap::new(), there).unwrap();
    assert!(!anybody.is_admin && !anybody.has_key());
    assert!(
        guard
            .admit(&shown("Bearer a secret of sixteen"), there)
            .unwrap()
            .is_admin
    );
    let no_key = "Bearer mcpw_0123456789ab_x";
    assert_eq!(guard.admit(&shown(no_key), there).err(), Some(Denied::WrongKey));
}

#[test]
fn a_key_makes_its_holder_known_and_one_that_was_taken_back_is_refused_even_where_nobody_is_asked() {
    let mut guard = guard(HERE);
    guard.asks = false;
    let made = key::NewKey::random();
    let grant = crate::access::KeyGrant {
        id: made.id.clone(),
        name: "ci".to_owned(),
        hash: made.hash(),
        scope: None,
        is_admin: false,
        rate: None,
        expires_ms: None,
    };
    guard.keyring.replace(vec![grant], 1);
    let bearer = format!("Bearer {}", made.text);
    let who = guard.admit(&shown(&bearer), HERE).unwrap();
    assert_eq!((&*who.name, who.is_admin), ("ci", false));
    assert!(Arc::ptr_eq(&guard.principal(Some(&who.id)).unwrap(), &who));
    guard.keyring.replace(Vec::new(), 1);
    assert_eq!(guard.admit(&shown(&bearer), HERE).err(), Some(Denied::WrongKey));
    assert!(guard.principal(Some(&who.id)).is_none());
    assert!(guard.admit(&HeaderMap::new(), HERE).is_ok());
    assert!(guard.admit(&shown("Bearer of something else"), HERE).is_ok());
}
