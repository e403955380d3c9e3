//! The body of a response: bytes, an archive's chunks, or a stream that a future writes while it is read.
//!
//! A producing future lives in the body itself: when the client is gone hyper drops the body, and with it everything
//! that the stream held.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame as HttpFrame, SizeHint};

use crate::archive::Chunks;
use crate::flow::Answered;
use crate::frame::Frame;

/// What a response carries.
#[derive(Default)]
pub struct Body {
    content: Content,
    /// Tells the connection when the response is over.
    pub(crate) answered: Option<Answered>,
}

#[derive(Default)]
enum Content {
    #[default]
    Nothing,
    Bytes(Bytes),
    Chunks(Chunks),
    Stream(Stream),
}

/// A future that writes into a [`Sink`].
struct Stream {
    producer: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    sink: Sink,
}

/// Where the producer of a body puts its frames, one at a time.
#[derive(Clone, Default)]
pub struct Sink(Rc<RefCell<Option<Frame>>>);

impl Sink {
    /// Gives a frame to the client; returns when it is taken, so that a slow client holds its producer back.
    pub async fn send(&self, frame: impl Into<Frame>) {
        self.taken().await;
        *self.0.borrow_mut() = Some(frame.into());
        self.taken().await;
    }

    /// Waits until there is no frame. No waker is kept: the body polls its producer after it has taken a frame.
    async fn taken(&self) {
        poll_fn(|_| if self.0.borrow().is_none() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Body {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Chunks as they come; an error among them cuts the response off, so that the client sees it.
    #[must_use]
    pub fn chunks(chunks: Chunks) -> Self {
        Self::of(Content::Chunks(chunks))
    }

    /// What a future puts into the sink that it is given. The response's head is sent at once.
    pub fn stream<F>(producer: impl FnOnce(Sink) -> F) -> Self
    where
        F: Future<Output = io::Result<()>> + 'static,
    {
        let sink = Sink::default();
        Self::of(Content::Stream(Stream { producer: Box::pin(producer(sink.clone())), sink }))
    }

    const fn of(content: Content) -> Self {
        Self { content, answered: None }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::of(Content::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from(text).into()
    }
}

impl HttpBody for Body {
    type Data = Frame;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<HttpFrame<Frame>>>> {
        let frame = match &mut self.content {
            Content::Nothing => None,
            Content::Bytes(bytes) => Some(Ok(Frame::from(std::mem::take(bytes)))),
            Content::Chunks(chunks) => ready!(chunks.poll_recv(context)).map(|chunk| chunk.map(Frame::from)),
            Content::Stream(stream) => ready!(stream.poll_frame(context)),
        };
        if !matches!(frame, Some(Ok(_))) || matches!(self.content, Content::Bytes(_)) {
            self.content = Content::Nothing;
        }
        Poll::Ready(frame.map(|frame| frame.map(HttpFrame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Nothing => true,
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::Chunks(_) | Content::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Nothing => SizeHint::with_exact(0),
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Chunks(_) | Content::Stream(_) => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame>>> {
        let end = self.producer.as_mut().poll(context);
        if let Some(frame) = self.sink.0.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        end.map(|end| end.err().map(Err))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use http_body_util::BodyExt;

    use super::*;

    async fn collect(mut body: Body) -> Vec<io::Result<Vec<u8>>> {
        let mut found = Vec::new();
        while let Some(frame) = body.frame().await {
            found.push(frame.map(|frame| {
                let mut data = frame.into_data().expect("frames are data");
                data.copy_to_bytes(data.remaining()).to_vec()
            }));
        }
        found
    }

    fn texts(found: Vec<io::Result<Vec<u8>>>) -> Vec<String> {
        found.into_iter().map(|frame| String::from_utf8(frame.unwrap()).unwrap()).collect()
    }

    #[tokio::test]
    async fn bytes_come_once() {
        assert_eq!(texts(collect(Body::from("hello")).await), ["hello"]);
        assert!(Body::empty().is_end_stream() && Body::from("").is_end_stream());
        assert_eq!(Body::from("hello").size_hint().exact(), Some(5));
    }

    #[tokio::test]
    async fn a_producer_is_held_until_its_frames_are_taken() {
        let sent = Rc::new(RefCell::new(0));
        let counter = Rc::clone(&sent);
        let mut body = Body::stream(async move |sink| {
            for text in ["a", "b", "c"] {
                sink.send(Bytes::from_static(text.as_bytes())).await;
                *counter.borrow_mut() += 1;
            }
            Ok(())
        });
        let first = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        assert_eq!((first.chunk(), *sent.borrow()), (&b"a"[..], 0));
        assert_eq!(texts(collect(body).await), ["b", "c"]);
        assert_eq!(*sent.borrow(), 3);
    }

    #[tokio::test]
    async fn an_error_is_the_last_item() {
        let body = Body::stream(async |sink| {
            sink.send(Bytes::from_static(b"a")).await;
            Err(io::Error::other("no"))
        });
        let found = collect(body).await;
        assert!(found.len() == 2 && found[1].is_err());
    }

    #[tokio::test]
    async fn dropping_a_body_drops_its_producer() {
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let mut body = Body::stream(async move |sink| {
            let _inside = inside;
            sink.send(Bytes::from_static(b"a")).await;
            std::future::pending().await
        });
        let _first = body.frame().await;
        assert_eq!(Rc::strong_count(&held), 2);
        drop(body);
        assert_eq!(Rc::strong_count(&held), 1);
    }
}
