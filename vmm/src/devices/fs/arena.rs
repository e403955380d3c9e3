//! The memory that a device has in common with its backend: the rings of its queues, and blocks that requests are copied to
//! and answers from. It is all that the backend sees of the machine. Used by [`super::Fs`] and its queues.

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryBackend as _, GuestMemoryError, VolatileSlice};

use crate::memory::{self, GuestMemory, MemoryError};
use crate::virtio::Rings;

/// Blocks of an arena, and descriptors of each of its queues: a block's number is that of its descriptor.
pub(super) const BLOCKS: u16 = 256;

/// Bytes of a block.
pub(super) const BLOCK: usize = 32 << 10;

/// The most bytes of a request with its answer: Linux asks for 1 MiB and headers.
const LONGEST: usize = 2 << 20;

/// `flags` of a descriptor (virtio 1.3, section 2.7.5).
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Where queue `i` has its rings: so many bytes each from the start of the arena, below the first block.
const RING_SPACE: u64 = 0x4000;
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;

/// An arena and which of its blocks are free.
pub(super) struct Arena {
    memory: GuestMemory,
    /// The last one given back is the next to be used: few are ever touched where few are in use.
    free: Vec<u16>,
}

impl Arena {
    /// An arena, of which nothing is resident before it is touched.
    ///
    /// # Errors
    /// The host refuses the memory.
    pub(super) fn new() -> Result<Self, MemoryError> {
        let bytes = address(BLOCKS).0;
        let mut arena = Self { memory: memory::allocate_file(bytes)?, free: Vec::new() };
        arena.free_all();
        Ok(arena)
    }

    /// What the backend is given.
    pub(super) fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// The rings of a queue, without an entry.
    pub(super) fn empty_rings(&self, queue: u64) -> Result<Rings, GuestMemoryError> {
        let start = queue * RING_SPACE;
        let rings = Rings { descriptors: start, available: start + AVAILABLE, used: start + USED };
        for ring in [rings.available, rings.used] {
            self.memory.write_obj(0_u32, GuestAddress(ring))?;
        }
        Ok(rings)
    }

    /// How many blocks a request takes with so many bytes to be read and to be written, which lie in blocks of their own;
    /// `None`: it has no bytes or too many.
    pub(super) fn needed(readable: usize, writable: usize) -> Option<usize> {
        let all = readable.checked_add(writable).filter(|all| (1..=LONGEST).contains(all));
        all.map(|_| readable.div_ceil(BLOCK) + writable.div_ceil(BLOCK))
    }

    /// Takes so many blocks, or none where fewer are free.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<u16>> {
        let keep = self.free.len().checked_sub(count)?;
        let mut blocks = self.free.split_off(keep);
        blocks.reverse();
        Some(blocks)
    }

    /// Gives blocks back.
    pub(super) fn give_back(&mut self, blocks: Vec<u16>) {
        self.free.extend(blocks.into_iter().rev());
    }

    /// Gives all blocks back.
    pub(super) fn free_all(&mut self) {
        self.free = (0..BLOCKS).rev().collect();
    }

    /// The first `len` bytes of a block, or all.
    pub(super) fn bytes(&self, block: u16, len: usize) -> Result<VolatileSlice<'_>, GuestMemoryError> {
        self.memory.get_slice(address(block), len.min(BLOCK))
    }

    /// Writes the descriptor of a block: its first `len` bytes, and the block that comes behind it.
    pub(super) fn describe(
        &self,
        rings: Rings,
        block: u16,
        len: usize,
        writable: bool,
        next: Option<u16>,
    ) -> Result<(), GuestMemoryError> {
        let flags = if writable { WRITE } else { 0 } | next.map_or(0, |_| NEXT);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let descriptor = Descriptor::new(address(block).0, len, flags, next.unwrap_or(0));
        self.memory.write_obj(descriptor, GuestAddress(rings.descriptors + 16 * u64::from(block)))
    }
}

/// Where a block is in the arena.
fn address(block: u16) -> GuestAddress {
    GuestAddress((u64::from(block) + 1) * BLOCK as u64)
}
