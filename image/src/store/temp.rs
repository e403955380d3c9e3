//! Files on their way into the store: made in `tmp/`, renamed into place, removed if they never get there.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Store, StoreError};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A file without a final name. What a killed process leaves of it goes with the next garbage collection.
pub(crate) struct TempFile {
    file: File,
    path: PathBuf,
    persisted: bool,
}

impl TempFile {
    /// An empty file, open for reading and writing.
    pub(crate) fn new(store: &Store) -> Result<Self, StoreError> {
        // A process id can come again: a number is taken only where no dead process left it.
        loop {
            let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = store.dir("tmp").join(name);
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { file, path, persisted: false }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::io("create", &path)(error)),
            }
        }
    }

    /// A file with some bytes in it.
    pub(crate) fn write(store: &Store, bytes: &[u8]) -> Result<Self, StoreError> {
        let temp = Self::new(store)?;
        temp.append(bytes)?;
        Ok(temp)
    }

    /// Writes some bytes behind those that were written.
    pub(crate) fn append(&self, bytes: &[u8]) -> Result<(), StoreError> {
        (&self.file).write_all(bytes).map_err(StoreError::io("write", &self.path))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name, with its content on the disk first: a name must not outlive a power cut that
    /// the content does not.
    pub(crate) fn persist(mut self, path: &Path) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::io("write", &self.path))?;
        fs::rename(&self.path, path).map_err(StoreError::io("rename a new file to", path))?;
        self.persisted = true;
        let dir = path.parent().unwrap_or(path);
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io("write", dir))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.persisted {
            // There is nobody to tell; the garbage collection will find it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
