//! Locks of the store, all flock(2): the kernel releases them when their process dies.
//!
//! Users of the store share one lock that the garbage collector takes alone; work on one layer or image is
//! exclusive by a lock of its own, so that two pulls share it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::{Store, StoreError};

/// How often a lock that somebody has is tried.
const POLL: Duration = Duration::from_millis(50);

/// Keeps the garbage collector away while it lives.
#[derive(Debug)]
pub struct Lease {
    _file: File,
}

/// The right to collect garbage: nobody has a [`Lease`] while it lives.
pub(super) struct Exclusive {
    _file: File,
}

/// The right to make one file of the store.
pub(crate) struct EntryLock {
    _file: File,
}

fn open(path: &Path) -> Result<File, StoreError> {
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(StoreError::io("open the lock", path))
}

fn take(path: &Path, file: &File, operation: FlockOperation) -> Result<bool, StoreError> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(StoreError::io("lock", path)(error.into())),
        }
    }
}

impl Store {
    /// Keeps everything in the store while the lease lives. Waits for a garbage collection to end.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let path = self.dir("lock");
        let file = open(&path)?;
        take(&path, &file, FlockOperation::LockShared)?;
        Ok(Lease { _file: file })
    }

    /// Waits until no lease is left, or gives up at once.
    pub(super) fn exclusive(&self, wait: bool) -> Result<Option<Exclusive>, StoreError> {
        let path = self.dir("lock");
        let file = open(&path)?;
        let operation =
            if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        Ok(take(&path, &file, operation)?.then_some(Exclusive { _file: file }))
    }

    /// Takes the lock of one file of the store, calling `waiting` first if another has it; `None` once it is
    /// `stopped`.
    pub(crate) fn entry_lock(
        &self,
        file: &Path,
        waiting: impl FnOnce(),
        stopped: impl Fn() -> bool,
    ) -> Result<Option<EntryLock>, StoreError> {
        let path = self.dir("locks").join(file.file_name().unwrap_or_default());
        let file = open(&path)?;
        let mut waiting = Some(waiting);
        while !take(&path, &file, FlockOperation::NonBlockingLockExclusive)? {
            if stopped() {
                return Ok(None);
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            // A blocked flock could not be stopped, and the holder is at work for seconds anyway.
            std::thread::sleep(POLL);
        }
        Ok(Some(EntryLock { _file: file }))
    }
}
