//! The door to the network: the MCP endpoint at once, everything else by the router.
//!
//! Whoever comes in meets the same guards on both ways. A router keeps each of its layers in a box of its own, which
//! costs a call more than all that we do with it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use tower_service::Service;

use super::{guard, streamable};
use crate::front::Shared;

/// Where the MCP endpoint is.
const ENDPOINT: &str = "/mcp";

/// The door to the network. Cheap to clone: each connection has one.
#[derive(Debug, Clone)]
pub struct NetworkDoor {
    front: Shared,
    others: Router,
}

impl NetworkDoor {
    /// A door that leaves everything but the MCP endpoint to `others`.
    pub(super) fn new(front: Shared, others: Router) -> Self {
        Self { front, others }
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
        if request.uri().path() != ENDPOINT {
            return Box::pin(self.others.call(request));
        }
        let front = Arc::clone(&self.front);
        Box::pin(async move {
            Ok(match guard::refused(&front, &request) {
                Some(refused) => refused,
                None => streamable::mcp(State(front), request).await,
            })
        })
    }
}
