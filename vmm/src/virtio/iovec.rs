//! Vectored reads and writes between files and guest memory, without a copy.
//!
//! Called by [`super::Buffers`]. System calls get the guest's memory by address and Rust never forms a
//! reference to it, as the guest may change it at any time.
#![expect(unsafe_code, reason = "vectored system calls on guest memory")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::VolatileSlice;

/// The most slices in one call: less than any kernel's `IOV_MAX` of 1024, on the stack, and enough for all data of a disk's
/// longest request.
pub(crate) const MAX_SLICES: usize = 256;

/// preadv(2): fills slices in order from `offset`; answers bytes read, 0 at the end of the file.
pub(super) fn preadv(file: BorrowedFd<'_>, slices: &[VolatileSlice<'_>], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the vectors describe guest memory that `slices` keeps mapped and writable.
    call(slices, |vectors, count| unsafe { libc::preadv(file.as_raw_fd(), vectors, count, offset) })
}

/// pwritev(2): writes slices in order at `offset`; answers bytes written.
pub(super) fn pwritev(file: BorrowedFd<'_>, slices: &[VolatileSlice<'_>], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the vectors describe guest memory that `slices` keeps mapped and readable.
    call(slices, |vectors, count| unsafe { libc::pwritev(file.as_raw_fd(), vectors, count, offset) })
}

/// readv(2): fills slices in order; answers bytes read, 0 at the end of the stream.
pub(super) fn readv(stream: BorrowedFd<'_>, slices: &[VolatileSlice<'_>]) -> io::Result<usize> {
    // SAFETY: the vectors describe guest memory that `slices` keeps mapped and writable.
    call(slices, |vectors, count| unsafe { libc::readv(stream.as_raw_fd(), vectors, count) })
}

/// writev(2): writes slices in order; answers bytes written. The process must ignore `SIGPIPE`, as Rust's
/// runtime does.
pub(super) fn writev(stream: BorrowedFd<'_>, slices: &[VolatileSlice<'_>]) -> io::Result<usize> {
    // SAFETY: the vectors describe guest memory that `slices` keeps mapped and readable.
    call(slices, |vectors, count| unsafe { libc::writev(stream.as_raw_fd(), vectors, count) })
}

/// Makes the vectors of the first [`MAX_SLICES`] slices and repeats `system_call` while signals interrupt it.
fn call(
    slices: &[VolatileSlice<'_>],
    system_call: impl Fn(*const libc::iovec, libc::c_int) -> libc::ssize_t,
) -> io::Result<usize> {
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; MAX_SLICES];
    let mut count = 0;
    for (vector, slice) in vectors.iter_mut().zip(slices) {
        // The mapping outlives the guard: guest memory is mapped for as long as `slices` is borrowed.
        vector.write(libc::iovec { iov_base: slice.ptr_guard_mut().as_ptr().cast(), iov_len: slice.len() });
        count += 1;
    }
    loop {
        // No more than the first `count` are read.
        match usize::try_from(system_call(vectors.as_ptr().cast(), count)) {
            Ok(bytes) => return Ok(bytes),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
