//! Which guest memory may be backed by transparent huge pages of the host. Called by `builder`.
//!
//! A huge page replaces 512 faults of the guest by one, but all of it is resident once a byte of it is touched. Where
//! a kernel allocates as it boots it touches all pages, so these places always get them; the rest of a small pod does
//! not, because it would grow by a quarter for nothing. Large guests are there for what fills them. A host that never
//! uses huge pages, or always, does as it likes: this is advice. Memory that other processes have too has huge pages where
//! the host's `shmem_enabled` is `advise`, which is seldom.
#![expect(unsafe_code, reason = "advises the host's kernel on guest memory")]

use std::ops::Range;

use vm_memory::{Address as _, GuestAddress, GuestMemoryBackend as _, GuestMemoryRegion as _};

use super::GuestMemory;

/// Bytes in a huge page.
const HUGE: u64 = 2 << 20;

/// Guests of this many bytes or more may have huge pages everywhere.
const LARGE: u64 = 1 << 30;

/// The first free blocks of RAM below the kernel: what Linux's page allocator hands out first.
const FIRST_BLOCKS: Range<u64> = 8 << 20..12 << 20;

/// What Linux takes from the top of low memory before it has a page allocator: a page structure of 64 bytes a page,
/// and about as much as a huge page for its other tables.
const fn early(size: u64) -> u64 {
    (size / 64).next_multiple_of(HUGE) + HUGE
}

/// Lets the host use huge pages in a guest whose kernel may take RAM below `early_end` as it starts.
pub(crate) fn allow(memory: &GuestMemory, early_end: u64) {
    let size: u64 = memory.iter().map(|region| region.len()).sum();
    if size >= LARGE {
        for region in memory.iter() {
            let start = region.start_addr().raw_value();
            advise(memory, start..start + region.len());
        }
        return;
    }
    let early_end = early_end - early_end % HUGE;
    for range in [FIRST_BLOCKS, early_end.saturating_sub(early(size))..early_end] {
        advise(memory, range);
    }
}

/// Lets the host use huge pages for `range` and what is beside it in its first and last huge page.
pub(crate) fn allow_at(memory: &GuestMemory, range: Range<u64>) {
    advise(memory, range.start - range.start % HUGE..range.end.next_multiple_of(HUGE));
}

/// The kernel that has no huge pages, or no such range, has nothing to gain: errors make no difference.
fn advise(memory: &GuestMemory, range: Range<u64>) {
    let Ok(len) = usize::try_from(range.end - range.start) else { return };
    let Ok(slice) = memory.get_slice(GuestAddress(range.start), len) else { return };
    let host = slice.ptr_guard_mut().as_ptr();
    // SAFETY: advice on whole pages of guest memory, which changes none of their bytes.
    let _ = unsafe { libc::madvise(host.cast(), slice.len(), libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::allocate;

    /// Bytes of `memory` that are advised (`hg` among the flags of its mappings).
    fn advised(memory: &GuestMemory) -> Vec<(u64, u64)> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut range = 0..0;
        let mut found = Vec::new();
        for line in smaps.lines() {
            let first = line.split(' ').next().unwrap();
            if let Some((start, end)) = first.split_once('-') {
                let number = |text| u64::from_str_radix(text, 16);
                if let (Ok(start), Ok(end)) = (number(start), number(end)) {
                    range = start..end;
                }
            } else if first == "VmFlags:" && line.contains(" hg") {
                found.extend(memory.iter().filter_map(|region| {
                    let host = region.as_ptr() as u64;
                    (host..host + region.len()).contains(&range.start).then(|| {
                        (range.start - host + region.start_addr().raw_value(), range.end - range.start)
                    })
                }));
            }
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn small_guests_have_them_where_their_kernel_starts_and_large_ones_everywhere() {
        const MIB: u64 = 1 << 20;
        let small = allocate(128).unwrap();
        allow(&small, 127 * MIB + 4096);
        let middle = allocate(512).unwrap();
        allow(&middle, 512 * MIB);
        let large = allocate(1024).unwrap();
        allow(&large, 1023 * MIB);
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            return; // This host's kernel has none.
        }
        assert_eq!(advised(&small), [(8 * MIB, 4 * MIB), (122 * MIB, 4 * MIB)]);
        assert_eq!(advised(&middle), [(8 * MIB, 4 * MIB), (502 * MIB, 10 * MIB)]);
        assert_eq!(advised(&large), [(0, 1024 * MIB)]);
    }

    #[test]
    fn a_range_is_rounded_to_huge_pages() {
        const MIB: u64 = 1 << 20;
        let memory = allocate(64).unwrap();
        allow_at(&memory, 28 * MIB + 1..30 * MIB + 1);
        if std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            assert_eq!(advised(&memory), [(28 * MIB, 4 * MIB)]);
        }
    }

    #[test]
    fn no_memory_is_no_harm() {
        let memory = allocate(64).unwrap();
        allow_at(&memory, 62 << 20..66 << 20);
        allow(&memory, 0);
        allow(&memory, u64::MAX);
    }
}
