//! One queue of the tap as the event loop sees it.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A queue of the tap.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) fd: OwnedFd,
    /// Frames may be there to be read.
    pub(super) readable: bool,
    /// The tap took no frame when it was last offered one.
    pub(super) blocked: bool,
}

impl Link {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, readable: false, blocked: false }
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
