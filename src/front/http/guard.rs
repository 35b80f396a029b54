//! Who may come in: Host and Origin against pages that reach for servers on the visitor's machine, and the token.
//!
//! Source: MCP 2025-11-25, transports, "Security Warning": "Servers MUST validate the Origin header".

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::refusal;
use crate::config::Settings;
use crate::front::Shared;
use crate::rpc::RpcError;

/// Who may come in.
#[derive(Debug, Clone)]
pub struct Guard {
    host: IpAddr,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    /// SHA-256 of the token: comparing hashes takes the same time wherever they differ.
    token: Option<[u8; 32]>,
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
            .map(|token| Sha256::digest(token.reveal()).into());
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
        }
    }

    /// Whether a token is asked for.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
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

    /// Checks the token, if one is asked for.
    pub fn has_right_token(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.token else { return true };
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        let given = given
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let given: [u8; 32] = Sha256::digest(given.unwrap_or_default()).into();
        given == *wanted
    }
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

/// The first thing that every request from the network meets.
pub async fn host_and_origin(State(front): State<Shared>, request: Request<Body>, next: Next) -> Response {
    match stranger(&front, &request) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

/// The second: the token, where one is set.
pub async fn token(State(front): State<Shared>, request: Request<Body>, next: Next) -> Response {
    match without_token(&front, &request) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

/// Both, in that order: what is answered to whoever may not come in.
pub fn refused(front: &Shared, request: &Request<Body>) -> Option<Response> {
    stranger(front, request).or_else(|| without_token(front, request))
}

fn stranger(front: &Shared, request: &Request<Body>) -> Option<Response> {
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

fn without_token(front: &Shared, request: &Request<Body>) -> Option<Response> {
    if front.guard.has_right_token(request.headers()) {
        return None;
    }
    let mut refused = refusal(
        StatusCode::UNAUTHORIZED,
        &RpcError::invalid_request("this needs `Authorization: Bearer` with the token of MCP_AUTH_TOKEN"),
    );
    refused.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        header::HeaderValue::from_static("Bearer"),
    );
    Some(refused)
}

/// Control over the network is for holders of a token; without one it is on the Unix socket only.
pub async fn token_holders_only(State(front): State<Shared>, request: Request<Body>, next: Next) -> Response {
    if front.guard.has_token() {
        return next.run(request).await;
    }
    let error = "control is on the Unix socket in the data folder; over HTTP it needs MCP_AUTH_TOKEN";
    (
        StatusCode::FORBIDDEN,
        axum::Json(crate::api::Refusal {
            error: error.to_owned(),
        }),
    )
        .into_response()
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
