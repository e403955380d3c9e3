//! The lock of a network: held by its process, or by who undoes what a killed one left.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::dir::NetworkDir;

/// A network's lock; dropped with its descriptor, which no other program inherits.
#[derive(Debug)]
pub(crate) struct NetworkLock(File);

impl NetworkLock {
    /// The lock that a descriptor of another process holds.
    pub(crate) fn taken(descriptor: OwnedFd) -> Self {
        Self(File::from(descriptor))
    }

    /// For another process to hold it, too.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Takes the lock without waiting; `None` where another process has it.
    pub(crate) fn take(dir: &NetworkDir) -> io::Result<Option<Self>> {
        let file = File::options().read(true).write(true).open(dir.lock())?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
