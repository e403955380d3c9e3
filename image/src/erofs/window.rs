//! Bounds-checked reads of a file through a part of it held in memory, for the EROFS reader.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::BLOCK;
use super::read::ReadError;

/// A part of the file in memory, moved where it is needed.
pub(super) struct Window<'a> {
    file: &'a File,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    const SIZE: usize = 128 << 10;

    /// A window on a file of `length` bytes, which holds nothing yet.
    pub(super) fn new(file: &'a File, length: u64) -> Self {
        Self { file, length, start: 0, bytes: Vec::new() }
    }

    /// `length` bytes at `offset`, which must lie in the file.
    pub(super) fn get(&mut self, offset: u64, length: usize) -> Result<&[u8], ReadError> {
        let failed = |source| ReadError::Read { offset, length, source };
        let end = offset.checked_add(length as u64).filter(|&end| end <= self.length);
        let end = end.ok_or_else(|| failed(io::ErrorKind::UnexpectedEof.into()))?;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let start = offset & !(BLOCK as u64 - 1);
            let wanted = (end - start).max(Self::SIZE as u64).min(self.length - start);
            self.bytes.resize(usize::try_from(wanted).unwrap_or_default(), 0);
            self.start = start;
            if let Err(error) = self.file.read_exact_at(&mut self.bytes, start) {
                self.bytes.clear();
                return Err(failed(error));
            }
        }
        let at = usize::try_from(offset - self.start).unwrap_or_default();
        Ok(&self.bytes[at..at + length])
    }
}
