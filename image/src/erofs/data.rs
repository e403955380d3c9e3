//! The file data of a layer, written block by block behind the superblock while the archive is read.

use std::fs::File;
use std::io;

use super::chunks::ChunkPlan;
use super::format::BLOCK;
use super::sink::Sink;
use crate::extents::Extent;
use crate::tree::{Blocks, ChunkRun};

/// Appends file data to a fresh file; blocks that are never written read as zeros.
pub(super) struct DataWriter<'a> {
    sink: Sink<'a>,
    next_block: u32,
    /// Bytes of blocks that hold data.
    held: u64,
    limit: u64,
}

/// Why data cannot be stored.
#[derive(Debug)]
pub(super) enum StoreError<E> {
    /// The source of the data failed.
    Read(E),
    /// The file failed.
    Write(io::Error),
    /// 32-bit block addresses are used up.
    Full,
    /// More blocks with data than this many bytes.
    TooMuch(u64),
}

impl<'a> DataWriter<'a> {
    /// Begins behind block 0. All data together may fill blocks of `limit` bytes: a sparse file of few bytes can ask for
    /// a block each.
    pub(super) fn new(out: &'a File, limit: u64) -> Self {
        Self { sink: Sink::new(out, BLOCK as u64), next_block: 1, held: 0, limit }
    }

    /// Stores a file of `size` bytes; `read` fills buffers and never reads 0 bytes before the end.
    pub(super) fn store<E>(
        &mut self,
        size: u64,
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Blocks, StoreError<E>> {
        if size == 0 {
            return Ok(Blocks::Contiguous(0));
        }
        let block = self.allocate(size.div_ceil(BLOCK as u64))?;
        self.copy(u64::from(block) * BLOCK as u64, size, read)?;
        Ok(Blocks::Contiguous(block))
    }

    /// Stores a file of `size` bytes with holes around `extents`, whose data `read` gives in order.
    pub(super) fn store_sparse<E>(
        &mut self,
        size: u64,
        extents: &[Extent],
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Blocks, StoreError<E>> {
        let plan = ChunkPlan::new(size, extents);
        let chunk_bytes = plan.chunk_bytes();
        let mut runs = Vec::new();
        let mut extents = extents.iter().filter(|extent| extent.length > 0).peekable();
        let mut next_chunk = 0;
        for &(first, count) in &plan.data {
            push_holes(&mut runs, first - next_chunk);
            next_chunk = first + count;
            let (start, end) = (first * chunk_bytes, size.min(next_chunk * chunk_bytes));
            let block = self.allocate((end - start).div_ceil(BLOCK as u64))?;
            let count = u32::try_from(count).map_err(|_| StoreError::Full)?;
            runs.push(ChunkRun { chunks: count, block: Some(block) });
            while let Some(extent) = extents.next_if(|extent| extent.offset < end) {
                let at = u64::from(block) * BLOCK as u64 + (extent.offset - start);
                self.copy(at, extent.length, read)?;
            }
        }
        push_holes(&mut runs, plan.total - next_chunk);
        Ok(Blocks::Chunked { bits: plan.bits, runs: runs.into() })
    }

    /// Writes what is left; returns the first block behind all data.
    pub(super) fn finish(mut self) -> io::Result<u32> {
        self.sink.flush()?;
        Ok(self.next_block)
    }

    fn allocate<E>(&mut self, blocks: u64) -> Result<u32, StoreError<E>> {
        let block = self.next_block;
        let end = u64::from(block) + blocks;
        // The last address marks holes.
        self.next_block = u32::try_from(end).ok().filter(|&end| end < u32::MAX).ok_or(StoreError::Full)?;
        Ok(block)
    }

    fn copy<E>(
        &mut self,
        at: u64,
        length: u64,
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), StoreError<E>> {
        self.held = self.held.saturating_add(length.next_multiple_of(BLOCK as u64));
        if self.held > self.limit {
            return Err(StoreError::TooMuch(self.limit));
        }
        self.sink.seek(at).map_err(StoreError::Write)?;
        let mut left = length;
        while left > 0 {
            match self.sink.put_from(left, read).map_err(StoreError::Write)?.map_err(StoreError::Read)? {
                0 => return Err(StoreError::Write(io::ErrorKind::UnexpectedEof.into())),
                got => left -= got as u64,
            }
        }
        Ok(())
    }
}

fn push_holes(runs: &mut Vec<ChunkRun>, mut chunks: u64) {
    while chunks > 0 {
        let some = u32::try_from(chunks).unwrap_or(u32::MAX);
        runs.push(ChunkRun { chunks: some, block: None });
        chunks -= u64::from(some);
    }
}
