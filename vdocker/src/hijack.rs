//! Connections that stop being HTTP: attach, exec and WebSockets take the bytes themselves (Docker Engine API,
//! "Attach to a container", hijacking).
//!
//! A route leaves a [`Takeover`] and never answers; the connection takes its bytes away from hyper, writes the head
//! and runs the stream. So a client that asks for no upgrade gets its raw stream behind a 200, as Docker has it.

pub(crate) mod hangup;

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::detach::Watch;
use crate::response::common_headers;

/// How long a client that has got everything may still send before its connection is closed under it.
const LINGER: Duration = Duration::from_secs(5);

/// Bytes that are read from a client at a time.
const READ: usize = 64 << 10;

/// Bytes of a client that are thrown away at a time.
const DISCARD: usize = 4096;

/// A connection: bytes both ways, and the socket below them, which tells when the client is gone.
pub trait Socket: AsyncRead + AsyncWrite + AsFd + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + AsFd + Unpin + 'static> Socket for T {}

/// The bytes of a connection that HTTP has left, those first that hyper had read already.
pub struct Hijacked {
    read: Bytes,
    io: Box<dyn Socket>,
}

type Run = Box<dyn FnOnce(Hijacked) -> Pin<Box<dyn Future<Output = ()>>>>;

/// What a route wants to do with its connection.
pub(crate) struct Takeover {
    head: Vec<u8>,
    run: Run,
}

impl Takeover {
    /// Writes a response's head, then runs the stream.
    pub(crate) fn new<F>(
        status: StatusCode,
        headers: &[(&str, &str)],
        run: impl FnOnce(Hijacked) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self { head: head(status, headers), run: Box::new(|stream| Box::pin(run(stream))) }
    }

    pub(crate) async fn run(self, mut stream: Hijacked) {
        // A client that is gone is found out by the stream: what it asked for has begun.
        let _sent = stream.write_all(&self.head).await;
        (self.run)(stream).await;
    }
}

impl Hijacked {
    /// A connection, and what was read of it already.
    pub fn new(io: impl Socket, read: Bytes) -> Self {
        Self { read, io: Box::new(io) }
    }

    /// Returns when the client is gone for good; see [`Reader::gone`].
    pub fn gone(&self) -> impl Future<Output = ()> + 'static {
        hangup::hangup(self.io.as_fd().try_clone_to_owned())
    }

    /// The two directions. Both borrow the stream only while they are polled.
    pub fn split(self) -> (Reader, Writer) {
        let shared = Rc::new(RefCell::new(self));
        (Reader(Rc::clone(&shared)), Writer(shared))
    }
}

/// What a client sends.
pub struct Reader(Rc<RefCell<Hijacked>>);

impl Reader {
    /// Returns when the client is gone for good, which the end of its bytes alone does not mean: it may only have
    /// no more to say.
    pub fn gone(&self) -> impl Future<Output = ()> + 'static {
        hangup::hangup(self.0.borrow().io.as_fd().try_clone_to_owned())
    }

    /// Gives what the client sends to a program's standard input, and closes that behind it where `closes` says so.
    /// Without an input, or when it takes no more, reads on for nobody. Returns when the client is gone, or has sent
    /// the keys that are watched for: then `true`.
    pub async fn forward<I: AsyncWrite + Unpin>(
        &mut self,
        into: &mut Option<I>,
        closes: bool,
        mut watch: Option<Watch>,
    ) -> bool {
        let mut gone = pin!(self.gone());
        let mut buffer = vec![0; if into.is_some() { READ } else { DISCARD }];
        loop {
            let count = match self.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => count,
                Err(_) => return false,
            };
            let mut passed = Vec::new();
            let has_left = watch.as_mut().is_some_and(|watch| watch.pass(&buffer[..count], &mut passed));
            let bytes = if watch.is_some() { &passed } else { &buffer[..count] };
            if let Some(input) = into.as_mut() {
                let written = tokio::select! {
                    biased;
                    written = input.write_all(bytes) => written,
                    () = &mut gone => return false,
                };
                if written.is_err() {
                    *into = None;
                }
            }
            if has_left {
                return true;
            }
        }
        drop(buffer);
        if closes && let Some(mut input) = into.take() {
            // Whoever read it may be gone.
            let _closed = input.shutdown().await;
        }
        gone.await;
        false
    }
}

/// What a client gets.
pub struct Writer(Rc<RefCell<Hijacked>>);

impl Writer {
    /// Ends the stream: the client sees the end of it, and may still send for a moment without an error.
    pub async fn finish(mut self, reader: Reader) {
        // A client that is gone needs no end.
        let _ended = self.shutdown().await;
        drain(reader).await;
    }
}

/// Ends a connection's writing side and waits a moment for the client to end its own. Closing with unread bytes
/// would make the kernel throw away what the client has not read yet.
pub async fn linger(stream: Hijacked) {
    let (reader, writer) = stream.split();
    writer.finish(reader).await;
}

async fn drain(mut reader: Reader) {
    let discard = async {
        let mut buffer = [0; DISCARD];
        while reader.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    };
    let _gone = tokio::time::timeout(LINGER, discard).await;
}

fn head(status: StatusCode, headers: &[(&str, &str)]) -> Vec<u8> {
    let reason = match status {
        // Docker's own spelling.
        StatusCode::SWITCHING_PROTOCOLS => "UPGRADED",
        other => other.canonical_reason().unwrap_or_default(),
    };
    let mut text = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    };
    for (name, value) in headers {
        line(name, value.as_bytes());
    }
    let mut common = HeaderMap::new();
    common_headers(&mut common);
    for (name, value) in &common {
        line(name.as_str(), value.as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text
}

impl AsyncRead for Hijacked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let count = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..count]);
        self.read.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Hijacked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(context)
    }
}
