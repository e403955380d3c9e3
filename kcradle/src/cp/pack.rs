//! An archive of a file tree of the host, made as it is read.
//!
//! The tree is walked by descriptors and no link in it is followed: who can change it meanwhile cannot make the copy
//! leave it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, fstat, major, minor, openat,
    readlinkat, statat,
};
use rustix::io::Errno;
use tar::write::{Header, TRAILER, padding};
use tar::{Kind, Timestamp};

/// Attributes of files that are copied, by the beginnings of their names.
const XATTRS: [&[u8]; 2] = [b"user.", b"security.capability"];
/// The longest list or value of attributes that the kernel has.
const MAX_XATTR: usize = 64 << 10;

/// What is to be copied.
pub(super) struct Source {
    path: PathBuf,
    stat: Stat,
    follow: bool,
    name: Vec<u8>,
}

impl Source {
    /// Looks at what is at a path. A link at its end is copied as a link, unless `follow` or a slash behind it says
    /// otherwise.
    pub(super) fn open(path: &Path, follow: bool) -> io::Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        let last = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let wants_directory = matches!(last, b"" | b"." | b"..");
        let follow = follow || wants_directory;
        let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        let stat = statat(CWD, path, flags)?;
        if wants_directory && kind(&stat) != FileType::Directory {
            return Err(Errno::NOTDIR.into());
        }
        // What is in it, and not the directory by its name.
        let name = match (last, path.file_name()) {
            (b".", _) => b".".to_vec(),
            (_, Some(name)) => name.as_bytes().to_vec(),
            (_, None) => match path.canonicalize()?.file_name() {
                Some(name) => name.as_bytes().to_vec(),
                None => b".".to_vec(),
            },
        };
        Ok(Self { path: path.to_owned(), stat, follow, name })
    }

    pub(super) fn is_directory(&self) -> bool {
        kind(&self.stat) == FileType::Directory
    }

    /// The name in the archive; `.` for what is in a directory.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }
}

/// The archive.
pub(super) struct Pack {
    root: Option<(Source, Vec<u8>)>,
    /// The directories that are being walked, each with the names in it that are still to come.
    folders: Vec<Folder>,
    /// Names of files that have several, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Bytes to be given out, from `start` on.
    pending: Vec<u8>,
    start: usize,
    /// A file whose data are being given out, and how much of it is to come.
    file: Option<(File, u64, u64)>,
    ended: bool,
}

struct Folder {
    descriptor: OwnedFd,
    /// Its path in the archive, with a slash.
    path: Vec<u8>,
    /// In the reverse order.
    names: Vec<OsString>,
}

impl Pack {
    /// The archive of a source, under a name.
    pub(super) fn new(source: Source, name: Vec<u8>) -> Self {
        Self {
            root: Some((source, name)),
            folders: Vec::new(),
            links: HashMap::new(),
            pending: Vec::new(),
            start: 0,
            file: None,
            ended: false,
        }
    }

