//! The initramfs in guest memory: newc archives one behind the other, which Linux unpacks in order
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! `kcradle` gives the runtime package's archive as a file and the pod's own small one as bytes.

use std::fs::File;
use std::io;

use vm_memory::{Bytes, GuestAddress};

use super::kernel::low_memory_end;
use crate::memory::GuestMemory;
use crate::memory::file_pages::{self, PlaceError, Placed};

/// An archive of the initramfs.
#[derive(Debug)]
pub enum InitrdPart {
    /// A whole file.
    File(File),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The initramfs cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum InitrdError {
    /// The file's size cannot be had.
    #[error("cannot take the size of part {index} of the initramfs")]
    Size {
        /// Number of the part, from 0.
        index: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no room between the kernel and the end of low memory.
    #[error("initramfs of {size} bytes does not fit behind the kernel, which leaves {room} bytes")]
    TooLarge {
        /// Bytes of all parts.
        size: u64,
        /// Bytes there are.
        room: u64,
    },
    /// A file cannot be put into guest memory.
    #[error("cannot load part {index} of the initramfs")]
    Place {
        /// Number of the part, from 0.
        index: usize,
        /// Why.
        #[source]
        source: PlaceError,
    },
    /// Bytes cannot be written to guest memory.
    #[error("cannot write part {index} of the initramfs")]
    Write {
        /// Number of the part, from 0.
        index: usize,
        /// Why.
        #[source]
        source: vm_memory::GuestMemoryError,
    },
}

/// Where the initramfs is in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initrd {
    /// First guest physical address, a multiple of 4096.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// How they came into memory.
    pub placed: Placed,
}

/// Each archive starts at a multiple of this many bytes.
const PART_ALIGN: u64 = 4;
const PAGE: u64 = 4096;

/// Loads `parts` at the top of low memory, above `kernel_end`; `None` where they hold nothing.
///
/// # Errors
/// See [`InitrdError`].
pub fn load(
    memory: &GuestMemory,
    kernel_end: u64,
    parts: &[InitrdPart],
) -> Result<Option<Initrd>, InitrdError> {
    let sizes: Vec<u64> = parts.iter().enumerate().map(part_size).collect::<Result<_, _>>()?;
    let mut offsets = Vec::with_capacity(sizes.len());
    let mut end = 0_u64;
    for size in &sizes {
        let offset = end.next_multiple_of(PART_ALIGN);
        offsets.push(offset);
        end = offset.saturating_add(*size).min(u64::MAX - PAGE);
    }
    if end == 0 {
        return Ok(None);
    }
    let room = low_memory_end(memory).saturating_sub(kernel_end.next_multiple_of(PAGE));
    if end.next_multiple_of(PAGE) > room {
        return Err(InitrdError::TooLarge { size: end, room });
    }
    let address = low_memory_end(memory) - end.next_multiple_of(PAGE);
    let mut placed = Placed::default();
    for (index, part) in parts.iter().enumerate() {
        placed += place(memory, address + offsets[index], (index, part), sizes[index])?;
    }
    Ok(Some(Initrd { address, size: end, placed }))
}

fn part_size((index, part): (usize, &InitrdPart)) -> Result<u64, InitrdError> {
    match part {
        InitrdPart::File(file) => file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|source| InitrdError::Size { index, source }),
        InitrdPart::Bytes(bytes) => Ok(bytes.len() as u64),
    }
}

fn place(
    memory: &GuestMemory,
    at: u64,
    (index, part): (usize, &InitrdPart),
    size: u64,
) -> Result<Placed, InitrdError> {
    match part {
        InitrdPart::File(file) => file_pages::place(memory, at, file, 0, size)
            .map_err(|source| InitrdError::Place { index, source }),
        InitrdPart::Bytes(bytes) => memory
            .write_slice(bytes, GuestAddress(at))
            .map(|()| Placed { mapped: 0, copied: size })
            .map_err(|source| InitrdError::Write { index, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::allocate;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> InitrdPart {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        InitrdPart::File(file)
    }

    #[test]
    fn parts_follow_each_other_aligned_at_the_top_of_low_memory() {
        let memory = allocate(64).unwrap();
        let parts = [file_of(b"07070"), InitrdPart::Bytes(b"second".to_vec()), file_of(b"third")];
        let initrd = load(&memory, 0x200_0000, &parts).unwrap().unwrap();
        assert_eq!((initrd.address, initrd.size), ((64 << 20) - 4096, 21));
        let mut found = [0; 22];
        memory.read_slice(&mut found, GuestAddress(initrd.address)).unwrap();
        assert_eq!(&found, b"07070\0\0\0second\0\0third\0");
    }

    #[test]
    fn pages_of_the_first_file_are_mapped_and_the_next_part_follows_it() {
        let memory = allocate(64).unwrap();
        let content = vec![7; 3 * 4096 + 5];
        let parts = [file_of(&content), InitrdPart::Bytes(b"second".to_vec())];
        let initrd = load(&memory, 0x200_0000, &parts).unwrap().unwrap();
        assert_eq!(initrd.placed, Placed { mapped: 3 * 4096, copied: 5 + 6 });
        let mut found = vec![0; 4 * 4096];
        memory.read_slice(&mut found, GuestAddress(initrd.address)).unwrap();
        assert_eq!(found[..content.len()], content);
        assert_eq!(&found[content.len()..content.len() + 10], b"\0\0\0second\0");
    }

    #[test]
    fn it_stays_below_the_hole() {
        let memory = allocate(5 * 1024).unwrap();
        let initrd = load(&memory, 0x200_0000, &[InitrdPart::Bytes(vec![1; 5000])]).unwrap().unwrap();
        assert_eq!(initrd.address, crate::memory::HOLE_START - 8192);
    }

    #[test]
    fn nothing_loads_nothing() {
        let memory = allocate(64).unwrap();
        assert_eq!(load(&memory, 0x200_0000, &[]).unwrap(), None);
        assert_eq!(load(&memory, 0x200_0000, &[file_of(b"")]).unwrap(), None);
    }

    #[test]
    fn one_byte_too_many_is_refused() {
        let memory = allocate(64).unwrap();
        let kernel_end = (64 << 20) - 8192;
        load(&memory, kernel_end, &[InitrdPart::Bytes(vec![1; 8192])]).unwrap();
        let too_large = load(&memory, kernel_end, &[InitrdPart::Bytes(vec![1; 8193])]);
        assert!(matches!(too_large, Err(InitrdError::TooLarge { size: 8193, room: 8192 })));
        let sparse = tempfile::tempfile().unwrap();
        sparse.set_len(1 << 42).unwrap();
        let too_large = load(&memory, kernel_end, &[InitrdPart::File(sparse)]);
        assert!(matches!(too_large, Err(InitrdError::TooLarge { .. })));
    }
}
