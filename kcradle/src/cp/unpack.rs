//! Writes an archive of a pod into a folder of the host, and nowhere else.
//!
//! Each entry is reached from a descriptor of the folder by one component after the other, none of which may be a
//! link or `..`; files are made anew, never written through. The first component must be what was asked for: a pod
//! that is asked for one file cannot send others beside it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, futimens, linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, Kind, Limits, TarError, Timestamp};
use thiserror::Error;

/// What an archive may have. Its size is bounded by the disk alone: it is what the user asked for.
const LIMITS: Limits = Limits {
    archive_bytes: u64::MAX,
    file_bytes: i64::MAX as u64,
    sparse_extents: 1 << 20,
    pax_bytes: 4 << 20,
};
/// Memory for the directories that are made, in bytes: each is remembered to the end, when it gets its mode and time.
const MAX_REMEMBERED: usize = 256 << 20;
/// The most directories in one another.
const MAX_DEPTH: usize = 1000;
/// Devices that are told of by name.
const MAX_LEFT_OUT: usize = 100;

/// Why an archive was not unpacked.
#[derive(Debug, Error)]
pub(crate) enum UnpackError {
    /// It is malformed, or broke off.
    #[error("cannot read the pod's archive")]
    Archive(#[from] TarError),
    /// An entry that has no place below the folder.
    #[error("the pod sent {0:?}, which has no place in what was asked for")]
    Outside(String),
    /// A directory stands where a file is to be.
    #[error("cannot overwrite directory {0:?} with non-directory")]
    Directory(String),
    /// A file stands where a directory is to be.
    #[error("cannot overwrite non-directory {0:?} with directory")]
    NotDirectory(String),
    /// More directories in one another than this code takes.
    #[error("the pod sent more than {MAX_DEPTH} directories in one another")]
    TooDeep,
    /// More directories than this code takes.
    #[error("the pod sent too many directories")]
    TooMany,
    /// The host refuses.
    #[error("cannot write {path:?}")]
    Write {
        /// The entry.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An archive's place.
pub(super) struct Unpack {
    root: OwnedFd,
    /// What all entries begin with; `None`: they are what is in a directory.
    name: Option<Vec<u8>>,
    /// What they begin with here.
    rename: Option<Vec<u8>>,
    /// Keep owners and the bits that go with them.
    owners: bool,
    /// Directories that were made, in the order of their making: paths from the root.
    made: Vec<(Box<[u8]>, Attributes)>,
    /// Bytes of memory that they take.
    remembered: usize,
}

/// What an entry has besides its content.
#[derive(Clone, Copy)]
struct Attributes {
    mode: Mode,
    owner: Option<(Uid, Gid)>,
    mtime: Timestamp,
}

impl Unpack {
    /// An archive whose entries begin with `name`, to be unpacked in `folder` with `rename` in its place.
    pub(super) fn into(
        folder: &Path,
        name: Option<&[u8]>,
        rename: Option<Vec<u8>>,
        owners: bool,
    ) -> io::Result<Self> {
        let root = rustix::fs::open(folder, DIRECTORY, Mode::empty())?;
        Ok(Self { root, name: name.map(<[u8]>::to_vec), rename, owners, made: Vec::new(), remembered: 0 })
    }

    /// Unpacks; answers the devices that were left out.
    pub(super) fn run(mut self, input: &mut dyn Read) -> Result<Vec<String>, UnpackError> {
        let mut archive = Archive::new(input, LIMITS);
        let mut left_out = Vec::new();
        while let Some(entry) = archive.next_entry()? {
            let path = self.components(&entry.path)?;
            if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
                if left_out.len() < MAX_LEFT_OUT {
                    left_out.push(visible(&entry.path));
                }
                continue;
            }
            // What is in a directory: the directory itself is there already.
            let Some((last, parents)) = path.split_last() else { continue };
            let wrong = |source: io::Error| UnpackError::Write { path: visible(&entry.path), source };
            let parent = self.folder(parents).map_err(wrong)?;
            self.make(&mut archive, &entry, parent.as_fd(), last, &path)?;
        }
        self.finish()?;
        Ok(left_out)
    }

    /// Where an entry belongs, component by component.
    fn components(&self, path: &[u8]) -> Result<Vec<OsString>, UnpackError> {
        let outside = || UnpackError::Outside(visible(path));
        let mut parts = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(outside()),
                part if part.contains(&0) => return Err(outside()),
                part => parts.push(OsStr::from_bytes(part).to_owned()),
            }
        }
        if let Some(name) = &self.name {
            if parts.first().is_none_or(|first| first.as_bytes() != name) {
                return Err(outside());
            }
            parts.remove(0);
        }
        if let Some(rename) = &self.rename {
            parts.insert(0, OsStr::from_bytes(rename).to_owned());
        }
        if parts.len() > MAX_DEPTH {
            return Err(UnpackError::TooDeep);
        }
        Ok(parts)
    }

