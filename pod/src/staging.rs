//! The hidden directory in which a pod is made, and the one step that puts it in its place.
//!
//! `.NAME.summon` beside the pod's place is locked while a process works in it; what a torn one left there is thrown
//! away by the next. The lock file becomes the pod's own.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use spec::LaunchSpec;
use thiserror::Error;

use crate::atomic_file;
use crate::dir::PodDir;
use crate::lock::{LockError, PodLock};
use crate::package::Package;
use crate::record::PodRecord;

/// How often a directory may be taken away by another summon before this one gives up.
const ATTEMPTS: u32 = 100;

/// Why a pod cannot be made at a place.
#[derive(Debug, Error)]
pub enum StagingError {
    /// The place has no usable name.
    #[error("cannot use {} as a pod directory", .path.display())]
    Place {
        /// The place.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A pod is there.
    #[error("{} is a pod already", .0.display())]
    Pod(PathBuf),
    /// Something else is there.
    #[error("{} is not empty", .0.display())]
    Occupied(PathBuf),
    /// What is at the place cannot be seen.
    #[error("cannot look into {}", .path.display())]
    Look {
        /// The place.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The working directory, or a directory above it, cannot be made.
    #[error("cannot create {}", .path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The working directory's name is taken.
    #[error("cannot create {}: another user's file, or a link, has this name", .0.display())]
    Foreign(PathBuf),
    /// The lock cannot be taken.
    #[error(transparent)]
    Lock(LockError),
    /// Another process makes a pod there.
    #[error("another process summons {} at this moment", .0.display())]
    Busy(PathBuf),
    /// Others take the working directory away again and again.
    #[error("other processes keep taking {} away", .0.display())]
    Contended(PathBuf),
    /// What a torn attempt left cannot be removed.
    #[error("cannot clear {}", .path.display())]
    Clear {
        /// The working directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The files cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The working directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The pod cannot be moved to its place.
    #[error("cannot put the pod at {}", .path.display())]
    Put {
        /// The place.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A pod in the making.
#[derive(Debug)]
pub struct Staging {
    dir: PodDir,
    destination: PathBuf,
    _lock: PodLock,
    finished: bool,
}

impl Staging {
    /// Begins a pod that will be at `destination`, whose parents are made where they are missing.
    ///
    /// # Errors
    /// The place is taken or unusable, or another process makes a pod there.
    pub fn begin(destination: &Path) -> Result<Self, StagingError> {
        let destination = resolve(destination)?;
        refuse_occupied(&destination)?;
        let name = destination.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = destination.with_file_name(format!(".{name}.summon"));
        for _ in 0..ATTEMPTS {
            let Some(lock) = lock_directory(&path, &destination)? else { continue };
            let dir =
                PodDir::new(&path).map_err(|source| StagingError::Place { path: path.clone(), source })?;
            let staging = Self { dir, destination, _lock: lock, finished: false };
            // What was there may have changed while this process waited for its turn.
            refuse_occupied(&staging.destination)?;
            staging.empty().map_err(|source| StagingError::Clear { path, source })?;
            return Ok(staging);
        }
        Err(StagingError::Contended(path))
    }

    /// The directory to work in.
    #[must_use]
    pub fn dir(&self) -> &PodDir {
        &self.dir
    }

    /// Where the pod will be.
    #[must_use]
    pub fn destination(&self) -> &Path {
        &self.destination
    }

    /// Writes the files that make the directory a pod.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(
        &self,
        launch: &LaunchSpec,
        record: &PodRecord,
        package: &Package,
    ) -> Result<(), StagingError> {
        let written = (|| {
            atomic_file::write(&self.dir.launch(), &serde_json::to_vec_pretty(launch)?, 0o600)?;
            std::os::unix::fs::symlink(&package.path, self.dir.package())?;
            if self.dir.scratch().exists() {
                File::open(self.dir.scratch())?.sync_all()?;
            }
            atomic_file::write(&self.dir.record(), &serde_json::to_vec_pretty(record)?, 0o600)?;
            atomic_file::sync_dir(self.dir.path())
        })();
        written.map_err(|source| StagingError::Write { path: self.dir.path().to_owned(), source })
    }

    /// Moves the pod to its place and answers that.
    ///
    /// # Errors
    /// The place has been taken meanwhile, or the move failed; nothing is left of the pod.
    pub fn finish(mut self) -> Result<PathBuf, StagingError> {
        let path = self.destination.clone();
        if let Err(source) = fs::rename(self.dir.path(), &path) {
            return Err(match source.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => occupied(&path),
                _ => StagingError::Put { path, source },
            });
        }
        self.finished = true;
        if let Some(parent) = path.parent() {
            // The pod is in place; only a power cut could still take it away.
            let _ = atomic_file::sync_dir(parent);
        }
        Ok(path)
    }

    /// Removes what a pod can consist of, and nothing else, but the lock.
    fn empty(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.dir.path())? {
            let entry = entry?;
            if entry.file_name() != "lock" {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.finished && self.empty().is_ok() {
            let _ = fs::remove_file(self.dir.lock());
            let _ = fs::remove_dir(self.dir.path());
        }
    }
}

/// The absolute path with a last component, its parents in place. Links to directories are followed.
fn resolve(path: &Path) -> Result<PathBuf, StagingError> {
    let wrong = |source| StagingError::Place { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(wrong)?;
    if let Ok(real) = absolute.canonicalize() {
        return if real.file_name().is_some() { Ok(real) } else { Err(occupied(&real)) };
    }
    let Some(name) = absolute.file_name() else {
        return Err(wrong(io::Error::new(io::ErrorKind::InvalidInput, "the path has no last component")));
    };
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(|source| StagingError::Create { path: parent.to_owned(), source })?;
    Ok(parent.canonicalize().map_err(wrong)?.join(name))
}

/// Takes the directory's lock; `None` where another summon moved or removed the directory meanwhile.
fn lock_directory(path: &Path, destination: &Path) -> Result<Option<PodLock>, StagingError> {
    let wrong = |source| StagingError::Create { path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(wrong(error)),
        _ => {}
    }
    match is_own_directory(path) {
        Ok(true) => {}
        Ok(false) => return Err(StagingError::Foreign(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
    }
    let file = path.join("lock");
    match File::options().create(true).append(true).mode(0o600).open(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            // Nothing where it holds anything; whoever else was about to use it makes it again.
            let _ = fs::remove_dir(path);
            return Err(wrong(error));
        }
        Ok(_) => {}
    }
    let lock = match PodLock::take(&file) {
        Ok(lock) => lock,
        Err(LockError::Held) => return Err(StagingError::Busy(destination.to_owned())),
        Err(LockError::Lock { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StagingError::Lock(error)),
    };
    let inode = |found: fs::Metadata| (found.dev(), found.ino());
    let ours = lock.file().metadata().map(inode).map_err(wrong)?;
    Ok(fs::metadata(&file).map(inode).is_ok_and(|there| there == ours).then_some(lock))
}

/// In a directory that all may write to, another user may have taken the name first, also with a link.
fn is_own_directory(path: &Path) -> io::Result<bool> {
    let there = fs::symlink_metadata(path)?;
    Ok(there.is_dir() && there.uid() == rustix::process::geteuid().as_raw())
}

fn refuse_occupied(path: &Path) -> Result<(), StagingError> {
    match is_occupied(path) {
        Ok(false) => Ok(()),
        Ok(true) => Err(occupied(path)),
        Err(source) => Err(StagingError::Look { path: path.to_owned(), source }),
    }
}

/// Whether there is anything at `path` that is not an empty directory.
fn is_occupied(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(true),
        Err(error) => Err(error),
    }
}

fn occupied(path: &Path) -> StagingError {
    if path.join("pod.json").exists() {
        StagingError::Pod(path.to_owned())
    } else {
        StagingError::Occupied(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_staging_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("a/b");
        drop(Staging::begin(&destination).unwrap());
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 0);
    }

    #[test]
    fn a_torn_one_is_cleared_and_a_live_one_respected() {
        let dir = tempfile::tempdir().unwrap();
        let destination = dir.path().join("pod");
        let torn = dir.path().join(".pod.summon");
        fs::create_dir(&torn).unwrap();
        fs::write(torn.join("launch.json"), "{").unwrap();
        let staging = Staging::begin(&destination).unwrap();
        assert!(!torn.join("launch.json").exists());
        assert!(matches!(Staging::begin(&destination), Err(StagingError::Busy(_))));
        let put = staging.finish().unwrap();
        assert_eq!(put, destination.canonicalize().unwrap());
        assert!(destination.join("lock").exists() && !torn.exists());
        assert!(matches!(Staging::begin(&destination), Err(StagingError::Occupied(_))));
    }

    #[test]
    fn a_link_in_its_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("precious"), "").unwrap();
        std::os::unix::fs::symlink(other.path(), dir.path().join(".pod.summon")).unwrap();
        assert!(matches!(Staging::begin(&dir.path().join("pod")), Err(StagingError::Foreign(_))));
        let left: Vec<_> =
            fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["precious"]);
    }

    #[test]
    fn an_empty_directory_is_taken_and_a_full_one_kept() {
        let dir = tempfile::tempdir().unwrap();
        Staging::begin(dir.path()).unwrap().finish().unwrap();
        let full = tempfile::tempdir().unwrap();
        let staging = Staging::begin(full.path()).unwrap();
        fs::write(full.path().join("mine"), "").unwrap();
        assert!(matches!(staging.finish(), Err(StagingError::Occupied(_))));
        assert_eq!(fs::read_dir(full.path()).unwrap().count(), 1);
        fs::write(full.path().join("pod.json"), "").unwrap();
        assert!(matches!(Staging::begin(full.path()), Err(StagingError::Pod(_))));
    }
}
