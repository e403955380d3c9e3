//! From a request to its route, and the route's answer with Docker's common headers.

use std::rc::Rc;

use vdocker::query::Query;
use vdocker::response::{self, Response};
use vdocker::version::{self, ApiVersion, VersionError};
use vdocker::{EngineError, Request};

use crate::context::Context;
use crate::daemon::Daemon;

/// Answers a request.
pub(crate) async fn dispatch(daemon: Rc<Daemon>, request: Request) -> Response {
    let mut response = route(daemon, request).await.unwrap_or_else(|error| response::error(&error));
    response::common_headers(response.headers_mut());
    response
}

async fn route(daemon: Rc<Daemon>, request: Request) -> Result<Response, EngineError> {
    let Request { parts, body, wire } = request;
    let (version, path) = version::split(parts.uri.path());
    let found = daemon.routes.iter().find_map(|route| Some((route, route.matches(&parts.method, path)?)));
    let Some((route, name)) = found else {
        return Err(EngineError::NotFound("page not found".into()));
    };
    let version = match version.map_or(Ok(ApiVersion::default()), ApiVersion::negotiate) {
        Ok(version) => version,
        Err(error @ VersionError::TooOld(_)) => return Ok(response::too_old(&error)),
        Err(error @ VersionError::TooNew(_)) => return Err(EngineError::BadRequest(error.to_string())),
    };
    let query = parts.uri.query().unwrap_or_default();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let query = Query::parse(query)?;
    let context = Context {
        daemon: Rc::clone(&daemon),
        version,
        query,
        name,
        target,
        method: parts.method,
        headers: parts.headers,
        body,
        wire,
    };
    (route.handler)(context).await
}
