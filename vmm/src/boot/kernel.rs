//! Loading the kernel: an uncompressed 64-bit ELF (`vmlinux`), copied to the physical addresses it names.
//!
//! The file comes from the runtime package; a damaged or wrong one is refused with its reason.

use std::fs::File;
use std::io::{self, Read, Seek};

use linux_loader::loader::{Elf, KernelLoader};
use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::layout;
use crate::memory::{GuestMemory, HOLE_START};

/// The kernel cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The header cannot be read.
    #[error("cannot read the kernel's ELF header")]
    ReadHeader(#[source] io::Error),
    /// The file is something else.
    #[error("kernel is no ELF file (a bzImage must be unpacked to its vmlinux)")]
    NotElf,
    /// The file is an ELF for another machine.
    #[error("kernel is no 64-bit x86 ELF executable (class {class}, type {kind}, machine {machine})")]
    WrongMachine {
        /// `EI_CLASS`: 2 is 64-bit.
        class: u8,
        /// `e_type`: 2 is an executable.
        kind: u16,
        /// `e_machine`: 62 is x86-64.
        machine: u16,
    },
    /// A segment does not fit the file or the memory.
    #[error("cannot load the kernel's segments")]
    Load(#[source] linux_loader::loader::Error),
    /// The segments' end lies outside of RAM.
    #[error("kernel ends at {end:#x}, beyond the end of low memory at {limit:#x}")]
    TooLarge {
        /// First address behind the kernel.
        end: u64,
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
}

/// A kernel in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Physical address of the 64-bit entry point.
    pub entry: u64,
    /// First physical address behind the kernel, its bss included.
    pub end: u64,
}

/// Copies the kernel's segments into `memory`.
///
/// # Errors
/// See [`KernelError`]; `memory` may hold a part of the kernel then.
pub fn load(memory: &GuestMemory, file: &mut File) -> Result<Kernel, KernelError> {
    check_header(file)?;
    let loaded =
        Elf::load(memory, None, file, Some(GuestAddress(layout::HIGH_MEMORY))).map_err(KernelError::Load)?;
    let (entry, end) = (loaded.kernel_load.0, loaded.kernel_end);
    let limit = low_memory_end(memory);
    if end > limit {
        return Err(KernelError::TooLarge { end, limit });
    }
    if !(layout::HIGH_MEMORY..end).contains(&entry) {
        return Err(KernelError::Entry { entry, end });
    }
    Ok(Kernel { entry, end })
}

/// First address behind the RAM below the hole.
pub(super) fn low_memory_end(memory: &GuestMemory) -> u64 {
    (memory.last_addr().0 + 1).min(HOLE_START)
}

/// Refuses what the loader would take or would name badly.
fn check_header(file: &mut File) -> Result<(), KernelError> {
    let mut header = [0; 20];
    file.rewind().and_then(|()| file.read_exact(&mut header)).map_err(KernelError::ReadHeader)?;
    if header[..4] != *b"\x7fELF" {
        return Err(KernelError::NotElf);
    }
    let class = header[4];
    let kind = u16::from_le_bytes([header[16], header[17]]);
    let machine = u16::from_le_bytes([header[18], header[19]]);
    if (class, kind, machine) != (2, 2, 62) {
        return Err(KernelError::WrongMachine { class, kind, machine });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::allocate;
    use std::io::Write;
    use vm_memory::Bytes;

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
        load(&allocate(64).unwrap(), &mut file)
    }

    #[test]
    fn segments_land_where_they_say() {
        let memory = allocate(64).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&elf(0x100_0000, b"hello", 0x3000)).unwrap();
        assert_eq!(load(&memory, &mut file).unwrap(), Kernel { entry: 0x100_0000, end: 0x100_3000 });
        let mut found = [0; 6];
        memory.read_slice(&mut found, GuestAddress(0x100_0000)).unwrap();
        assert_eq!(&found, b"hello\0");
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        assert!(matches!(load_bytes(b""), Err(KernelError::ReadHeader(_))));
        assert!(matches!(load_bytes(&[0x4d; 4096]), Err(KernelError::NotElf)));
        for (offset, value) in [(4, 1), (16, 3), (18, 183)] {
            let mut bytes = elf(0x100_0000, b"x", 1);
            bytes[offset] = value;
            assert!(matches!(load_bytes(&bytes), Err(KernelError::WrongMachine { .. })), "{offset}");
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
        assert!(matches!(load_bytes(&elf(64 << 20, b"x", 1)), Err(KernelError::Load(_))));
        assert!(matches!(load_bytes(&elf(0x100_0000, b"x", 64 << 20)), Err(KernelError::TooLarge { .. })));
        assert!(load_bytes(&elf(u64::MAX - 4, b"0123456789", 10)).is_err());
        assert!(load_bytes(&elf(0x100_0000, b"x", u64::MAX)).is_err());
        assert!(load_bytes(&elf(0x1000, b"x", 1)).is_err());
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
