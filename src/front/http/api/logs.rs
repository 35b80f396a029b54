//! A server's stderr: the last lines, and those to come.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::entry;
use crate::child::stderr::Tail;
use crate::front::Shared;
use crate::front::http::events;

const N_LINES: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    lines: Option<usize>,
    #[serde(default)]
    follow: bool,
}

pub(super) async fn logs(
    State(front): State<Shared>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Response {
    let entry = match entry(&front, &name) {
        Ok(entry) => entry,
        Err(refused) => return refused,
    };
    let tail = Arc::clone(entry.child.tail());
    let next = tail.next_number();
    let last: String = tail
        .last(which.lines.unwrap_or(N_LINES))
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    if !which.follow {
        return (headers, last).into_response();
    }
    let (lines, body) = events::plain_channel();
    let closing = front.closing.clone();
    front.tasks.spawn("follow logs", async move {
        tokio::select! {
            () = closing.cancelled() => {}
            () = lines.closed() => {}
            () = follow(&tail, next, last, &lines) => {}
        }
    });
    (headers, body).into_response()
}

async fn follow(tail: &Tail, mut next: u64, first: String, lines: &mpsc::Sender<Bytes>) {
    let mut text = first;
    loop {
        if !text.is_empty() && lines.send(std::mem::take(&mut text).into()).await.is_err() {
            return;
        }
        tail.grown_beyond(next).await;
        let (fresh, then) = tail.since(next);
        next = then;
        text = fresh.iter().map(|line| format!("{line}\n")).collect();
    }
}
