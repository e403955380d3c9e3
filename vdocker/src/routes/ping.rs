//! `/_ping`: whether anybody is there, and which versions it speaks.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, PRAGMA};

use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::response::{self, Response};

/// `GET` and `HEAD /_ping`.
pub(super) async fn ping<E: Engine>(_context: Context<E>) -> Result<Response, EngineError> {
    let mut response = response::typed(StatusCode::OK, "text/plain; charset=utf-8", "OK");
    let headers = [
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (HeaderName::from_static("builder-version"), "1"),
        (HeaderName::from_static("swarm"), "inactive"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}
