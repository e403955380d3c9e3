//! The files of an image archive or layout, by name: a directory, or a tar archive that is read in place.
//!
//! What is in them is as hostile as what a registry sends.

mod index;

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::decompress::Decoder;
use crate::digest::{Digest, HashingReader};
use crate::limits::{Limits, RATIO_FLOOR};
use crate::manifest::{MAX_DOCUMENT, ManifestError};
use crate::resolve::ResolveOptions;
use crate::store::{Store, StoreError, TempFile};
use index::{Entry, Index};

/// Symbolic links that are followed from one name.
const MAX_LINKS: usize = 8;

/// Why an archive, layout or bundle gave no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no tar archive, or a damaged one.
    #[error("{} is no tar archive, or a damaged one: {cause}", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: &'static str,
    },
    /// A file that must be in there is not.
    #[error("{} has no {name}: not {expected}", path.display())]
    Missing {
        /// The archive.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// What the archive should be.
        expected: &'static str,
    },
    /// A JSON file is malformed.
    #[error("malformed {0}")]
    Json(String, #[source] serde_json::Error),
    /// A JSON file is larger than any real one.
    #[error("{0} has over {MAX_DOCUMENT} bytes")]
    TooLarge(String),
    /// A file has another content than its name says.
    #[error("{name} is damaged: its content has the digest {found}")]
    Digest {
        /// The file.
        name: String,
        /// What it holds.
        found: Digest,
    },
    /// A manifest cannot be used.
    #[error("cannot use the manifest")]
    Manifest(#[from] ManifestError),
    /// No image has the wanted name.
    #[error("no image {wanted} in {}, only {}", path.display(), list(found))]
    NoImage {
        /// The archive.
        path: PathBuf,
        /// The wanted name.
        wanted: String,
        /// The names that are there.
        found: Vec<String>,
    },
    /// There are several images and no name was given.
    #[error("{} has several images, name one of {}", path.display(), list(found))]
    Several {
        /// The archive.
        path: PathBuf,
        /// The names that are there.
        found: Vec<String>,
    },
    /// The archive is over a limit, or suspiciously larger than its compressed form.
    #[error("{} unpacks to over {limit} bytes, which is the limit", path.display())]
    Bomb {
        /// The archive.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// It has that many images, over the limit behind it.
    #[error("the archive has {0} images, the limit is {1}: save them in several")]
    TooMany(usize, usize),
    /// The archive cannot be unpacked into the store.
    #[error("cannot unpack the archive")]
    Unpack(#[source] io::Error),
    /// The store cannot be used.
    #[error("cannot use the content store")]
    Store(#[from] StoreError),
    /// A bundle's configuration or a symbolic link puts the root file system elsewhere.
    #[error("the bundle's rootfs is {}, outside of the bundle", .0.display())]
    Outside(PathBuf),
    /// The root file system of a bundle cannot be converted.
    #[error("cannot convert the bundle's rootfs")]
    Rootfs(#[source] crate::erofs::ConvertError),
}

fn list(names: &[String]) -> String {
    let names: Vec<_> = names.iter().take(20).map(|name| name.escape_debug().to_string()).collect();
    if names.is_empty() { "images without a name".to_owned() } else { names.join(", ") }
}

/// The files.
pub(crate) struct Files {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Dir,
    Tar { file: File, index: Index, _spool: Option<TempFile> },
}

impl Files {
    /// The files of a directory.
    pub(crate) fn dir(path: &Path) -> Self {
        Self { path: path.to_owned(), kind: Kind::Dir }
    }

    /// The files of a tar archive, compressed or not; a compressed one is unpacked to the store's temporary
    /// directory first.
    pub(crate) fn tar(
        path: &Path,
        store: &Store,
        options: &ResolveOptions<'_>,
    ) -> Result<Self, ArchiveError> {
        let read = |source| ArchiveError::Read { path: path.to_owned(), source };
        let file = open_regular(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        match Decoder::new(&file).map_err(read)? {
            Decoder::Plain(_) => Self::index(path, file, None),
            decoder => {
                let limit = RATIO_FLOOR.max(len.saturating_mul(options.limits.ratio));
                Self::spool(path, decoder, limit, store, options)
            }
        }
    }

    /// The files of a tar archive that comes as a stream of less than `limit` bytes.
    pub(crate) fn spool(
        path: &Path,
        from: impl Read,
        limit: u64,
        store: &Store,
        options: &ResolveOptions<'_>,
    ) -> Result<Self, ArchiveError> {
        let limit = limit.min(options.limits.layer_bytes);
        let temp = TempFile::new(store)?;
        let mut from = Stoppable { from, options }.take(limit);
        if io::copy(&mut from, &mut temp.file()).map_err(ArchiveError::Unpack)? == limit {
            return Err(ArchiveError::Bomb { path: path.to_owned(), limit });
        }
        let file = temp.file().try_clone().map_err(ArchiveError::Unpack)?;
        Self::index(path, file, Some(temp))
    }

    /// The files of a tar archive that comes as a stream, compressed or not, and held to the limits of a layer.
    pub(crate) fn stream(
        from: impl Read,
        store: &Store,
        options: &ResolveOptions<'_>,
    ) -> Result<Self, ArchiveError> {
        let path = Path::new("the archive");
        let plain = Unpacked::new(from, options).map_err(ArchiveError::Unpack)?;
        Self::spool(path, plain, options.limits.layer_bytes, store, options)
    }

    fn index(path: &Path, file: File, spool: Option<TempFile>) -> Result<Self, ArchiveError> {
        let index = Index::read(&file).map_err(|error| match error {
            index::IndexError::Read(source) => ArchiveError::Read { path: path.to_owned(), source },
            index::IndexError::Malformed(cause) => ArchiveError::Tar { path: path.to_owned(), cause },
        })?;
        Ok(Self { path: path.to_owned(), kind: Kind::Tar { file, index, _spool: spool } })
    }

    /// Where they are, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.open(name).is_ok_and(|found| found.is_some())
    }

    /// Opens a file; `None` where there is none of that name.
    pub(crate) fn open(&self, name: &str) -> io::Result<Option<(Box<dyn Read + '_>, u64)>> {
        match &self.kind {
            Kind::Dir => {
                // A name is one of ours or relative without `..`; links in a layout lead where they lead.
                match open_regular(&self.path.join(index::clean(name))) {
                    Ok(file) => {
                        let len = file.metadata()?.len();
                        Ok(Some((Box::new(file), len)))
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Kind::Tar { file, index, .. } => {
                let mut name = index::clean(name);
                for _ in 0..MAX_LINKS {
                    match index.get(&name) {
                        Some(Entry::Data { offset, len }) => {
                            let section = Section { file, offset: *offset, left: *len };
                            return Ok(Some((Box::new(section), *len)));
                        }
                        Some(Entry::Link(target)) => name = target.clone(),
                        None => return Ok(None),
                    }
                }
                Err(io::Error::other("too many links"))
            }
        }
    }

    /// Reads a JSON file whole.
    pub(crate) fn document(&self, name: &str, expected: &'static str) -> Result<Vec<u8>, ArchiveError> {
        let read = |source| ArchiveError::Read { path: self.path.join(name), source };
        let Some((from, len)) = self.open(name).map_err(read)? else {
            let (path, name) = (self.path.clone(), name.to_owned());
            return Err(ArchiveError::Missing { path, name, expected });
        };
        if len > MAX_DOCUMENT {
            return Err(ArchiveError::TooLarge(name.to_owned()));
        }
        let mut bytes = Vec::new();
        from.take(MAX_DOCUMENT).read_to_end(&mut bytes).map_err(read)?;
        Ok(bytes)
    }

    /// Reads a JSON file of `blobs/` whole and compares it with its name.
    pub(crate) fn blob(&self, digest: Digest, expected: &'static str) -> Result<Vec<u8>, ArchiveError> {
        let name = blob_name(digest);
        let bytes = self.document(&name, expected)?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(ArchiveError::Digest { name, found }),
        }
    }
}

/// The name of a blob in an OCI image layout.
pub(crate) fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

// A fifo or device must neither block nor be read.
fn open_regular(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Reads until the user wants it to end.
struct Stoppable<'a, R> {
    from: R,
    options: &'a ResolveOptions<'a>,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.options.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        self.from.read(buf)
    }
}

/// The uncompressed bytes of a stream of unknown length: ended where they are suspiciously more than came.
pub(crate) struct Unpacked<R: Read> {
    decoder: Decoder<HashingReader<R>>,
    done: u64,
    limits: Limits,
}

impl<R: Read> Unpacked<R> {
    pub(crate) fn new(from: R, options: &ResolveOptions<'_>) -> io::Result<Self> {
        Ok(Self { decoder: Decoder::new(HashingReader::new(from))?, done: 0, limits: options.limits })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buf)?;
        self.done += count as u64;
        let most = self.decoder.get_ref().len().saturating_mul(self.limits.ratio);
        if self.done > self.limits.layer_bytes || self.done > RATIO_FLOOR && self.done > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it unpacks to suspiciously many bytes"));
        }
        Ok(count)
    }
}

/// A part of a file; several can be read at one time.
pub(crate) struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl<'a> Section<'a> {
    pub(crate) fn new(file: &'a File, offset: u64, len: u64) -> Self {
        Self { file, offset, left: len }
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let count = self.file.read_at(&mut buf[..want], self.offset)?;
        if count == 0 && want > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends inside a file"));
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Copies a stream to the store's temporary directory, hashing it. For sources that cannot be read twice.
pub(crate) fn digest_of(file: &File) -> io::Result<Digest> {
    let mut reader = HashingReader::new(Section { file, offset: 0, left: file.metadata()?.len() });
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.digest())
}
