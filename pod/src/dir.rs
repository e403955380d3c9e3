//! The pod directory: made by [`crate::make`], read by everything else.
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `launch.json` | make | [`spec::LaunchSpec`], what the guest is told |
//! | `pod.json` | make, last | [`PodRecord`], what only the host needs; a directory without it is no pod |
//! | `cradle` | make | link to the runtime package |
//! | `scratch.ext4` | make | the writable disk |
//! | `lock` | make | empty; locked by the VM's process as long as it lives |
//! | `state.json`, `pid`, `console.log` | run | [`PodState`] and the rest of the run |
//! | `network.json` | run | [`PodNetworks`], where the last run was on networks |
//! | `run.log` | run, for a frontend | what the process said of itself |
//! | `control.sock` | run | where `stop`, `ls` and `rm` reach the VM's process |
//! | `docker.sock` | run | where the Docker API of the guest is reached |

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use spec::LaunchSpec;
use thiserror::Error;

use crate::atomic_file;
use crate::lock::PodLock;
use crate::network::{self, PodNetworks};
use crate::record::{self, PodRecord};
use crate::state::{self, PodState};

/// The largest JSON file of a pod directory that is read, in bytes.
const MAX_JSON: u64 = 16 << 20;

/// Why a directory could not be read as a pod.
#[derive(Debug, Error)]
pub enum PodError {
    /// Nothing is there.
    #[error("there is no pod at {}", .0.display())]
    Missing(PathBuf),
    /// Something else is there, or the rest of a summon that did not end.
    #[error("{} is no pod: it has no {file}", .dir.display())]
    NotAPod {
        /// The directory.
        dir: PathBuf,
        /// The file that every pod has.
        file: &'static str,
    },
    /// A pod of another version of this program.
    #[error("{} was made by another version of kcradle ({file} has version {found}, this kcradle reads {known})", .dir.display())]
    Version {
        /// The directory.
        dir: PathBuf,
        /// The file whose version differs.
        file: &'static str,
        /// Its version.
        found: u64,
        /// The version of this program.
        known: u32,
    },
    /// A file could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} is damaged", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

/// A pod directory, not yet read.
#[derive(Clone, Debug)]
pub struct PodDir {
    path: PathBuf,
}

impl PodDir {
    /// The pod at `path`, which is made absolute; nothing is looked at yet.
    ///
    /// # Errors
    /// The path is empty, or relative where the working directory cannot be found.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: std::path::absolute(path)?.components().collect() })
    }

    /// The directory itself, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `launch.json`: what the guest is told.
    #[must_use]
    pub fn launch(&self) -> PathBuf {
        self.path.join("launch.json")
    }

