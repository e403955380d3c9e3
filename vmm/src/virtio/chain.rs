//! A descriptor chain that was checked whole, as the guest memory it describes (virtio 1.3, section 2.7.4).
//!
//! Used by all devices. A device sees two byte sequences, readable and writable, and never how the driver cut
//! them into descriptors, as the specification demands.

use std::os::fd::BorrowedFd;
use std::{io, mem};

use virtio_queue::desc::split::Descriptor;
use vm_memory::{GuestAddress, GuestMemoryBackend as _, VolatileMemory as _, VolatileSlice};

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

/// Bytes of a descriptor.
const LEN: usize = size_of::<Descriptor>();

/// The descriptors of a chain as the driver has made it available, not looked at yet.
#[derive(Clone, Copy)]
pub struct Descriptors<'m> {
    memory: &'m GuestMemory,
    table: GuestAddress,
    size: u16,
    head: u16,
}

impl<'m> Descriptors<'m> {
    pub(super) fn new(memory: &'m GuestMemory, table: GuestAddress, size: u16, head: u16) -> Self {
        Self { memory, table, size, head }
    }

    /// The index of the first.
    #[must_use]
    pub fn head_index(&self) -> u16 {
        self.head
    }

    /// Calls `each` with the descriptors of the chain, each of which is read once (virtio 1.3, sections 2.7.5 and 2.7.5.3).
    fn each(&self, mut each: impl FnMut(&Descriptor) -> Result<(), ChainError>) -> Result<(), ChainError> {
        let table = |address, len| self.memory.get_slice(address, len).map_err(|_| ChainError::Broken);
        let mut descriptors = table(self.table, usize::from(self.size) * LEN)?;
        let (mut index, mut indirect) = (usize::from(self.head), false);
        let (mut left, mut bytes) = (descriptors.len() / LEN, 0u32);
        loop {
            let descriptor =
                descriptors.get_ref::<Descriptor>(index * LEN).map_err(|_| ChainError::Broken)?;
            // A loop ends here.
            left = left.checked_sub(1).ok_or(ChainError::Broken)?;
            let descriptor = descriptor.load();
            if descriptor.refers_to_indirect_table() {
                let len = descriptor.len() as usize;
                if indirect || !len.is_multiple_of(LEN) {
                    return Err(ChainError::Broken);
                }
                descriptors = table(descriptor.addr(), len)?;
                (index, indirect, left) = (0, true, len / LEN);
                continue;
            }
            // No driver may make it longer than 2^32 bytes.
            bytes = bytes.checked_add(descriptor.len()).ok_or(ChainError::Broken)?;
            each(&descriptor)?;
            if !descriptor.has_next() {
                return Ok(());
            }
            index = descriptor.next().into();
        }
    }
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
        descriptors: Descriptors<'m>,
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
    pub fn new(descriptors: Descriptors<'_>, max_len: u16) -> Result<Self, ChainError> {
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
    descriptors: Descriptors<'_>,
    max_len: u16,
    mut part: impl FnMut(bool, GuestAddress, u32) -> Result<(), ChainError>,
) -> Result<(), ChainError> {
    let (mut count, mut writing) = (0, false);
    descriptors.each(|descriptor| {
        if count == max_len {
            return Err(ChainError::TooLong(max_len));
        }
        count += 1;
        if writing && !descriptor.is_write_only() {
            return Err(ChainError::Order);
        }
        writing = descriptor.is_write_only();
        part(writing, descriptor.addr(), descriptor.len())
    })
}

/// Whether all of a range is guest memory.
///
/// # Errors
/// [`ChainError::Outside`].
pub(crate) fn check(memory: &GuestMemory, address: GuestAddress, len: u32) -> Result<(), ChainError> {
    slice(memory, address, len).map(|_| ())
}

/// A range of guest memory, which lies in one region: no two of them touch.
fn slice(memory: &GuestMemory, address: GuestAddress, len: u32) -> Result<VolatileSlice<'_>, ChainError> {
    let outside = ChainError::Outside { address: address.0, len };
    memory.get_slice(address, len as usize).map_err(|_| outside)
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
        self.append_slice(slice(memory, address, len)?);
        Ok(())
    }

    /// Adds memory of the VMM at the end.
    pub(crate) fn append_slice(&mut self, slice: VolatileSlice<'m>) {
        if !slice.is_empty() {
            self.len += slice.len();
            self.slices.push(slice);
        }
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
        if count >= self.len {
            return mem::take(self);
        }
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
        let mut back = Self { len: count, ..Self::default() };
        let mut left = count;
        while left > 0 {
            let last = self.slices.pop()?;
            let (head, tail) = last.split_at(last.len().saturating_sub(left)).ok()?;
            left -= tail.len();
            back.slices.push(tail);
            if !head.is_empty() {
                self.slices.push(head);
            }
        }
        back.slices.reverse();
        self.len = keep;
        Some(back)
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

    /// Consumes as many bytes as `to` has, or all, into it; answers how many.
    pub(crate) fn copy_to(&mut self, to: &VolatileSlice<'_>) -> usize {
        self.consume(to.len(), |slice, done| {
            if let Ok(rest) = to.offset(done) {
                slice.copy_to_volatile_slice(rest);
            }
        })
    }

    /// Writes the bytes of `from` over the first ones and consumes them; answers how many fitted.
    pub(crate) fn copy_from(&mut self, from: &VolatileSlice<'_>) -> usize {
        self.consume(from.len(), |slice, done| {
            if let Ok(rest) = from.offset(done) {
                rest.copy_to_volatile_slice(slice);
            }
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::Bytes as _;

    /// Bytes 1, 2, 3 and so on, in pieces of these lengths that do not touch.
    fn buffers<'m>(memory: &'m GuestMemory, lens: &[u32]) -> Buffers<'m> {
        let mut buffers = Buffers::default();
        let mut numbers = 1..;
        for (index, len) in (0u64..).zip(lens) {
            let address = GuestAddress(index * 0x1000);
            let bytes: Vec<u8> = numbers.by_ref().take(*len as usize).collect();
            memory.write_slice(&bytes, address).unwrap();
            buffers.append(memory, address, *len).unwrap();
        }
        buffers
    }

    #[test]
    fn what_is_taken_off_an_end_and_what_is_left_are_the_whole() {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), 0x10_0000)]).unwrap();
        let content = |mut buffers: Buffers<'_>| {
            let mut bytes = vec![0; buffers.len()];
            assert_eq!(buffers.read(&mut bytes), bytes.len());
            assert!(buffers.is_empty() && buffers.pieces() == 0);
            bytes
        };
        let whole: Vec<u8> = (1..=12).collect();
        for skipped in 0..=12 {
            for count in 0..=13 {
                let all = || {
                    let mut all = buffers(&memory, &[5, 1, 0, 4, 2]);
                    all.skip(skipped);
                    all
                };
                let rest = &whole[skipped..];
                let mut front_left = all();
                let front = front_left.take_front(count);
                let at = count.min(rest.len());
                assert_eq!((content(front), content(front_left)), (rest[..at].to_vec(), rest[at..].to_vec()));
                let mut back_left = all();
                let back = back_left.take_back(count);
                assert_eq!(back.is_some(), count <= rest.len());
                let Some(back) = back else { continue };
                let at = rest.len() - count;
                assert_eq!((content(back_left), content(back)), (rest[..at].to_vec(), rest[at..].to_vec()));
            }
        }
    }
}
