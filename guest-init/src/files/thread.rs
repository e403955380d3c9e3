//! The thread of one operation: its root, working directory and umask are not shared with the rest of the process.
#![expect(unsafe_code, reason = "unshare has no safe wrapper")]

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::thread::UnshareFlags;
use std::cell::OnceCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stack of a thread in bytes: the walks keep what grows with a tree's depth on the heap.
const STACK: usize = 256 << 10;

thread_local! {
    /// Whether this thread's operation is to end.
    static OVER: OnceCell<Arc<AtomicBool>> = const { OnceCell::new() };
}

/// For each step of what can take long.
///
/// # Errors
/// ECANCELED once the operation is to end.
pub(super) fn go_on() -> rustix::io::Result<()> {
    let over = OVER.with(|over| over.get().is_some_and(|over| over.load(Ordering::Relaxed)));
    if over { Err(Errno::CANCELED) } else { Ok(()) }
}

/// Runs an operation on a new thread, to end early once `over` is set.
///
/// # Errors
/// What clone(2) says; the operation is dropped then.
pub(super) fn start(over: Arc<AtomicBool>, operation: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let run = move || {
        // A new thread has none yet.
        let _first = OVER.with(|own| own.set(over));
        operation();
    };
    std::thread::Builder::new().name("files".to_owned()).stack_size(STACK).spawn(run)?;
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