    /// `pod.json`: what only the host needs.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.path.join("pod.json")
    }

    /// `cradle`: the link to the runtime package.
    #[must_use]
    pub fn package(&self) -> PathBuf {
        self.path.join("cradle")
    }

    /// `scratch.ext4`: the writable disk.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch.ext4")
    }

    /// `lock`, which the process of a running pod holds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// `state.json`: how the last run stands.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.path.join("state.json")
    }

    /// `pid`: the number of the process that runs the pod, for people.
    #[must_use]
    pub fn pid(&self) -> PathBuf {
        self.path.join("pid")
    }

    /// `console.log`: what kernel and guest-init said.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.path.join("console.log")
    }

    /// `network.json`: what the pod got of its networks.
    #[must_use]
    pub fn network(&self) -> PathBuf {
        self.path.join("network.json")
    }

    /// `run.log`: the standard error of a process that a frontend has started.
    #[must_use]
    pub fn run_log(&self) -> PathBuf {
        self.path.join("run.log")
    }

    /// Reads `pod.json`.
    ///
    /// # Errors
    /// Each variant.
    pub fn read_record(&self) -> Result<PodRecord, PodError> {
        self.read_versioned("pod.json", record::VERSION, |_| {})
    }

    /// Reads `launch.json`.
    ///
    /// # Errors
    /// Each variant.
    pub fn read_launch(&self) -> Result<LaunchSpec, PodError> {
        self.read_versioned("launch.json", spec::launch::VERSION, |_| {})
    }

    /// Reads `pod.json`, changes it and writes it anew, one caller after the other: a lock of the directory keeps others out
    /// meanwhile. That of a pod that runs is its process's. Where `change` refuses, nothing is written.
    ///
    /// # Errors
    /// It cannot be read or written; what was there is there still.
    pub fn change_record<E>(
        &self,
        change: impl FnOnce(&mut PodRecord) -> Result<(), E>,
    ) -> io::Result<Result<(), E>> {
        let folder = std::fs::File::open(&self.path)?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
        let mut record = self.read_record().map_err(io::Error::other)?;
        if let Err(refused) = change(&mut record) {
            return Ok(Err(refused));
        }
        atomic_file::write(&self.record(), &serde_json::to_vec(&record)?, 0o600)?;
        Ok(Ok(()))
    }

    /// Reads `network.json`: what the pod got of its networks in its last run, and has while it runs. `None`: it was on
    /// none.
    ///
    /// # Errors
    /// The file cannot be read, is damaged or of another version.
    pub fn read_network(&self) -> Result<Option<PodNetworks>, PodError> {
        match self.read_versioned("network.json", network::VERSION, |_| {}) {
            Ok(networks) => Ok(Some(networks)),
            Err(PodError::NotAPod { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a process is at work as this pod.
    ///
    /// # Errors
    /// The lock cannot be looked at.
    pub fn is_running(&self) -> io::Result<bool> {
        PodLock::is_held(&self.lock())
    }

    /// Reads `state.json`; a pod that never ran has none.
    ///
    /// # Errors
    /// The file cannot be read, is damaged or of another version.
    pub fn read_state(&self) -> Result<Option<PodState>, PodError> {
        match self.read_versioned("state.json", state::VERSION, state::upgrade) {
            Ok(state) => Ok(Some(state)),
            Err(PodError::NotAPod { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The version is looked at before anything else, so that another version's file is not called damaged.
    fn read_versioned<T: DeserializeOwned>(
        &self,
        file: &'static str,
        known: u32,
        upgrade: fn(&mut Value),
    ) -> Result<T, PodError> {
        let path = self.path.join(file);
        let bytes = match read_bounded(&path, MAX_JSON) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.path.exists() => {
                return Err(PodError::Missing(self.path.clone()));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(PodError::NotAPod { dir: self.path.clone(), file });
            }
            Err(source) => return Err(PodError::Read { path, source }),
        };
        let parse = |source| PodError::Parse { path: path.clone(), source };
        let mut value: Value = serde_json::from_slice(&bytes).map_err(parse)?;
        upgrade(&mut value);
        let found = value.get("version").and_then(Value::as_u64).unwrap_or(0);
        if found != u64::from(known) {
            return Err(PodError::Version { dir: self.path.clone(), file, found, known });
        }
        serde_json::from_value(value).map_err(parse)
    }
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// The file cannot be read, or is longer.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let gone = PodDir::new(&dir.path().join("gone")).unwrap();
        assert!(matches!(gone.read_record(), Err(PodError::Missing(_))));
        let pod = PodDir::new(dir.path()).unwrap();
        assert!(matches!(pod.read_record(), Err(PodError::NotAPod { file: "pod.json", .. })));
        std::fs::write(pod.record(), "{\"version\": 99, \"new\": true}").unwrap();
        assert!(matches!(pod.read_record(), Err(PodError::Version { found: 99, .. })));
        std::fs::write(pod.record(), "{").unwrap();
        assert!(matches!(pod.read_record(), Err(PodError::Parse { .. })));
        std::fs::write(pod.record(), format!("{{\"version\": {}}}", record::VERSION)).unwrap();
        assert!(matches!(pod.read_record(), Err(PodError::Parse { .. })));
        assert!(pod.read_state().unwrap().is_none());
    }

    #[test]
    fn relative_paths_become_absolute() {
        assert!(PodDir::new(Path::new("x/./y")).unwrap().path().is_absolute());
    }
}
