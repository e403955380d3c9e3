//! A request as a route gets it.

use std::rc::Rc;

use hyper::header::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vdocker::query::Query;
use vdocker::server::Wire;
use vdocker::version::ApiVersion;
use vdocker::{EngineError, RequestBody};

use crate::daemon::Daemon;

/// A request.
pub(crate) struct Context {
    /// Whoever answers.
    pub(crate) daemon: Rc<Daemon>,
    /// The version that the client speaks.
    pub(crate) version: ApiVersion,
    /// The decoded query.
    pub(crate) query: Query,
    /// What the path has in place of the pattern's `{…}`, decoded; empty where there is none.
    pub(crate) name: String,
    /// The path and query as they came, without the version: what a pod is asked in turn.
    pub(crate) target: String,
    /// The request's method.
    pub(crate) method: hyper::Method,
    /// The request's headers.
    pub(crate) headers: HeaderMap,
    /// The request's body.
    pub(crate) body: RequestBody,
    /// What the request may do with its connection.
    pub(crate) wire: Wire,
}

impl Context {
    /// The body as JSON; an empty one is the type's default.
    ///
    /// # Errors
    /// Those of [`RequestBody::json`] and of [`crate::json::read`].
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, EngineError> {
        match self.body.json(&self.headers).await? {
            Value::Null => Ok(T::default()),
            value => crate::json::read(value).map_err(|error| wrong(&error)),
        }
    }

    /// The query as it came.
    pub(crate) fn query_text(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Says that the answer lasts as long as the client listens.
    ///
    /// # Errors
    /// Those of [`Wire::follow`].
    pub(crate) async fn follow(&mut self) -> Result<(), EngineError> {
        self.wire.follow(&mut self.body).await
    }
}

/// JSON that is not of the form it is to have.
pub(crate) fn wrong(error: &serde_json::Error) -> EngineError {
    EngineError::BadRequest(format!("invalid JSON: {error}"))
}
