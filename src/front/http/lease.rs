//! A response lasts as long as the key with which it was asked for opens, and counts as a call until it has ended.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::guard;
use super::limits::CallPlace;
use crate::access::Principal;

/// Carries out what a principal wants. When its key is taken back, that ends, and so does a stream that has begun.
pub(super) async fn leased(
    principal: &Arc<Principal>,
    place: Option<CallPlace>,
    work: impl Future<Output = Response>,
) -> Response {
    if !principal.has_key() && place.is_none() {
        return work.await;
    }
    let response = tokio::select! {
        // A key that is gone opens nothing, not even what is ready.
        biased;
        () = principal.over.cancelled() => return guard::unauthorized(true),
        response = work => response,
    };
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let over = Box::pin(principal.over.clone().cancelled_owned());
    response.map(|inner| {
        Body::new(Leased {
            inner,
            over,
            _place: place,
        })
    })
}

struct Leased {
    inner: Body,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Option<CallPlace>,
}

impl HttpBody for Leased {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
