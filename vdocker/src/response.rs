//! Responses in Docker's manners: JSON, and errors as `{"message": …}` with the status that each kind has.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, PRAGMA};
use serde::Serialize;

use crate::body::Body;
use crate::engine::EngineError;
use crate::version::{self, VersionError};

/// What a route answers.
pub type Response = hyper::Response<Body>;

/// Without a body.
#[must_use]
pub fn status(status: StatusCode) -> Response {
    with_body(status, Body::empty())
}

/// JSON with a line feed behind it, as Docker has it.
///
/// # Errors
/// [`EngineError::Failed`] where the value is no JSON.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Result<Response, EngineError> {
    let mut bytes = serde_json::to_vec(value)
        .map_err(|error| EngineError::Failed(format!("cannot write JSON: {error}")))?;
    bytes.push(b'\n');
    Ok(typed(status, "application/json", bytes))
}

/// A body of that type.
pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = with_body(status, body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What the client is told of an error.
#[must_use]
pub fn error(error: &EngineError) -> Response {
    let status_code = error_status(error);
    if status_code == StatusCode::NOT_MODIFIED {
        return status(status_code);
    }
    let message = serde_json::json!({ "message": error.to_string() });
    typed(status_code, "application/json", format!("{message}\n"))
}

/// Puts in the headers that every answer of Docker has.
pub fn common_headers(headers: &mut HeaderMap) {
    let server = format!("Docker/{} (linux)", version::DOCKER);
    let common = [
        ("api-version", HeaderValue::from_static(version::NEWEST)),
        ("docker-experimental", HeaderValue::from_static("false")),
        ("ostype", HeaderValue::from_static("linux")),
        ("server", HeaderValue::try_from(server).expect("a version is a valid header value")),
    ];
    for (name, value) in common {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// `GET` and `HEAD /_ping`.
#[must_use]
pub fn ping() -> Response {
    let mut response = typed(StatusCode::OK, "text/plain; charset=utf-8", "OK");
    let headers = [
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (HeaderName::from_static("builder-version"), "1"),
        (HeaderName::from_static("swarm"), "inactive"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Docker tells clients that are too old in plain text, which is what they print.
#[must_use]
pub fn too_old(error: &VersionError) -> Response {
    typed(StatusCode::BAD_REQUEST, "text/plain; charset=utf-8", format!("{error}\n"))
}

const fn error_status(error: &EngineError) -> StatusCode {
    match error {
        EngineError::NotModified => StatusCode::NOT_MODIFIED,
        EngineError::BadRequest(_) => StatusCode::BAD_REQUEST,
        EngineError::Denied(_) => StatusCode::FORBIDDEN,
        EngineError::NotFound(_) => StatusCode::NOT_FOUND,
        EngineError::Conflict(_) => StatusCode::CONFLICT,
        EngineError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        EngineError::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        EngineError::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn with_body(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
