//! The allocator: the C library's in PID 1, and pages of its own in a clone of PID 1 until it executes its program.
//!
//! A clone has one of PID 1's threads and a copy of all memory. Had another thread been inside the C library's
//! allocator at that moment, its lock would stay taken in the copy for ever: so the clone does not go near it.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use crate::container::spawn;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Address space of a clone's own heap in bytes; only what is touched becomes memory.
const SPACE: usize = 16 << 30;

/// The smallest block in bytes: a free one holds the address of the next.
const MIN_BLOCK: usize = 16;

#[global_allocator]
static HEAP: Heap = Heap;

/// Chooses by which process it is in.
struct Heap;

// SAFETY: each call is passed to an allocator that keeps the rules. Blocks that PID 1 made before the clone reach the
// clone's own allocator only to be freed, and that leaves them alone.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if spawn::in_child() {
            return CLONE.alloc(layout);
        }
        // SAFETY: the caller's promises are System's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if spawn::in_child() {
            return CLONE.free(block, layout);
        }
        // SAFETY: outside of clones every block is System's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if spawn::in_child() {
            return CLONE.realloc(block, layout, size);
        }
        // SAFETY: outside of clones every block is System's.
        unsafe { System.realloc(block, layout, size) }
    }
}

static CLONE: CloneHeap = CloneHeap {
    start: Cell::new(0),
    next: Cell::new(0),
    free: [const { Cell::new(0) }; usize::BITS as usize],
};

/// Blocks of powers of two, and for each a list of those that are free again. Addresses; 0 is none.
struct CloneHeap {
    start: Cell<usize>,
    next: Cell<usize>,
    free: [Cell<usize>; usize::BITS as usize],
}

// SAFETY: used in clones only, which have one thread.
unsafe impl Sync for CloneHeap {}

impl CloneHeap {
    fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = block_size(layout.size(), layout.align());
        if size > SPACE || !self.reserve() {
            return std::ptr::null_mut();
        }
        let list = &self.free[size.trailing_zeros() as usize];
        let block = list.get();
        if block != 0 {
            // SAFETY: the block is on the list, so `free` has written the next one's address to its start.
            list.set(unsafe { std::ptr::with_exposed_provenance::<usize>(block).read() });
            return std::ptr::with_exposed_provenance_mut(block);
        }
        let block = self.next.get().next_multiple_of(size);
        if block + size > self.start.get() + SPACE {
            return std::ptr::null_mut();
        }
        self.next.set(block + size);
        std::ptr::with_exposed_provenance_mut(block)
    }

    fn free(&self, block: *mut u8, layout: Layout) {
        if !(self.start.get()..self.next.get()).contains(&block.addr()) {
            return;
        }
        let list = &self.free[block_size(layout.size(), layout.align()).trailing_zeros() as usize];
        // SAFETY: the block is of this heap, of no use to anybody any more, aligned and long enough for an address.
        unsafe { block.cast::<usize>().write(list.get()) };
        list.set(block.expose_provenance());
    }

    fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return std::ptr::null_mut() };
        let new = self.alloc(wanted);
        if !new.is_null() {
            // SAFETY: the old block has `layout.size()` bytes, the new one `size`, and they are two blocks.
            unsafe { block.copy_to_nonoverlapping(new, layout.size().min(size)) };
            self.free(block, layout);
        }
        new
    }

    /// Takes the address space at the first use.
    fn reserve(&self) -> bool {
        if self.start.get() == 0 {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: asks for new address space and touches none that is in use.
            let space = unsafe { libc::mmap(std::ptr::null_mut(), SPACE, protection, flags, -1, 0) };
            if space == libc::MAP_FAILED {
                return false;
            }
            self.start.set(space.expose_provenance());
            self.next.set(self.start.get());
        }
        true
    }
}

const fn block_size(size: usize, align: usize) -> usize {
    let size = if size < align { align } else { size };
    let size = if size < MIN_BLOCK { MIN_BLOCK } else { size };
    match size.checked_next_power_of_two() {
        Some(size) => size,
        None => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::WaitOptions;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// What a clone does with memory; it must see its own writes and reuse what it freed.
    fn work() {
        let mut kept = BTreeMap::new();
        for round in 0..200usize {
            let block: Vec<usize> = (0..round * 7).collect();
            kept.insert(round, block);
            if round % 3 == 0 {
                kept.remove(&(round / 2));
            }
        }
        let sum: usize = kept.values().flatten().sum();
        let expected: usize =
            kept.values().map(|block| block.len() * block.len().saturating_sub(1) / 2).sum();
        let text = format!("{sum}");
        assert_eq!(text, expected.to_string());
    }

    #[test]
    fn clones_allocate_whatever_other_threads_hold() {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::black_box((0..64).map(|size| vec![1u8; size * 61]).collect::<Vec<_>>());
                        // The C library's own use of its allocator.
                        drop(std::fs::read_dir("/").unwrap());
                    }
                });
            }
            for _ in 0..200 {
                let before = vec![7u8; 3000];
                let body = || {
                    // SAFETY: asks for a signal that ends a clone which hangs.
                    unsafe { libc::alarm(60) };
                    let done = std::panic::catch_unwind(|| {
                        let mut grown = before;
                        grown.resize(10_000, 8);
                        assert!(grown[..3000].iter().all(|byte| *byte == 7));
                        work();
                    });
                    // SAFETY: ends the clone.
                    unsafe { libc::_exit(if done.is_ok() { 7 } else { 1 }) };
                };
                let pid = spawn::clone(None, 0, body).unwrap();
                let (_, status) = rustix::process::waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
                assert_eq!(status.exit_status(), Some(7), "{status:?}");
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn blocks_are_powers_of_two_that_are_aligned() {
        assert_eq!(block_size(0, 1), MIN_BLOCK);
        assert_eq!(block_size(17, 8), 32);
        assert_eq!(block_size(8, 4096), 4096);
        assert_eq!(block_size(usize::MAX, 1), usize::MAX);
    }
}
