//! Opening for reading what a descriptor already stands for, so that nothing else can take its name in between.

use super::error::FilesError;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

/// This process's descriptors under `/proc`: opened before a thread enters a container, whose `/proc` is not ours.
#[derive(Debug)]
pub(super) struct Descriptors(OwnedFd);

impl Descriptors {
    /// As long as the thread sees PID 1's own root.
    ///
    /// # Errors
    /// What open(2) says.
    pub(super) fn new() -> Result<Self, FilesError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open("/proc/self/fd", flags, Mode::empty());
        Ok(Self(opened.map_err(FilesError::call("open", b"/proc/self/fd"))?))
    }

    /// Opens the regular file that an `O_PATH` descriptor stands for. A lease that another process holds on it fails.
    ///
    /// # Errors
    /// What open(2) says.
    pub(super) fn file(&self, found: &OwnedFd, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let name = found.as_fd().as_raw_fd().to_string();
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, name, flags, Mode::empty())
    }
}

/// Opens the directory that a descriptor stands for.
///
/// # Errors
/// What open(2) says; ENOTDIR.
pub(super) fn directory(found: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(found, ".", flags, Mode::empty())
}
