//! Bytes of a file in guest memory, without copying them where that can be: whole pages are private mappings of the
//! host's page cache, which all pods with the same file share until they write to a page. What does not lie on page
//! bounds is copied. Called by `boot` for the kernel and the initramfs.
//!
//! A file that is rewritten changes what its pages hold, and one that becomes shorter is no longer behind them: the
//! guest's next touch ends it with an error of KVM_RUN, the VMM's own touch is a `SIGBUS`. So files that are placed must
//! be replaced by renaming (docs/boot.md).
#![expect(unsafe_code, reason = "maps pages of a file over guest memory")]

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::ops::AddAssign;
use std::os::fd::AsRawFd as _;

use vm_memory::{Bytes as _, GuestAddress, GuestMemoryBackend as _, GuestMemoryError, VolatileSlice};

use super::GuestMemory;

/// Bytes in a page of the host and of the guest.
const PAGE: u64 = 4096;

/// A file's bytes cannot be had in guest memory.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The file's size cannot be had.
    #[error("cannot take the file's size")]
    Size(#[source] io::Error),
    /// The file ends before the bytes do.
    #[error("the file has {file_len} bytes, not {len} at {offset:#x}")]
    Short {
        /// Bytes of the file.
        file_len: u64,
        /// First byte wanted.
        offset: u64,
        /// Bytes wanted.
        len: u64,
    },
    /// The bytes would lie outside of RAM.
    #[error("guest memory has no {len} bytes at {address:#x}")]
    Address {
        /// First guest physical address.
        address: u64,
        /// Bytes.
        len: u64,
        /// Why.
        #[source]
        source: GuestMemoryError,
    },
    /// mmap(2) failed.
    #[error("cannot map the file at {address:#x}")]
    Map {
        /// First guest physical address.
        address: u64,
        /// What mmap said.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
}

/// How bytes came into guest memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Bytes in pages that are mapped.
    pub mapped: u64,
    /// Bytes that were copied.
    pub copied: u64,
}

impl AddAssign for Placed {
    fn add_assign(&mut self, other: Self) {
        self.mapped += other.mapped;
        self.copied += other.copied;
    }
}

/// Puts `len` bytes of `file`, from byte `offset`, at guest physical `address`.
///
/// # Errors
/// See [`PlaceError`]; a part of the bytes may be there then.
pub fn place(
    memory: &GuestMemory,
    address: u64,
    file: &File,
    offset: u64,
    len: u64,
) -> Result<Placed, PlaceError> {
    check_length(file, offset, len)?;
    let pages = whole_pages(address, offset, len);
    let (from, to) = pages.unwrap_or((0, 0));
    read(memory, address, file, offset, from)?;
    if pages.is_some() {
        let slice = slice(memory, address + from, to - from)?;
        map(&slice, file, offset + from)
            .map_err(|source| PlaceError::Map { address: address + from, source })?;
    }
    read(memory, address.saturating_add(to), file, offset + to, len - to)?;
    Ok(Placed { mapped: to - from, copied: len - (to - from) })
}

/// Copies `len` bytes of `file`, from byte `offset`, to guest physical `address`: for what the guest will write to.
///
/// # Errors
/// See [`PlaceError`]; a part of the bytes may be there then.
pub fn copy(
    memory: &GuestMemory,
    address: u64,
    file: &File,
    offset: u64,
    len: u64,
) -> Result<Placed, PlaceError> {
    check_length(file, offset, len)?;
    read(memory, address, file, offset, len)?;
    Ok(Placed { mapped: 0, copied: len })
}

fn check_length(file: &File, offset: u64, len: u64) -> Result<(), PlaceError> {
    let file_len = file.metadata().map_err(PlaceError::Size)?.len();
    match offset.checked_add(len) {
        Some(end) if end <= file_len => Ok(()),
        _ => Err(PlaceError::Short { file_len, offset, len }),
    }
}

/// The range of whole pages, of the file and of memory alike, among `len` bytes: first byte and the one behind.
fn whole_pages(address: u64, offset: u64, len: u64) -> Option<(u64, u64)> {
    if address % PAGE != offset % PAGE {
        return None;
    }
    let from = address.checked_next_multiple_of(PAGE)? - address;
    let end = address.checked_add(len)?;
    let to = (end - end % PAGE).checked_sub(address)?;
    (from < to).then_some((from, to))
}

fn slice(memory: &GuestMemory, address: u64, len: u64) -> Result<VolatileSlice<'_>, PlaceError> {
    let wrong = |source| PlaceError::Address { address, len, source };
    let count = usize::try_from(len)
        .map_err(|_| wrong(GuestMemoryError::InvalidGuestAddress(GuestAddress(address))))?;
    memory.get_slice(GuestAddress(address), count).map_err(wrong)
}

fn read(
    memory: &GuestMemory,
    address: u64,
    mut file: &File,
    offset: u64,
    len: u64,
) -> Result<(), PlaceError> {
    if len == 0 {
        return Ok(());
    }
    let count = slice(memory, address, len)?.len();
    file.seek(SeekFrom::Start(offset)).map_err(PlaceError::Read)?;
    memory
        .read_exact_volatile_from(GuestAddress(address), &mut file, count)
        .map_err(|error| PlaceError::Read(io::Error::other(error)))
}

