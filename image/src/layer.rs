//! One layer's way into the store, in one pass: transfer → digest → decompress → diff_id → EROFS. It gets its name
//! only when both digests are right.

use std::fs;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::decompress::Decoder;
use crate::digest::{Digest, HashingReader};
use crate::erofs::{ConvertError, convert_layer};
use crate::limits::{Limits, RATIO_FLOOR};
use crate::progress::{Event, Progress};
use crate::store::{self, Store, StoreError, TempFile, extent_len};
use crate::tree::TreeError;
use tar::TarError;

/// Bytes between two events of progress.
const REPORT: u64 = 256 << 10;

/// What a source says of a layer before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Blob {
    /// The digest of the bytes as they are transferred.
    pub(crate) digest: Option<Digest>,
    /// Their count.
    pub(crate) size: Option<u64>,
}

/// What all layers of an image share on their way.
#[derive(Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) store: &'a Store,
    pub(crate) limits: &'a Limits,
    pub(crate) progress: &'a dyn Progress,
    /// Whether the layers are kept as they are transferred as well.
    pub(crate) keep: bool,
    /// The user's wish to end.
    pub(crate) cancel: Option<&'a AtomicBool>,
    /// Set where another layer failed.
    pub(crate) stop: &'a AtomicBool,
}

/// The layer that is read.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) way: Way<'a>,
    /// Its diff_id.
    pub(crate) layer: Digest,
}

impl Way<'_> {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }
}

