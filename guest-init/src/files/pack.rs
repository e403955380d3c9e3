//! Archives of containers' files: one thing with what is below it (`docker cp`), or a whole root (`docker export`).
//!
//! Directories are read as a stream, so that their number and size cost no memory; what has gone meanwhile is left out.

mod layer;

use super::descriptors::{self, Descriptors};
use super::error::FilesError;
use super::outgoing::Outgoing;
use super::path::Wanted;
use super::thread;
use super::xattr::{self, Attribute};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::path::Path;
use tar::write::{self, Header};
use tar::{Kind, Timestamp};

/// Bytes of a path in an archive, as of a path for the kernel.
const MAX_PATH: usize = 4096;
/// Directories in one another.
const MAX_DEPTH: usize = 1000;
/// Bytes of names that are kept to tell hard links; later ones become files of their own.
const MAX_LINKS: usize = 4 << 20;
/// What one costs beside its bytes.
const COST: usize = 96;

/// Bytes of a file whose holes are worth looking for.
const SPARSE: u64 = 128 << 10;

/// Kinds of file systems that are windows into the kernel: Docker's archives have their mount points empty.
const KERNEL: [i64; 6] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
];

/// Writes an archive.
pub(super) struct Packer<'a> {
    out: &'a mut Outgoing,
    descriptors: &'a Descriptors,
    /// The current path in the archive.
    path: Vec<u8>,
    /// Directories on the way to it.
    levels: Vec<Level>,
    links: Links,
    /// Which extended attributes go into it.
    takes: fn(&[u8]) -> bool,
}

/// A directory being read.
struct Level {
    dir: Dir,
    /// Bytes of the path that are its own.
    path: usize,
    device: (u32, u32),
}

/// Where inodes with several names stand in the archive.
#[derive(Default)]
struct Links {
    first: HashMap<(u32, u32, u64), (Vec<u8>, u32)>,
    bytes: usize,
}

impl<'a> Packer<'a> {
    pub(super) fn new(out: &'a mut Outgoing, descriptors: &'a Descriptors) -> Self {
        let takes = xattr::travels;
        Self { out, descriptors, path: Vec::new(), levels: Vec::new(), links: Links::default(), takes }
    }

    /// Archives what was found at a path, under its name there.
    ///
    /// # Errors
    /// [`FilesError::Gone`], and what cannot be read.
    pub(super) fn named(mut self, found: OwnedFd, wanted: &Wanted) -> Result<(), FilesError> {
        self.path.extend_from_slice(wanted.name.trim_end_matches('/').as_bytes());
        self.entry(found)?;
        self.walk()
    }

