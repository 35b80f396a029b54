//! The line door: a client on a Unix socket, one message a line, as over stdio.
//!
//! The stdio shim is such a client: it copies bytes, and everything is decided here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::conversation::Conversation;
use super::socket::Door;
use super::{BODY_BYTES_MAX, Shared};
use crate::child::outgoing::append_on_one_line;
use crate::rpc::RpcError;
use crate::rpc::frame::{Line, Splitter};
use crate::rpc::message::response_line;
use crate::session::{self, Session};

/// A client that has closed its side gets what it has asked, if that comes within this time.
const LAST_ANSWERS: Duration = Duration::from_secs(60);
/// Whether such a client is still there is looked at in this interval.
const GONE_POLL: Duration = Duration::from_millis(200);
/// When the session has ended, what is on its way may take so long to go out.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Lines written at once.
const N_LINES_AT_ONCE: usize = 64;

/// Takes clients in until no new ones are wanted.
pub async fn serve(front: Shared, mut door: Door) {
    loop {
        let client = tokio::select! {
            () = front.closing.cancelled() => return,
            client = door.accept() => client,
        };
        let client = talk(Arc::clone(&front), client);
        front.tasks.spawn("line client", client);
    }
}

async fn talk(front: Shared, client: UnixStream) {
    let session = match front.sessions.open(&front.owner, session::Door::Lines) {
        Ok(session) => session,
        Err(error) => return tracing::warn!(%error, "a client was refused"),
    };
    let (reads, writes) = client.into_split();
    let stream = session.open_stream();
    let (conversation, queue) = Conversation::new(Arc::clone(&front), Arc::clone(&session));
    let finish = CancellationToken::new();
    let reading = async {
        read(&conversation, reads).await;
        finish.cancel();
    };
    let writing = write(&session, queue, writes, &finish);
    // When the session ends, what is on its way still goes out, if the client takes it.
    let cut_off = async {
        session.over.cancelled().await;
        tokio::time::sleep(LAST_LINES).await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(reading, writing) } => {}
        () = cut_off => {}
    }
    front.sessions.end(&session).await;
    front.engine.parks().connection_ended(&session.id);
    drop(stream);
}

/// Reads until the client has closed its side, or the session has ended, and the client has its answers or is gone.
async fn read(conversation: &Conversation, mut reads: OwnedReadHalf) {
    let mut splitter = Splitter::new(BODY_BYTES_MAX, BODY_BYTES_MAX * 4);
    loop {
        let read = tokio::select! {
            () = conversation.session().over.cancelled() => break,
            // Cancel-safe: what was read is in the buffer when this returns.
            read = reads.read_buf(splitter.room()) => read,
        };
        match read {
            Ok(n) if n > 0 => {}
            _ended_or_failed => break,
        }
        loop {
            match splitter.next_line() {
                Ok(Some(Line::Whole(line))) => conversation.receive(&line).await,
                Ok(Some(Line::TooLong { n_bytes, .. })) => {
                    tracing::warn!(
                        n_bytes,
                        n_bytes_max = BODY_BYTES_MAX,
                        "a client's message is too long; skipped"
                    );
                    conversation.too_long(n_bytes).await;
                }
                Ok(None) => break,
                Err(error) => return tracing::warn!(%error, "a client was cut off"),
            }
        }
    }
    // The last line may lack its end.
    let rest = splitter.rest();
    if !rest.trim_ascii().is_empty() {
        conversation.receive(&Bytes::copy_from_slice(rest)).await;
    }
    // The writer goes on meanwhile. For a client that is gone altogether nobody need work on: the end of its session
    // takes its calls back, and no longer do they stand in the way of telling whose a server's question is.
    tokio::select! {
        _in_time_or_not = tokio::time::timeout(LAST_ANSWERS, conversation.settled()) => {}
        () = gone(&reads) => {}
    }
}

/// Returns when the client has closed both directions, as its death does; one that has only said its last word has not.
async fn gone(reads: &OwnedReadHalf) {
    loop {
        // Nothing tells the end of this direction alone, and it can be written to most of the time, hence the interval.
        match reads.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => tokio::time::sleep(GONE_POLL).await,
            _closed_or_failed => return,
        }
    }
}

/// Writes answers and what waits in the outbox, many lines at once.
async fn write(
    session: &Session,
    mut queue: mpsc::Receiver<Bytes>,
    mut writes: impl AsyncWrite + Unpin,
    finish: &CancellationToken,
) {
    let mut batch = Vec::with_capacity(N_LINES_AT_ONCE);
    let mut buffer = Vec::new();
    loop {
        tokio::select! {
            // Answers before everything else, and all of them before the end. Every arm is cancel-safe.
            biased;
            n = queue.recv_many(&mut batch, N_LINES_AT_ONCE) => if n == 0 {
                return;
            },
            line = session.client.outbox.next() => batch.push(line),
            () = finish.cancelled() => return,
        }
        for line in batch.drain(..) {
            append_on_one_line(&line, &mut buffer);
            buffer.push(b'\n');
        }
        if writes.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
        buffer.shrink_to(64 * 1024);
    }
}

impl Conversation {
    async fn too_long(&self, n_bytes: usize) {
        let text = format!(
            "Invalid request: the message has {n_bytes} bytes, more than the {BODY_BYTES_MAX} allowed"
        );
        self.send(response_line(None, &Err(RpcError::invalid_request(text).raw())))
            .await;
    }
}
