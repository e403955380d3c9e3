//! One entry of an archive, made in a directory of a container.

use crate::files::error::FilesError;
use crate::files::{remove, thread, xattr};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::io::BufRead;
use tar::{Archive, Entry, Kind, Timestamp};

/// How often something else is removed that takes the name again and again.
const MAX_RACES: u32 = 8;

/// Where an entry goes.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) dir: BorrowedFd<'a>,
    pub(super) name: &'a [u8],
    /// Its path, for errors.
    pub(super) shown: &'a [u8],
}

impl Place<'_> {
    /// Removes what is there, unless a directory meets a directory; whether anything was. `keep`: a directory is not
    /// replaced by something else, nor the reverse.
    pub(super) fn make_way(&self, kind: Kind, keep: bool, target: &[u8]) -> Result<bool, FilesError> {
        let stat = match rustix::fs::statat(self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            other => other.map_err(FilesError::call("lstat", self.shown))?,
        };
        let was_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let is_dir = kind == Kind::Directory;
        if was_dir && is_dir {
            return Ok(false);
        }
        if keep && was_dir != is_dir {
            let (shown, target) = (super::show(self.shown), super::show(target));
            return Err(FilesError::Refused(if was_dir {
                format!("cannot overwrite directory {shown:?} with non-directory {target:?}")
            } else {
                format!("cannot overwrite non-directory {shown:?} with directory {target:?}")
            }));
        }
        remove::all(self.dir, self.name).map_err(FilesError::call("unlinkat", self.shown))?;
        Ok(true)
    }

    pub(super) fn directory(&self, entry: &Entry, owner: (u32, u32)) -> Result<(), FilesError> {
        let private = Mode::RUSR | Mode::WUSR | Mode::XUSR;
        match rustix::fs::mkdirat(self.dir, self.name, private) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(FilesError::call("mkdir", self.shown)(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(self.dir, self.name, flags, Mode::empty());
        let dir = dir.map_err(FilesError::call("open", self.shown))?;
        // Its time is set when all else is done.
        self.attributes(&dir, entry, owner)
    }

    pub(super) fn hard_link(&self, target: BorrowedFd<'_>, name: &[u8]) -> Result<(), FilesError> {
        self.make("link", || rustix::fs::linkat(target, name, self.dir, self.name, AtFlags::empty()))
    }

    pub(super) fn file<R: BufRead + ?Sized>(
        &self,
        archive: &mut Archive<'_, R>,
        entry: &Entry,
        owner: (u32, u32),
    ) -> Result<(), FilesError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let private = Mode::RUSR | Mode::WUSR;
        let file = self.make("open", || rustix::fs::openat(self.dir, self.name, flags, private))?;
        match &entry.extents {
            None => self.fill(archive, &file, 0, entry.size)?,
            Some(extents) => {
                for extent in extents {
                    self.fill(archive, &file, extent.offset, extent.length)?;
                }
                rustix::fs::ftruncate(&file, entry.size).map_err(FilesError::call("truncate", self.shown))?;
            }
        }
        self.attributes(&file, entry, owner)?;
        rustix::fs::futimens(&file, &timestamps(entry.mtime)).map_err(FilesError::call("chtimes", self.shown))
    }

    /// Writes the next `length` bytes of an entry's data, from where they were received to where they belong.
    fn fill<R: BufRead + ?Sized>(
        &self,
        archive: &mut Archive<'_, R>,
        file: &OwnedFd,
        mut offset: u64,
        length: u64,
    ) -> Result<(), FilesError> {
        let mut left = length;
        while left > 0 {
            thread::go_on().map_err(FilesError::call("write", self.shown))?;
            let data = archive.data()?;
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &data[..wanted], offset));
            let written = match written {
                Ok(0) => Err(Errno::IO),
                other => other,
            };
            let written = written.map_err(FilesError::call("write", self.shown))?;
            archive.consume_data(written)?;
            offset += written as u64;
            left -= written as u64;
        }
        Ok(())
    }

    pub(super) fn symlink(&self, entry: &Entry, owner: (u32, u32)) -> Result<(), FilesError> {
        self.make("symlink", || rustix::fs::symlinkat(entry.link.as_slice(), self.dir, self.name))?;
        self.own(FileType::Symlink, entry, owner)
    }

    /// A device or a named pipe.
    pub(super) fn special(&self, entry: &Entry, kind: Kind, owner: (u32, u32)) -> Result<(), FilesError> {
        let kind = match kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let number = rustix::fs::makedev(entry.device.0, entry.device.1);
        // The thread's umask is empty.
        let mode = Mode::from_raw_mode(u32::from(entry.mode));
        self.make("mknod", || rustix::fs::mknodat(self.dir, self.name, kind, mode, number))?;
        self.own(kind, entry, owner)
    }

    /// Makes something under the name, removing what a container puts there meanwhile.
    fn make<T>(
        &self,
        action: &'static str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T, FilesError> {
        let mut races = 0;
        loop {
            match make() {
                Err(Errno::EXIST) if races < MAX_RACES => {
                    races += 1;
                    remove::all(self.dir, self.name).map_err(FilesError::call("unlinkat", self.shown))?;
                }
                other => return other.map_err(FilesError::call(action, self.shown)),
            }
        }
    }

    /// Owner, extended attributes and mode of a file or directory. In this order: a new owner clears what follows.
    fn attributes(&self, fd: &OwnedFd, entry: &Entry, owner: (u32, u32)) -> Result<(), FilesError> {
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(FilesError::call("lchown", self.shown))?;
        xattr::set(fd.as_fd(), &entry.xattrs).map_err(FilesError::call("lsetxattr", self.shown))?;
        let mode = Mode::from_raw_mode(u32::from(entry.mode));
        rustix::fs::fchmod(fd, mode).map_err(FilesError::call("chmod", self.shown))
    }

    /// Owner and time of a node that cannot be opened, if it still is what was made.
    fn own(&self, kind: FileType, entry: &Entry, owner: (u32, u32)) -> Result<(), FilesError> {
        let failed = || FilesError::call("lchown", self.shown);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(self.dir, self.name, flags, Mode::empty()).map_err(failed())?;
        let stat = rustix::fs::fstat(&made).map_err(failed())?;
        if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_nlink > 1 {
            return Err(failed()(Errno::STALE));
        }
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        rustix::fs::chownat(&made, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH).map_err(failed())?;
        rustix::fs::utimensat(&made, c"", &timestamps(entry.mtime), AtFlags::EMPTY_PATH)
            .map_err(FilesError::call("chtimes", self.shown))
    }
}

/// Sets the times of a directory by its name in another one.
///
/// # Errors
/// What the system says.
pub(super) fn set_directory_time(
    parent: BorrowedFd<'_>,
    name: &[u8],
    time: Timestamp,
) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::futimens(&dir, &timestamps(time))
}

fn timestamps(time: Timestamp) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
