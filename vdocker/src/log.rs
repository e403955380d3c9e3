//! What a container has written: kept on disk as JSON lines and, the latest of it, in memory; read at each reader's
//! own pace.

use std::time::SystemTime;

use bytes::Bytes;

/// Which of a container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Bytes as one read took them from a stream: any number of lines, and the last may be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whence.
    pub stream: Stream,
    /// When they were read.
    pub time: SystemTime,
    /// At least one byte.
    pub bytes: Bytes,
}

/// A container's log.
#[derive(Debug, Default)]
pub struct Log {}
