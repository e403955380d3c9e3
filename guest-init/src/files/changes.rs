//! What a container's upper layer makes of its image (`docker diff`), told from the overlay's own marks.

use super::error::FilesError;
use super::thread;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use vdocker::archive::{Change, ChangeKind};

/// Directories in one another.
const MAX_DEPTH: usize = 1000;
/// Bytes of all changes' paths.
const MAX_BYTES: usize = 16 << 20;
/// What a change costs beside its path.
const COST: usize = 48;

/// The one that more than that can be in.
pub(super) const ETC: &[u8] = b"/etc";

/// Made for what every container has mounted, where the image lacks it: no change of the container's.
pub(super) const OURS: [&[u8]; 7] =
    [b"/dev", ETC, b"/etc/hostname", b"/etc/hosts", b"/etc/resolv.conf", b"/proc", b"/sys"];

/// The directories that a container's overlay is made of.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    /// What the container has written.
    pub(crate) upper: PathBuf,
    /// The root of its image.
    pub(crate) image: PathBuf,
}

/// Lists what differs, by path.
///
/// # Errors
/// What cannot be read; more changes than fit an answer.
pub(super) fn list(layers: &Layers) -> Result<Vec<Change>, FilesError> {
    let mut comparison = Comparison { path: Vec::new(), levels: Vec::new(), changes: Vec::new(), bytes: 0 };
    let upper = open(&layers.upper)?;
    let image = open(&layers.image)?;
    comparison.descend(upper, Some(image), true)?;
    comparison.run()?;
    comparison.changes.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(comparison.changes)
}

pub(super) fn open(path: &Path) -> Result<OwnedFd, FilesError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = FilesError::call("open", path.as_os_str().as_encoded_bytes());
    rustix::fs::open(path, flags, Mode::empty()).map_err(failed)
}

struct Comparison {
    path: Vec<u8>,
    levels: Vec<Level>,
    changes: Vec<Change>,
    bytes: usize,
}

/// A directory of the upper layer, and the same one of the image.
struct Level {
    upper: Dir,
    /// `None`: everything in it is new.
    image: Option<OwnedFd>,
    /// Bytes of the path that are its own.
    path: usize,
    /// Whether it is told already.
    told: bool,
    /// Changes before it.
    before: usize,
}

