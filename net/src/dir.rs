//! The directory of a network.
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `network.json` | who makes the network | [`Definition`] |
//! | `lock` | who makes the network | empty; locked by the network's process as long as it lives |
//! | `net.sock` | the network's process | where pods ask for a place |
//! | `net.log` | the network's process | what it had to say |

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::definition::{Definition, DefinitionError};

/// The largest definition that is read, in bytes.
const MAX_DEFINITION: u64 = 1 << 20;

/// Why a network's directory was not made or read.
#[derive(Debug, Error)]
pub enum NetworkDirError {
    /// Nothing is there.
    #[error("there is no network at {}", .0.display())]
    Missing(PathBuf),
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
    /// Of another version of this program.
    #[error("{} has version {found}, this kcradle reads {}", .path.display(), Definition::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// The definition makes no sense.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The directory could not be made.
    #[error("cannot make the network's directory {}", .path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The directory of a network, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDir {
    path: PathBuf,
}

impl NetworkDir {
    /// The network at `path`; nothing is looked at yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes the directory (0700) of a network, its definition last: one without `network.json` is no network. What is
    /// there already is kept, but for the definition.
    ///
    /// # Errors
    /// The definition makes no sense, or a file cannot be written.
    pub fn make(path: impl Into<PathBuf>, definition: &Definition) -> Result<Self, NetworkDirError> {
        definition.check()?;
        let dir = Self::at(path);
        let write = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir.path)?;
            let open = |path: &Path| File::options().append(true).create(true).mode(0o600).open(path);
            open(&dir.lock())?;
            let temporary = dir.path.join("network.json.tmp");
            let mut file =
                File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&serde_json::to_vec(definition)?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, dir.definition())
        };
        write().map_err(|source| NetworkDirError::Make { path: dir.path.clone(), source })?;
        Ok(dir)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `network.json`: the definition.
    #[must_use]
    pub fn definition(&self) -> PathBuf {
        self.path.join("network.json")
    }

    /// `lock`, which the process of a network that is used holds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// `net.log`: what that process had to say.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join("net.log")
    }

    /// Reads the definition and checks it.
    ///
    /// # Errors
    /// Each variant but [`NetworkDirError::Make`].
    pub fn read(&self) -> Result<Definition, NetworkDirError> {
        let path = self.definition();
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_DEFINITION).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(NetworkDirError::Missing(self.path.clone()));
            }
            Err(source) => return Err(NetworkDirError::Read { path, source }),
            Ok(_) => {}
        }
        let parse = |source| NetworkDirError::Parse { path: path.clone(), source };
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(parse)?;
        let found = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found != u64::from(Definition::VERSION) {
            return Err(NetworkDirError::Version { path, found });
        }
        let definition: Definition = serde_json::from_value(value).map_err(parse)?;
        definition.check()?;
        Ok(definition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::sound;

    #[test]
    fn a_network_is_made_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("networks/web");
        let dir = NetworkDir::at(&path);
        assert!(matches!(dir.read(), Err(NetworkDirError::Missing(_))));
        assert_eq!(NetworkDir::make(&path, &sound()).unwrap(), dir);
        assert_eq!(dir.read().unwrap(), sound());
        assert!(dir.lock().exists());
        std::fs::write(dir.definition(), "{\"version\":2}").unwrap();
        assert!(matches!(dir.read(), Err(NetworkDirError::Version { found: 2, .. })));
        std::fs::write(dir.definition(), "{").unwrap();
        assert!(matches!(dir.read(), Err(NetworkDirError::Parse { .. })));
    }
}
