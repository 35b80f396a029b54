//! The body of an answer. A long result goes out as the buffer that it was read into; only what is around it is ours.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use crate::rpc::message::response_line;
use crate::rpc::{Outcome, Raw, RequestId};

/// A shorter one is copied: one write of one buffer costs less than three. Bytes.
const LONG_BYTES: usize = 16 * 1024;

/// A body of known length in several buffers.
#[derive(Debug)]
struct Pieces(VecDeque<Bytes>);

/// The text of an answer.
pub fn of_answer(id: &RequestId, outcome: &Outcome) -> Body {
    let (Ok(long) | Err(long)) = outcome;
    if long.as_bytes().len() < LONG_BYTES {
        return Body::from(response_line(Some(id), outcome));
    }
    // Around an empty object, so that there is one place that knows what stands around a result.
    let empty = Raw::empty_object();
    let around = response_line(Some(id), &if outcome.is_ok() { Ok(empty) } else { Err(empty) });
    let ends = around.len() - 1;
    let before = around.slice(..ends - 2);
    Body::new(Pieces([before, long.bytes(), around.slice(ends..)].into()))
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let n_bytes: usize = self.0.iter().map(Bytes::len).sum();
        SizeHint::with_exact(u64::try_from(n_bytes).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_reads_the_same_in_one_piece_and_in_several() {
        let id = RequestId::number(7);
        for n_bytes in [1, LONG_BYTES, 3 * LONG_BYTES] {
            let text = Raw::of(&"x".repeat(n_bytes));
            for outcome in [Ok(text.clone()), Err(text)] {
                let body = of_answer(&id, &outcome);
                let wanted = response_line(Some(&id), &outcome);
                assert_eq!(body.size_hint().exact(), u64::try_from(wanted.len()).ok());
                assert_eq!(body.collect().await.unwrap().to_bytes(), wanted);
            }
        }
    }
}
