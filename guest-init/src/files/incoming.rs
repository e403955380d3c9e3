//! An archive from the event loop, as a reader whose buffer is the chunk itself.

use bytes::{Buf as _, Bytes};
use std::io::{self, BufRead, Read};
use vdocker::archive::Chunks;

/// Reads chunks as they come.
#[derive(Debug)]
pub(super) struct Incoming {
    chunks: Chunks,
    current: Bytes,
}

impl Incoming {
    pub(super) fn new(chunks: Chunks) -> Self {
        Self { chunks, current: Bytes::new() }
    }

    /// The next bytes, without taking them; fewer than `count` only at the end.
    ///
    /// # Errors
    /// What the sender says.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        self.fill_buf()?;
        while self.current.len() < count {
            let Some(more) = self.chunks.blocking_recv() else { break };
            self.current = Bytes::from([self.current.as_ref(), more?.as_ref()].concat());
        }
        Ok(&self.current[..self.current.len().min(count)])
    }
}

impl BufRead for Incoming {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, count: usize) {
        self.current.advance(count.min(self.current.len()));
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
