//! The lock of a network: held by its process, or by who undoes what a killed one left.

use std::fs::File;
use std::io;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::dir::NetworkDir;

/// A network's lock; dropped with its descriptor, which no other program inherits.
#[derive(Debug)]
pub(crate) struct NetworkLock(#[expect(dead_code, reason = "its end frees the lock")] File);

impl NetworkLock {
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
