//! Who may come in: Host and Origin against pages that reach for servers on the visitor's machine; the token, and keys.
//!
//! Where nobody is asked for a key, one that is shown counts all the same, and one that does not open is refused: a key
//! that was taken back must not give more than it gave.
//!
//! Source: MCP 2025-11-25, transports, "Security Warning": "Servers MUST validate the Origin header".

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::limits::{self, Address, TooMuch};
use super::{lease, refusal};
use crate::access::{KeyHash, Keyring, Network, Principal, key, same};
use crate::config::Settings;
use crate::front::Shared;
use crate::rpc::RpcError;

/// Who may come in.
#[derive(Debug)]
pub struct Guard {
    host: IpAddr,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    /// The hash of the token, and who has it.
    token: Option<(KeyHash, Arc<Principal>)>,
    keyring: Keyring,
    /// Who comes without a key where none is asked for.
    anybody: Arc<Principal>,
    /// Whether a key is asked for.
    asks: bool,
    exempt: Vec<Network>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Nothing was shown.
    NoKey,
    /// What was shown does not open.
    WrongKey,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is not exactly one `Host`.
    BadHost,
    /// The `Host` is not one of ours.
    ForeignHost,
    /// The `Origin` is not one of ours.
    ForeignOrigin,
}

impl Guard {
    /// A guard as the settings say.
    pub fn new(settings: &Settings) -> Self {
        let token = settings
            .auth_token
            .as_ref()
            .map(|token| (key::hash(token.reveal()), Arc::new(Principal::token())));
        let asks = token.is_some() || settings.require_keys || !settings.host.is_loopback();
        Self {
            host: settings.host,
            allowed_hosts: settings
                .allowed_hosts
                .iter()
                .map(|host| normal_host(host))
                .collect(),
            allowed_origins: settings
                .allowed_origins
                .iter()
                .map(|origin| origin.to_ascii_lowercase())
                .collect(),
            token,
            keyring: Keyring::default(),
            anybody: Arc::new(Principal::anybody()),
            asks,
            exempt: settings.key_exempt.clone(),
        }
    }

    /// Checks `Host` and `Origin`.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn check_host_and_origin(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let named = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().map_err(|_| Refused::BadHost)?,
            _none_or_several => return Err(Refused::BadHost),
        };
        // The absolute form of a target overrules the header (RFC 9112, 3.2.2), so both have to be ours.
        for authority in uri
            .authority()
            .map(|authority| authority.as_str())
            .into_iter()
            .chain([named])
        {
            if !self.is_our_host(authority) {
                return Err(Refused::ForeignHost);
            }
        }
        for origin in headers.get_all(header::ORIGIN) {
            if !origin
                .to_str()
                .is_ok_and(|origin| self.is_our_origin(origin, named))
            {
                return Err(Refused::ForeignOrigin);
            }
        }
        Ok(())
    }

    fn is_our_host(&self, authority: &str) -> bool {
        let host = normal_host(authority);
        if host.is_empty() {
            return false;
        }
        if self.allowed_hosts.contains(&host) || host == "localhost" {
            return true;
        }
        // A name can be made to point here by anybody; an address cannot.
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match address.unwrap_or(&host).parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || !self.host.is_loopback(),
            Err(_) => false,
        }
    }

    /// The same origin as the request itself, or one that is configured.
    fn is_our_origin(&self, origin: &str, host: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.allowed_origins.contains(&origin) {
            return true;
        }
        let authority = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority == host.to_ascii_lowercase())
    }

    /// The origin of a page that may speak to us although it is not ours: one that is configured.
    pub fn page(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.allowed_origins.is_empty() {
            return None;
        }
        let origin = headers.get(header::ORIGIN)?;
        let named = origin.to_str().ok()?.to_ascii_lowercase();
        self.allowed_origins.contains(&named).then(|| origin.clone())
    }

    /// Who somebody is that comes from this address.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn admit(&self, headers: &HeaderMap, address: IpAddr) -> Result<Arc<Principal>, Denied> {
        if let Some(given) = bearer(headers)? {
            if let Some((wanted, holder)) = &self.token
                && same(wanted, &key::hash(given))
            {
                return Ok(Arc::clone(holder));
            }
            if given.starts_with(key::PREFIX) {
                let now_ms = now_ms();
                let holder = self.keyring.find(given, now_ms).ok_or(Denied::WrongKey)?;
                holder.touch(now_ms);
                return Ok(holder);
            }
            if !self.is_open(address) {
                return Err(Denied::WrongKey);
            }
        }
        // What is no key of ours is nothing to us where nobody is asked for one.
        if self.is_open(address) {
            return Ok(Arc::clone(&self.anybody));
        }
        Err(Denied::NoKey)
    }

    /// Whether nobody from this address is asked for a key.
    fn is_open(&self, address: IpAddr) -> bool {
        !self.asks || self.exempt.iter().any(|network| network.contains(address))
    }

    /// Whether somebody is asked for a key.
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// The keys that open now.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whose a session is that was written down before, if that may still come in.
    pub fn principal(&self, id: Option<&str>) -> Option<Arc<Principal>> {
        let known = [Some(&self.anybody), self.token.as_ref().map(|(_, holder)| holder)];
        let mut known = known.into_iter().flatten();
        match id {
            // Written down before there were keys: it was whoever may come in without one, or with the token.
            None => known.next_back().cloned(),
            Some(id) => known
                .find(|known| &*known.id == id)
                .cloned()
                .or_else(|| self.keyring.principal(id)),
        }
    }
}

