//! Loading the kernel: an uncompressed 64-bit ELF (`vmlinux`), at the physical addresses it names.
//!
//! The file comes from the runtime package; a damaged or wrong one is refused with its reason.

use std::fs::File;

use vm_memory::GuestMemoryBackend;

use super::elf::{self, ElfError, Segment};
use super::layout;
use crate::memory::file_pages::{self, PlaceError, Placed};
use crate::memory::huge_pages;
use crate::memory::{GuestMemory, HOLE_START};

/// The kernel cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The headers are not a kernel's.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A segment has more bytes in the file than in memory.
    #[error("kernel's segment at {address:#x} has {file_len} bytes in the file and {memory_len} in memory")]
    SegmentSize {
        /// Physical address.
        address: u64,
        /// Bytes in the file.
        file_len: u64,
        /// Bytes in memory.
        memory_len: u64,
    },
    /// A segment reaches out of RAM.
    #[error("kernel's segment at {address:#x}+{memory_len:#x} is beyond the end of low memory at {limit:#x}")]
    TooLarge {
        /// Physical address.
        address: u64,
        /// Bytes in memory.
        memory_len: u64,
        /// First address behind RAM below the hole.
        limit: u64,
    },
    /// The entry point lies outside of the kernel.
    #[error("kernel's entry point {entry:#x} is not between {:#x} and its end {end:#x}", layout::HIGH_MEMORY)]
    Entry {
        /// The entry point.
        entry: u64,
        /// First address behind the kernel.
        end: u64,
    },
    /// A segment cannot be put where it belongs.
    #[error("cannot load the kernel's segment at {address:#x}")]
    Load {
        /// Physical address.
        address: u64,
        /// Why.
        #[source]
        source: PlaceError,
    },
}

/// A kernel in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Physical address of the 64-bit entry point.
    pub entry: u64,
    /// First physical address behind the kernel, its bss included.
    pub end: u64,
    /// How its bytes came into memory.
    pub placed: Placed,
}

/// Puts the kernel's segments into `memory`, which holds zeros.
///
/// # Errors
/// See [`KernelError`]; `memory` may hold a part of the kernel then.
pub fn load(memory: &GuestMemory, file: &File) -> Result<Kernel, KernelError> {
    let image = elf::read(file)?;
    let limit = low_memory_end(memory);
    let mut end = 0;
    for segment in &image.segments {
        end = end.max(segment_end(segment, limit)?);
    }
    let entry = image.entry;
    if !(layout::HIGH_MEMORY..end).contains(&entry) {
        return Err(KernelError::Entry { entry, end });
    }
    let mut placed = Placed::default();
    for Segment { address, offset, file_len, memory_len, writable } in image.segments {
        let put = if writable {
            // Nearly all of its pages are written while booting: one copy is less than a fault and a copy a page.
            huge_pages::allow_at(memory, address..address + memory_len);
            file_pages::copy
        } else {
            file_pages::place
        };
        placed += put(memory, address, file, offset, file_len)
            .map_err(|source| KernelError::Load { address, source })?;
    }
    Ok(Kernel { entry, end, placed })
}

/// The first address behind a segment that fits below `limit`.
fn segment_end(segment: &Segment, limit: u64) -> Result<u64, KernelError> {
    let Segment { address, file_len, memory_len, .. } = *segment;
    if file_len > memory_len {
        return Err(KernelError::SegmentSize { address, file_len, memory_len });
    }
    let end = address.checked_add(memory_len).filter(|end| *end <= limit);
    end.ok_or(KernelError::TooLarge { address, memory_len, limit })
}