/// Why a layer did not come into the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The layer cannot be read from its source.
    #[error("cannot open the layer")]
    Open(#[source] io::Error),
    /// The archive is malformed, or the transfer broke.
    #[error("cannot convert the layer")]
    Convert(#[source] ConvertError),
    /// The transferred bytes are others than the manifest says.
    #[error("digest mismatch: the manifest says {expected}, the content is {found}")]
    Digest {
        /// The manifest's word.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The archive is another than the configuration says.
    #[error("digest mismatch: the image's configuration says diff_id {expected}, the content is {found}")]
    DiffId {
        /// The configuration's word.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The source has another number of bytes than the manifest says.
    #[error("size mismatch: the manifest says {expected} bytes, the source has {found}")]
    Size {
        /// The manifest's word.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The layer is over a limit.
    #[error("layer of over {0} bytes, which is the limit")]
    TooLarge(u64),
    /// The archive is suspiciously larger than its compressed form.
    #[error("decompression bomb: over {0} bytes of archive for each byte transferred")]
    Bomb(u64),
    /// The store could not be written.
    #[error("cannot store the layer")]
    Store(#[from] StoreError),
    /// Given up because another layer failed or the user asked for it.
    #[error("cancelled")]
    Cancelled,
}

impl LayerError {
    /// Whether more memory, and nothing else, could have helped.
    pub(crate) fn is_too_much_metadata(&self) -> bool {
        matches!(self, Self::Convert(ConvertError::Entry(TreeError::TooMuchMetadata(_))))
    }
}

/// Brings a layer into the store if nobody has done so meanwhile, waiting for another process that is at it. Answers
/// its blob where blobs are kept.
pub(crate) fn ensure<'r>(
    way: Way<'_>,
    diff_id: Digest,
    blob: Blob,
    open: impl FnOnce() -> io::Result<Box<dyn Read + 'r>>,
) -> Result<Option<store::Blob>, LayerError> {
    let path = way.store.layer_path(diff_id);
    let waiting = || way.progress.event(Event::Waiting { layer: diff_id });
    let _lock = way.store.entry_lock(&path, waiting, || way.stopped())?.ok_or(LayerError::Cancelled)?;
    let converted = extent_len(&path)?.is_some();
    let kept = if way.keep { kept(way.store, diff_id, blob)? } else { None };
    if converted && (kept.is_some() || !way.keep) {
        way.progress.event(Event::Cached { layer: diff_id });
        return Ok(kept);
    }
    way.progress.event(Event::Layer { layer: diff_id, size: blob.size });
    if blob.size.is_some_and(|size| size > way.limits.layer_bytes) {
        return Err(LayerError::TooLarge(way.limits.layer_bytes));
    }
    if let Some(kept) = kept {
        match bring(way, diff_id, blob, Box::new(way.store.open_blob(kept)?), converted, false) {
            Ok(_) => return Ok(Some(kept)),
            Err(error @ (LayerError::Cancelled | LayerError::Store(_))) => return Err(error),
            Err(error) if error.is_too_much_metadata() => return Err(error),
            // Not the layer after all, or damaged: as good as missing.
            Err(_) => {
                let path = way.store.blob_path(kept.digest);
                fs::remove_file(&path).or_else(ignore_missing).map_err(StoreError::io("remove", &path))?;
            }
        }
    }
    bring(way, diff_id, blob, open().map_err(LayerError::Open)?, converted, way.keep)
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// The layer's blob, if the store has it. Where a source does not say which it is, only an uncompressed one is found.
pub(crate) fn kept(store: &Store, diff_id: Digest, blob: Blob) -> Result<Option<store::Blob>, StoreError> {
    store.blob(blob.digest.unwrap_or(diff_id), blob.size)
}

/// Reads a layer once: converts it unless that is done already, and keeps the bytes where wanted.
fn bring(
    way: Way<'_>,
    diff_id: Digest,
    blob: Blob,
    from: Box<dyn Read + '_>,
    converted: bool,
    keep: bool,
) -> Result<Option<store::Blob>, LayerError> {
    let copy = keep.then(|| TempFile::new(way.store)).transpose()?;
    let temp = (!converted).then(|| TempFile::new(way.store)).transpose()?;
    let transfer = Transfer::new(way, diff_id, blob, from, copy.as_ref());
    let (transferred, size) = convert(transfer, way.limits, diff_id, blob, temp.as_ref())?;
    // The blob first: who finds the layer converted may then look for it.
    let Transferred { digest, size: len } = transferred;
    let copied = copy.map(|copy| copy.persist(&way.store.blob_path(digest))).transpose()?;
    temp.map(|temp| temp.persist(&way.store.layer_path(diff_id))).transpose()?;
    way.progress.event(Event::Done { layer: diff_id, size });
    Ok(copied.map(|()| store::Blob { digest, size: len }))
}

fn convert(
    transfer: Transfer<'_>,
    limits: &Limits,
    diff_id: Digest,
    blob: Blob,
    temp: Option<&TempFile>,
) -> Result<(Transferred, u64), LayerError> {
    let decoder = Decoder::new(transfer).map_err(|error| lift(error, LayerError::Open))?;
    let mut archive = Archive { bytes: HashingReader::new(decoder), limits };
    let converted = match temp {
        Some(temp) => convert_layer(&mut archive, temp.file(), limits).map(|summary| summary.file_bytes),
        // It only has to be the right one.
        None => io::copy(&mut archive, &mut io::sink())
            .map_err(|source| ConvertError::Archive(TarError::Read { offset: archive.bytes.len(), source })),
    };
    let found = archive.bytes.digest();
    let transfer = archive.bytes.into_inner().into_inner();
    match converted {
        Ok(size) => {
            let transferred = transfer.finish()?;
            transferred.verify(blob)?;
            if found != diff_id {
                return Err(LayerError::DiffId { expected: diff_id, found });
            }
            Ok((transferred, size))
        }
        Err(ConvertError::Archive(TarError::Read { offset, source })) => {
            let again = |source| LayerError::Convert(TarError::Read { offset, source }.into());
            transfer.blame(blob, lift(source, again))
        }
        Err(error @ ConvertError::Write(_)) => Err(LayerError::Convert(error)),
        Err(error) => transfer.blame(blob, LayerError::Convert(error)),
    }
}

/// An own error that went through others as one of reading, else what `or` makes of it.
fn lift(error: io::Error, or: impl FnOnce(io::Error) -> LayerError) -> LayerError {
    error.downcast::<LayerError>().unwrap_or_else(or)
}

/// The bytes as they are transferred: hashed, counted, reported.
struct Transfer<'a> {
    bytes: HashingReader<Box<dyn Read + 'a>>,
    /// Where they are kept as they are.
    copy: Option<&'a TempFile>,
    way: Way<'a>,
    layer: Digest,
    max: u64,
    reported: u64,
    broken: bool,
}

impl<'a> Transfer<'a> {
    fn new(
        way: Way<'a>,
        layer: Digest,
        blob: Blob,
        from: Box<dyn Read + 'a>,
        copy: Option<&'a TempFile>,
    ) -> Self {
        let max = blob.size.unwrap_or(way.limits.layer_bytes);
        Self { bytes: HashingReader::new(from), copy, way, layer, max, reported: 0, broken: false }
    }

    /// Reads to the end and answers what the whole was.
    fn finish(mut self) -> Result<Transferred, LayerError> {
        io::copy(&mut self, &mut io::sink()).map_err(|error| lift(error, LayerError::Open))?;
        Ok(Transferred { digest: self.bytes.digest(), size: self.bytes.len() })
    }

    /// The cause of a failed conversion: bytes that are not the layer's explain best why they make no archive.
    fn blame<T>(self, blob: Blob, error: LayerError) -> Result<T, LayerError> {
        if matches!(error, LayerError::Convert(_)) && !self.broken {
            self.finish()?.verify(blob)?;
        }
        Err(error)
    }
}

impl Read for Transfer<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.way.stopped() {
            self.broken = true;
            return Err(io::Error::other(LayerError::Cancelled));
        }
        let count = self.bytes.read(buf).inspect_err(|_| self.broken = true)?;
        let done = self.bytes.len();
        if done > self.max {
            self.broken = true;
            return Err(io::Error::other(LayerError::TooLarge(self.max)));
        }
        if let Some(Err(error)) = self.copy.map(|copy| copy.append(&buf[..count])) {
            self.broken = true;
            return Err(io::Error::other(LayerError::Store(error)));
        }
        if done - self.reported >= REPORT || count == 0 && done > self.reported {
            self.reported = done;
            self.way.progress.event(Event::Bytes { layer: self.layer, done });
        }
        Ok(count)
    }
}

/// What was transferred.
struct Transferred {
    digest: Digest,
    size: u64,
}

impl Transferred {
    fn verify(&self, blob: Blob) -> Result<(), LayerError> {
        match (blob.digest, blob.size) {
            (_, Some(expected)) if expected != self.size => {
                Err(LayerError::Size { expected, found: self.size })
            }
            (Some(expected), _) if expected != self.digest => {
                Err(LayerError::Digest { expected, found: self.digest })
            }
            _ => Ok(()),
        }
    }
}

/// The uncompressed archive, hashed and held to the limits.
struct Archive<'a> {
    bytes: HashingReader<Decoder<Transfer<'a>>>,
    limits: &'a Limits,
}

impl Read for Archive<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buf)?;
        let (len, transferred) = (self.bytes.len(), self.bytes.get_ref().get_ref().bytes.len());
        if len > self.limits.layer_bytes {
            return Err(io::Error::other(LayerError::TooLarge(self.limits.layer_bytes)));
        }
        if len > RATIO_FLOOR && len > transferred.saturating_mul(self.limits.ratio) {
            return Err(io::Error::other(LayerError::Bomb(self.limits.ratio)));
        }
        Ok(count)
    }
}
