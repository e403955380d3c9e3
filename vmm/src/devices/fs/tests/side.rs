//! A queue as the backend has it: rings and requests in the memory that it shares with the device.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use super::{BLOCKS, Common};

/// A queue as the backend has it.
pub(super) struct Side<'a> {
    pub(super) common: &'a Common,
    /// Descriptors, used and available ring in the common memory.
    pub(super) rings: [u64; 3],
    pub(super) kick: OwnedFd,
    pub(super) call: OwnedFd,
    pub(super) taken: u16,
    pub(super) answered: u16,
}

/// A request that the backend has taken.
pub(super) struct Taken {
    pub(super) first: u16,
    pub(super) request: Vec<u8>,
    /// Where the answer goes.
    pub(super) room: Vec<(u64, usize)>,
}

impl Side<'_> {
    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.common.file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    pub(super) fn half(&self, offset: u64) -> u16 {
        u16::from_le_bytes(self.read(offset, 2).try_into().unwrap())
    }

    /// Whether it was told of requests since the last call.
    pub(super) fn is_told(&self) -> bool {
        rustix::io::read(&self.kick, &mut [0; 8]).is_ok()
    }

    pub(super) fn take(&mut self) -> Option<Taken> {
        let [descriptors, _, available] = self.rings;
        if self.half(available + 2) == self.taken {
            return None;
        }
        let first = self.half(available + 4 + 2 * u64::from(self.taken % BLOCKS));
        self.taken = self.taken.wrapping_add(1);
        let mut taken = Taken { first, request: Vec::new(), room: Vec::new() };
        let mut index = first;
        loop {
            let descriptor = self.read(descriptors + 16 * u64::from(index), 16);
            let address = u64::from_le_bytes(descriptor[..8].try_into().unwrap());
            let len = u32::from_le_bytes(descriptor[8..12].try_into().unwrap()) as usize;
            match descriptor[12] & 2 {
                0 => taken.request.extend(self.read(address, len)),
                _ => taken.room.push((address, len)),
            }
            if descriptor[12] & 1 == 0 {
                return Some(taken);
            }
            index = u16::from_le_bytes(descriptor[14..].try_into().unwrap());
        }
    }

    /// Puts an entry into the used ring, whatever it is.
    pub(super) fn put_used(&mut self, first: u32, len: u32) {
        let used = self.rings[1];
        let entry = [first, len].map(u32::to_le_bytes).concat();
        self.common.file.write_all_at(&entry, used + 4 + 8 * u64::from(self.answered % BLOCKS)).unwrap();
        self.answered = self.answered.wrapping_add(1);
        self.common.file.write_all_at(&self.answered.to_le_bytes(), used + 2).unwrap();
    }

    pub(super) fn answer(&mut self, taken: &Taken, bytes: &[u8]) {
        let mut rest = bytes;
        for (address, len) in &taken.room {
            let (now, then) = rest.split_at(rest.len().min(*len));
            self.common.file.write_all_at(now, *address).unwrap();
            rest = then;
        }
        self.put_used(taken.first.into(), u32::try_from(bytes.len()).unwrap());
    }

    /// Says that there are answers.
    pub(super) fn tell(&self) {
        rustix::io::write(&self.call, &1u64.to_ne_bytes()).unwrap();
    }
}
