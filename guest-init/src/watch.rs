//! Descriptors that the runtime waits for: the one place where it is told of them.
#![expect(unsafe_code, reason = "tokio trusts that a watched descriptor stays open")]

use rustix::fd::{AsRawFd, OwnedFd};
use std::io;
use std::rc::Rc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What keeps its descriptor open, always the same, until it is dropped.
pub(crate) trait Owner: AsRawFd {}

impl Owner for OwnedFd {}
impl Owner for Rc<OwnedFd> {}

/// A descriptor to wait for; it must not block.
///
/// # Errors
/// What epoll(7) says: it cannot wait for regular files, and needs memory.
pub(crate) fn watch<T: Owner>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: an Owner's descriptor stays open, and the same, for as long as tokio owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
