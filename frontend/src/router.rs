//! From a request to its route, and the route's answer with Docker's common headers.

use std::rc::Rc;
use std::time::Instant;

use hyper::Method;
use hyper::http::request::Parts;
use vdocker::query::Query;
use vdocker::response::{self, Response};
use vdocker::server::Wire;
use vdocker::version::{self, ApiVersion, VersionError};
use vdocker::{EngineError, Request};

use crate::context::Context;
use crate::daemon::Daemon;

/// A client that went before it was answered; web servers log it under this number.
const CLIENT_GONE: u16 = 499;

/// Bytes of a path that are logged.
const LOGGED: usize = 256;

/// Answers a request.
pub(crate) async fn dispatch(daemon: Rc<Daemon>, request: Request) -> Response {
    let mut watch = Watch::new(&daemon, &request.parts, request.wire.clone());
    let answer = route(&daemon, request, &mut watch.route).await;
    let mut response = answer.unwrap_or_else(|error| {
        watch.error = Some(error.to_string());
        response::error(&error)
    });
    response::common_headers(response.headers_mut());
    watch.code = Some(response.status().as_u16());
    response
}

async fn route(daemon: &Rc<Daemon>, request: Request, at: &mut usize) -> Result<Response, EngineError> {
    let Request { parts, body, wire } = request;
    let (version, path) = version::split(parts.uri.path());
    let found = daemon.routes.iter().enumerate();
    let mut found = found.filter_map(|(at, route)| Some((at, route, route.matches(&parts.method, path)?)));
    let Some((place, route, name)) = found.next() else {
        return Err(EngineError::NotFound("page not found".into()));
    };
    *at = place;
    let version = match version.map_or(Ok(ApiVersion::default()), ApiVersion::negotiate) {
        Ok(version) => version,
        Err(error @ VersionError::TooOld(_)) => return Ok(response::too_old(&error)),
        Err(error @ VersionError::TooNew(_)) => return Err(EngineError::BadRequest(error.to_string())),
    };
    let query = parts.uri.query().unwrap_or_default();
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let query = Query::parse(query)?;
    let context = Context {
        daemon: Rc::clone(daemon),
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

/// A request that is being answered: it is counted and logged when this is dropped, also where the connection became a
/// stream or the client went. Neither the query nor a header is logged: both may have secrets.
struct Watch {
    daemon: Rc<Daemon>,
    method: Method,
    path: String,
    wire: Wire,
    route: usize,
    began: Instant,
    code: Option<u16>,
    error: Option<String>,
}

impl Watch {
    fn new(daemon: &Rc<Daemon>, parts: &Parts, wire: Wire) -> Self {
        Self {
            daemon: Rc::clone(daemon),
            method: parts.method.clone(),
            path: parts.uri.path().chars().take(LOGGED).collect(),
            wire,
            route: daemon.routes.len(),
            began: Instant::now(),
            code: None,
            error: None,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let hijacked = self.wire.hijacked().map(|status| status.as_u16());
        let code = self.code.or(hijacked).unwrap_or(CLIENT_GONE);
        let took = self.began.elapsed();
        self.daemon.metrics.answered(&self.daemon.routes, self.route, code, took);
        let level = match code {
            500.. => log::Level::Warn,
            _ if matches!(self.method, Method::GET | Method::HEAD) => log::Level::Debug,
            _ => log::Level::Info,
        };
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let error = self.error.as_deref().unwrap_or_default();
        log::log!(
            level, method = self.method.as_str(), path = self.path.as_str(), code = code, ms = millis, error = error;
            "request"
        );
    }
}
