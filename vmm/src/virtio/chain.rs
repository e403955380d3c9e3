//! A descriptor chain that was checked whole, as the guest memory it describes (virtio 1.3, section 2.7.4).
//!
//! Used by all devices. A device sees two byte sequences, readable and writable, and never how the driver cut
//! them into descriptors, as the specification demands.

use std::os::fd::BorrowedFd;
use std::{io, mem};

use virtio_queue::DescriptorChain;
use vm_memory::{GuestAddress, GuestMemory as _, Permissions, VolatileSlice};

use super::iovec;
use crate::memory::GuestMemory;

/// Why a chain is refused. The driver gets it back with nothing written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A loop, an index past the table, a table that cannot be read, or over 4 GiB of data.
    #[error("descriptor chain is cut off or loops")]
    Broken,
    /// More descriptors than the queue holds.
    #[error("descriptor chain of over {0} descriptors")]
    TooLong(u16),
    /// A device-readable descriptor after a device-writable one.
    #[error("readable descriptor after a writable one")]
    Order,
    /// A buffer that is not all in guest RAM.
    #[error("descriptor of {len} bytes at {address:#x} is outside guest memory")]
    Outside {
        /// Guest physical address.
        address: u64,
        /// Bytes.
        len: u32,
    },
}

/// A chain's memory.
pub struct Chain<'m> {
    /// What the driver wrote for the device.
    pub readable: Buffers<'m>,
    /// Where the device writes for the driver.
    pub writable: Buffers<'m>,
}

impl<'m> Chain<'m> {
    /// Checks the whole chain, of at most `max_len` descriptors.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(
        memory: &'m GuestMemory,
        descriptors: DescriptorChain<&'m GuestMemory>,
        max_len: u16,
    ) -> Result<Self, ChainError> {
        let mut chain = Self { readable: Buffers::default(), writable: Buffers::default() };
        walk(descriptors, max_len, |writable, address, len| {
            let buffers = if writable { &mut chain.writable } else { &mut chain.readable };
            buffers.append(memory, address, len)
        })?;
        Ok(chain)
    }
}

/// A chain that is remembered, to be looked at again when its time comes.
pub struct KeptChain(Vec<(bool, GuestAddress, u32)>);

impl KeptChain {
    /// Remembers a chain of at most `max_len` descriptors.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(descriptors: DescriptorChain<&GuestMemory>, max_len: u16) -> Result<Self, ChainError> {
        let mut parts = Vec::new();
        walk(descriptors, max_len, |writable, address, len| {
            parts.push((writable, address, len));
            Ok(())
        })?;
        Ok(Self(parts))
    }

    /// Its memory.
    ///
    /// # Errors
    /// [`ChainError::Outside`].
    pub fn chain<'m>(&self, memory: &'m GuestMemory) -> Result<Chain<'m>, ChainError> {
        let mut chain = Chain { readable: Buffers::default(), writable: Buffers::default() };
        for (writable, address, len) in &self.0 {
            let buffers = if *writable { &mut chain.writable } else { &mut chain.readable };
            buffers.append(memory, *address, *len)?;
        }
        Ok(chain)
    }
}

/// Calls `part` with each descriptor of a chain of at most `max_len`: whether the device may write to it, its address
/// and its length, which are not checked.
///
/// # Errors
/// What is wrong with the chain, or what `part` returns.
pub(crate) fn walk(
    descriptors: DescriptorChain<&GuestMemory>,
    max_len: u16,
    mut part: impl FnMut(bool, GuestAddress, u32) -> Result<(), ChainError>,
) -> Result<(), ChainError> {
    let mut open = true;
    let mut writing = false;
    for (count, descriptor) in (0u16..).zip(descriptors) {
        if count == max_len {
            return Err(ChainError::TooLong(max_len));
        }
        open = descriptor.has_next();
        if writing && !descriptor.is_write_only() {
            return Err(ChainError::Order);
        }
        writing = descriptor.is_write_only();
        part(writing, descriptor.addr(), descriptor.len())?;
    }
    // The iterator ends at the first descriptor it cannot follow: then the last one promised another.
    if open { Err(ChainError::Broken) } else { Ok(()) }
}

/// Whether all of a range is guest memory.
///
/// # Errors
/// [`ChainError::Outside`].
pub(crate) fn check(memory: &GuestMemory, address: GuestAddress, len: u32) -> Result<(), ChainError> {
    let outside = ChainError::Outside { address: address.0, len };
    let mut parts = memory.get_slices(address, len as usize, Permissions::ReadWrite).map_err(|_| outside)?;
    parts.try_for_each(|slice| slice.map(|_| ())).map_err(|_| outside)
}

/// A sequence of bytes in guest memory, consumed from its front.
#[derive(Default)]
pub struct Buffers<'m> {
    slices: Vec<VolatileSlice<'m>>,
    /// Slices before this index are consumed.
    first: usize,
    len: usize,
}

impl<'m> Buffers<'m> {
    /// No bytes yet, and room for so many pieces.
    pub(crate) fn with_capacity(pieces: usize) -> Self {
        Self { slices: Vec::with_capacity(pieces), ..Self::default() }
    }

