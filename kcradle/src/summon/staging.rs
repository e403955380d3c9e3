//! The hidden directory in which a pod is made, and the one step that puts it in its place.
//!
//! `.NAME.summon` beside the pod's place is locked while a summon works in it; what a torn one left there is thrown
//! away by the next. The lock file becomes the pod's own.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use spec::LaunchSpec;

use crate::atomic_file;
use crate::failure::Failure;
use crate::package::Package;
use crate::pod::{LockError, PodDir, PodLock, PodRecord};

use super::is_occupied;

/// How often a directory may be taken away by another summon before this one gives up.
const ATTEMPTS: u32 = 100;

/// A pod in the making.
#[derive(Debug)]
pub(crate) struct Staging {
    dir: PodDir,
    destination: PathBuf,
    _lock: PodLock,
    finished: bool,
}

impl Staging {
    /// Begins a pod that will be at `destination`, whose parents are made where they are missing.
    pub(crate) fn begin(destination: &Path) -> Result<Self, Failure> {
        let destination = resolve(destination)?;
        refuse_occupied(&destination)?;
        let name = destination.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = destination.with_file_name(format!(".{name}.summon"));
        for _ in 0..ATTEMPTS {
            let Some(lock) = lock_directory(&path, &destination)? else { continue };
            let dir = PodDir::new(&path).context("cannot name the working directory")?;
            let staging = Self { dir, destination, _lock: lock, finished: false };
            // What was there may have changed while this process waited for its turn.
            refuse_occupied(&staging.destination)?;
            staging.empty().with_context(|| format!("cannot clear {}", path.display()))?;
            return Ok(staging);
        }
        Err(Failure::new(format!("other processes keep taking {} away", path.display())))
    }

    /// The directory to work in.
    pub(crate) fn dir(&self) -> &PodDir {
        &self.dir
    }

    /// Where the pod will be.
    pub(crate) fn destination(&self) -> &Path {
        &self.destination
    }

    /// Writes the files that make the directory a pod.
    pub(crate) fn write(
        &self,
        launch: &LaunchSpec,
        record: &PodRecord,
        package: &Package,
    ) -> Result<(), Failure> {
        let wrong = || format!("cannot write {}", self.dir.path().display());
        let launch = serde_json::to_vec_pretty(launch).with_context(wrong)?;
        let record = serde_json::to_vec_pretty(record).with_context(wrong)?;
        atomic_file::write(&self.dir.launch(), &launch, 0o600).with_context(wrong)?;
        std::os::unix::fs::symlink(&package.path, self.dir.package()).with_context(wrong)?;
        if self.dir.scratch().exists() {
            File::open(self.dir.scratch()).and_then(|file| file.sync_all()).with_context(wrong)?;
        }
        atomic_file::write(&self.dir.record(), &record, 0o600).with_context(wrong)?;
        atomic_file::sync_dir(self.dir.path()).with_context(wrong)?;
        Ok(())
    }

    /// Moves the pod to its place and answers that; on failure it answers where the pod would have been.
    pub(crate) fn finish(mut self) -> Result<PathBuf, (PathBuf, Failure)> {
        let destination = self.destination.clone();
        let moved = fs::rename(self.dir.path(), &destination);
        if let Err(error) = moved {
            let failure = match error.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => occupied(&destination),
                _ => Failure::from(
                    anyhow::Error::from(error)
                        .context(format!("cannot put the pod at {}", destination.display())),
                ),
            };
            return Err((destination, failure));
        }
        self.finished = true;
        if let Some(parent) = destination.parent() {
            // The pod is in place; only a power cut could still take it away.
            let _ = atomic_file::sync_dir(parent);
        }
        Ok(destination)
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
fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    let wrong = || format!("cannot use {} as a pod directory", path.display());
    let absolute = std::path::absolute(path).with_context(wrong)?;
    if let Ok(real) = absolute.canonicalize() {
        return if real.file_name().is_some() { Ok(real) } else { Err(occupied(&real)) };
    }
    let Some(name) = absolute.file_name() else {
        return Err(Failure::new("the path has no last component").context(wrong()));
    };
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    Ok(parent.canonicalize().with_context(wrong)?.join(name))
}

/// Takes the directory's lock; `None` where another summon moved or removed the directory meanwhile.
fn lock_directory(path: &Path, destination: &Path) -> Result<Option<PodLock>, Failure> {
    let wrong = || format!("cannot create {}", path.display());
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(anyhow::Error::from(error).context(wrong()).into());
        }
        _ => {}
    }
    match is_own_directory(path) {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::new("another user's file, or a link, has this name").context(wrong()).hint(
                format!("remove {}, or choose a directory that only you can write to", path.display()),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(anyhow::Error::from(error).context(wrong()).into()),
    }
    let file = path.join("lock");
    match File::options().create(true).append(true).mode(0o600).open(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            // Nothing where it holds anything; whoever else was about to use it makes it again.
            let _ = fs::remove_dir(path);
            return Err(anyhow::Error::from(error).context(wrong()).into());
        }
        Ok(_) => {}
    }
    let lock = match PodLock::take(&file) {
        Ok(lock) => lock,
        Err(LockError::Held) => {
            return Err(Failure::new(format!(
                "another process summons {} at this moment",
                destination.display()
            ))
            .hint("wait for it, or choose another directory"));
        }
        Err(LockError::Lock { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(anyhow::Error::from(error).into()),
    };
    let inode = |found: fs::Metadata| (found.dev(), found.ino());
    let ours = lock.file().metadata().map(inode).with_context(wrong)?;
    Ok(fs::metadata(&file).map(inode).is_ok_and(|there| there == ours).then_some(lock))
}

/// In a directory that all may write to, another user may have taken the name first, also with a link.
fn is_own_directory(path: &Path) -> io::Result<bool> {
    let there = fs::symlink_metadata(path)?;
    Ok(there.is_dir() && there.uid() == rustix::process::geteuid().as_raw())
}

fn refuse_occupied(path: &Path) -> Result<(), Failure> {
    let looked = is_occupied(path).with_context(|| format!("cannot look into {}", path.display()))?;
    if looked { Err(occupied(path)) } else { Ok(()) }
}

fn occupied(path: &Path) -> Failure {
    if path.join("pod.json").exists() {
        return Failure::new(format!("{} is a pod already", path.display()))
            .hint(format!("remove it with `kcradle rm {}`, or choose another directory", path.display()));
    }
    Failure::new(format!("{} is not empty", path.display()))
        .hint("choose a directory that is empty or does not exist")
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
        let error = Staging::begin(&destination).unwrap_err().line();
        assert!(error.contains("another process summons"), "{error}");
        let put = staging.finish().unwrap();
        assert_eq!(put, destination.canonicalize().unwrap());
        assert!(destination.join("lock").exists() && !torn.exists());
        let error = Staging::begin(&destination).unwrap_err().line();
        assert!(error.contains("is not empty"), "{error}");
    }

    #[test]
    fn a_link_in_its_way_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("precious"), "").unwrap();
        std::os::unix::fs::symlink(other.path(), dir.path().join(".pod.summon")).unwrap();
        let failure = Staging::begin(&dir.path().join("pod")).unwrap_err();
        assert!(failure.line().contains("another user's file"), "{}", failure.line());
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
        let (_, failure) = staging.finish().unwrap_err();
        assert!(failure.line().contains("is not empty"));
        assert_eq!(fs::read_dir(full.path()).unwrap().count(), 1);
        fs::write(full.path().join("pod.json"), "").unwrap();
        assert!(Staging::begin(full.path()).unwrap_err().line().contains("is a pod already"));
    }
}
