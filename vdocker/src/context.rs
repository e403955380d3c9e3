//! A request as a route gets it: version, query, body, and what it may do with its connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, UPGRADE};
use serde::de::DeserializeOwned;

use crate::encoding::Encoding;
use crate::engine::{Engine, EngineError};
use crate::flow::{Flow, Phase};
use crate::hijack::{Hijacked, Takeover};
use crate::query::Query;
use crate::response::Response;
use crate::server::{Api, Entered, Wire};
use crate::version::ApiVersion;

/// Bytes of a body that is read as a whole.
pub(crate) const MAX_JSON: usize = 4 << 20;

/// A request.
pub(crate) struct Context<E: Engine> {
    /// Whoever has the containers.
    pub(crate) engine: Rc<E>,
    /// What all connections share.
    pub(crate) api: Rc<Api<E>>,
    /// The version that the client speaks.
    pub(crate) version: ApiVersion,
    /// The decoded query.
    pub(crate) query: Query,
    /// What the path has in place of `{id}`, decoded; the container's name as the client wrote it.
    pub(crate) id: String,
    /// The request's headers.
    pub(crate) headers: HeaderMap,
    /// The request's body.
    pub(crate) body: RequestBody,
    pub(crate) wire: Wire,
}

impl<E: Engine> Context<E> {
    /// The body as JSON; an empty body is the type's default, as Docker has it.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] in Docker's words for another content type, for broken JSON and too much of it.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, EngineError> {
        if self.body.is_empty() {
            return Ok(T::default());
        }
        let content_type = self.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
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
        let bytes = self.body.collect(MAX_JSON).await?;
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

    /// Says that the answer lasts as long as the client listens: when the client ends its side, the answer is dropped
    /// with all that it holds. Else an answer is finished although the client sends no more.
    ///
    /// A body is read first, for nobody: behind one that is not, the end would not be seen.
    ///
    /// # Errors
    /// Those of [`RequestBody::collect`].
    pub(crate) async fn follow(&mut self) -> Result<(), EngineError> {
        self.body.collect(MAX_JSON).await?;
        self.wire.flow.enter(Phase::Following);
        Ok(())
    }

    /// Takes the connection over as a stream of that encoding: 101 where an upgrade is asked for, else a plain 200.
    ///
    /// # Errors
    /// Those of [`Context::hijack`].
    pub(crate) async fn hijack_as<F>(
        self,
        encoding: Encoding,
        run: impl FnOnce(Hijacked) -> F + 'static,
    ) -> Result<Response, EngineError>
    where
        F: Future<Output = ()> + 'static,
    {
        const RAW: (&str, &str) = ("Content-Type", "application/vnd.docker.raw-stream");
        const MULTIPLEXED: (&str, &str) = ("Content-Type", "application/vnd.docker.multiplexed-stream");
        if !self.headers.contains_key(UPGRADE) {
            return self.hijack(StatusCode::OK, &[RAW], run).await;
        }
        let is_told = encoding == Encoding::Multiplexed && self.version.at_least(42);
        let content_type = if is_told { MULTIPLEXED } else { RAW };
        let headers = [content_type, ("Connection", "Upgrade"), ("Upgrade", "tcp")];
        self.hijack(StatusCode::SWITCHING_PROTOCOLS, &headers, run).await
    }

    /// Takes the connection over: the head is sent, then `run` has the bytes. Never answers.
    ///
    /// # Errors
    /// [`EngineError::Busy`] where there are too many streams.
    pub(crate) async fn hijack<F>(
        self,
        status: StatusCode,
        headers: &[(&str, &str)],
        run: impl FnOnce(Hijacked) -> F + 'static,
    ) -> Result<Response, EngineError>
    where
        F: Future<Output = ()> + 'static,
    {
        let entered = self.stream()?;
        let takeover = Takeover::new(status, headers, async move |stream| {
            let _entered = entered;
            run(stream).await;
        });
        *self.wire.takeover.borrow_mut() = Some(takeover);
        std::future::pending().await
    }

    fn stream(&self) -> Result<Entered, EngineError> {
        if self.wire.flow.has_unsent() {
            return Err(EngineError::BadRequest("a stream cannot follow an answer that is not read".into()));
        }
        self.api.enter_stream().ok_or_else(|| EngineError::Busy("too many attached streams".into()))
    }
}

/// The body of a request.
pub(crate) struct RequestBody {
    incoming: Incoming,
    flow: Rc<Flow>,
}

impl RequestBody {
    pub(crate) const fn new(incoming: Incoming, flow: Rc<Flow>) -> Self {
        Self { incoming, flow }
    }

    /// Whether there is nothing in it, or nothing left.
    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// The next bytes; `None`: that was all.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] where the client ends or breaks its request.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, EngineError> {
        while let Some(frame) = poll_fn(|context| self.poll_frame(context)).await {
            let frame = frame.map_err(|error| broken(&error))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
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

    /// All of it.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for more than `limit` bytes, and those of [`RequestBody::chunk`].
    pub(crate) async fn collect(&mut self, limit: usize) -> Result<Bytes, EngineError> {
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
