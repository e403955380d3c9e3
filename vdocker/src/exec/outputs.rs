//! What a program writes, its streams side by side: read into buffers of 64 KiB, of which each piece is given away
//! without a copy.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::log::Stream;

/// Bytes of a read.
const READ: usize = 64 << 10;

/// The streams of a program that are not at their end.
pub(crate) struct Outputs<O> {
    stdout: Option<Output<O>>,
    stderr: Option<Output<O>>,
}

struct Output<O> {
    from: O,
    buffer: BytesMut,
}

impl<O: AsyncRead + Unpin> Outputs<O> {
    pub(crate) fn new(stdout: O, stderr: Option<O>) -> Self {
        let output = |from| Output { from, buffer: BytesMut::new() };
        Self { stdout: Some(output(stdout)), stderr: stderr.map(output) }
    }

    /// The next piece of either stream; `None`: both have ended. A call that is dropped loses nothing.
    pub(crate) async fn next(&mut self) -> Option<(Stream, Bytes)> {
        while self.stdout.is_some() || self.stderr.is_some() {
            let (stream, piece) = tokio::select! {
                biased;
                piece = read(&mut self.stdout) => (Stream::Stdout, piece),
                piece = read(&mut self.stderr) => (Stream::Stderr, piece),
            };
            match (stream, piece) {
                (stream, Some(piece)) => return Some((stream, piece)),
                (Stream::Stdout, None) => self.stdout = None,
                (Stream::Stderr, None) => self.stderr = None,
            }
        }
        None
    }

    /// The next piece, if it is there now; `None` where nothing is, or nothing will be.
    pub(crate) async fn try_next(&mut self) -> Option<(Stream, Bytes)> {
        let mut next = pin!(self.next());
        poll_fn(|context| match next.as_mut().poll(context) {
            Poll::Ready(piece) => Poll::Ready(piece),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    /// Reads all there will be, for nobody: a program whose client is gone goes on.
    pub(crate) async fn drain(mut self) {
        while self.next().await.is_some() {}
    }
}

/// A piece of a stream; `None` at its end and for an error, which a terminal gives when its last user is gone.
async fn read<O: AsyncRead + Unpin>(output: &mut Option<Output<O>>) -> Option<Bytes> {
    let Some(Output { from, buffer }) = output else { return pending().await };
    buffer.reserve(READ);
    let count = from.read_buf(buffer).await.unwrap_or(0);
    (count > 0).then(|| buffer.split().freeze())
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
        assert_eq!(outputs.next().await, Some((Stream::Stderr, Bytes::from_static(b"e"))));
        drop(err);
        out.write_all(b"o").await.unwrap();
        assert_eq!(outputs.next().await, Some((Stream::Stdout, Bytes::from_static(b"o"))));
        drop(out);
        assert_eq!((outputs.next().await, outputs.next().await), (None, None));
    }

    #[tokio::test]
    async fn reuses_its_buffer_when_pieces_are_gone() {
        let (mut out, stdout) = duplex(READ);
        let mut outputs = Outputs::new(stdout, None);
        let mut places = Vec::new();
        for _ in 0..8 {
            out.write_all(&[1; 1000]).await.unwrap();
            let (_, piece) = outputs.next().await.unwrap();
            places.push(piece.as_ptr());
        }
        places.dedup();
        assert_eq!(places.len(), 1);
    }
}
