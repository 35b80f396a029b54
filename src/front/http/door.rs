//! The door to the network: the MCP endpoint at once, everything else by the router.
//!
//! Whoever comes in meets the same guards on both ways. A router keeps each of its layers in a box of its own, which
//! costs a call more than all that we do with it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use axum::serve::IncomingStream;
use tower_service::Service;

use super::limits::{Address, Connection};
use super::room::Room;
use super::{cors, guard, lease, streamable};
use crate::access::Principal;
use crate::front::Shared;

/// Where the MCP endpoint is.
const ENDPOINT: &str = "/mcp";

/// The door to the network: makes one for each connection.
#[derive(Debug, Clone)]
pub struct Doors {
    front: Shared,
    others: Router,
}

/// The door of one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NetworkDoor {
    front: Shared,
    others: Router,
    connection: Arc<Connection>,
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub struct Who {
    /// Who is behind it.
    pub principal: Arc<Principal>,
    /// Where it comes from.
    pub address: Arc<Address>,
}

/// A connection that was taken in.
#[derive(Debug)]
pub struct Arrival {
    /// Where it comes from.
    pub address: SocketAddr,
    /// Its place.
    pub connection: Arc<Connection>,
}

impl Doors {
    /// Doors that leave everything but the MCP endpoint to `others`.
    pub(super) fn new(front: Shared, others: Router) -> Self {
        Self { front, others }
    }
}

impl Service<IncomingStream<'_, Room>> for Doors {
    type Response = NetworkDoor;
    type Error = Infallible;
    type Future = std::future::Ready<Result<NetworkDoor, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrived: IncomingStream<'_, Room>) -> Self::Future {
        std::future::ready(Ok(NetworkDoor {
            front: Arc::clone(&self.front),
            others: self.others.clone(),
            connection: Arc::clone(&arrived.remote_addr().connection),
        }))
    }
}

impl Service<Request<Body>> for NetworkDoor {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(refused) = guard::stranger(&self.front, &request) {
            return Box::pin(std::future::ready(Ok(refused)));
        }
        let page = self.front.guard.page(request.headers());
        let Some(page) = page.filter(|_| cors::is_for_pages(request.uri().path())) else {
            return self.answer(request);
        };
        if let Some(response) = cors::preflight(&request, &page) {
            return Box::pin(std::future::ready(Ok(response)));
        }
        let answer = self.answer(request);
        Box::pin(async move {
            let mut response = answer.await?;
            cors::told(&mut response, &page);
            Ok(response)
        })
    }
}

impl NetworkDoor {
    fn answer(&mut self, mut request: Request<Body>) -> <Self as Service<Request<Body>>>::Future {
        let address = self.connection.address();
        if let Err(much) = address.request() {
            return Box::pin(std::future::ready(Ok(guard::too_much(&much))));
        }
        if request.uri().path() != ENDPOINT {
            if request.uri().path() == "/sse"
                && let Err(much) = address.stream()
            {
                return Box::pin(std::future::ready(Ok(guard::too_much(&much))));
            }
            request.extensions_mut().insert(Arc::clone(address));
            return Box::pin(self.others.call(request));
        }
        let (front, address) = (Arc::clone(&self.front), Arc::clone(address));
        Box::pin(async move { Ok(endpoint(front, address, request).await) })
    }
}

/// One request to the MCP endpoint.
async fn endpoint(front: Shared, address: Arc<Address>, request: Request<Body>) -> Response {
    let principal = match guard::admitted(&front, &request, &address) {
        Ok(principal) => principal,
        Err(refused) => return refused,
    };
    let limited = match request.method() {
        &Method::GET => address.stream().map(|()| None),
        &Method::POST => address.call(&principal),
        _another => Ok(None),
    };
    let place = match limited {
        Ok(place) => place,
        Err(much) => return guard::too_much(&much),
    };
    let who = Who {
        principal: Arc::clone(&principal),
        address,
    };
    let work = streamable::mcp(front, who, request);
    if !principal.has_key() && place.is_none() {
        return work.await;
    }
    Box::pin(lease::leased(&principal, place, work)).await
}
