//! What a program writes, its streams side by side, read into one buffer from which it is written on: no copy, no
//! allocation, however much it is.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use crate::log::Stream;

/// Bytes of a read: what a pipe holds.
const READ: usize = 64 << 10;

/// The streams of a program that are not at their end.
pub(crate) struct Outputs<O> {
    stdout: Option<O>,
    stderr: Option<O>,
    buffer: Vec<u8>,
}

impl<O: AsyncRead + Unpin> Outputs<O> {
    pub(crate) fn new(stdout: O, stderr: Option<O>) -> Self {
        Self { stdout: Some(stdout), stderr, buffer: vec![0; READ] }
    }

    /// The next piece of either stream; `None`: both have ended. A call that is dropped loses nothing.
    pub(crate) async fn next(&mut self) -> Option<(Stream, &[u8])> {
        let (stream, count) = poll_fn(|context| self.poll_read(context)).await?;
        Some((stream, &self.buffer[..count]))
    }

    /// The next piece, if it is there now; `None` where nothing is, or nothing will be.
    pub(crate) async fn try_next(&mut self) -> Option<(Stream, &[u8])> {
        let read = |context: &mut Context<'_>| match self.poll_read(context) {
            Poll::Ready(piece) => Poll::Ready(piece),
            Poll::Pending => Poll::Ready(None),
        };
        let (stream, count) = poll_fn(read).await?;
        Some((stream, &self.buffer[..count]))
    }

    /// Reads all there will be, for nobody: a program whose client is gone goes on.
    pub(crate) async fn drain(mut self) {
        while self.next().await.is_some() {}
    }

    /// Reads whichever stream has something; `None`: both have ended.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Option<(Stream, usize)>> {
        let Self { stdout, stderr, buffer } = self;
        for (stream, output) in [(Stream::Stdout, &mut *stdout), (Stream::Stderr, &mut *stderr)] {
            let Some(from) = output else { continue };
            let mut bytes = ReadBuf::new(buffer);
            match Pin::new(from).poll_read(context, &mut bytes) {
                Poll::Ready(Ok(())) if !bytes.filled().is_empty() => {
                    return Poll::Ready(Some((stream, bytes.filled().len())));
                }
                // The end, or an error, which a terminal gives when its last user is gone.
                Poll::Ready(_) => *output = None,
                Poll::Pending => {}
            }
        }
        if stdout.is_none() && stderr.is_none() { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn gives_both_streams_until_both_end() {
        let (mut out, stdout) = duplex(64);
        let (mut err, stderr) = duplex(64);
        let mut outputs = Outputs::new(stdout, Some(stderr));
        assert_eq!(outputs.try_next().await, None);
        err.write_all(b"e").await.unwrap();
        assert_eq!(outputs.next().await, Some((Stream::Stderr, &b"e"[..])));
        drop(err);
        out.write_all(b"o").await.unwrap();
        assert_eq!(outputs.next().await, Some((Stream::Stdout, &b"o"[..])));
        drop(out);
        assert_eq!(outputs.next().await, None);
        assert_eq!(outputs.next().await, None);
    }
}
