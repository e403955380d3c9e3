//! One queue of the guest and its counterpart in the arena: requests are copied there, answers from there. The backend may be
//! hostile, once a guest has taken it over: it is believed in nothing but the bytes of an answer.

use std::num::Wrapping;
use std::sync::atomic::Ordering;

use vm_memory::{Bytes as _, GuestAddress, GuestMemoryError};
use vmm_sys_util::eventfd::EventFd;

use super::arena::{Arena, BLOCK, BLOCKS};
use crate::memory::GuestMemory;
use crate::virtio::{Buffers, DeviceError, KeptChain, Rings, Taken, Virtqueue};

/// A queue that runs.
pub(super) struct Relay {
    guest: Virtqueue,
    rings: Rings,
    next_available: Wrapping<u16>,
    next_used: Wrapping<u16>,
    /// What the backend has, by the first block.
    asked: Vec<Option<Asked>>,
    /// A request waits for blocks.
    pub(super) waits: bool,
}

/// A request that the backend has.
struct Asked {
    /// The guest's first descriptor.
    head: u16,
    chain: KeptChain,
    blocks: Vec<u16>,
    /// How many of the blocks are for the request; the answer's come after them.
    readable: usize,
}

/// Why a request is not passed on.
enum Refused {
    /// It makes no sense, and goes back with nothing written.
    Broken,
    /// There are not enough blocks.
    NoRoom,
}

impl Relay {
    /// A relay between `guest` and empty rings.
    pub(super) fn new(guest: Virtqueue, rings: Rings) -> Self {
        let asked = (0..BLOCKS).map(|_| None).collect();
        Self { guest, rings, next_available: Wrapping(0), next_used: Wrapping(0), asked, waits: false }
    }

    /// The rings that the backend uses.
    pub(super) fn rings(&self) -> Rings {
        self.rings
    }

    /// Passes the guest's requests on, as many as there is room for.
    ///
    /// # Errors
    /// The driver broke the ring, or the backend cannot be told.
    pub(super) fn ask(
        &mut self,
        memory: &GuestMemory,
        arena: &mut Arena,
        kick: &EventFd,
    ) -> Result<(), DeviceError> {
        let Self { guest, rings, next_available, asked, waits, .. } = self;
        let (size, before) = (guest.size(), *next_available);
        *waits = false;
        let mut failed = None;
        guest.take_some(size, memory, |descriptors| {
            let head = descriptors.head_index();
            let passed = KeptChain::new(descriptors, size)
                .map_err(|_| Refused::Broken)
                .and_then(|chain| copy_request(memory, arena, *rings, head, chain));
            let request = match passed {
                Ok(request) => request,
                Err(Refused::Broken) => return Taken::Done(0),
                Err(Refused::NoRoom) => {
                    *waits = true;
                    return Taken::Back;
                }
            };
            let first = request.blocks.first().copied().unwrap_or_default();
            let entry = rings.available + 4 + 2 * u64::from(next_available.0 % BLOCKS);
            failed = arena.memory().write_obj(first.to_le(), GuestAddress(entry)).err().or(failed.take());
            *next_available += 1;
            asked[usize::from(first)] = Some(request);
            Taken::Kept
        })?;
        if let Some(source) = failed {
            return Err(DeviceError::Arena(source));
        }
        if *next_available == before {
            return Ok(());
        }
        let index = GuestAddress(rings.available + 2);
        arena
            .memory()
            .store(next_available.0.to_le(), index, Ordering::Release)
            .map_err(DeviceError::Arena)?;
        kick.write(1).map_err(|source| DeviceError::Wait { what: "the share's process", source })
    }

    /// Hands answers over to the guest.
    ///
    /// # Errors
    /// The driver broke the ring, or the backend broke its own.
    pub(super) fn answer(&mut self, memory: &GuestMemory, arena: &mut Arena) -> Result<(), DeviceError> {
        let index = GuestAddress(self.rings.used + 2);
        let index = arena.memory().load::<u16>(index, Ordering::Acquire).map_err(DeviceError::Arena)?;
        while self.next_used.0 != u16::from_le(index) {
            let entry = GuestAddress(self.rings.used + 4 + 8 * u64::from(self.next_used.0 % BLOCKS));
            let [first, len] = arena.memory().read_obj::<[u32; 2]>(entry).map_err(DeviceError::Arena)?;
            let asked = self.asked.get_mut(u32::from_le(first) as usize).and_then(Option::take);
            // Each answer takes its request with it, so a lying index ends here.
            let Asked { head, chain, blocks, readable } = asked.ok_or(DeviceError::BackendLies)?;
            let written = match chain.chain(memory) {
                Ok(chain) => {
                    copy_answer(arena, &blocks[readable..], u32::from_le(len) as usize, chain.writable)
                        .map_err(DeviceError::Arena)?
                }
                Err(_) => 0,
            };
            arena.give_back(blocks);
            self.guest.push_used(memory, head, u32::try_from(written).unwrap_or(u32::MAX))?;
            self.next_used += 1;
        }
        self.guest.notify(memory)
    }
}

/// Copies a request to blocks, and describes these.
fn copy_request(
    memory: &GuestMemory,
    arena: &mut Arena,
    rings: Rings,
    head: u16,
    kept: KeptChain,
) -> Result<Asked, Refused> {
    let chain = kept.chain(memory).map_err(|_| Refused::Broken)?;
    let (mut request, writable) = (chain.readable, chain.writable.len());
    let readable = request.len().div_ceil(BLOCK);
    let needed = Arena::needed(request.len(), writable).ok_or(Refused::Broken)?;
    let blocks = arena.take(needed).ok_or(Refused::NoRoom)?;
    let described = fill(arena, rings, &blocks, &mut request, writable);
    described.map_err(|_| Refused::Broken)?;
    Ok(Asked { head, chain: kept, blocks, readable })
}

/// Fills blocks with a request, and describes them and those for so many bytes of its answer.
fn fill(
    arena: &Arena,
    rings: Rings,
    blocks: &[u16],
    request: &mut Buffers<'_>,
    mut writable: usize,
) -> Result<(), GuestMemoryError> {
    for (index, block) in blocks.iter().enumerate() {
        let is_answer = request.is_empty();
        let len = if is_answer {
            let len = writable.min(BLOCK);
            writable -= len;
            len
        } else {
            request.copy_to(&arena.bytes(*block, request.len())?)
        };
        arena.describe(rings, *block, len, is_answer, blocks.get(index + 1).copied())?;
    }
    Ok(())
}

/// Copies the first `len` bytes of an answer; tells how many fitted.
fn copy_answer(
    arena: &Arena,
    blocks: &[u16],
    len: usize,
    mut to: Buffers<'_>,
) -> Result<usize, GuestMemoryError> {
    let mut left = len.min(to.len());
    let written = left;
    for block in blocks {
        if left == 0 {
            break;
        }
        left -= to.copy_from(&arena.bytes(*block, left)?);
    }
    Ok(written - left)
}
