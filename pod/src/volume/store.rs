//! The volumes of a host: each a directory of its name with `volume.json` and what it holds.
//!
//! | entry | what |
//! |---|---|
//! | `NAME/volume.json` | [`Volume`]; a directory without it is none |
//! | `NAME/disk.ext4` | of a [`Kind::Disk`]: its file system |
//! | `NAME/data`, `NAME/writer` | of a [`Kind::Directory`]: its files, and the lock of the pod that writes |
//! | `.lock` | held by whoever makes, removes or resizes one |
//! | `.NAME.new`, `.NAME.gone` | what is made or removed, or was when its process was killed |

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use super::device::{self, Content, DeviceError, Identity};
use super::options::{OptionError, Wanted};
use super::{Kind, VERSION, Volume, is_name, tree};
use crate::dir::read_bounded;
use crate::{atomic_file, state};

/// The largest `volume.json`, in bytes.
const MAX_JSON: u64 = 1 << 20;

/// How long a machine's process may take to let go of its disks once its pod is told as ended.
const LINGERING: Duration = Duration::from_secs(1);

const RECORD: &str = "volume.json";
const DISK: &str = "disk.ext4";
const DATA: &str = "data";
const WRITER: &str = "writer";

/// Why a volume could not be made, read, changed or removed. Texts are Docker's where it has them.
#[derive(Debug, Error)]
pub enum VolumeError {
    /// A name that cannot be a directory's.
    #[error(
        "create {0}: {0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. \
         If you intended to pass a host directory, use absolute path"
    )]
    Name(String),
    /// Wishes that no driver fulfils.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// It is there and has another driver.
    #[error(
        "create {name}: a volume named {name} already exists with the {driver} driver. Choose a different volume name"
    )]
    Driver {
        /// Its name.
        name: String,
        /// Its driver.
        driver: &'static str,
    },
    /// It is there and is otherwise.
    #[error("a volume named {0} exists already with other options: choose another name, or remove it first")]
    Exists(String),
    /// A process writes to it.
    #[error("remove {0}: volume is in use by a process of this host")]
    InUse(String),
    /// It is not there.
    #[error("get {0}: no such volume")]
    Missing(String),
    /// A device or file that cannot be one.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A device or file that another volume has.
    #[error("{} is the disk of volume {volume} already", .path.display())]
    Shared {
        /// The device or file.
        path: PathBuf,
        /// The other volume.
        volume: String,
    },
    /// The file system cannot be made.
    #[error("cannot make the volume's disk")]
    Disk(#[source] image::ext4::Ext4Error),
    /// It would become smaller.
    #[error("volume {name} has {size} bytes, and does not shrink")]
    Shrink {
        /// Its name.
        name: String,
        /// Its bytes.
        size: u64,
    },
    /// It has no size that could be set.
    #[error("volume {0} has no size of its own: {1}")]
    Sizeless(String, &'static str),
    /// The store or a volume in it.
    #[error("cannot {what} {}", .path.display())]
    Store {
        /// What was tried.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record that is none, or of another version.
    #[error("{} is damaged, or of another version", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

/// The directory of all volumes.
#[derive(Clone, Debug)]
pub struct Volumes {
    dir: PathBuf,
}

/// The store, in which nobody else makes, removes or resizes a volume while this lives.
#[derive(Debug)]
pub struct Locked<'a> {
    volumes: &'a Volumes,
    _lock: File,
}

impl Volumes {
    /// Those in `dir`, which need not be there yet.
    #[must_use]
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Waits until no other process changes the store.
    ///
    /// # Errors
    /// The directory cannot be made or locked.
    pub fn lock(&self) -> Result<Locked<'_>, VolumeError> {
        let path = self.dir.join(".lock");
        let failed = |source: io::Error| VolumeError::Store { what: "lock", path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed)?;
        let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(Locked { volumes: self, _lock: file })
    }

    /// A volume, where it is there.
    ///
    /// # Errors
    /// Its record cannot be read.
    pub fn get(&self, name: &str) -> Result<Option<Volume>, VolumeError> {
        if !is_name(name) {
            return Ok(None);
        }
        let path = self.dir(name).join(RECORD);
        let bytes = match read_bounded(&path, MAX_JSON) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            read => read.map_err(|source| VolumeError::Store { what: "read", path: path.clone(), source })?,
        };
        let damaged = |source| VolumeError::Record { path: path.clone(), source };
        let mut volume: Volume = serde_json::from_slice(&bytes).map_err(damaged)?;
        if volume.version != VERSION {
            let found = format!("version {}, not {VERSION}", volume.version);
            return Err(damaged(serde::de::Error::custom(found)));
        }
        // A copy of a directory is a volume of its own: paths are made of the name.
        name.clone_into(&mut volume.name);
        Ok(Some(volume))
    }

    /// A volume that has to be there.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], and those of [`Self::get`].
    pub fn find(&self, name: &str) -> Result<Volume, VolumeError> {
        self.get(name)?.ok_or_else(|| VolumeError::Missing(name.to_owned()))
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The directory or a record cannot be read.
    pub fn all(&self) -> Result<Vec<Volume>, VolumeError> {
        let failed = |source| VolumeError::Store { what: "list", path: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            if let Some(name) = entry.map_err(failed)?.file_name().to_str() {
                all.extend(self.get(name)?);
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// The directory of a volume.
    #[must_use]
    pub fn dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The file, device or directory that is the volume.
    #[must_use]
    pub fn place(&self, volume: &Volume) -> PathBuf {
        match &volume.kind {
            Kind::Disk { .. } => self.dir(&volume.name).join(DISK),
            Kind::Device { path } => path.clone(),
            Kind::Directory { .. } => self.dir(&volume.name).join(DATA),
        }
    }

    /// Bytes that a guest can have of a volume; `None` of a directory, which has what the host's file system has.
    #[must_use]
    pub fn size(&self, volume: &Volume) -> Option<u64> {
        match &volume.kind {
            Kind::Disk { size } => Some(*size),
            Kind::Device { path } => File::open(path).and_then(|file| device::length(&file)).ok(),
            Kind::Directory { .. } => None,
        }
    }

    /// Bytes that a volume takes on the host's disk; of a device, nothing.
    #[must_use]
    pub fn used(&self, volume: &Volume) -> u64 {
        match &volume.kind {
            Kind::Disk { .. } => fs::metadata(self.place(volume)).map_or(0, |found| found.blocks() * 512),
            Kind::Device { .. } => 0,
            Kind::Directory { .. } => tree::used(&self.place(volume)),
        }
    }
}

/// The lock file of the pod that writes to the volume of that directory, [`Volumes::place`] of a [`Kind::Directory`].
#[must_use]
pub fn writer_lock(place: &Path) -> PathBuf {
    place.with_file_name(WRITER)
}

impl Locked<'_> {
    /// Makes a volume, or finds it where it is there already, as Docker does; answers whether it was made. `templates` has
    /// those of disks.
    ///
    /// # Errors
    /// It cannot be as it is wanted. Nothing is left of it then.
    pub fn make(&self, wanted: &Wanted, templates: &Path) -> Result<(Volume, bool), VolumeError> {
        if !is_name(&wanted.name) {
            return Err(VolumeError::Name(wanted.name.clone()));
        }
        let (driver, name) = (wanted.driver()?, wanted.name.clone());
        if let Some(found) = self.volumes.get(&name)? {
            if driver.is_some_and(|driver| driver != found.driver()) {
                return Err(VolumeError::Driver { name, driver: found.driver() });
            }
            if !wanted.options.is_empty() && wanted.options != found.options {
                return Err(VolumeError::Exists(name));
            }
            return Ok((found, false));
        }
        let (labels, options) = (wanted.labels.clone(), wanted.options.clone());
        let volume =
            Volume { version: VERSION, name, created: state::now(), labels, options, kind: wanted.kind()? };
        self.put(&volume, templates)?;
        Ok((volume, true))
    }

    fn put(&self, volume: &Volume, templates: &Path) -> Result<(), VolumeError> {
        let new = self.volumes.dir.join(format!(".{}.new", volume.name));
        self.clear(&new)?;
        let made = self.fill(&new, volume, templates).and_then(|()| {
            let place = self.volumes.dir(&volume.name);
            let moved = fs::rename(&new, &place).and_then(|()| atomic_file::sync_dir(&self.volumes.dir));
            moved.map_err(|source| VolumeError::Store { what: "put a volume at", path: place, source })
        });
        if made.is_err() {
            // What cannot be removed is, when the next one is made.
            let _ = self.clear(&new);
        }
        made
    }

    /// Makes what a volume holds, in a directory that nobody knows yet.
    fn fill(&self, dir: &Path, volume: &Volume, templates: &Path) -> Result<(), VolumeError> {
        let failed = |source| VolumeError::Store { what: "make", path: dir.to_owned(), source };
        DirBuilder::new().mode(0o700).create(dir).map_err(failed)?;
        match &volume.kind {
            Kind::Disk { size } => {
                let disk = dir.join(DISK);
                image::ext4::create_scratch(templates, &disk, *size).map_err(VolumeError::Disk)?;
                File::open(&disk).and_then(|disk| disk.sync_all()).map_err(failed)?;
            }
            Kind::Device { path } => self.take_device(path)?,
            Kind::Directory { .. } => {
                fs::create_dir(dir.join(DATA)).map_err(failed)?;
                File::create_new(dir.join(WRITER)).map_err(failed)?;
            }
        }
        self.write(&dir.join(RECORD), volume)
    }

    fn take_device(&self, path: &Path) -> Result<(), VolumeError> {
        let ours =
            Identity::of(path).map_err(|source| DeviceError::Open { path: path.to_owned(), source })?;
        for other in self.volumes.all()? {
            if other.is_disk() && Identity::of(&self.volumes.place(&other)).is_ok_and(|found| found == ours) {
                return Err(VolumeError::Shared { path: path.to_owned(), volume: other.name });
            }
        }
        match device::examine(path)? {
            Content::Ext4 => Ok(()),
            Content::Zeros(_lock) => image::ext4::format(path).map_err(VolumeError::Disk),
        }
    }

    fn write(&self, path: &Path, volume: &Volume) -> Result<(), VolumeError> {
        let failed = |source| VolumeError::Store { what: "write", path: path.to_owned(), source };
        let json = serde_json::to_vec_pretty(volume).map_err(|error| failed(error.into()))?;
        atomic_file::write(path, &json, 0o600).map_err(failed)
    }

    /// Removes a volume that nobody has, which is the caller's to know. A device or file of the user's stays.
    ///
    /// # Errors
    /// It is not there, a process has its disk or writes to its directory, or not all of it can be removed: the rest has no name any more.
    pub fn remove(&self, name: &str) -> Result<Volume, VolumeError> {
        let volume = self.volumes.find(name)?;
        let (place, gone) = (self.volumes.dir(name), self.volumes.dir.join(format!(".{name}.gone")));
        self.clear(&gone)?;
        let _lock = self.exclusive(&volume)?;
        let moved = fs::rename(&place, &gone).and_then(|()| atomic_file::sync_dir(&self.volumes.dir));
        moved.map_err(|source| VolumeError::Store { what: "remove", path: place, source })?;
        self.clear(&gone)?;
        Ok(volume)
    }

    /// Locks what a machine locks that has the volume. One that has ended just now may hold it for a moment more.
    fn exclusive(&self, volume: &Volume) -> Result<Option<File>, VolumeError> {
        let place = self.volumes.place(volume);
        let path = match volume.kind {
            Kind::Disk { .. } => place,
            Kind::Directory { .. } => writer_lock(&place),
            Kind::Device { .. } => return Ok(None),
        };
        let failed = |source| VolumeError::Store { what: "lock", path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let until = Instant::now() + LINGERING;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(LINGERING / 20),
                Err(Errno::WOULDBLOCK) => return Err(VolumeError::InUse(volume.name.clone())),
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    /// Makes the disk of a volume larger: its file, then its record. Whoever has it is to be told. Of a device the size is
    /// what it is now, and nothing is to be said.
    ///
    /// # Errors
    /// It is not there, has no size, or would shrink.
    pub fn grow(&self, name: &str, size: Option<u64>) -> Result<Volume, VolumeError> {
        let mut volume = self.volumes.find(name)?;
        let place = self.volumes.place(&volume);
        match (&mut volume.kind, size) {
            (Kind::Disk { size: known }, Some(size)) => {
                let failed = |source| VolumeError::Store { what: "resize", path: place.clone(), source };
                let file = File::options().write(true).open(&place).map_err(failed)?;
                // The record may lag behind, where a process was killed here.
                let now = file.metadata().map_err(failed)?.len().max(*known);
                if size < now {
                    return Err(VolumeError::Shrink { name: name.to_owned(), size: now });
                }
                file.set_len(size).and_then(|()| file.sync_all()).map_err(failed)?;
                *known = size;
            }
            (Kind::Device { .. }, None) => return Ok(volume),
            (Kind::Disk { .. }, None) => {
                return Err(VolumeError::Sizeless(name.to_owned(), "say which, as in 20g"));
            }
            (Kind::Device { .. }, Some(_)) => {
                return Err(VolumeError::Sizeless(name.to_owned(), "resize its device, then say none"));
            }
            (Kind::Directory { .. }, _) => {
                let why = "it has what the host's file system has";
                return Err(VolumeError::Sizeless(name.to_owned(), why));
            }
        }
        self.write(&self.volumes.dir(name).join(RECORD), &volume)?;
        Ok(volume)
    }

    /// Removes what killed processes have left.
    ///
    /// # Errors
    /// The first that cannot be removed.
    pub fn tidy(&self) -> Result<(), VolumeError> {
        for entry in fs::read_dir(&self.volumes.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_left = name.to_str().is_some_and(|name| {
                name.starts_with('.') && (name.ends_with(".new") || name.ends_with(".gone"))
            });
            if is_left {
                self.clear(&entry.path())?;
            }
        }
        Ok(())
    }

    fn clear(&self, path: &Path) -> Result<(), VolumeError> {
        match tree::remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(VolumeError::Store { what: "remove", path: path.to_owned(), source }),
            Ok(()) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