    /// A folder below the root, which is made where it is missing.
    fn folder(&self, parts: &[OsString]) -> io::Result<OwnedFd> {
        let mut folder = openat(&self.root, ".", DIRECTORY, Mode::empty())?;
        for part in parts {
            let next = match openat(&folder, part, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOENT) => {
                    mkdirat(&folder, part, Mode::from_raw_mode(0o755))?;
                    openat(&folder, part, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
                }
                next => next,
            };
            folder = next?;
        }
        Ok(folder)
    }

    fn make(
        &mut self,
        archive: &mut Archive<'_>,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &[OsString],
    ) -> Result<(), UnpackError> {
        let wrong = |source: io::Error| UnpackError::Write { path: visible(&entry.path), source };
        let attributes = self.attributes(entry);
        let there = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(wrong(error.into())),
        };
        match (entry.kind, there) {
            (Kind::Directory, Some(true)) => return Ok(()),
            (Kind::Directory, Some(false)) => return Err(UnpackError::NotDirectory(visible(&entry.path))),
            (_, Some(true)) => return Err(UnpackError::Directory(visible(&entry.path))),
            (_, Some(false)) if entry.kind != Kind::HardLink => {
                unlinkat(parent, name, AtFlags::empty()).map_err(|error| wrong(error.into()))?;
            }
            _ => {}
        }
        match entry.kind {
            Kind::Directory => {
                let path: Vec<_> = path.iter().map(|part| part.as_bytes()).collect();
                let path = path.join(&b'/').into_boxed_slice();
                self.remembered += path.len() + size_of::<(Box<[u8]>, Attributes)>();
                if self.remembered > MAX_REMEMBERED {
                    return Err(UnpackError::TooMany);
                }
                mkdirat(parent, name, Mode::RWXU).map_err(|error| wrong(error.into()))?;
                self.made.push((path, attributes));
                Ok(())
            }
            Kind::File => make_file(archive, entry, parent, name, attributes),
            Kind::Symlink => {
                let made = symlinkat(OsStr::from_bytes(&entry.link), parent, name);
                let attributed = made.and_then(|()| attributes.apply_to_name(parent, name));
                attributed.map_err(|error| wrong(error.into()))
            }
            Kind::HardLink => self.make_hard_link(entry, parent, name),
            Kind::Fifo => {
                let made = mknodat(parent, name, FileType::Fifo, attributes.mode, 0);
                let attributed = made.and_then(|()| attributes.apply_to_name(parent, name));
                attributed.map_err(|error| wrong(error.into()))
            }
            Kind::CharDevice | Kind::BlockDevice => Ok(()),
        }
    }

    /// Another name of an entry, which must be below the root as well. The target is looked for before what has the
    /// name is removed: they may be the same.
    fn make_hard_link(&self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), UnpackError> {
        let wrong = |source: io::Error| UnpackError::Write { path: visible(&entry.path), source };
        let target = self.components(&entry.link)?;
        let Some((last, parents)) = target.split_last() else {
            return Err(UnpackError::Outside(visible(&entry.link)));
        };
        let folder = self.folder(parents).map_err(wrong)?;
        let same = |stat: &rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let there = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let target = statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| wrong(error.into()))?;
        if let Ok(there) = there {
            if same(&there) == same(&target) {
                return Ok(());
            }
            unlinkat(parent, name, AtFlags::empty()).map_err(|error| wrong(error.into()))?;
        }
        linkat(&folder, last, parent, name, AtFlags::empty()).map_err(|error| wrong(error.into()))
    }

    fn attributes(&self, entry: &Entry) -> Attributes {
        let bits = if self.owners { 0o7777 } else { 0o777 };
        let ids = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        Attributes {
            mode: Mode::from_raw_mode(u32::from(entry.mode) & bits),
            owner: self.owners.then_some(ids),
            mtime: entry.mtime,
        }
    }

    /// Gives the directories that were made their attributes, the deepest first: a time changes with what is made
    /// inside, and a mode may forbid to make it.
    fn finish(&self) -> Result<(), UnpackError> {
        for (path, attributes) in self.made.iter().rev() {
            let wrong = |source: io::Error| UnpackError::Write { path: visible(path), source };
            let parts: Vec<_> =
                path.split(|byte| *byte == b'/').map(|part| OsStr::from_bytes(part).to_owned()).collect();
            let folder = self.folder(&parts).map_err(wrong)?;
            // A descriptor by which nothing is opened cannot be given attributes.
            let folder =
                openat(&folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
            folder
                .and_then(|folder| attributes.apply(folder.as_fd()))
                .map_err(|error| wrong(error.into()))?;
        }
        Ok(())
    }
}

