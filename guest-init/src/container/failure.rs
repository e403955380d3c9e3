//! Why a container's process could not be started, and its way through a pipe from the new process to PID 1.

use crate::watch::watch;
use rustix::fd::{AsFd, OwnedFd};
use std::fmt::Display;
use std::io;
use tokio::io::Interest;

/// The longest message in bytes. With the code it fits PIPE_BUF, so it is written at once or not at all, and
/// the exit records of all containers fit one frame.
const MAX_MESSAGE: usize = 384;

/// Why a process could not be started, in Docker's words, and the exit code that Docker gives for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// 127: there is no such program; 126: it cannot be executed; 125: anything else.
    pub(crate) code: u8,
    /// The cause in one line.
    pub(crate) message: String,
}

impl Failure {
    /// A step of the set-up has failed; the code follows the error as `docker run` maps it.
    pub(crate) fn new(step: impl Display, error: &io::Error) -> Self {
        let code = match error.raw_os_error() {
            Some(libc::ENOENT) => 127,
            Some(libc::EACCES | libc::EISDIR) => 126,
            _ => 125,
        };
        Self { code, message: format!("{step}: {}", plain(error)) }
    }

    /// The container cannot be set up, whatever its program is.
    pub(crate) fn setup(message: impl Into<String>) -> Self {
        Self { code: 125, message: message.into() }
    }

    /// Writes the failure to the pipe that PID 1 reads.
    pub(crate) fn report(&self, pipe: impl AsFd) {
        let mut record = vec![self.code];
        record.extend_from_slice(clipped(&self.message).as_bytes());
        // PID 1 holds the other end; if it is gone there is nobody left to tell.
        let _gone = rustix::io::write(pipe, &record);
    }

    /// Waits until the new process has executed its program (`None`) or has told why it could not. Killed during the
    /// set-up it says nothing, as after exec.
    pub(crate) async fn wait(pipe: OwnedFd) -> Option<Self> {
        let read = async { watch(pipe, Interest::READABLE)?.async_io(Interest::READABLE, Self::read).await };
        read.await.unwrap_or_else(|error| Some(Self::new("cannot learn of the start", &error)))
    }

    /// Reads what [`Self::report`] wrote: `None` where the pipe was closed by a successful exec.
    ///
    /// # Errors
    /// `WouldBlock` while the process is still being set up.
    pub(crate) fn read(pipe: &OwnedFd) -> io::Result<Option<Self>> {
        let mut record = [0; MAX_MESSAGE + 1];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut record))?;
        Ok(record[..count].split_first().map(|(code, message)| Self {
            code: *code,
            message: String::from_utf8_lossy(message).into_owned(),
        }))
    }
}

/// The text of a system error without Rust's "(os error 2)", in lower case as Go and Docker print it.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn clipped(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_pipe() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let failure = Failure::new("exec: \"x\"", &io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(failure.code, 126);
        assert_eq!(failure.message, "exec: \"x\": permission denied");
        failure.report(&write);
        assert_eq!(Failure::read(&read).unwrap(), Some(failure));
        drop(write);
        assert_eq!(Failure::read(&read).unwrap(), None);
    }

    #[test]
    fn long_messages_are_clipped_at_a_character() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        Failure::setup("ü".repeat(MAX_MESSAGE)).report(&write);
        let seen = Failure::read(&read).unwrap().unwrap();
        assert_eq!(seen.message, "ü".repeat(MAX_MESSAGE / 2));
    }
}
