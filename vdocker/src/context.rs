//! A request as a route gets it: version, query, body, and what it may do with its connection.

use std::future::Future;
use std::rc::Rc;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde::de::DeserializeOwned;

use crate::encoding::Encoding;
use crate::engine::{Engine, EngineError};
use crate::hijack::Hijacked;
use crate::pod::Pod;
use crate::query::Query;
use crate::request_body::RequestBody;
use crate::response::Response;
use crate::server::Wire;
use crate::version::ApiVersion;

/// A request.
pub(crate) struct Context<E: Engine> {
    /// Whoever has the containers.
    pub(crate) engine: Rc<E>,
    /// What all connections share.
    pub(crate) api: Rc<Pod<E>>,
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
    /// The body as JSON.
    ///
    /// # Errors
    /// Those of [`RequestBody::json`].
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, EngineError> {
        self.body.json(&self.headers).await
    }

    /// Says that the answer lasts as long as the client listens.
    ///
    /// # Errors
    /// Those of [`Wire::follow`].
    pub(crate) async fn follow(&mut self) -> Result<(), EngineError> {
        self.wire.follow(&mut self.body).await
    }

    /// Whether the connection may become a stream now.
    ///
    /// # Errors
    /// Those of [`Wire::hijack`].
    pub(crate) fn can_stream(&self) -> Result<(), EngineError> {
        self.wire.can_stream()
    }

    /// Takes the connection over as a stream of that encoding. Never answers.
    ///
    /// # Errors
    /// Those of [`Wire::hijack`].
    pub(crate) async fn hijack_as<F>(
        self,
        encoding: Encoding,
        run: impl FnOnce(Hijacked) -> F + 'static,
    ) -> Result<Response, EngineError>
    where
        F: Future<Output = ()> + 'static,
    {
        self.wire.hijack_as(self.version, &self.headers, encoding, run).await
    }

    /// Takes the connection over: the head is sent, then `run` has the bytes. Never answers.
    ///
    /// # Errors
    /// Those of [`Wire::hijack`].
    pub(crate) async fn hijack<F>(
        self,
        status: StatusCode,
        headers: &[(&str, &str)],
        run: impl FnOnce(Hijacked) -> F + 'static,
    ) -> Result<Response, EngineError>
    where
        F: Future<Output = ()> + 'static,
    {
        self.wire.hijack(status, headers, run).await
    }
}
