//! What a connection knows of its request, so that the end of the client's bytes is taken for what it is.
//!
//! A client that ends its side after a request may only have no more to say: its answer is still sent. In answers that
//! have no end of their own (`wait`, `events`, `logs --follow`), the same end is how a client leaves, and within a
//! request's body it is an error. hyper knows one rule for all; this file chooses what hyper sees.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for a request.
    #[default]
    Idle,
    /// It reads a request's body or answers, and the answer ends by itself.
    Answering,
    /// It answers for as long as the client listens.
    Following,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    phase: Cell<Phase>,
    /// Whether there has been a request.
    begun: Cell<bool>,
    first: Notify,
    ended: Cell<bool>,
    unsent: Cell<bool>,
    /// hyper, from which the end was kept.
    reader: RefCell<Option<Waker>>,
    /// Whoever waits for more of a body.
    body: RefCell<Option<Waker>>,
}

impl Flow {
    /// Enters a phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.begun.set(true);
        self.first.notify_waiters();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Waits for the first request.
    pub(crate) async fn begun(&self) {
        if !self.begun.get() {
            self.first.notified().await;
        }
    }

    /// Whether the client is what the answer lasts for.
    pub(crate) fn is_following(&self) -> bool {
        self.phase.get() == Phase::Following
    }

    /// Whether bytes wait because the client does not take them.
    pub(crate) const fn has_unsent(&self) -> bool {
        self.unsent.get()
    }

    /// Whether the client has ended its side. Where it has not, the task is woken when it does.
    pub(crate) fn poll_ended(&self, context: &Context<'_>) -> Poll<()> {
        if self.ended.get() {
            return Poll::Ready(());
        }
        *self.body.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }

    fn end(&self) {
        self.ended.set(true);
        if let Some(body) = self.body.take() {
            body.wake();
        }
    }
}

/// Marks the end of a response when it is dropped.
#[derive(Debug)]
pub(crate) struct Answered(pub(crate) Rc<Flow>);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// A connection's bytes under the rules of a [`Flow`].
pub(crate) struct FlowIo<T> {
    /// Borrowed while it is polled only.
    pub(crate) io: Rc<RefCell<T>>,
    pub(crate) flow: Rc<Flow>,
}

impl<T: AsyncRead + Unpin> AsyncRead for FlowIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.flow.ended.get() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut *self.io.borrow_mut()).poll_read(context, buffer))?;
            if buffer.filled().len() == before && buffer.remaining() > 0 {
                self.flow.end();
            }
        }
        if self.flow.ended.get() && self.flow.phase.get() == Phase::Answering {
            *self.flow.reader.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for FlowIo<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.io.borrow_mut()).poll_write(context, bytes);
        self.flow.unsent.set(written.is_pending());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.io.borrow_mut()).poll_write_vectored(context, slices);
        self.flow.unsent.set(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn an_end_is_seen_only_where_it_means_something() {
        let (client, server) = tokio::io::duplex(64);
        drop(client);
        let flow = Rc::new(Flow::default());
        let mut io = FlowIo { io: Rc::new(RefCell::new(server)), flow: Rc::clone(&flow) };
        let mut buffer = [0; 8];
        assert_eq!(io.read(&mut buffer).await.unwrap(), 0, "while a request is waited for");
        flow.enter(Phase::Answering);
        let mut read = by_hand(io.read(&mut buffer));
        assert!(read.poll().is_pending(), "while it is answered");
        flow.enter(Phase::Following);
        assert!(matches!(read.poll(), Poll::Ready(Ok(0))), "while a client follows");
    }

    /// A future polled by hand.
    struct Task<F>(Pin<Box<F>>);

    fn by_hand<F: Future>(future: F) -> Task<F> {
        Task(Box::pin(future))
    }

    impl<F: Future> Task<F> {
        fn poll(&mut self) -> Poll<F::Output> {
            self.0.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }
    }

    #[tokio::test]
    async fn knows_of_bytes_that_wait() {
        let (_client, server) = tokio::io::duplex(4);
        let flow = Rc::new(Flow::default());
        let mut io = FlowIo { io: Rc::new(RefCell::new(server)), flow: Rc::clone(&flow) };
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut io).poll_write(&mut context, b"four").is_ready() && !flow.has_unsent());
        assert!(Pin::new(&mut io).poll_write(&mut context, b"more").is_pending() && flow.has_unsent());
    }
}
