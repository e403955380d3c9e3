//! A buffered writer that goes forward in a file. The layer's data and the metadata are written through one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes are handed to the kernel in pieces of this size.
const BUFFER: usize = 1 << 20;
/// Bytes are asked for in pieces of this size: a source that has less at hand must not cost a whole buffer's clearing.
const PIECE: usize = 128 << 10;
/// Shorter gaps are filled with zeros in the buffer, longer ones become holes of the file.
const SHORT_GAP: u64 = 64 << 10;

/// Writes to a fresh file; what is passed over reads as zeros.
pub(super) struct Sink<'a> {
    out: &'a File,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    start: u64,
}

impl<'a> Sink<'a> {
    /// Begins at byte `start` of `out`.
    pub(super) fn new(out: &'a File, start: u64) -> Self {
        Self { out, buffer: Vec::new(), start }
    }

    /// Writes some bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Writes what one call of `read` gives, at most `most` bytes, and answers how many. The outer error is the file's,
    /// the inner one the source's.
    pub(super) fn put_from<E>(
        &mut self,
        most: u64,
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> io::Result<Result<usize, E>> {
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        let filled = self.buffer.len();
        let room = usize::try_from(most).unwrap_or(PIECE).min(PIECE).min(BUFFER - filled);
        self.buffer.resize(filled + room, 0);
        let result = read(&mut self.buffer[filled..]);
        self.buffer.truncate(filled + result.as_ref().unwrap_or(&0));
        Ok(result)
    }

    /// Goes forward to byte `at` of the file.
    pub(super) fn seek(&mut self, at: u64) -> io::Result<()> {
        let gap = at.saturating_sub(self.start + self.buffer.len() as u64);
        let short = usize::try_from(gap).ok().filter(|_| gap <= SHORT_GAP);
        match short.map(|gap| self.buffer.len() + gap).filter(|&filled| filled <= BUFFER) {
            Some(filled) => self.buffer.resize(filled, 0),
            None => {
                self.flush()?;
                self.start = at;
            }
        }
        Ok(())
    }

    /// Writes what is in the buffer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.write_all_at(&self.buffer, self.start)?;
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn bytes_land_where_they_belong_and_long_gaps_are_holes() {
        let file = tempfile::tempfile().unwrap();
        let mut sink = Sink::new(&file, 3);
        sink.put(b"ab").unwrap();
        sink.seek(10).unwrap();
        sink.put(b"c").unwrap();
        let far = 64 << 20;
        sink.seek(far).unwrap();
        let mut source = [b'd'; BUFFER + 5].as_slice();
        let mut read = |buffer: &mut [u8]| io::Read::read(&mut source, buffer);
        let mut left = BUFFER as u64 + 5;
        while left > 0 {
            left -= sink.put_from(left, &mut read).unwrap().unwrap() as u64;
        }
        assert!(sink.put_from(1, &mut |_| Err(())).unwrap().is_err());
        sink.flush().unwrap();
        let mut head = [1; 12];
        file.read_exact_at(&mut head, 0).unwrap();
        assert_eq!(&head, b"\0\0\0ab\0\0\0\0\0c\0");
        let mut tail = vec![0; BUFFER + 5];
        file.read_exact_at(&mut tail, far).unwrap();
        assert!(tail.iter().all(|&byte| byte == b'd'));
        let found = file.metadata().unwrap();
        assert_eq!(found.len(), far + BUFFER as u64 + 5);
        assert!(found.blocks() * 512 < 8 << 20, "{} blocks", found.blocks());
    }
}
