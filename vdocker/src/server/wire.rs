//! What a request may do with its connection: end with its client, or become a stream.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;

use hyper::StatusCode;
use hyper::header::{HeaderMap, UPGRADE};

use super::{Entered, Open};
use crate::encoding::Encoding;
use crate::engine::EngineError;
use crate::flow::{Flow, Phase};
use crate::hijack::{Hijacked, Takeover};
use crate::request_body::{MAX_JSON, RequestBody};
use crate::response::Response;
use crate::version::ApiVersion;

/// What a request knows of its connection.
#[derive(Clone)]
pub struct Wire {
    pub(super) flow: Rc<Flow>,
    /// Where a route leaves what is to become of its connection.
    pub(super) takeover: Rc<RefCell<Option<Takeover>>>,
    /// The status under which a route has taken the connection over.
    hijacked: Rc<Cell<Option<StatusCode>>>,
    open: Rc<Open>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Wire").finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(open: Rc<Open>) -> Self {
        Self { flow: Rc::default(), takeover: Rc::default(), hijacked: Rc::default(), open }
    }

    /// Says that the answer lasts as long as the client listens: when the client ends its side, the answer is dropped
    /// with all that it holds. Else an answer is finished although the client sends no more.
    ///
    /// The body is read first, for nobody: behind one that is not, the end would not be seen.
    ///
    /// # Errors
    /// Those of [`RequestBody::collect`].
    pub async fn follow(&self, body: &mut RequestBody) -> Result<(), EngineError> {
        body.collect(MAX_JSON).await?;
        self.flow.enter(Phase::Following);
        Ok(())
    }

    /// Takes the connection over as a stream of that encoding: 101 where an upgrade is asked for, else a plain 200.
    ///
    /// # Errors
    /// Those of [`Wire::hijack`].
    pub async fn hijack_as<F>(
        &self,
        version: ApiVersion,
        headers: &HeaderMap,
        encoding: Encoding,
        run: impl FnOnce(Hijacked) -> F + 'static,
    ) -> Result<Response, EngineError>
    where
        F: Future<Output = ()> + 'static,
    {
        const RAW: (&str, &str) = ("Content-Type", "application/vnd.docker.raw-stream");
        const MULTIPLEXED: (&str, &str) = ("Content-Type", "application/vnd.docker.multiplexed-stream");
        if !headers.contains_key(UPGRADE) {
            return self.hijack(StatusCode::OK, &[RAW], run).await;
        }
        let is_told = encoding == Encoding::Multiplexed && version.at_least(42);
        let content_type = if is_told { MULTIPLEXED } else { RAW };
        let headers = [content_type, ("Connection", "Upgrade"), ("Upgrade", "tcp")];
        self.hijack(StatusCode::SWITCHING_PROTOCOLS, &headers, run).await
    }

    /// Takes the connection over: the head is sent, then `run` has the bytes. Never answers.
    ///
    /// # Errors
    /// [`EngineError::Busy`] where there are too many streams.
    pub async fn hijack<F>(
        &self,
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
        self.hijacked.set(Some(status));
        *self.takeover.borrow_mut() = Some(takeover);
        std::future::pending().await
    }

    /// The status under which the connection was taken over, if it was.
    #[must_use]
    pub fn hijacked(&self) -> Option<StatusCode> {
        self.hijacked.get()
    }

    /// Whether the connection may become a stream now.
    ///
    /// # Errors
    /// Those of [`Wire::hijack`].
    pub fn can_stream(&self) -> Result<(), EngineError> {
        self.stream().map(drop)
    }

    fn stream(&self) -> Result<Entered, EngineError> {
        if self.flow.has_unsent() {
            return Err(EngineError::BadRequest("a stream cannot follow an answer that is not read".into()));
        }
        self.open.enter_stream().ok_or_else(|| EngineError::Busy("too many attached streams".into()))
    }
}
