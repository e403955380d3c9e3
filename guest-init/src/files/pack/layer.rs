//! What a container has written, as a layer for an image (OCI image specification, "Image Layer Filesystem Changeset"):
//! the overlay's upper layer, with the overlay's marks for what is gone as that specification's.

use super::super::changes::{self, Layers};
use super::super::{descriptors, error::FilesError, thread, xattr};
use super::{MAX_DEPTH, MAX_PATH, Packer, stat};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, Statx};
use rustix::io::Errno;
use std::ffi::CStr;
use tar::write::{self, Header};
use tar::{Kind, Timestamp};

/// How names begin that are marks in a layer. No image has files of such names.
const MARK: &[u8] = b".wh.";

/// The mark of a directory that shows nothing of the layers below.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A directory of the upper layer being read, and the image's below it.
struct Level {
    upper: Dir,
    image: Option<OwnedFd>,
    /// Bytes of the path that are its own, the slash at its end included.
    path: usize,
    /// Its entry, which is due before the first below it, where it is no change by itself.
    due: Option<(Statx, Vec<xattr::Attribute>)>,
}

/// Writes a layer.
struct LayerPacker<'a, 'o> {
    packer: Packer<'o>,
    levels: Vec<Level>,
    /// Paths without a slash at either end where something is mounted.
    mounts: &'a [Vec<u8>],
}

impl Packer<'_> {
    /// Archives the upper layer; mount points, at those absolute paths and where every container has some, are left out.
    ///
    /// # Errors
    /// As [`Self::named`].
    pub(in super::super) fn layer(mut self, layers: &Layers, mounts: &[String]) -> Result<(), FilesError> {
        self.takes = xattr::is_welcome;
        let common = changes::OURS.iter().copied().filter(|&path| path != changes::ETC);
        let mounts: Vec<_> = common.chain(mounts.iter().map(String::as_bytes)).map(relative).collect();
        let (upper, image) = (changes::open(&layers.upper)?, changes::open(&layers.image)?);
        let mut layer = LayerPacker { packer: self, levels: Vec::new(), mounts: &mounts };
        layer.packer.path.extend_from_slice(b"./");
        layer.directory(upper, Some(image))?;
        if let Some(root) = layer.levels.last_mut() {
            root.path = 0;
            // The root is there in any case.
            root.due = None;
        }
        layer.walk()
    }
}

/// A path's components, with one slash between two.
fn relative(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

impl LayerPacker<'_, '_> {
    fn walk(mut self) -> Result<(), FilesError> {
        while let Some(level) = self.levels.last_mut() {
            let path = &mut self.packer.path;
            path.truncate(level.path);
            thread::go_on().map_err(FilesError::call("open", path))?;
            let Some(entry) = level.upper.read() else {
                self.levels.pop();
                continue;
            };
            let entry = entry.map_err(FilesError::call("readdirent", path))?;
            let name = entry.file_name();
            if name != c"." && name != c".." && !name.to_bytes().starts_with(MARK) {
                self.entry(name)?;
            }
        }
        self.packer.out.append(|buffer| buffer.extend_from_slice(&write::TRAILER))
    }

    fn entry(&mut self, name: &CStr) -> Result<(), FilesError> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let path = &mut self.packer.path;
        let parent = path.len();
        path.extend_from_slice(name.to_bytes());
        if path.len() > MAX_PATH {
            return Err(FilesError::call("lstat", &path[..100])(Errno::NAMETOOLONG));
        }
        let dir = level.upper.fd().map_err(FilesError::call("open", path))?;
        let Some(new) = changes::look(dir, name, path)? else { return Ok(()) };
        let old = match &level.image {
            Some(image) => changes::look(image.as_fd(), name, path)?,
            None => None,
        };
        if changes::is_whiteout(&new) {
            if old.is_some() {
                path.splice(parent..parent, MARK.iter().copied());
                let nanos = u32::try_from(new.st_mtime_nsec).unwrap_or(0);
                self.mark(Timestamp { seconds: new.st_mtime, nanos })?;
            }
            return Ok(());
        }
        if self.mounts.contains(path) {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            // It is gone.
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(FilesError::call("open", path))?,
        };
        let stat = stat(&found).map_err(FilesError::call("lstat", path))?;
        if FileType::from_raw_mode(u32::from(stat.stx_mode)) != FileType::Directory {
            self.give_due()?;
            return self.packer.entry(found);
        }
        let image = match (&level.image, old) {
            (Some(image), Some(old)) if changes::is_dir(&old) => {
                Some(changes::open_dir(image.as_fd(), name).map_err(FilesError::call("open", path))?)
            }
            _ => None,
        };
        path.push(b'/');
        let upper = descriptors::directory(&found).map_err(FilesError::call("open", path))?;
        self.directory(upper, image)
    }

    /// Adds a directory to those being read.
    fn directory(&mut self, upper: OwnedFd, image: Option<OwnedFd>) -> Result<(), FilesError> {
        let path = &self.packer.path;
        if self.levels.len() >= MAX_DEPTH {
            return Err(FilesError::call("open", path)(Errno::NAMETOOLONG));
        }
        let failed = || FilesError::call("lstat", path);
        let new = stat(&upper).map_err(failed())?;
        let attributes = self.packer.xattrs(&upper)?;
        let is_opaque = image.is_some() && changes::is_opaque(&upper);
        let differs = match &image {
            Some(image) => {
                let theirs = self.packer.xattrs(image)?;
                let same =
                    attributes.len() == theirs.len() && attributes.iter().all(|each| theirs.contains(each));
                let status = |fd: &OwnedFd| rustix::fs::fstat(fd).map_err(failed());
                changes::differs(&status(image)?, &status(&upper)?) || !same
            }
            None => relative(path) != relative(changes::ETC),
        };
        let time = Timestamp { seconds: new.stx_mtime.tv_sec, nanos: new.stx_mtime.tv_nsec };
        let level = Level {
            upper: Dir::new(upper).map_err(FilesError::call("open", path))?,
            image: image.filter(|_| !is_opaque),
            path: path.len(),
            due: Some((new, attributes)),
        };
        self.levels.push(level);
        if differs || is_opaque {
            self.give_due()?;
        }
        if is_opaque {
            self.packer.path.extend_from_slice(OPAQUE);
            self.mark(time)?;
        }
        Ok(())
    }

    /// Gives the entries of the directories on the way that are due.
    fn give_due(&mut self) -> Result<(), FilesError> {
        for level in &mut self.levels {
            if let Some((stat, attributes)) = level.due.take() {
                let rest = self.packer.path.split_off(level.path);
                let done = self.packer.header(Kind::Directory, &stat, b"", &attributes);
                self.packer.path.extend_from_slice(&rest);
                done?;
            }
        }
        Ok(())
    }

    /// Gives an empty file under the current path: a mark.
    fn mark(&mut self, mtime: Timestamp) -> Result<(), FilesError> {
        self.give_due()?;
        let header = Header {
            kind: Kind::File,
            path: &self.packer.path,
            link: b"",
            mode: 0o600,
            uid: 0,
            gid: 0,
            size: 0,
            mtime,
            device: (0, 0),
            xattrs: &[],
        };
        self.packer.out.append(|buffer| header.append(buffer))
    }
}
