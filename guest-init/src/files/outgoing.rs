//! An archive on its way to the event loop: filled into large chunks, whose memory comes back when they are sent.

use super::error::FilesError;
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fd::BorrowedFd;
use std::collections::VecDeque;
use std::io;
use tokio::sync::mpsc;

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;
/// Room that a read is worth making for.
const LEAST_READ: usize = 16 << 10;
/// Chunks whose memory is waited for.
const MAX_LENT: usize = 6;

/// Sends chunks of an archive.
#[derive(Debug)]
pub(super) struct Outgoing {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    /// Sent ones, the oldest first.
    lent: VecDeque<Bytes>,
}

impl Outgoing {
    pub(super) fn new(sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { sender, buffer: Vec::with_capacity(CHUNK), lent: VecDeque::new() }
    }

    /// Adds few bytes by letting them be written to a buffer.
    ///
    /// # Errors
    /// [`FilesError::Gone`].
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), FilesError> {
        write(&mut self.buffer);
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Adds `size` bytes from a file's position on; zeros for what it has become shorter by.
    ///
    /// # Errors
    /// [`FilesError::Gone`], a failed read of the file at that path.
    pub(super) fn file(&mut self, file: BorrowedFd<'_>, size: u64, path: &[u8]) -> Result<(), FilesError> {
        let mut left = size;
        let mut ended = false;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            if CHUNK - self.buffer.len() < LEAST_READ.min(wanted) {
                self.flush()?;
            }
            let (length, room) = (self.buffer.len(), CHUNK - self.buffer.len());
            let count = if ended {
                let count = wanted.min(room);
                self.buffer.resize(length + count, 0);
                count
            } else {
                let read =
                    rustix::io::retry_on_intr(|| rustix::io::read(file, spare_capacity(&mut self.buffer)));
                // More than wanted where the file grows.
                let count = read.map_err(FilesError::call("read", path))?.min(wanted);
                self.buffer.truncate(length + count);
                ended = count == 0;
                count
            };
            left -= count as u64;
            if self.buffer.len() >= CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Sends what is left, or the error that ended the archive.
    pub(super) fn finish(mut self, done: Result<(), FilesError>) {
        let sent = done.and_then(|()| self.flush());
        if let Err(error) = sent {
            // The client may be gone, which can be the error.
            let _gone = self.sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
    }

    fn flush(&mut self) -> Result<(), FilesError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let next = self.empty_buffer();
        let chunk = Bytes::from(std::mem::replace(&mut self.buffer, next));
        self.lent.push_back(chunk.clone());
        self.sender.blocking_send(Ok(chunk)).map_err(|_| FilesError::Gone)
    }

    /// The memory of a chunk that nobody holds any more, or new memory.
    fn empty_buffer(&mut self) -> Vec<u8> {
        match self.lent.front() {
            Some(oldest) if oldest.is_unique() || self.lent.len() >= MAX_LENT => {}
            _ => return Vec::with_capacity(CHUNK),
        }
        match self.lent.pop_front() {
            Some(oldest) if oldest.is_unique() => {
                let mut buffer = Vec::from(oldest);
                buffer.clear();
                buffer
            }
            _ => Vec::with_capacity(CHUNK),
        }
    }
}