impl Comparison {
    fn run(&mut self) -> Result<(), FilesError> {
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path);
            thread::go_on().map_err(FilesError::call("readdirent", &self.path))?;
            match level.upper.read() {
                None => self.ascend()?,
                Some(entry) => {
                    let entry = entry.map_err(FilesError::call("readdirent", &self.path))?;
                    let name = entry.file_name();
                    if name != c"." && name != c".." {
                        self.entry(name)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> Result<(), FilesError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        self.path.push(b'/');
        self.path.extend_from_slice(name.to_bytes());
        let dir = level.upper.fd().map_err(FilesError::call("open", &self.path))?;
        let Some(new) = look(dir, name, &self.path)? else { return Ok(()) };
        let old = match &level.image {
            Some(image) => look(image.as_fd(), name, &self.path)?,
            None => None,
        };
        if is_whiteout(&new) {
            return if old.is_some() { self.tell(ChangeKind::Deleted) } else { Ok(()) };
        }
        let changed = match &old {
            None => true,
            Some(old) => differs(old, &new) || self.capabilities_differ(name, &new)?,
        };
        let told = changed && (old.is_some() || !OURS.contains(&self.path.as_slice()));
        if told {
            self.tell(if old.is_some() { ChangeKind::Modified } else { ChangeKind::Added })?;
        }
        if !is_dir(&new) {
            return Ok(());
        }
        let Some(level) = self.levels.last() else { return Ok(()) };
        let dir = level.upper.fd().map_err(FilesError::call("open", &self.path))?;
        let upper = open_dir(dir, name).map_err(FilesError::call("open", &self.path))?;
        let image = match (&level.image, old) {
            (Some(image), Some(old)) if is_dir(&old) => {
                Some(open_dir(image.as_fd(), name).map_err(FilesError::call("open", &self.path))?)
            }
            _ => None,
        };
        self.descend(upper, image, told)
    }

    fn descend(&mut self, upper: OwnedFd, image: Option<OwnedFd>, told: bool) -> Result<(), FilesError> {
        if self.levels.len() >= MAX_DEPTH {
            return Err(FilesError::call("open", &self.path)(Errno::NAMETOOLONG));
        }
        let before = self.changes.len();
        if let Some(image) = &image
            && is_opaque(&upper)
        {
            self.removed(upper.as_fd(), image)?;
        }
        let upper = Dir::new(upper).map_err(FilesError::call("open", &self.path))?;
        self.levels.push(Level { upper, image, path: self.path.len(), told, before });
        Ok(())
    }

    /// What an image's directory has and the one that replaces it lacks.
    fn removed(&mut self, upper: BorrowedFd<'_>, image: &OwnedFd) -> Result<(), FilesError> {
        let own = self.path.len();
        for entry in Dir::read_from(image).map_err(FilesError::call("open", &self.path))? {
            let entry = entry.map_err(FilesError::call("readdirent", &self.path))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.path.push(b'/');
            self.path.extend_from_slice(name.to_bytes());
            if look(upper, name, &self.path)?.is_none() {
                self.tell(ChangeKind::Deleted)?;
            }
            self.path.truncate(own);
        }
        Ok(())
    }

    /// A directory is changed by what is changed below it.
    fn ascend(&mut self) -> Result<(), FilesError> {
        match self.levels.pop() {
            Some(level) if !level.told && self.changes.len() > level.before => {
                self.tell(ChangeKind::Modified)
            }
            _ => Ok(()),
        }
    }

    fn tell(&mut self, kind: ChangeKind) -> Result<(), FilesError> {
        self.bytes += self.path.len() + COST;
        if self.bytes > MAX_BYTES {
            return Err(FilesError::Refused("there are too many changes to list".to_owned()));
        }
        let path = String::from_utf8_lossy(&self.path).into_owned();
        self.changes.push(Change { path, kind });
        Ok(())
    }

    fn capabilities_differ(&self, name: &CStr, new: &Stat) -> Result<bool, FilesError> {
        let Some(Level { upper, image: Some(image), .. }) = self.levels.last() else { return Ok(false) };
        if FileType::from_raw_mode(new.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let failed = || FilesError::call("lgetxattr", &self.path);
        let upper = upper.fd().map_err(failed())?;
        Ok(capability(upper, name).map_err(failed())? != capability(image.as_fd(), name).map_err(failed())?)
    }
}

pub(super) fn look(dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Option<Stat>, FilesError> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some).map_err(FilesError::call("lstat", path)),
    }
}

pub(super) fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The overlay's mark for a name that is gone.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether a directory stands in place of the image's, not over it.
pub(super) fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(dir, c"trusted.overlay.opaque", &mut value[..]) == Ok(1) && value == *b"y"
}

/// Whether an inode differs as Docker tells it: content by size and time, of a directory neither.
pub(super) fn differs(old: &Stat, new: &Stat) -> bool {
    let same_time = old.st_mtime == new.st_mtime
        && (old.st_mtime_nsec == new.st_mtime_nsec || old.st_mtime_nsec == 0 || new.st_mtime_nsec == 0);
    old.st_mode != new.st_mode
        || old.st_uid != new.st_uid
        || old.st_gid != new.st_gid
        || old.st_rdev != new.st_rdev
        || !is_dir(new) && (!same_time || old.st_size != new.st_size)
}

/// A file's capabilities; nothing where it has none, or has gone.
fn capability(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut value = [0; 64];
    match rustix::fs::fgetxattr(&file, c"security.capability", &mut value[..]) {
        Ok(length) => Ok(value[..length].to_vec()),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