/// Replaces the pages of `slice` by private mappings of the file's from byte `offset`; all are multiples of a page.
fn map(slice: &VolatileSlice<'_>, file: &File, offset: u64) -> io::Result<()> {
    let offset = libc::off64_t::try_from(offset).map_err(io::Error::other)?;
    let host = slice.ptr_guard_mut().as_ptr();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let len = slice.len();
    // SAFETY: whole pages of one region of guest memory become private memory with the same access, which is only ever
    // reached by volatile accesses and ends with the region's munmap(2). Others keep a shared region's own pages.
    let mapped = unsafe { libc::mmap64(host.cast(), len, protection, flags, file.as_raw_fd(), offset) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use crate::memory::{HOLE_END, HOLE_START, allocate};

    /// A file of `len` bytes, each page and byte of it different from its neighbours.
    fn file_of(len: usize) -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|at| u8::try_from((at / 4096 + at) % 251).unwrap() | 1).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    fn read(memory: &GuestMemory, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        memory.read_slice(&mut bytes, GuestAddress(address)).unwrap();
        bytes
    }

    #[test]
    fn whole_pages_are_mapped_and_the_rest_is_copied() {
        let (file, bytes) = file_of(5 * 4096);
        let cases = [
            // address, offset, len, mapped
            (0x10_0000, 0, 5 * 4096, 5 * 4096),
            (0x10_0000, 4096, 4096, 4096),
            (0x10_0000, 0, 4097, 4096),
            (0x10_0001, 1, 3 * 4096, 2 * 4096),
            (0x10_0ffe, 0xffe, 4, 0),
            (0x10_0ffe, 0xffe, 4098, 4096),
            (0x10_0000, 1, 3 * 4096, 0),
            (0x10_0000, 0, 4095, 0),
            (0x10_0000, 0, 0, 0),
        ];
        for (address, offset, len, mapped) in cases {
            let memory = allocate(64).unwrap();
            let placed = place(&memory, address, &file, offset, len).unwrap();
            assert_eq!(placed, Placed { mapped, copied: len - mapped }, "{address:#x} {offset:#x} {len:#x}");
            let (from, count) = (usize::try_from(offset).unwrap(), usize::try_from(len).unwrap());
            let found = read(&memory, address - 2, count + 4);
            assert_eq!(found[2..2 + count], bytes[from..from + count], "{address:#x} {offset:#x} {len:#x}");
            assert_eq!((&found[..2], &found[2 + count..]), (&[0; 2][..], &[0; 2][..]));
        }
    }

    #[test]
    fn writes_reach_neither_the_file_nor_another_machine() {
        let (file, bytes) = file_of(2 * 4096);
        let machines = [allocate(64).unwrap(), allocate(64).unwrap()];
        for memory in &machines {
            assert_eq!(place(memory, 0x100_0000, &file, 0, 8192).unwrap().mapped, 8192);
        }
        machines[0].write_slice(&[0; 8192], GuestAddress(0x100_0000)).unwrap();
        assert_eq!(read(&machines[0], 0x100_0000, 8192), vec![0; 8192]);
        assert_eq!(read(&machines[1], 0x100_0000, 8192), bytes);
        let mut kept = vec![0; 8192];
        file.read_exact_at(&mut kept, 0).unwrap();
        assert_eq!(kept, bytes);
    }

    #[test]
    fn what_the_file_or_the_memory_does_not_have_is_refused() {
        let (file, _) = file_of(8192);
        let memory = allocate(64).unwrap();
        let end = 64 << 20;
        for (offset, len) in [(0, 8193), (8192, 1), (u64::MAX, 2), (4096, u64::MAX), (1 << 40, 0)] {
            let placed = place(&memory, 0x10_0000, &file, offset, len);
            assert!(matches!(placed, Err(PlaceError::Short { .. })), "{offset:#x} {len:#x}");
        }
        for address in [end - 4096, end, end - 1, u64::MAX, u64::MAX - 4095, u64::MAX - 8191, HOLE_START] {
            let placed = place(&memory, address, &file, address % 4096, 4097);
            assert!(matches!(placed, Err(PlaceError::Address { .. })), "{address:#x}");
        }
        place(&memory, end - 8192, &file, 0, 8192).unwrap();
    }

    #[test]
    fn the_hole_is_never_mapped() {
        let (file, bytes) = file_of(8192);
        let memory = allocate(3073).unwrap();
        for address in [HOLE_START - 4096, HOLE_END - 4096, HOLE_END + (1 << 20) - 4096] {
            assert!(matches!(place(&memory, address, &file, 0, 8192), Err(PlaceError::Address { .. })));
        }
        place(&memory, HOLE_END, &file, 0, 8192).unwrap();
        assert_eq!(read(&memory, HOLE_END, 8192), bytes);
    }

    #[test]
    fn the_mapping_ends_with_the_memory() {
        let (file, _) = file_of(4096);
        let memory = allocate(64).unwrap();
        place(&memory, 0x10_0000, &file, 0, 4096).unwrap();
        let host = memory.get_slice(GuestAddress(0x10_0000), 1).unwrap().ptr_guard_mut().as_ptr() as usize;
        let is_mapped = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
            maps.lines().any(|line| {
                let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
                (number(start)..number(end)).contains(&host) && line.contains("(deleted)")
            })
        };
        assert!(is_mapped());
        drop(memory);
        assert!(!is_mapped());
    }
}
