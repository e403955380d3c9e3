//! Failures as a client is told of them: the whole chain of causes in one line.

use std::error::Error;
use std::fmt::Write as _;

use vdocker::EngineError;

/// An error of the server, with its causes.
pub(crate) fn failed(error: &dyn Error) -> EngineError {
    EngineError::Failed(chain(error))
}

/// An error and its causes, each behind a colon.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // A string takes everything.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Says of an error that no client waits for.
pub(crate) fn report(what: &str, error: &dyn Error) {
    log::error!(error:% = chain(error); "{what}");
}