    /// Archives what is in a directory.
    ///
    /// # Errors
    /// As [`Self::named`].
    pub(super) fn all(mut self, root: &Path) -> Result<(), FilesError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let failed = || FilesError::call("open", b"container's root");
        let root = rustix::fs::open(root, flags, Mode::empty()).map_err(failed())?;
        let stat = stat(&root).map_err(failed())?;
        self.descend(root, &stat)?;
        self.walk()
    }

    /// Archives what is below the current directories.
    fn walk(mut self) -> Result<(), FilesError> {
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path);
            thread::go_on().map_err(FilesError::call("open", &self.path))?;
            let Some(entry) = level.dir.read() else {
                self.levels.pop();
                continue;
            };
            let entry = entry.map_err(FilesError::call("readdirent", &self.path))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = level.dir.fd().map_err(FilesError::call("open", &self.path))?;
            let found = rustix::fs::openat(dir, name, flags, Mode::empty());
            self.path.extend_from_slice(name.to_bytes());
            match found {
                // It is gone.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(FilesError::call("open", &self.path)(error)),
                Ok(found) => self.entry(found)?,
            }
        }
        self.out.append(|buffer| buffer.extend_from_slice(&write::TRAILER))
    }

    /// Archives one inode under the current path. A directory is added to those being read.
    fn entry(&mut self, found: OwnedFd) -> Result<(), FilesError> {
        let stat = stat(&found).map_err(FilesError::call("lstat", &self.path))?;
        if self.path.len() > MAX_PATH {
            return Err(FilesError::call("lstat", &self.path[..100])(Errno::NAMETOOLONG));
        }
        match FileType::from_raw_mode(u32::from(stat.stx_mode)) {
            FileType::Directory => {
                self.path.push(b'/');
                let dir = descriptors::directory(&found).map_err(FilesError::call("open", &self.path))?;
                let xattrs = self.xattrs(&dir)?;
                self.header(Kind::Directory, &stat, b"", &xattrs)?;
                self.descend(dir, &stat)
            }
            FileType::RegularFile => self.file(&found, &stat),
            FileType::Symlink => {
                let failed = FilesError::call("readlink", &self.path);
                let target = rustix::fs::readlinkat(&found, c"", Vec::new()).map_err(failed)?;
                self.linked_or(Kind::Symlink, &stat, target.as_bytes())
            }
            FileType::Fifo => self.linked_or(Kind::Fifo, &stat, b""),
            // A device that is mounted belongs to the machine, not to the container's files.
            _ if stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => Ok(()),
            FileType::CharacterDevice => self.linked_or(Kind::CharDevice, &stat, b""),
            FileType::BlockDevice => self.linked_or(Kind::BlockDevice, &stat, b""),
            // Archives have no sockets.
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    fn descend(&mut self, dir: OwnedFd, stat: &Statx) -> Result<(), FilesError> {
        let device = (stat.stx_dev_major, stat.stx_dev_minor);
        if self.levels.last().is_none_or(|above| above.device != device) {
            let kind = rustix::fs::fstatfs(&dir).map_err(FilesError::call("statfs", &self.path))?.f_type;
            if KERNEL.contains(&kind) {
                return Ok(());
            }
        }
        if self.levels.len() >= MAX_DEPTH {
            return Err(FilesError::call("open", &self.path)(Errno::NAMETOOLONG));
        }
        let dir = Dir::new(dir).map_err(FilesError::call("open", &self.path))?;
        self.levels.push(Level { dir, path: self.path.len(), device });
        Ok(())
    }

    fn file(&mut self, found: &OwnedFd, stat: &Statx) -> Result<(), FilesError> {
        if let Some(first) = self.links.look(stat, &self.path) {
            return self.header(Kind::HardLink, stat, &first, &[]);
        }
        let file = self.descriptors.file(found, OFlags::RDONLY);
        let file = file.map_err(FilesError::call("open", &self.path))?;
        let xattrs = self.xattrs(&file)?;
        self.header(Kind::File, stat, b"", &xattrs)?;
        let sparse = stat.stx_size >= SPARSE && stat.stx_blocks.saturating_mul(512) < stat.stx_size;
        self.out.file(file.as_fd(), stat.stx_size, sparse, &self.path)?;
        let padding = write::padding(stat.stx_size);
        self.out.append(|buffer| buffer.resize(buffer.len() + padding, 0))
    }

    /// A hard link to an earlier entry, or what it is.
    fn linked_or(&mut self, kind: Kind, stat: &Statx, link: &[u8]) -> Result<(), FilesError> {
        match self.links.look(stat, &self.path) {
            Some(first) => self.header(Kind::HardLink, stat, &first, &[]),
            None => self.header(kind, stat, link, &[]),
        }
    }

    fn xattrs(&self, fd: &OwnedFd) -> Result<Vec<Attribute>, FilesError> {
        xattr::of(fd.as_fd(), self.takes).map_err(FilesError::call("llistxattr", &self.path))
    }

    fn header(
        &mut self,
        kind: Kind,
        stat: &Statx,
        link: &[u8],
        xattrs: &[Attribute],
    ) -> Result<(), FilesError> {
        let header = Header {
            kind,
            path: &self.path,
            link,
            mode: u32::from(stat.stx_mode),
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: if kind == Kind::File { stat.stx_size } else { 0 },
            mtime: Timestamp { seconds: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec },
            device: (stat.stx_rdev_major, stat.stx_rdev_minor),
            xattrs,
        };
        self.out.append(|buffer| header.append(buffer))
    }
}

impl Links {
    /// The path of an earlier name of this inode; remembers the first one.
    fn look(&mut self, stat: &Statx, path: &[u8]) -> Option<Vec<u8>> {
        if stat.stx_nlink < 2 {
            return None;
        }
        let key = (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino);
        if let Some((first, left)) = self.first.get_mut(&key) {
            *left = left.saturating_sub(1);
            if *left > 0 {
                return Some(first.clone());
            }
            // That was its last name.
            let (first, _) = self.first.remove(&key)?;
            self.bytes -= first.len() + COST;
            return Some(first);
        }
        if self.bytes + path.len() + COST <= MAX_LINKS {
            self.bytes += path.len() + COST;
            self.first.insert(key, (path.to_vec(), stat.stx_nlink - 1));
        }
        None
    }
}

fn stat(fd: &OwnedFd) -> rustix::io::Result<Statx> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}