/// First address behind the RAM below the hole.
pub(crate) fn low_memory_end(memory: &GuestMemory) -> u64 {
    (memory.last_addr().0 + 1).min(HOLE_START)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::allocate;
    use std::io::Write;
    use vm_memory::{Bytes, GuestAddress};

    /// A small ELF executable with one segment of `code` at `address`.
    fn elf(address: u64, code: &[u8], memory_size: u64) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(2_u16.to_le_bytes());
        file.extend(62_u16.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(address.to_le_bytes());
        file.extend(64_u64.to_le_bytes());
        file.extend([0; 12]);
        for half in [64_u16, 56, 1, 0, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        file.extend(1_u32.to_le_bytes());
        file.extend(5_u32.to_le_bytes());
        for word in [120, address, address, code.len() as u64, memory_size, 0x1000] {
            file.extend(word.to_le_bytes());
        }
        file.extend(code);
        file
    }

    fn load_bytes(bytes: &[u8]) -> Result<Kernel, KernelError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        load(&allocate(64).unwrap(), &file)
    }

    #[test]
    fn segments_land_where_they_say() {
        let memory = allocate(64).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&elf(0x100_0000, b"hello", 0x3000)).unwrap();
        let kernel = load(&memory, &file).unwrap();
        assert_eq!((kernel.entry, kernel.end), (0x100_0000, 0x100_3000));
        let mut found = [0; 6];
        memory.read_slice(&mut found, GuestAddress(0x100_0000)).unwrap();
        assert_eq!(&found, b"hello\0");
    }

    #[test]
    fn what_the_kernel_writes_to_is_copied_and_the_rest_mapped() {
        let place = |flags: u8| {
            let mut bytes = elf(0x100_0000, &[0x90; 4096 - 120], 0x3000);
            bytes[64 + 4] = flags;
            bytes[64 + 8..64 + 16].fill(0); // The segment starts with the file, on a page of it.
            bytes[64 + 32..64 + 40].copy_from_slice(&4096_u64.to_le_bytes());
            load_bytes(&bytes).unwrap().placed
        };
        assert_eq!(place(5), Placed { mapped: 4096, copied: 0 });
        assert_eq!(place(6), Placed { mapped: 0, copied: 4096 });
        assert_eq!(place(7), Placed { mapped: 0, copied: 4096 });
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        assert!(matches!(load_bytes(b""), Err(KernelError::Elf(ElfError::ReadHeader(_)))));
        assert!(matches!(load_bytes(&[0x4d; 4096]), Err(KernelError::Elf(ElfError::NotElf))));
        for (offset, value) in [(4, 1), (5, 2), (16, 3), (18, 183)] {
            let mut bytes = elf(0x100_0000, b"x", 1);
            bytes[offset] = value;
            let loaded = load_bytes(&bytes);
            assert!(matches!(loaded, Err(KernelError::Elf(ElfError::WrongMachine { .. }))), "{offset}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = elf(0x100_0000, &[0x90; 64], 64);
        for len in 0..whole.len() {
            assert!(load_bytes(&whole[..len]).is_err(), "{len}");
        }
        load_bytes(&whole).unwrap();
    }

    #[test]
    fn segments_out_of_memory_are_errors() {
        for (address, memory_len) in [
            (64 << 20, 1),
            (0x100_0000, 64 << 20),
            (HOLE_START, 1),
            (u64::MAX, 1),
            (u64::MAX - 4, 10),
            (0x100_0000, u64::MAX),
        ] {
            let loaded = load_bytes(&elf(address, b"x", memory_len));
            assert!(matches!(loaded, Err(KernelError::TooLarge { .. })), "{address:#x} {memory_len:#x}");
        }
        assert!(matches!(load_bytes(&elf(0x1000, b"x", 1)), Err(KernelError::Entry { .. })));
        let loaded = load_bytes(&elf(0x100_0000, b"xyz", 2));
        assert!(matches!(loaded, Err(KernelError::SegmentSize { file_len: 3, memory_len: 2, .. })));
    }

    #[test]
    fn hostile_headers_are_errors() {
        let mut far_headers = elf(0x100_0000, b"x", 1);
        far_headers[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(load_bytes(&far_headers).is_err());
        let mut many_headers = elf(0x100_0000, b"x", 1);
        many_headers[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
        assert!(load_bytes(&many_headers).is_err());
        let mut entry_elsewhere = elf(0x100_0000, b"x", 1);
        entry_elsewhere[24..32].copy_from_slice(&0x200_0000_u64.to_le_bytes());
        assert!(matches!(load_bytes(&entry_elsewhere), Err(KernelError::Entry { .. })));
    }
}
