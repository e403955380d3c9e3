//! An archive on its way to the event loop: filled into large chunks, whose memory comes back when they are sent.

use super::error::FilesError;
use super::thread;
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fd::BorrowedFd;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
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
    zeros: Option<Bytes>,
}

impl Outgoing {
    pub(super) fn new(sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { sender, buffer: Vec::with_capacity(CHUNK), lent: VecDeque::new(), zeros: None }
    }

    /// Adds few bytes by letting them be written to a buffer.
    ///
    /// # Errors
    /// [`FilesError::Gone`].
    pub(super) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), FilesError> {
        write(&mut self.buffer);
        if self.buffer.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Adds the first `size` bytes of a file; zeros for what it has become shorter by. `sparse`: it has holes.
    ///
    /// # Errors
    /// [`FilesError::Gone`], a failed read of the file at that path.
    pub(super) fn file(
        &mut self,
        file: BorrowedFd<'_>,
        size: u64,
        sparse: bool,
        path: &[u8],
    ) -> Result<(), FilesError> {
        let mut at = 0;
        let mut data_end = if sparse { 0 } else { size };
        while at < size {
            thread::go_on().map_err(FilesError::call("read", path))?;
            if at >= data_end {
                let data = next_data(file, at..size).map_err(FilesError::call("read", path))?;
                self.zeros(data.start - at)?;
                (at, data_end) = (data.start, data.end);
                continue;
            }
            let wanted = usize::try_from(data_end - at).unwrap_or(usize::MAX);
            if CHUNK - self.buffer.len() < LEAST_READ.min(wanted) {
                self.flush()?;
            }
            let length = self.buffer.len();
            let read =
                rustix::io::retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut self.buffer), at));
            // More than wanted where something follows.
            let count = read.map_err(FilesError::call("read", path))?.min(wanted);
            self.buffer.truncate(length + count);
            if count == 0 {
                return self.zeros(size - at);
            }
            at += count as u64;
            if self.buffer.len() >= CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Adds zeros; many of them are one chunk again and again.
    fn zeros(&mut self, mut count: u64) -> Result<(), FilesError> {
        while count > 0 {
            thread::go_on().map_err(|_| FilesError::Gone)?;
            if self.buffer.is_empty() && count >= CHUNK as u64 {
                let zeros = self.zeros.get_or_insert_with(|| Bytes::from(vec![0; CHUNK])).clone();
                self.sender.blocking_send(Ok(zeros)).map_err(|_| FilesError::Gone)?;
                count -= CHUNK as u64;
                continue;
            }
            let room = CHUNK - self.buffer.len();
            let some = usize::try_from(count).unwrap_or(usize::MAX).min(room);
            self.buffer.resize(self.buffer.len() + some, 0);
            count -= some as u64;
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

/// The first run of data in a part of a file; an empty one at its end where there is none.
fn next_data(file: BorrowedFd<'_>, part: Range<u64>) -> rustix::io::Result<Range<u64>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(part.start)) {
        // It ends in a hole, or has become shorter.
        Err(Errno::NXIO) => return Ok(part.end..part.end),
        // The file system knows of no holes.
        Err(Errno::INVAL) => return Ok(part),
        other => other?.clamp(part.start, part.end),
    };
    let end = match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Err(Errno::NXIO) => part.end,
        other => other?.clamp(start, part.end),
    };
    // Where the file changed in between, all the rest is read.
    Ok(start..if end == start { part.end } else { end })
}
