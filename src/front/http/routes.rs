//! Routes, each with who may use it. There is no other way to make one, so that none is without a rule.

use axum::extract::Request;
use axum::middleware;
use axum::routing::MethodRouter;

use super::guard;
use crate::front::Shared;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Anybody: it tells nothing.
    Anybody,
    /// Clients: who shows a key or the token, where one is asked for.
    Clients,
    /// Who may control the daemon.
    Admins,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Who may use it.
    pub rule: Rule,
    /// Its path, as axum writes it.
    pub path: &'static str,
    /// Its methods.
    pub methods: &'static [&'static str],
    handler: MethodRouter<Shared>,
}

impl Route {
    /// A route. `handler` answers these methods.
    pub(super) fn new(
        rule: Rule,
        methods: &'static [&'static str],
        path: &'static str,
        handler: MethodRouter<Shared>,
    ) -> Self {
        Self {
            rule,
            path,
            methods,
            handler,
        }
    }
}

/// Routes of which each holds its rule, as those from the network meet them.
pub(super) fn ruled(routes: Vec<Route>, front: &Shared) -> axum::Router<Shared> {
    let mut router = axum::Router::new();
    for route in routes {
        let handler = match route.rule {
            Rule::Anybody => route.handler,
            Rule::Clients => {
                let guard = middleware::from_fn_with_state(front.clone(), guard::clients);
                route.handler.layer(guard)
            }
            Rule::Admins => {
                let guard = middleware::from_fn_with_state(front.clone(), guard::admins);
                route.handler.layer(guard)
            }
        };
        router = router.route(route.path, handler);
    }
    let guard = middleware::from_fn_with_state(front.clone(), guard::clients);
    let fallback = axum::routing::any(super::not_found).layer(guard);
    router.fallback_service(fallback.with_state(front.clone()))
}

/// Routes for the owner of the data folder, who may use all.
pub(super) fn owned(routes: Vec<Route>, front: &Shared) -> axum::Router<Shared> {
    let mut router = axum::Router::new();
    for route in routes {
        router = router.route(route.path, route.handler);
    }
    let owner = front.owner.clone();
    let as_owner = move |mut request: Request, next: middleware::Next| {
        request.extensions_mut().insert(owner.clone());
        async move { next.run(request).await }
    };
    router
        .fallback(super::not_found)
        .layer(middleware::from_fn(as_owner))
}