    /// Adds a range of guest memory at the end.
    ///
    /// # Errors
    /// [`ChainError::Outside`].
    pub(crate) fn append(
        &mut self,
        memory: &'m GuestMemory,
        address: GuestAddress,
        len: u32,
    ) -> Result<(), ChainError> {
        let outside = ChainError::Outside { address: address.0, len };
        let parts = memory.get_slices(address, len as usize, Permissions::ReadWrite).map_err(|_| outside)?;
        for slice in parts {
            let slice = slice.map_err(|_| outside)?;
            self.len += slice.len();
            self.slices.push(slice);
        }
        Ok(())
    }

    /// Adds memory of the VMM at the end.
    pub(crate) fn append_slice(&mut self, slice: VolatileSlice<'m>) {
        self.len += slice.len();
        self.slices.push(slice);
    }

    /// Adds what is left of another sequence at the end.
    pub(crate) fn extend(&mut self, other: Self) {
        self.len += other.len;
        self.slices.extend_from_slice(other.pending());
    }

    /// How many pieces of memory are left.
    pub(crate) fn pieces(&self) -> usize {
        self.pending().len()
    }

    /// Bytes left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no bytes are left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the first `count` bytes off, or all where there are fewer.
    #[must_use]
    pub fn take_front(&mut self, count: usize) -> Self {
        let mut front = Self::default();
        front.len = self.consume(count, |slice, _| front.slices.push(slice));
        front
    }

    /// Takes the first `count` bytes off, or all where there are fewer; answers how many. `each` gets them piece by piece, with
    /// the bytes before each.
    fn consume(&mut self, count: usize, mut each: impl FnMut(VolatileSlice<'m>, usize)) -> usize {
        let mut done = 0;
        while done < count {
            let Some(slice) = self.slices.get_mut(self.first) else { break };
            let Ok((head, tail)) = slice.split_at((count - done).min(slice.len())) else { break };
            if tail.is_empty() {
                self.first += 1;
            } else {
                *slice = tail;
            }
            self.len -= head.len();
            each(head, done);
            done += head.len();
        }
        done
    }

    /// Takes the first `count` bytes off.
    pub(crate) fn skip(&mut self, count: usize) {
        self.consume(count, |_, _| {});
    }

    /// Splits the last `count` bytes off, or `None` where there are fewer.
    #[must_use]
    pub fn take_back(&mut self, count: usize) -> Option<Self> {
        let keep = self.len.checked_sub(count)?;
        let front = self.take_front(keep);
        Some(mem::replace(self, front))
    }

    /// Consumes bytes into `out`; answers how many, fewer than asked only where no more are left.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        self.consume(out.len(), |slice, done| {
            slice.copy_to(&mut out[done..]);
        })
    }

    /// Consumes `N` bytes, or `None` where there are fewer.
    pub fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut out = [0; N];
        (self.read(&mut out) == N).then_some(out)
    }

    /// Writes `data` over the first bytes and consumes them; answers how many fitted.
    pub fn write(&mut self, data: &[u8]) -> usize {
        self.consume(data.len(), |slice, done| slice.copy_from(&data[done..]))
    }

    /// Writes `count` zeros over the first bytes and consumes them; answers how many fitted.
    pub fn write_zeros(&mut self, count: usize) -> usize {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut done = 0;
        while done < count {
            match self.write(&ZEROS[..ZEROS.len().min(count - done)]) {
                0 => break,
                written => done += written,
            }
        }
        done
    }

    /// Consumes all bytes into the file at `offset`.
    ///
    /// # Errors
    /// The write's; `WriteZero` where the file takes no more.
    pub fn write_to_file(mut self, file: BorrowedFd<'_>, mut offset: u64) -> io::Result<()> {
        while !self.is_empty() {
            let count = iovec::pwritev(file, self.pending(), offset)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.skip(count);
            offset += count as u64;
        }
        Ok(())
    }

    /// Fills all bytes from the file at `offset`.
    ///
    /// # Errors
    /// The read's; `UnexpectedEof` where the file ends early.
    pub fn read_from_file(mut self, file: BorrowedFd<'_>, mut offset: u64) -> io::Result<()> {
        while !self.is_empty() {
            let count = iovec::preadv(file, self.pending(), offset)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.skip(count);
            offset += count as u64;
        }
        Ok(())
    }

    /// Consumes bytes into a stream with one write; answers how many it took.
    ///
    /// # Errors
    /// The write's.
    pub fn write_to_stream(&mut self, stream: BorrowedFd<'_>) -> io::Result<usize> {
        let count = iovec::writev(stream, self.pending())?;
        self.skip(count);
        Ok(count)
    }

    /// Fills and consumes bytes from a stream with one read; 0 is the stream's end.
    ///
    /// # Errors
    /// The read's.
    pub fn read_from_stream(&mut self, stream: BorrowedFd<'_>) -> io::Result<usize> {
        let count = iovec::readv(stream, self.pending())?;
        self.skip(count);
        Ok(count)
    }

    fn pending(&self) -> &[VolatileSlice<'m>] {
        &self.slices[self.first..]
    }
}
