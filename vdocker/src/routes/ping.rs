//! `/_ping`: whether anybody is there, and which versions it speaks.

use crate::context::Context;
use crate::engine::{Engine, EngineError};
use crate::response::{self, Response};

/// `GET` and `HEAD /_ping`.
pub(super) async fn ping<E: Engine>(_context: Context<E>) -> Result<Response, EngineError> {
    Ok(response::ping())
}