    /// Puts the next entry's header, or the archive's end, into `pending`.
    fn advance(&mut self) -> io::Result<()> {
        self.pending.clear();
        self.start = 0;
        if let Some((source, name)) = self.root.take() {
            return self.entry(CWD, source.path.as_os_str(), name, source.follow);
        }
        while let Some(folder) = self.folders.last_mut() {
            let Some(name) = folder.names.pop() else {
                self.folders.pop();
                continue;
            };
            let path = [folder.path.as_slice(), name.as_bytes()].concat();
            let descriptor = folder.descriptor.try_clone()?;
            match self.entry(descriptor.as_fd(), &name, path, false) {
                // It was there when the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    result?;
                    if !self.pending.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        self.pending.extend_from_slice(&TRAILER);
        self.ended = true;
        Ok(())
    }

    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &std::ffi::OsStr,
        path: Vec<u8>,
        follow: bool,
    ) -> io::Result<()> {
        let (at, open) = match follow {
            true => (AtFlags::empty(), OFlags::empty()),
            false => (AtFlags::SYMLINK_NOFOLLOW, OFlags::NOFOLLOW),
        };
        let open = open | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let stat = statat(parent, name, at)?;
        match kind(&stat) {
            FileType::Directory => {
                let folder = openat(parent, name, open | OFlags::DIRECTORY, Mode::empty())?;
                self.folder(folder, path)
            }
            FileType::RegularFile => {
                let file = openat(parent, name, open, Mode::empty())?;
                self.file(File::from(file), path)
            }
            other => {
                let kind = match other {
                    FileType::Symlink => Kind::Symlink,
                    FileType::Fifo => Kind::Fifo,
                    FileType::CharacterDevice => Kind::CharDevice,
                    FileType::BlockDevice => Kind::BlockDevice,
                    // A socket without its process is nothing.
                    _ => return Ok(()),
                };
                let link = match kind {
                    Kind::Symlink => readlinkat(parent, name, Vec::new())?.into_bytes(),
                    _ => Vec::new(),
                };
                self.header(&stat, kind, &path, &link, &[]);
                Ok(())
            }
        }
    }

    fn folder(&mut self, descriptor: OwnedFd, mut path: Vec<u8>) -> io::Result<()> {
        path.push(b'/');
        let mut names = Vec::new();
        for entry in Dir::read_from(&descriptor)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        let stat = fstat(&descriptor)?;
        let xattrs = xattrs(descriptor.as_fd());
        self.header(&stat, Kind::Directory, &path, b"", &xattrs);
        self.folders.push(Folder { descriptor, path, names });
        Ok(())
    }

    fn file(&mut self, file: File, path: Vec<u8>) -> io::Result<()> {
        let stat = fstat(&file)?;
        if kind(&stat) != FileType::RegularFile {
            return Err(io::Error::other("a file became something else"));
        }
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&id).cloned() {
                self.header(&stat, Kind::HardLink, &path, &first, &[]);
                return Ok(());
            }
            self.links.insert(id, path.clone());
        }
        let xattrs = xattrs(file.as_fd());
        self.header(&stat, Kind::File, &path, b"", &xattrs);
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.file = Some((file, size, size));
        Ok(())
    }

    fn header(&mut self, stat: &Stat, kind: Kind, path: &[u8], link: &[u8], xattrs: &[(Vec<u8>, Vec<u8>)]) {
        let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let header = Header {
            kind,
            path,
            link,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            mtime: Timestamp { seconds: stat.st_mtime, nanos },
            device: if device { (major(stat.st_rdev), minor(stat.st_rdev)) } else { (0, 0) },
            xattrs,
        };
        header.append(&mut self.pending);
    }

    /// Data of the current file; 0 where there is none, or no more.
    fn data(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((file, left, size)) = &mut self.file else { return Ok(0) };
        if *left == 0 {
            self.pending.clear();
            self.pending.resize(padding(*size), 0);
            self.start = 0;
            self.file = None;
            return Ok(0);
        }
        let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        let count = file.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::other("a file became shorter while it was copied"));
        }
        *left -= count as u64;
        Ok(count)
    }
}

impl Read for Pack {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            let pending = &self.pending[self.start..];
            if !pending.is_empty() {
                let count = pending.len().min(buffer.len());
                buffer[..count].copy_from_slice(&pending[..count]);
                self.start += count;
                return Ok(count);
            }
            if self.file.is_some() {
                match self.data(buffer)? {
                    0 => continue,
                    count => return Ok(count),
                }
            }
            if self.ended {
                return Ok(0);
            }
            self.advance()?;
        }
        Ok(0)
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The attributes that are copied; none where they cannot be read.
fn xattrs(file: BorrowedFd<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = vec![0; MAX_XATTR];
    let Ok(length) = flistxattr(file, &mut list[..]) else { return Vec::new() };
    let names = list[..length].split(|byte| *byte == 0);
    let wanted = names.filter(|name| XATTRS.iter().any(|prefix| name.starts_with(prefix)));
    let mut found = Vec::new();
    for name in wanted {
        let mut value = vec![0; MAX_XATTR];
        if let Ok(length) = fgetxattr(file, name, &mut value[..]) {
            value.truncate(length);
            found.push((name.to_vec(), value));
        }
    }
    found
}

#[cfg(test)]
mod tests;
