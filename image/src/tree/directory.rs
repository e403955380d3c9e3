//! Fills a tree from a directory of the host: the unpacked root file system of a bundle.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, lgetxattr, llistxattr, major, minor, open, openat2};

use super::{Attributes, Blocks, Bytes, Content, FileData, Timestamp, Tree, xattr};
use crate::erofs::ConvertError;

/// Stores the data of an open file of the given size.
pub(crate) type Store<'a> = dyn FnMut(&Path, &File, u64) -> Result<Blocks, ConvertError> + 'a;

/// Walks `root`, names in order, symbolic links not followed, into `tree`; returns the number of extended attributes
/// left out.
pub(crate) fn walk(root: &Path, tree: &mut Tree, store: &mut Store<'_>) -> Result<u64, ConvertError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = open(root, flags, Mode::empty())
        .map_err(|error| ConvertError::ReadFile { path: root.to_path_buf(), source: error.into() })?;
    let mut walk = Walk { root, inside, tree, store, links: HashMap::new(), dropped: 0 };
    let mut stack = vec![PathBuf::new()];
    while let Some(relative) = stack.pop() {
        let path = root.join(&relative);
        let failed = |source| ConvertError::ReadFile { path: path.clone(), source };
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        if !metadata.is_dir() {
            walk.take(&relative, &path, &metadata)?;
            continue;
        }
        let attributes = walk.attributes(&path, &metadata)?;
        walk.tree.put_directory(relative.as_os_str().as_bytes(), attributes)?;
        let names: io::Result<Vec<_>> =
            fs::read_dir(&path).map_err(failed)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
        let mut names = names.map_err(failed)?;
        names.sort_unstable_by(|a, b| b.cmp(a));
        stack.extend(names.into_iter().map(|name| relative.join(name)));
    }
    Ok(walk.dropped)
}

struct Walk<'a, 'b> {
    root: &'a Path,
    /// The root itself, to open files below it and nowhere else.
    inside: OwnedFd,
    tree: &'a mut Tree,
    store: &'a mut Store<'b>,
    /// First path of each inode that has several.
    links: HashMap<(u64, u64), PathBuf>,
    dropped: u64,
}

impl Walk<'_, '_> {
    fn take(&mut self, relative: &Path, path: &Path, metadata: &Metadata) -> Result<(), ConvertError> {
        let failed = |source| ConvertError::ReadFile { path: path.to_path_buf(), source };
        let name = relative.as_os_str().as_bytes();
        if relative == Path::new("") {
            let source = io::ErrorKind::NotADirectory.into();
            return Err(ConvertError::ReadFile { path: self.root.to_path_buf(), source });
        }
        if metadata.nlink() > 1 {
            let inode = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&inode) {
                return Ok(self.tree.put_hard_link(name, first.as_os_str().as_bytes())?);
            }
            self.links.insert(inode, relative.to_path_buf());
        }
        let attributes = self.attributes(path, metadata)?;
        let kind = metadata.file_type();
        let content = if kind.is_symlink() {
            Content::Symlink(fs::read_link(path).map_err(failed)?.as_os_str().as_bytes().into())
        } else if kind.is_file() {
            let (file, size) = self.open(relative, metadata).map_err(failed)?;
            let blocks = (self.store)(path, &file, size)?;
            Content::File(FileData { size, layer: 0, blocks })
        } else if kind.is_fifo() {
            Content::Fifo
        } else if kind.is_socket() {
            Content::Socket
        } else {
            let device = metadata.rdev();
            Content::Device { block: kind.is_block_device(), major: major(device), minor: minor(device) }
        };
        Ok(self.tree.put(name, attributes, content)?)
    }

    /// Opens the regular file that was found at `relative`, and answers its size. Whoever can write to the tree while it
    /// is walked must not make a link of one of its directories and have files from elsewhere read.
    fn open(&self, relative: &Path, found: &Metadata) -> io::Result<(File, u64)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = File::from(openat2(&self.inside, relative, flags, Mode::empty(), resolve)?);
        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
            return Err(io::Error::other("it was replaced while it was read"));
        }
        Ok((file, opened.len()))
    }

    fn attributes(&mut self, path: &Path, metadata: &Metadata) -> Result<Attributes, ConvertError> {
        let failed = |source| ConvertError::ReadFile { path: path.to_path_buf(), source };
        let mut attributes = Attributes {
            mode: u16::try_from(metadata.mode() & 0o7777).unwrap_or_default(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: Timestamp {
                seconds: metadata.mtime(),
                nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
            },
            ..Attributes::default()
        };
        let candidates = read_xattrs(path).map_err(failed)?;
        self.dropped += xattr::admit(&mut attributes, candidates);
        Ok(attributes)
    }
}

/// The extended attributes of a file, of a link itself; none where the file system has none.
fn read_xattrs(path: &Path) -> io::Result<Vec<(Bytes, Bytes)>> {
    // The kernel's own bounds on a list and on a value.
    let mut names = vec![0; 64 << 10];
    let length = match llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0; if length == 0 { 0 } else { 64 << 10 }];
    let mut found = Vec::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let length = lgetxattr(path, name, &mut value)?;
        found.push((name.into(), value[..length].into()));
    }
    Ok(found)
}
