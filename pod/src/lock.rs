//! The lock of a pod: held by the VM's process from before the boot to its end, however it ends.
//!
//! An open file description lock (fcntl(2), `F_OFD_SETLK`): the kernel drops it with the last descriptor, and
//! asking who holds it takes nothing, so a look by `ls` never makes a `run` fail.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use thiserror::Error;

/// Why a pod's lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process runs the pod.
    #[error("the pod is running already")]
    Held,
    /// The lock file is missing or unreadable.
    #[error("cannot lock {}", .path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A lock that is held; dropped with its last descriptor.
#[derive(Debug)]
pub struct PodLock {
    file: File,
}

impl PodLock {
    /// Takes the lock of an existing lock file, without waiting.
    ///
    /// # Errors
    /// Each variant.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed = |source: io::Error| LockError::Lock { path: path.to_owned(), source };
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        Self::lock(file, path)
    }

    /// Takes over the lock of the lock file at `path` with a descriptor that another process has locked and passed on.
    ///
    /// # Errors
    /// Each variant; also where `file` is another file.
    pub fn take_over(file: File, path: &Path) -> Result<Self, LockError> {
        let inode = |found: Metadata| (found.dev(), found.ino());
        let same = file.metadata().and_then(|ours| Ok(inode(ours) == inode(std::fs::metadata(path)?)));
        let source = match same {
            Ok(true) => return Self::lock(file, path),
            Ok(false) => io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is another file's"),
            Err(source) => source,
        };
        Err(LockError::Lock { path: path.to_owned(), source })
    }

    fn lock(file: File, path: &Path) -> Result<Self, LockError> {
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
            Ok(_) => Ok(Self { file }),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Err(LockError::Held),
            Err(error) => Err(LockError::Lock { path: path.to_owned(), source: error.into() }),
        }
    }

    /// Whether somebody holds the lock. A missing file is not held.
    ///
    /// # Errors
    /// The file cannot be opened or asked about.
    pub fn is_held(path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let mut lock = whole_file(libc::F_WRLCK);
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok(i32::from(lock.l_type) != libc::F_UNLCK)
    }

    /// The descriptor that holds the lock, to be passed on.
    #[must_use]
    pub fn into_file(self) -> File {
        self.file
    }

    /// The file whose descriptor holds the lock.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

fn whole_file(kind: i32) -> libc::flock {
    #[expect(clippy::cast_possible_truncation, reason = "lock kinds and SEEK_SET are 0 to 2")]
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_looking_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!PodLock::is_held(&path).unwrap());
        assert!(matches!(PodLock::take(&path), Err(LockError::Lock { .. })));
        File::create(&path).unwrap();
        assert!(!PodLock::is_held(&path).unwrap());
        let held = PodLock::take(&path).unwrap();
        assert!(PodLock::is_held(&path).unwrap());
        assert!(matches!(PodLock::take(&path), Err(LockError::Held)));
        assert!(held.file().metadata().is_ok());
        drop(held);
        assert!(!PodLock::is_held(&path).unwrap());
        PodLock::take(&path).unwrap();
    }

    #[test]
    fn a_lock_is_passed_on_without_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        File::create(&path).unwrap();
        let passed = PodLock::take(&path).unwrap().into_file();
        assert!(PodLock::is_held(&path).unwrap());
        let stranger = File::options().write(true).open(&path).unwrap();
        assert!(matches!(PodLock::take_over(stranger, &path), Err(LockError::Held)));
        let other = tempfile::tempfile().unwrap();
        assert!(matches!(PodLock::take_over(other, &path), Err(LockError::Lock { .. })));
        let taken = PodLock::take_over(passed, &path).unwrap();
        assert!(PodLock::is_held(&path).unwrap());
        drop(taken);
        assert!(!PodLock::is_held(&path).unwrap());
    }
}
