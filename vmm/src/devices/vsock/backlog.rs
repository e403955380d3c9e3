//! Bytes from the guest that a connection's Unix socket did not take at once. Bounded by the credit that the
//! connection gives the guest.

use std::io::{self, Write};

use crate::virtio::Buffers;

/// A byte queue that is filled from guest memory and written to a stream.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// Bytes before this index are written.
    start: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(super) fn push(&mut self, data: &mut Buffers<'_>) {
        if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        let end = self.bytes.len();
        self.bytes.resize(end + data.len(), 0);
        data.read(&mut self.bytes[end..]);
    }

    /// Writes with one system call; answers how many bytes the stream took.
    pub(super) fn write_to(&mut self, mut stream: impl Write) -> io::Result<usize> {
        let count = stream.write(&self.bytes[self.start..])?;
        self.start += count;
        if self.is_empty() {
            self.clear();
        }
        Ok(count)
    }

    /// Forgets the bytes and gives their memory back.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
