//! A block device or a file that is there, as the disk of a volume: looked at before a volume is made of it, and opened for
//! a machine. It is formatted where all of it is zeros, and never removed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;
use rustix::fs::{FlockOperation, SeekFrom, flock};
use rustix::io::Errno;
use thiserror::Error;

use super::superblock::Superblock;

/// The least size in bytes.
const MIN_BYTES: u64 = 16 << 20;

/// Bytes that are looked at in one step.
const STEP: usize = 1 << 20;

/// Why something cannot be the disk of a volume.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// It cannot be opened or read.
    #[error("cannot use {}", .path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Neither a block device nor a file.
    #[error("{} is neither a block device nor a file", .0.display())]
    Kind(PathBuf),
    /// The kernel has given it to somebody.
    #[error("{} is in use: it is mounted, swapped to, or a part of another device, on this host or in a microVM", .0.display())]
    Busy(PathBuf),
    /// A loop device shows it.
    #[error("{} is in use: it is the file behind {loops}", .path.display())]
    Loop {
        /// The path.
        path: PathBuf,
        /// The loop device.
        loops: String,
    },
    /// Below 16 MiB, or no multiple of 4 KiB.
    #[error("{} has {size} bytes: a volume takes 16 MiB at least, in steps of 4 KiB", .path.display())]
    Size {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        size: u64,
    },
    /// It has content that is no ext4.
    #[error(
        "{} holds something that is no ext4, and is not formatted: clear it first (blkdiscard, wipefs), or make an ext4 on it \
         (mkfs.ext4)", .0.display()
    )]
    Taken(PathBuf),
}

/// What is on a device.
#[derive(Debug)]
pub enum Content {
    /// An ext4, which is used as it is.
    Ext4,
    /// Zeros from beginning to end. Of a file, its lock: nobody else formats it, nor does a machine have it, until that is
    /// dropped. A block device is claimed by whoever formats it.
    Zeros(Option<File>),
}

/// One and the same thing under all its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(u64, u64);

impl Identity {
    /// That of what is at a path; of a block device, the device's own.
    ///
    /// # Errors
    /// Nothing is there.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let device = found.file_type().is_block_device();
        // No file system has the device 0.
        Ok(if device { Self(0, found.rdev()) } else { Self(found.dev(), found.ino()) })
    }
}

/// Opens a device or file that nobody else on this host has, for reading and, where that is wished, for writing.
///
/// # Errors
/// [`DeviceError`].
pub fn open(path: &Path, write: bool) -> Result<File, DeviceError> {
    let failed = |source: io::Error| match source.raw_os_error() {
        Some(libc::EBUSY) => DeviceError::Busy(path.to_owned()),
        _ => DeviceError::Open { path: path.to_owned(), source },
    };
    let kind = fs::metadata(path).map_err(failed)?.file_type();
    if !kind.is_block_device() && !kind.is_file() {
        return Err(DeviceError::Kind(path.to_owned()));
    }
    // Of a block device this is a claim: the kernel mounts it nowhere meanwhile, and what is claimed is refused.
    let claim = if kind.is_block_device() { libc::O_EXCL } else { 0 };
    let file = File::options().read(true).write(write).custom_flags(claim).open(path).map_err(failed)?;
    if kind.is_file()
        && let Some(loops) = loop_device(path)
    {
        return Err(DeviceError::Loop { path: path.to_owned(), loops });
    }
    Ok(file)
}

/// Looks at a device or file of which a volume is to be made. All of one without an ext4 is read.
///
/// # Errors
/// [`DeviceError`].
pub fn examine(path: &Path) -> Result<Content, DeviceError> {
    let failed = |source| DeviceError::Open { path: path.to_owned(), source };
    let file = open(path, true)?;
    let size = length(&file).map_err(failed)?;
    if size < MIN_BYTES || !size.is_multiple_of(4096) {
        return Err(DeviceError::Size { path: path.to_owned(), size });
    }
    if Superblock::read(&file).map_err(failed)?.is_some() {
        return Ok(Content::Ext4);
    }
    let is_file = file.metadata().map_err(failed)?.is_file();
    if is_file {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(DeviceError::Busy(path.to_owned())),
            locked => locked.map_err(|error| failed(error.into()))?,
        }
        // Somebody may have formatted it until then.
        if Superblock::read(&file).map_err(failed)?.is_some() {
            return Ok(Content::Ext4);
        }
    }
    match is_zeros(&file, size).map_err(failed)? {
        true => Ok(Content::Zeros(is_file.then_some(file))),
        false => Err(DeviceError::Taken(path.to_owned())),
    }
}

/// Bytes of a file or a block device.
///
/// # Errors
/// Of lseek(2).
pub fn length(file: &File) -> io::Result<u64> {
    io::Seek::seek(&mut &*file, io::SeekFrom::End(0))
}

/// Whether nothing but zeros is in it; holes of files are passed over.
fn is_zeros(file: &File, size: u64) -> io::Result<bool> {
    let mut buffer = vec![0; STEP];
    let mut at = 0;
    while at < size {
        at = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(true),
            Err(Errno::INVAL) => at,
            Err(error) => return Err(error.into()),
        };
        let room = usize::try_from(size.saturating_sub(at)).unwrap_or(STEP).min(STEP);
        let count = file.read_at(&mut buffer[..room], at)?;
        if count == 0 {
            return Ok(true);
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += count as u64;
    }
    Ok(true)
}

/// The loop device that shows a file. Where the kernel does not tell, there is none.
fn loop_device(path: &Path) -> Option<String> {
    let ours = Identity::of(path).ok()?;
    for entry in fs::read_dir("/sys/block").ok()?.flatten() {
        let Ok(behind) = fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
        if Identity::of(Path::new(behind.trim_end_matches('\n'))).is_ok_and(|other| other == ours) {
            return Some(format!("/dev/{}", entry.file_name().to_string_lossy()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zeros_and_ext4_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        assert!(matches!(examine(&path), Err(DeviceError::Open { .. })));
        assert!(matches!(examine(dir.path()), Err(DeviceError::Kind(_))));
        assert!(matches!(examine(Path::new("/dev/null")), Err(DeviceError::Kind(_))));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(8 << 20).unwrap();
        assert!(matches!(examine(&path), Err(DeviceError::Size { .. })));
        file.set_len(64 << 20).unwrap();
        let zeros = examine(&path).unwrap();
        assert!(matches!(zeros, Content::Zeros(Some(_))));
        // One at a time may format it.
        assert!(matches!(examine(&path), Err(DeviceError::Busy(_))));
        drop(zeros);
        file.write_all_at(&[0; 8192], 4 << 20).unwrap();
        assert!(matches!(examine(&path).unwrap(), Content::Zeros(Some(_))));
        // Whatever it is, however far behind.
        file.write_all_at(b"x", (63 << 20) + 5).unwrap();
        assert!(matches!(examine(&path), Err(DeviceError::Taken(_))));
        file.write_all_at(&[0x53, 0xef], 1024 + 0x38).unwrap();
        assert!(matches!(examine(&path).unwrap(), Content::Ext4));
    }

    #[test]
    fn all_names_of_a_file_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a"), "").unwrap();
        fs::write(path("b"), "").unwrap();
        fs::hard_link(path("a"), path("twin")).unwrap();
        std::os::unix::fs::symlink("a", path("link")).unwrap();
        let of = |name: &str| Identity::of(&path(name)).unwrap();
        assert!(of("a") == of("twin") && of("a") == of("link") && of("a") != of("b"));
    }
}
