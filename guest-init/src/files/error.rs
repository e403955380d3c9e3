//! What can go wrong with containers' files, in Docker's words.

use crate::container::failure;
use std::io;
use vdocker::engine::EngineError;

/// An operation on files that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    /// What the path names does not exist.
    #[error("not found")]
    NotFound,
    /// Nothing can be unpacked into what is no directory.
    #[error("extraction point is not a directory")]
    NotADirectory,
    /// The root is read-only.
    #[error("container rootfs is marked read-only")]
    ReadOnlyRoot,
    /// What is mounted there is read-only.
    #[error("mounted volume is marked read-only")]
    ReadOnlyMount,
    /// The request makes no sense.
    #[error("{0}")]
    Refused(String),
    /// The archive cannot be read.
    #[error("{}", .0)]
    Archive(#[from] tar::TarError),
    /// A system call failed.
    #[error("{action} {path}: {}", words(.source))]
    Call {
        /// What was done, as Go names it.
        action: &'static str,
        /// To what.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nobody takes the archive any more.
    #[error("the client is gone")]
    Gone,
    /// The thread ended without an answer.
    #[error("the operation was lost")]
    Lost,
}

/// A system's error as Go words it, where the C library has other words.
fn words(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(libc::EBUSY) => "device or resource busy",
        Some(libc::ELOOP) => "too many levels of symbolic links",
        Some(libc::ENAMETOOLONG) => "file name too long",
        Some(libc::EXDEV) => "invalid cross-device link",
        _ => return failure::plain(error),
    };
    text.to_owned()
}

impl FilesError {
    /// Makes an error of an action on a path.
    pub(super) fn call<E: Into<io::Error>>(action: &'static str, path: &[u8]) -> impl FnOnce(E) -> Self {
        move |error| Self::Call {
            action,
            path: String::from_utf8_lossy(path).into_owned(),
            source: error.into(),
        }
    }

    /// The number of the system's error, if it was one.
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// What the client is told, who asked for that path of that container.
    pub(super) fn told(&self, path: &str, container: &str) -> EngineError {
        let text = self.to_string();
        match self {
            Self::NotFound => {
                EngineError::NotFound(format!("Could not find the file {path} in container {container}"))
            }
            Self::ReadOnlyRoot | Self::ReadOnlyMount => EngineError::Denied(text),
            Self::NotADirectory | Self::Refused(_) => EngineError::BadRequest(text),
            Self::Archive(tar::TarError::Read { .. }) => EngineError::Failed(text),
            Self::Archive(_) => EngineError::BadRequest(text),
            Self::Call { .. } => match self.errno() {
                Some(libc::EROFS) => EngineError::Denied(text),
                Some(libc::ENOTDIR | libc::ELOOP | libc::EINVAL | libc::ENAMETOOLONG) => {
                    EngineError::BadRequest(text)
                }
                _ => EngineError::Failed(text),
            },
            Self::Gone | Self::Lost => EngineError::Failed(text),
        }
    }
}
