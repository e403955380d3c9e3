//! The buffers for frames that a driver has made available and that no frame has filled yet, in order.
//!
//! They are taken out of the queue ahead of the frames, whose lengths nobody tells before they are read.

use std::collections::VecDeque;

use vm_memory::GuestAddress;

use super::header::HEADER_LEN;
use crate::memory::GuestMemory;
use crate::virtio::{Buffers, ChainError, Descriptors, MAX_SLICES, UsedChain, check, walk};

/// Descriptor chains to be filled.
#[derive(Debug, Default)]
pub(super) struct Window {
    chains: VecDeque<WindowChain>,
    parts: VecDeque<Part>,
    len: usize,
}

#[derive(Debug)]
struct WindowChain {
    head: u16,
    len: usize,
    parts: usize,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    address: GuestAddress,
    len: u32,
}

impl Window {
    /// Bytes that fit the next frame: one chain takes it, or as many as there are.
    pub(super) fn room(&self, mergeable: bool) -> usize {
        if mergeable { self.len } else { self.chains.front().map_or(0, |chain| chain.len) }
    }

    /// Adds a chain; false for one that can take no frame, which is not added.
    pub(super) fn add(&mut self, memory: &GuestMemory, descriptors: Descriptors<'_>, max_len: u16) -> bool {
        let head = descriptors.head_index();
        let (before, mut len) = (self.parts.len(), 0);
        let walked = walk(descriptors, max_len, |writable, address, part_len| {
            if !writable {
                return Err(ChainError::Order);
            }
            check(memory, address, part_len)?;
            len += part_len as usize;
            self.parts.push_back(Part { address, len: part_len });
            Ok(())
        });
        if walked.is_err() || len < HEADER_LEN {
            self.parts.truncate(before);
            return false;
        }
        self.chains.push_back(WindowChain { head, len, parts: self.parts.len() - before });
        self.len += len;
        true
    }

    /// The memory of the next frame, at most `room` bytes, in as few pieces as one system call takes beside another
    /// one.
    pub(super) fn front<'m>(&self, memory: &'m GuestMemory, room: usize) -> Buffers<'m> {
        self.buffers(memory, room, MAX_SLICES - 1)
    }

    /// The first `room` bytes.
    pub(super) fn all<'m>(&self, memory: &'m GuestMemory, room: usize) -> Buffers<'m> {
        self.buffers(memory, room, usize::MAX)
    }

    fn buffers<'m>(&self, memory: &'m GuestMemory, room: usize, pieces: usize) -> Buffers<'m> {
        let mut buffers = Buffers::with_capacity(self.parts.len().min(MAX_SLICES).min(room));
        for part in &self.parts {
            let left = room.saturating_sub(buffers.len());
            if left == 0 || buffers.pieces() >= pieces {
                break;
            }
            let len = part.len.min(u32::try_from(left).unwrap_or(u32::MAX));
            if buffers.append(memory, part.address, len).is_err() {
                break;
            }
        }
        buffers
    }

    /// Takes the chains off that a frame of `len` bytes fills and writes what the driver is told of them to `used`.
    pub(super) fn fill(&mut self, mut len: usize, used: &mut Vec<UsedChain>) {
        used.clear();
        while len > 0 {
            let Some(chain) = self.chains.pop_front() else { break };
            let written = len.min(chain.len);
            used.push(UsedChain { head: chain.head, written: u32::try_from(written).unwrap_or(u32::MAX) });
            for _ in 0..chain.parts {
                self.parts.pop_front();
            }
            self.len -= chain.len;
            len -= written;
        }
    }
}
