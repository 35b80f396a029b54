//! A bounded queue of lines to a child's stdin: many queued lines, one write.
//!
//! Whole lines only. A write that stalls is never repeated: half a line may be out, so the process has to go.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::link::Link;
use super::outgoing::OutLine;
use crate::event::Cause;

/// Lines taken from the queue at once.
const N_LINES_AT_ONCE: usize = 64;
/// A buffer that grew beyond this is given back after the write, bytes.
const BUFFER_KEPT_BYTES: usize = 64 * 1024;

/// Writes until the queue is closed, `close` is said (then stdin is closed), or writing fails.
///
/// Returns why the process is of no more use, if so.
pub async fn run(
    link: Arc<Link>,
    mut queue: mpsc::Receiver<OutLine>,
    mut stdin: impl AsyncWrite + Unpin,
    stall: Duration,
    close: CancellationToken,
) -> Option<Cause> {
    let mut batch = Vec::with_capacity(N_LINES_AT_ONCE);
    let mut buffer = Vec::new();
    // Where in the buffer the line of each call begins.
    let mut calls = Vec::with_capacity(N_LINES_AT_ONCE);
    loop {
        let n = tokio::select! {
            // First: a process that is asked to go gets nothing new.
            biased;
            () = close.cancelled() => return None,
            // Cancel-safe: lines are taken only when this returns.
            n = queue.recv_many(&mut batch, N_LINES_AT_ONCE) => n,
        };
        if n == 0 {
            return None;
        }
        calls.clear();
        for line in batch.drain(..) {
            if let OutLine::Call { id, .. } = &line {
                link.begin(*id);
                calls.push((buffer.len(), *id));
            }
            line.write_to(&mut buffer);
        }
        let mut n_written = 0;
        let written = tokio::time::timeout(stall, write(&mut stdin, &buffer, &mut n_written)).await;
        if !matches!(written, Ok(Ok(()))) {
            // It does not read, or has closed its stdin, which is the same. What was not written can be repeated.
            if let Ok(Err(error)) = written {
                tracing::debug!(%error, "writing to stdin failed");
            }
            if let Some((_, id)) = calls.iter().find(|(begins_at, _)| *begins_at >= n_written) {
                link.never_began(*id);
            }
            return Some(Cause::WriteStalled);
        }
        buffer.clear();
        buffer.shrink_to(BUFFER_KEPT_BYTES);
    }
}

/// Counts what was written, also when it fails or is given up.
async fn write(
    stdin: &mut (impl AsyncWrite + Unpin),
    mut rest: &[u8],
    n_written: &mut usize,
) -> std::io::Result<()> {
    while !rest.is_empty() {
        let n = stdin.write(rest).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        *n_written += n;
        rest = rest.get(n..).unwrap_or_default();
    }
    stdin.flush().await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::Generation;

    #[tokio::test(start_paused = true)]
    async fn a_child_that_does_not_read_is_found_out_after_the_stall_time() {
        let (link, queue) = Link::new(Generation(1), 4);
        let (stdin, _never_read) = tokio::io::duplex(16);
        assert!(link.post(Bytes::from(vec![b'x'; 100])));
        let ended = run(
            Arc::clone(&link),
            queue,
            stdin,
            Duration::from_secs(10),
            CancellationToken::new(),
        )
        .await;
        assert_eq!(ended, Some(Cause::WriteStalled));
    }

    /// Three calls, the second of which is written in part only; then `stdin` fails or stalls.
    async fn told_to_the_callers(stalls: bool) -> Vec<bool> {
        use crate::child::CallError;
        use crate::child::outgoing::Params;
        use crate::child::sending::Sending;

        let (link, queue) = Link::new(Generation(1), 4);
        let mut waits = Vec::new();
        for _ in 0..3 {
            let (sending, answered) = Sending::ours("m", Params::None, Duration::from_secs(60));
            link.send(sending).unwrap();
            waits.push(answered);
        }
        let line = r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#.len() + 1;
        let (stdin, reads) = tokio::io::duplex(line + 1);
        let close = CancellationToken::new();
        let run = run(Arc::clone(&link), queue, stdin, Duration::from_secs(10), close);
        let end = async {
            if stalls {
                return std::future::pending().await;
            }
            // Whatever fits is in the pipe by then.
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(reads);
        };
        let ended = tokio::select! {
            ended = run => ended,
            () = async { end.await; std::future::pending().await } => None,
        };
        assert_eq!(ended, Some(Cause::WriteStalled));
        link.close(&Cause::WriteStalled, None);
        let mut told = Vec::new();
        for answered in waits {
            match answered.await.unwrap() {
                Err(CallError::Gone { sent, .. }) => told.push(sent),
                other => panic!("{other:?}"),
            }
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_written_was_not_sent_and_half_a_line_was() {
        for stalls in [false, true] {
            assert_eq!(told_to_the_callers(stalls).await, [true, true, false]);
        }
    }

    #[tokio::test]
    async fn queued_lines_are_written_whole_and_in_order() {
        let (link, queue) = Link::new(Generation(1), 4);
        let (stdin, mut reads) = tokio::io::duplex(1024);
        assert!(link.post(Bytes::from_static(b"a")) && link.post(Bytes::from_static(b"b")));
        let close = CancellationToken::new();
        let run = run(
            Arc::clone(&link),
            queue,
            stdin,
            Duration::from_secs(10),
            close.clone(),
        );
        let read = async {
            let mut text = [0; 4];
            tokio::io::AsyncReadExt::read_exact(&mut reads, &mut text)
                .await
                .unwrap();
            close.cancel();
            text
        };
        let (ended, text) = tokio::join!(run, read);
        assert_eq!((ended, &text), (None, b"a\nb\n"));
    }
}
