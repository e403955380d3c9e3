//! From a layer's archive, or an unpacked directory, to its EROFS file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tar::{Archive, Entry, Kind, TarError};

use super::data::{DataWriter, StoreError};
use super::write::{WriteError, Writer};
use crate::extents::{Extent, data_extents};
use crate::limits::Limits;
use crate::tree::path::{SYMLINK_MAX, show};
use crate::tree::{Attributes, Content, FileData, Tree, TreeError, directory, xattr};

/// What a conversion made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// Length of the EROFS file, a multiple of [`super::EXTENT_ALIGN`].
    pub file_bytes: u64,
    /// Inodes of the layer, its root and whiteouts included.
    pub entries: u64,
    /// Extended attributes left out: namespaces that EROFS cannot hold, malformed ACLs, overlayfs' own markers.
    pub dropped_xattrs: u64,
}

/// Why a layer could not be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The archive is damaged, or no tar archive.
    #[error("cannot read the layer's archive")]
    Archive(#[from] TarError),
    /// An entry of the archive cannot be part of a layer.
    #[error("cannot take an entry of the layer")]
    Entry(#[from] TreeError),
    /// A file of the directory cannot be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The EROFS file could not be written.
    #[error("cannot write the layer's EROFS file")]
    Write(#[source] io::Error),
    /// More data than EROFS can address with 4 KiB blocks.
    #[error("the layer is larger than 16 TiB")]
    TooLarge,
    /// More data than [`Limits::layer_bytes`].
    #[error("the layer's files fill more than {0} bytes, which is the limit")]
    TooMuchData(u64),
}

impl From<WriteError> for ConvertError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(source) => Self::Write(source),
            WriteError::Full => Self::TooLarge,
        }
    }
}

impl<E: Into<ConvertError>> From<StoreError<E>> for ConvertError {
    fn from(error: StoreError<E>) -> Self {
        match error {
            StoreError::Read(source) => source.into(),
            StoreError::Write(source) => Self::Write(source),
            StoreError::Full => Self::TooLarge,
            StoreError::TooMuch(limit) => Self::TooMuchData(limit),
        }
    }
}

/// Converts the uncompressed tar stream of a layer into an EROFS file.
///
/// `out` is a fresh, empty file, open for reading and writing; it ends padded to [`super::EXTENT_ALIGN`]. The stream
/// is read to its end, whatever follows the archive's trailer, so that a digest taken on the way covers all of it.
/// The same stream makes the same bytes.
///
/// # Errors
/// A malformed archive, an entry outside the root, a limit that is passed, a failed read or write.
pub fn convert_layer(tar: &mut dyn Read, out: &File, limits: &Limits) -> Result<LayerSummary, ConvertError> {
    let mut layer = Layer::new(out, limits);
    let mut archive = Archive::new(tar, limits.tar());
    while let Some(entry) = archive.next_entry()? {
        layer.take(&mut archive, entry)?;
    }
    archive.drain()?;
    layer.finish(out)
}

/// Converts a directory tree (the `rootfs` of an unpacked bundle) into the EROFS file of a single layer, until it is
/// `stopped`.
///
/// # Errors
/// As [`convert_layer`], and a file of the tree that cannot be read.
pub fn convert_directory(
    dir: &Path,
    out: &File,
    limits: &Limits,
    stopped: &dyn Fn() -> bool,
) -> Result<LayerSummary, ConvertError> {
    let mut layer = Layer::new(out, limits);
    let data = &mut layer.data;
    layer.dropped_xattrs = directory::walk(dir, &mut layer.tree, &mut |path, file, size| {
        let failed = |source| ConvertError::ReadFile { path: path.to_path_buf(), source };
        if size > limits.file_bytes {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let extents = data_extents(file, size).map_err(failed)?;
        if extents.len() > limits.sparse_extents {
            return Err(failed(io::Error::other("it has too many holes")));
        }
        let (mut at, mut next) = (0..0, extents.iter());
        let mut read = |buffer: &mut [u8]| {
            if stopped() {
                return Err(failed(io::Error::other("cancelled")));
            }
            if at.is_empty()
                && let Some(extent) = next.next()
            {
                at = extent.offset..extent.offset + extent.length;
            }
            let room = usize::try_from(at.end - at.start).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read_at(&mut buffer[..room], at.start).map_err(failed)?;
            if read == 0 {
                // Somebody made the file shorter.
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            at.start += read as u64;
            Ok(read)
        };
        if extents == [Extent { offset: 0, length: size }] {
            return Ok(data.store(size, &mut read)?);
        }
        Ok(data.store_sparse(size, &extents, &mut read)?)
    })?;
    layer.finish(out)
}

/// A layer being converted.
struct Layer<'a> {
    tree: Tree,
    data: DataWriter<'a>,
    dropped_xattrs: u64,
}

impl<'a> Layer<'a> {
    fn new(out: &'a File, limits: &Limits) -> Self {
        Self { tree: Tree::new(limits), data: DataWriter::new(out, limits.layer_bytes), dropped_xattrs: 0 }
    }

    fn take(&mut self, archive: &mut Archive<'_>, entry: Entry) -> Result<(), ConvertError> {
        if self.tree.put_whiteout(&entry.path)? {
            return Ok(());
        }
        let mut attributes = Attributes {
            // A link's own mode means nothing; the kernel shows this one.
            mode: if entry.kind == Kind::Symlink { 0o777 } else { entry.mode },
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            ..Attributes::default()
        };
        if entry.kind != Kind::HardLink {
            self.dropped_xattrs += xattr::admit(&mut attributes, entry.xattrs);
        }
        let (major, minor) = entry.device;
        let content = match entry.kind {
            Kind::Directory => return Ok(self.tree.put_directory(&entry.path, attributes)?),
            Kind::HardLink => return Ok(self.tree.put_hard_link(&entry.path, &entry.link)?),
            Kind::Symlink => Content::Symlink(checked_target(&entry.path, entry.link)?.into()),
            Kind::CharDevice => Content::Device { block: false, major, minor },
            Kind::BlockDevice => Content::Device { block: true, major, minor },
            Kind::Fifo => Content::Fifo,
            Kind::File => {
                let mut read = |buffer: &mut [u8]| archive.read_data(buffer);
                let blocks = match &entry.extents {
                    None => self.data.store(entry.size, &mut read)?,
                    Some(extents) => self.data.store_sparse(entry.size, extents, &mut read)?,
                };
                Content::File(FileData { size: entry.size, layer: 0, blocks })
            }
        };
        Ok(self.tree.put(&entry.path, attributes, content)?)
    }

    fn finish(self, out: &File) -> Result<LayerSummary, ConvertError> {
        let meta_block = self.data.finish().map_err(ConvertError::Write)?;
        let writer = Writer::new(&self.tree, meta_block);
        let file_bytes = writer.file_bytes();
        writer.write(out, &[0], file_bytes)?;
        Ok(LayerSummary { file_bytes, entries: writer.inodes(), dropped_xattrs: self.dropped_xattrs })
    }
}

fn checked_target(path: &[u8], target: Vec<u8>) -> Result<Vec<u8>, TreeError> {
    if target.is_empty() || target.contains(&0) {
        return Err(TreeError::InvalidPath(show(path)));
    }
    if target.len() > SYMLINK_MAX {
        return Err(TreeError::PathTooLong { path: show(&target), limit: SYMLINK_MAX });
    }
    Ok(target)
}
