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
        for line in batch.drain(..) {
            if let OutLine::Call { id, .. } = &line {
                link.begin(*id);
            }
            line.write_to(&mut buffer);
        }
        match tokio::time::timeout(stall, write(&mut stdin, &buffer)).await {
            Ok(Ok(())) => {}
            // It has closed its stdin: the same as not reading it.
            Ok(Err(error)) => {
                tracing::debug!(%error, "writing to stdin failed");
                return Some(Cause::WriteStalled);
            }
            Err(_stalled) => return Some(Cause::WriteStalled),
        }
        buffer.clear();
        buffer.shrink_to(BUFFER_KEPT_BYTES);
    }
}

async fn write(stdin: &mut (impl AsyncWrite + Unpin), buffer: &[u8]) -> std::io::Result<()> {
    stdin.write_all(buffer).await?;
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
