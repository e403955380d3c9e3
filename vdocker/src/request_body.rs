//! The body of a request, as it comes in.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::de::DeserializeOwned;

use crate::engine::EngineError;
use crate::flow::Flow;

/// Bytes of a body that is read as a whole.
pub(crate) const MAX_JSON: usize = 4 << 20;

/// The body of a request.
pub struct RequestBody {
    incoming: Incoming,
    flow: Rc<Flow>,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

impl RequestBody {
    pub(crate) const fn new(incoming: Incoming, flow: Rc<Flow>) -> Self {
        Self { incoming, flow }
    }

    /// Whether there is nothing in it, or nothing left.
    pub fn is_empty(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// The next bytes; `None`: that was all.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] where the client ends or breaks its request.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EngineError> {
        while let Some(frame) = poll_fn(|context| self.poll_frame(context)).await {
            let frame = frame.map_err(|error| broken(&error))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// [`RequestBody::chunk`], polled: for whoever hands the body on as one of another request.
    pub fn poll_chunk(&mut self, context: &mut task::Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match std::task::ready!(self.poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
            }
        }
    }

    /// hyper is not told of the client's end meanwhile: with nothing left to take, it is an end within the body.
    fn poll_frame(
        &mut self,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(context);
        if frame.is_pending() && self.flow.poll_ended(context).is_ready() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        frame.map_err(io::Error::other)
    }

    /// The body as JSON; an empty body is the type's default, as Docker has it. The headers are the request's.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] in Docker's words for another content type, for broken JSON and too much of it.
    pub async fn json<T: DeserializeOwned + Default>(
        &mut self,
        headers: &HeaderMap,
    ) -> Result<T, EngineError> {
        if self.is_empty() {
            return Ok(T::default());
        }
        let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let content_type = String::from_utf8_lossy(content_type);
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.is_empty() {
            return Err(EngineError::BadRequest(
                "malformed Content-Type header (): mime: no media type".into(),
            ));
        }
        if !media_type.eq_ignore_ascii_case("application/json") {
            return Err(EngineError::BadRequest(format!(
                "unsupported Content-Type header ({content_type}): must be 'application/json'"
            )));
        }
        let bytes = self.collect(MAX_JSON).await?;
        if bytes.is_empty() {
            return Ok(T::default());
        }
        // A list would do for serde where fields are all that is asked for.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(EngineError::BadRequest("invalid JSON: not an object".into()));
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| EngineError::BadRequest(format!("invalid JSON: {error}")))
    }

    /// All of it.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for more than `limit` bytes, and those of [`RequestBody::chunk`].
    pub async fn collect(&mut self, limit: usize) -> Result<Bytes, EngineError> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.chunk().await? {
            if bytes.len() > limit - all.len() {
                return Err(EngineError::BadRequest("http: request body too large".into()));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }
}

fn broken(error: &io::Error) -> EngineError {
    EngineError::BadRequest(format!("cannot read the body: {error}"))
}