/// How folders on the way are opened.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Attributes {
    fn apply(&self, file: BorrowedFd<'_>) -> rustix::io::Result<()> {
        self.apply_owner(file)?;
        self.apply_rest(file)
    }

    /// First: a change of owner takes set-user-id bits and capabilities away.
    fn apply_owner(&self, file: BorrowedFd<'_>) -> rustix::io::Result<()> {
        self.owner.map_or(Ok(()), |(user, group)| fchown(file, Some(user), Some(group)))
    }

    /// Last: a mode may forbid to set attributes.
    fn apply_rest(&self, file: BorrowedFd<'_>) -> rustix::io::Result<()> {
        fchmod(file, self.mode)?;
        futimens(file, &self.times())
    }

    /// For what cannot be opened: links and pipes.
    fn apply_to_name(&self, parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
        if let Some((user, group)) = self.owner {
            chownat(parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        utimensat(parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.mtime.seconds, tv_nsec: self.mtime.nanos.into() };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// Makes a file; one that is not whole is removed.
fn make_file(
    archive: &mut Archive<'_>,
    entry: &Entry,
    parent: BorrowedFd<'_>,
    name: &OsStr,
    attributes: Attributes,
) -> Result<(), UnpackError> {
    let wrong = |source: io::Error| UnpackError::Write { path: visible(&entry.path), source };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(|error| wrong(error.into()))?;
    let mut file = File::from(file);
    let written = write_data(archive, entry, &mut file).and_then(|()| {
        attributes.apply_owner(file.as_fd()).map_err(|error| wrong(error.into()))?;
        for (key, value) in &entry.xattrs {
            if attributes.owner.is_some() || key.starts_with(b"user.") {
                match fsetxattr(&file, OsStr::from_bytes(key), value, XattrFlags::empty()) {
                    // Not every file system has them, nor may every user set each.
                    Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                    Err(error) => return Err(wrong(error.into())),
                }
            }
        }
        attributes.apply_rest(file.as_fd()).map_err(|error| wrong(error.into()))
    });
    if written.is_err() {
        let _ = unlinkat(parent, name, AtFlags::empty());
    }
    written
}

fn write_data(archive: &mut Archive<'_>, entry: &Entry, file: &mut File) -> Result<(), UnpackError> {
    let wrong = |source: io::Error| UnpackError::Write { path: visible(&entry.path), source };
    let mut buffer = vec![0; 128 << 10];
    let Some(extents) = &entry.extents else {
        loop {
            match archive.read_data(&mut buffer)? {
                0 => return Ok(()),
                count => file.write_all(&buffer[..count]).map_err(wrong)?,
            }
        }
    };
    for extent in extents {
        file.seek(SeekFrom::Start(extent.offset)).map_err(wrong)?;
        let mut left = extent.length;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = archive.read_data(&mut buffer[..wanted])?;
            if count == 0 {
                return Err(wrong(io::ErrorKind::UnexpectedEof.into()));
            }
            file.write_all(&buffer[..count]).map_err(wrong)?;
            left -= count as u64;
        }
    }
    file.set_len(entry.size).map_err(wrong)
}

fn visible(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests;
