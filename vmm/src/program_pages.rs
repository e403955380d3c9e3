//! Gives back the pages of the program's files that only its start needed, so that a pod at rest keeps few of them.
//!
//! Reading the pod's files, setting up KVM and compiling filters touch most of what a run ever touches of the program
//! and its libraries; what serves a running guest is a small part. Nothing is lost: the pages are the page cache's, and
//! one that is needed again is mapped again. Called by `vm`, when the guest has long started.
#![expect(unsafe_code, reason = "walks the program headers of loaded objects and unmaps their pages")]

use std::ops::Range;
use std::slice;

use libc::{PF_W, PT_LOAD, c_int, c_void, dl_phdr_info, size_t};

/// Bytes in the smallest page.
const PAGE: usize = 4096;

/// The addresses of all segments that nobody can have written to: code and constants of the program and its libraries.
#[derive(Debug)]
pub(crate) struct ProgramPages(Vec<Range<usize>>);

impl ProgramPages {
    /// Of all that is loaded now; this program loads nothing later.
    pub(crate) fn find() -> Self {
        let mut segments = Vec::new();
        // SAFETY: `collect` takes its last argument for a vector of ranges, which is what it gets.
        unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut segments).cast()) };
        Self(segments)
    }

    /// Unmaps the pages. A refusal makes no difference but to memory.
    pub(crate) fn release(&self) {
        for segment in &self.0 {
            // SAFETY: the range is inside of one read-only segment of a file. Its pages were never written to (there are
            // no relocations of code), so what is mapped at the next touch has the same bytes.
            let _ =
                unsafe { libc::madvise(segment.start as *mut c_void, segment.len(), libc::MADV_DONTNEED) };
        }
    }
}

/// Adds the whole pages of an object's read-only segments to the vector behind `data`.
unsafe extern "C" fn collect(info: *mut dl_phdr_info, _: size_t, data: *mut c_void) -> c_int {
    // SAFETY: `find` passes a vector, which nobody else uses meanwhile.
    let segments = unsafe { &mut *data.cast::<Vec<Range<usize>>>() };
    // SAFETY: the C library passes an object that is loaded.
    let info = unsafe { &*info };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: these are the program headers of that object, so many of them.
    let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    for header in headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_W == 0) {
        let Ok(start) = usize::try_from(info.dlpi_addr.wrapping_add(header.p_vaddr)) else { continue };
        let Ok(len) = usize::try_from(header.p_memsz) else { continue };
        let end = start.saturating_add(len);
        let pages = start.next_multiple_of(PAGE)..end - end % PAGE;
        if !pages.is_empty() {
            segments.push(pages);
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB that are resident of the mapping that holds `address`.
    fn resident(address: usize) -> u64 {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines();
        let holds = |line: &str| {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            let bound = |hex| usize::from_str_radix(hex, 16).ok();
            Some((bound(start)?..bound(end)?).contains(&address))
        };
        lines.find(|line| holds(line) == Some(true)).unwrap();
        let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn released_pages_are_not_resident_and_come_back() {
        let pages = ProgramPages::find();
        let code = resident as *const () as usize;
        let own = pages.0.iter().find(|segment| segment.contains(&code)).unwrap();
        let sum = || {
            own.clone()
                .map(|address| {
                    // SAFETY: the segment is mapped, and readable as code is.
                    u64::from(unsafe { *(address as *const u8) })
                })
                .sum::<u64>()
        };
        let (before, all) = (sum(), resident(code));
        assert!(all >= own.len() as u64 / 1024);
        pages.release();
        // What reads this is mapped again, with what lies around it.
        assert!(resident(code) < all, "{all} before and after");
        assert_eq!(sum(), before);
    }

    #[test]
    fn nothing_that_may_be_written_to_is_released() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        for segment in ProgramPages::find().0 {
            for line in
                maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|flags| flags.contains('w')))
            {
                let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
                let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).unwrap());
                assert!(segment.end <= start || end <= segment.start, "{segment:x?} {line}");
            }
        }
    }
}
