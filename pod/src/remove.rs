//! The end of a pod directory: its own files are removed, whole or torn, and nothing else. Called by whoever holds the
//! pod's lock.

use std::fs::DirEntry;
use std::path::PathBuf;
use std::{fs, io};

use thiserror::Error;

use crate::atomic_file;
use crate::dir::PodDir;

/// The files of a pod in the order of their removal: without the first it is none any more.
const FILES: [&str; 12] = [
    "pod.json",
    "control.sock",
    "docker.sock",
    "state.json",
    "pid",
    "network.json",
    "console.log",
    "run.log",
    "scratch.ext4",
    "cradle",
    "launch.json",
    "lock",
];

/// Why a pod's files were not removed.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// The directory cannot be read.
    #[error("cannot list {}", .path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file, or the directory itself, cannot be removed.
    #[error("cannot remove {}", .path.display())]
    Remove {
        /// What stays.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is left of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Nothing.
    Whole,
    /// The directory, since there are files in it that are not the pod's.
    DirectoryKept,
}

impl PodDir {
    /// Removes the pod's own files, whole or torn, and the directory if nothing else is in it. The lock must be held,
    /// or be missing.
    ///
    /// # Errors
    /// Each variant; what was removed before is gone.
    pub fn remove(&self) -> Result<Removed, RemoveError> {
        let torn =
            self.torn().map_err(|source| RemoveError::List { path: self.path().to_owned(), source })?;
        for path in FILES.iter().map(|name| self.path().join(name)).chain(torn) {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(RemoveError::Remove { path, source });
                }
                _ => {}
            }
        }
        match fs::remove_dir(self.path()) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(Removed::DirectoryKept),
            Err(source) => Err(RemoveError::Remove { path: self.path().to_owned(), source }),
            Ok(()) => Ok(Removed::Whole),
        }
    }

    /// What killed processes left of files that they were writing.
    fn torn(&self) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.path())?.collect::<io::Result<Vec<_>>>()?;
        let torn = |entry: &DirEntry| FILES.iter().any(|file| atomic_file::is_torn(&entry.file_name(), file));
        Ok(entries.iter().filter(|entry| torn(entry)).map(DirEntry::path).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_pods_goes() {
        let parent = tempfile::tempdir().unwrap();
        let pod = PodDir::new(&parent.path().join("pod")).unwrap();
        assert!(matches!(pod.remove(), Err(RemoveError::List { .. })));
        fs::create_dir(pod.path()).unwrap();
        for name in FILES.iter().chain(&["state.json.tmp", "mine"]) {
            fs::write(pod.path().join(name), "").unwrap();
        }
        assert_eq!(pod.remove().unwrap(), Removed::DirectoryKept);
        let left: Vec<_> =
            fs::read_dir(pod.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["mine"]);
        fs::remove_file(pod.path().join("mine")).unwrap();
        assert_eq!(pod.remove().unwrap(), Removed::Whole);
        assert!(!pod.path().exists());
    }

    #[test]
    fn all_of_the_pods_goes() {
        let parent = tempfile::tempdir().unwrap();
        let pod = PodDir::new(&parent.path().join("pod")).unwrap();
        fs::create_dir(pod.path()).unwrap();
        let made = [pod.launch(), pod.record(), pod.package(), pod.scratch(), pod.lock()];
        let run = [pod.state(), pod.pid(), pod.console(), pod.network(), pod.run_log()];
        for path in made.into_iter().chain(run) {
            fs::write(path, "").unwrap();
        }
        assert_eq!(pod.remove().unwrap(), Removed::Whole);
    }
}
