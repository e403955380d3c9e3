//! Guest memory: its type and its layout in guest physical addresses.
//!
//! RAM starts at 0 and leaves out the hole from 3 GiB to 4 GiB, where the devices, the I/O APIC and the local
//! APICs sit; what does not fit below goes above 4 GiB. Made by `builder`, registered by `kvm`.

pub mod file_pages;
pub(crate) mod huge_pages;

use std::fs::File;
use std::io;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use vm_memory::mmap::{MmapRegion, MmapRegionError};
use vm_memory::{FileOffset, GuestAddress, GuestRegionCollectionError, GuestRegionMmap};

/// Guest RAM as all of the VMM shares it: clones are cheap, there is no dirty bitmap.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;

/// The least guest memory in MiB.
pub const MIN_MIB: u64 = 64;

/// The most guest memory in MiB: what 40 bits of physical address hold, beside the hole.
pub const MAX_MIB: u64 = 1023 * 1024;

/// Where the hole starts.
pub const HOLE_START: u64 = 3 << 30;

/// Where the hole ends and RAM goes on.
pub const HOLE_END: u64 = 4 << 30;

/// Guest memory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The size is out of [`MIN_MIB`] to [`MAX_MIB`].
    #[error("guest memory of {mib} MiB is not within {MIN_MIB} to {MAX_MIB} MiB")]
    Size {
        /// The size asked for.
        mib: u64,
    },
    /// mmap(2) failed.
    #[error("cannot map {size:#x} bytes of guest memory at {gpa:#x}")]
    Map {
        /// First guest physical address.
        gpa: u64,
        /// Bytes.
        size: u64,
        /// What mmap said.
        #[source]
        source: MmapRegionError,
    },
    /// The file behind memory that is shared.
    #[error("cannot make the file behind guest memory")]
    File(#[source] io::Error),
    /// The ranges overlap or wrap.
    #[error("cannot lay out guest memory")]
    Layout(#[source] Option<GuestRegionCollectionError>),
}

/// The RAM ranges of a guest with `mib` MiB, as (first address, bytes), in ascending order.
///
/// # Errors
/// [`MemoryError::Size`] where the guest cannot have that much or little.
pub fn ranges(mib: u64) -> Result<Vec<(u64, u64)>, MemoryError> {
    if !(MIN_MIB..=MAX_MIB).contains(&mib) {
        return Err(MemoryError::Size { mib });
    }
    let size = mib << 20;
    let mut ranges = vec![(0, size.min(HOLE_START))];
    if size > HOLE_START {
        ranges.push((HOLE_END, size - HOLE_START));
    }
    Ok(ranges)
}

/// Maps `mib` MiB of zeroed guest memory, private to this process and without reserving swap: pages cost
/// nothing before the guest touches them.
///
/// # Errors
/// A size out of bounds, or the host's refusal to map it.
pub fn allocate(mib: u64) -> Result<GuestMemory, MemoryError> {
    allocate_ranges(ranges(mib)?)
}

/// Maps such memory at these ranges, (first address, bytes) in ascending order.
///
/// # Errors
/// As [`allocate`].
pub(crate) fn allocate_ranges(
    ranges: impl IntoIterator<Item = (u64, u64)>,
) -> Result<GuestMemory, MemoryError> {
    map(ranges, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE | libc::MAP_NORESERVE, None)
}

/// Maps zeroed memory that another process can have too, from address 0 on: a file of memory, which that one cannot make
/// shorter. As with [`allocate`], pages cost nothing before somebody touches them.
///
/// # Errors
/// The host's refusal to make the file or to map it.
pub(crate) fn allocate_file(size: u64) -> Result<GuestMemory, MemoryError> {
    let file = FileOffset::new(memory_file(size).map_err(MemoryError::File)?, 0);
    map([(0, size)], libc::MAP_SHARED | libc::MAP_NORESERVE, Some(&file))
}

fn memory_file(size: u64) -> io::Result<File> {
    let file = memfd_create("guest-memory", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, size)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(File::from(file))
}

/// Maps all ranges, each from the start of the file where there is one.
fn map(
    ranges: impl IntoIterator<Item = (u64, u64)>,
    flags: i32,
    file: Option<&FileOffset>,
) -> Result<GuestMemory, MemoryError> {
    let mut regions = Vec::with_capacity(2);
    for (gpa, size) in ranges {
        let bytes = usize::try_from(size).map_err(|_| MemoryError::Size { mib: size >> 20 })?;
        let mapping = MmapRegion::build(file.cloned(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags)
            .map_err(|source| MemoryError::Map { gpa, size, source })?;
        regions.push(GuestRegionMmap::new(mapping, GuestAddress(gpa)).ok_or(MemoryError::Layout(None))?);
    }
    GuestMemory::from_regions(regions).map_err(|source| MemoryError::Layout(Some(source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestMemoryBackend};

    #[test]
    fn ranges_leave_out_the_hole() {
        assert_eq!(ranges(64).unwrap(), [(0, 64 << 20)]);
        assert_eq!(ranges(3072).unwrap(), [(0, HOLE_START)]);
        assert_eq!(ranges(3073).unwrap(), [(0, HOLE_START), (HOLE_END, 1 << 20)]);
        assert_eq!(ranges(MAX_MIB).unwrap()[1], (HOLE_END, (MAX_MIB << 20) - HOLE_START));
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        for mib in [0, 63, MAX_MIB + 1, u64::MAX, 1 << 44] {
            assert!(matches!(ranges(mib), Err(MemoryError::Size { .. })), "{mib}");
        }
    }

    #[test]
    fn shared_memory_is_a_file_that_keeps_its_length() {
        use vm_memory::GuestMemoryRegion as _;
        let memory = allocate_file(1 << 20).unwrap();
        let file = memory.iter().next().unwrap().file_offset().unwrap().file();
        memory.write_obj(7_u8, GuestAddress(4097)).unwrap();
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut byte, 4097).unwrap();
        assert_eq!(byte, [7]);
        // Whoever else has the file cannot take pages from under this process.
        assert!(file.set_len(0).is_err() && file.set_len(1 << 40).is_err());
    }

    #[test]
    fn memory_is_there_on_both_sides_of_the_hole_and_not_in_it() {
        let memory = allocate(5 * 1024).unwrap();
        for address in [0, HOLE_START - 8, HOLE_END, HOLE_END + (2 << 30) - 8] {
            memory.write_obj(0x55aa_u64, GuestAddress(address)).unwrap();
        }
        for address in [HOLE_START, HOLE_END - 8, HOLE_END + (2 << 30)] {
            assert!(memory.write_obj(1_u64, GuestAddress(address)).is_err());
        }
        assert_eq!(memory.last_addr(), GuestAddress(HOLE_END + (2 << 30) - 1));
    }
}