/// What somebody shows, if it is one thing.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let given = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(given), None) => given,
        (Some(_), Some(_)) => return Err(Denied::WrongKey),
    };
    let given = given.to_str().ok().and_then(|value| value.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(Some(given.map(|(_, token)| token.trim()).unwrap_or_default()))
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Lower case, without the port and a trailing dot; empty where something else stands after the host.
fn normal_host(authority: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    let n_host = if authority.starts_with('[') {
        authority.find(']').map_or(0, |at| at + 1)
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(n_host);
    let is_port = |rest: &str| {
        rest.strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if !rest.is_empty() && !is_port(rest) {
        return String::new();
    }
    host.strip_suffix('.').unwrap_or(host).to_owned()
}

/// A route for clients: who they are goes with the request.
pub async fn clients(State(front): State<Shared>, request: Request<Body>, next: Next) -> Response {
    through(&front, request, next, |_| None).await
}

/// A route for who may control the daemon.
pub async fn admins(State(front): State<Shared>, request: Request<Body>, next: Next) -> Response {
    through(&front, request, next, |principal| {
        (!principal.is_admin).then(not_an_admin)
    })
    .await
}

async fn through(
    front: &Shared,
    mut request: Request<Body>,
    next: Next,
    refused: impl Fn(&Principal) -> Option<Response>,
) -> Response {
    // The door puts it there, so that a request without it has come another way.
    let Some(address) = request.extensions().get::<Arc<Address>>().cloned() else {
        return unauthorized(false);
    };
    let principal = match admitted(front, &request, &address) {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    if let Some(refused) = refused(&principal) {
        return refused;
    }
    request.extensions_mut().insert(Arc::clone(&principal));
    lease::leased(&principal, None, next.run(request)).await
}

/// Who sends a request, or what is answered to whoever may not.
pub fn admitted(
    front: &Shared,
    request: &Request<Body>,
    address: &Address,
) -> Result<Arc<Principal>, Response> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        address.may_show_a_key().map_err(|much| too_much(&much))?;
    }
    let admitted = front.guard.admit(request.headers(), address.ip);
    let principal = admitted.map_err(|denied| {
        if denied == Denied::WrongKey {
            address.wrong_key();
        }
        tracing::debug!(?denied, path = request.uri().path(), "a request was refused");
        unauthorized(denied == Denied::WrongKey)
    })?;
    limits::request_of(&principal).map_err(|much| too_much(&much))?;
    Ok(principal)
}

/// The answer to a request without a key that opens. `shown`: whether it had one at all (RFC 6750, 3.1).
pub(super) fn unauthorized(shown: bool) -> Response {
    let (text, challenge) = if shown {
        (
            "this key does not open, or no more; `mcpctl key list` on the daemon's machine shows those that do",
            "Bearer error=\"invalid_token\"",
        )
    } else {
        (
            "this needs `Authorization: Bearer` with a key (`mcpctl key create NAME`) or the token of MCP_AUTH_TOKEN",
            "Bearer",
        )
    };
    let mut refused = refusal(StatusCode::UNAUTHORIZED, &RpcError::invalid_request(text));
    let headers = refused.headers_mut();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    refused
}

/// The answer to a client that has to wait.
pub(super) fn too_much(much: &TooMuch) -> Response {
    let mut refused = refusal(StatusCode::TOO_MANY_REQUESTS, &much.error());
    // Whole seconds (RFC 9110, 10.2.3), and never too early.
    let seconds = much.again.as_secs() + u64::from(much.again.subsec_nanos() > 0);
    let seconds = HeaderValue::from(seconds.max(1));
    refused.headers_mut().insert(header::RETRY_AFTER, seconds);
    refused
}

/// Control over the network is for admins; for the owner of the data folder it is on the Unix socket.
fn not_an_admin() -> Response {
    let error = "control is on the Unix socket in the data folder; over HTTP it needs a key made with --admin, or MCP_AUTH_TOKEN";
    let refusal = crate::api::Refusal {
        error: error.to_owned(),
    };
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer error=\"insufficient_scope\"")];
    (StatusCode::FORBIDDEN, challenge, axum::Json(refusal)).into_response()
}

/// What is answered to a request that is not for us, or from a page that may not send it.
pub fn stranger(front: &Shared, request: &Request<Body>) -> Option<Response> {
    let refused = front
        .guard
        .check_host_and_origin(request.uri(), request.headers())
        .err()?;
    tracing::warn!(?refused, path = request.uri().path(), "a request was refused");
    let (status, text) = match refused {
        Refused::BadHost => (StatusCode::BAD_REQUEST, "there must be exactly one Host header"),
        Refused::ForeignHost => (
            StatusCode::FORBIDDEN,
            "this Host is not served here; MCP_ALLOWED_HOSTS adds names",
        ),
        Refused::ForeignOrigin => (
            StatusCode::FORBIDDEN,
            "this Origin is not allowed here; MCP_ALLOWED_ORIGINS adds origins",
        ),
    };
    Some(refusal(status, &RpcError::invalid_request(text)))
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
