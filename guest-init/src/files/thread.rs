//! The thread of one operation: its root, working directory and umask are not shared with the rest of the process.
#![expect(unsafe_code, reason = "unshare has no safe wrapper")]

use rustix::fs::Mode;
use rustix::thread::UnshareFlags;
use std::io;

/// Stack of a thread in bytes: the walks keep what grows with a tree's depth on the heap.
const STACK: usize = 256 << 10;

/// Runs an operation on a new thread.
///
/// # Errors
/// What clone(2) says; the operation is dropped then.
pub(super) fn start(operation: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("files".to_owned()).stack_size(STACK).spawn(operation)?;
    Ok(())
}

/// Gives the calling thread a root, working directory and umask of its own, and with `mounts` a copy of the mount
/// namespace too. New files then get exactly the modes that they are made with.
///
/// # Errors
/// What unshare(2) says.
pub(super) fn detach(mounts: bool) -> io::Result<()> {
    let flags = if mounts { UnshareFlags::FS | UnshareFlags::NEWNS } else { UnshareFlags::FS };
    // SAFETY: neither flag touches descriptors or memory. Other threads keep the old root and working directory.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    rustix::process::umask(Mode::empty());
    Ok(())
}
