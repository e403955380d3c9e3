//! The answer of `POST /containers/{id}/wait`.

use serde::Serialize;

/// How a container has ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct WaitResult {
    pub status_code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
}

/// Why its start failed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct WaitError {
    pub message: String,
}

impl WaitResult {
    /// An exit code, and the words of a failed start, if there are any.
    #[must_use]
    pub fn new(status_code: i64, error: &str) -> Self {
        let error = (!error.is_empty()).then(|| WaitError { message: error.to_owned() });
        Self { status_code, error }
    }
}
