//! A running pod's Docker API as the commands call it: `DIR/docker.sock`, which leads to vdocker in the guest.
//!
//! Everything that comes from there is the guest's word and taken with limits. One connection a request: what is
//! streamed for long holds its own.

pub(crate) mod body;
pub(crate) mod container;
pub(crate) mod http;
pub(crate) mod output;
pub(crate) mod query;
pub(crate) mod session;

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::failure::{Failure, HintExt as _};
use crate::hint;
use crate::run::is_running;
use pod::{PodDir, SocketDir, socket};

use http::{Connection, Response, Upload};

/// The version of the API that the commands speak.
const VERSION: &str = "/v1.50";
/// How long a pod that is being started may take to have its socket.
const PATIENCE: Duration = Duration::from_secs(5);
/// The time between two tries to reach it.
const INTERVAL: Duration = Duration::from_millis(20);
/// The longest document that is read, in bytes.
const MAX_JSON: u64 = 16 << 20;
/// The longest text of an error, in bytes.
const MAX_MESSAGE: u64 = 64 << 10;

/// Why the API was not, or not well, answered.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// Nobody listens.
    #[error("cannot reach the pod's docker.sock")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("lost the connection to the pod")]
    Broken(#[source] io::Error),
    /// The connection ended before the answer did.
    #[error("the pod ended before it answered")]
    Ended,
    /// The answer is no HTTP.
    #[error("the pod's answer is malformed: {0}")]
    Malformed(&'static str),
    /// A document is not what it should be.
    #[error("the pod's answer to {what} is malformed")]
    Json {
        /// The request.
        what: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The API refuses.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The API's words.
        message: String,
    },
    /// What was to be sent cannot be read.
    #[error("cannot read what is to be sent")]
    Source(#[source] io::Error),
}

impl ApiError {
    /// Whether what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A pod that runs.
pub(crate) struct Api {
    dir: PodDir,
    sockets: SocketDir,
}

impl Api {
    /// The API of the pod at `path`, which must run.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let dir = PodDir::new(path).context("cannot name the pod directory")?;
        dir.read_record().map_err(hint::where_pods_are)?;
        if !is_running(&dir)? {
            return Err(Failure::new(format!("the pod {} does not run", path.display())))
                .hint(format!("start it with `kcradle run {}`", path.display()));
        }
        let sockets = SocketDir::open(&dir).context("cannot open the pod directory")?;
        Ok(Self { dir, sockets })
    }

    /// `GET`, answered by a document.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.ask("GET", path)
    }

    /// A request without a body, answered by a document.
    pub(crate) fn ask<T: DeserializeOwned>(&self, method: &str, path: &str) -> Result<T, ApiError> {
        document(path, self.call(method, path, Upload::None)?)
    }

    /// `POST` of a document, answered by another.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ApiError> {
        document(path, self.call("POST", path, Upload::Json(json(path, body)?))?)
    }

    /// `POST` of nothing, answered by nothing that matters.
    pub(crate) fn order(&self, path: &str) -> Result<(), ApiError> {
        self.call("POST", path, Upload::None).map(drop)
    }

    /// Sends a request and waits for the head of its answer, which says that it succeeded.
    pub(crate) fn call(&self, method: &str, path: &str, upload: Upload<'_>) -> Result<Response, ApiError> {
        let response = self.connect()?.request(method, &format!("{VERSION}{path}"), upload)?;
        checked(response)
    }

    /// Sends a request after which the connection is a stream both ways.
    pub(crate) fn upgrade(&self, path: &str, body: Option<&impl Serialize>) -> Result<Connection, ApiError> {
        let upload = Upload::Upgrade(body.map_or_else(|| Ok(Vec::new()), |body| json(path, body))?);
        let response = checked(self.connect()?.request("POST", &format!("{VERSION}{path}"), upload)?)?;
        response.into_stream().ok_or(ApiError::Malformed("no stream"))
    }

    /// Connects, also to a pod that has just been started and has no socket yet.
    fn connect(&self) -> Result<Connection, ApiError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.sockets.connect(socket::DOCKER) {
                Ok(stream) => return Ok(Connection::new(stream)),
                Err(error) if Instant::now() >= deadline || !is_running(&self.dir).unwrap_or(false) => {
                    return Err(ApiError::Connect(error));
                }
                Err(_) => std::thread::sleep(INTERVAL),
            }
        }
    }
}

fn json(path: &str, body: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(body).map_err(|source| ApiError::Json { what: path.to_owned(), source })
}

/// The document of an answer.
fn document<T: DeserializeOwned>(path: &str, response: Response) -> Result<T, ApiError> {
    let bytes = bounded(response, MAX_JSON)?;
    serde_json::from_slice(&bytes).map_err(|source| ApiError::Json { what: path.to_owned(), source })
}

/// The answer, where its status says that the request succeeded.
fn checked(response: Response) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let status = response.status();
    if (100..400).contains(&status) {
        return Ok(response);
    }
    let bytes = bounded(response, MAX_MESSAGE)?;
    let message = serde_json::from_slice::<Message>(&bytes).map(|message| message.message);
    let message = message.unwrap_or_else(|_| format!("the pod answered with status {status}"));
    Err(ApiError::Refused { status, message })
}

fn bounded(response: Response, limit: u64) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    response.into_body().take(limit + 1).read_to_end(&mut bytes).map_err(ApiError::Broken)?;
    if bytes.len() as u64 > limit {
        Err(ApiError::Malformed("a document that is too long"))
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
