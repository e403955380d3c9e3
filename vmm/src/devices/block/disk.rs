//! A disk as the host sees it: consecutive extents of files, or one writable file.
//!
//! Made by whoever opens the files, before the sandbox; used by the block device.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use vmm_sys_util::fallocate::{FallocateMode, fallocate};

use super::{SECTOR, Throttle};
use crate::virtio::Buffers;

/// Bytes in the serial number that the guest can ask for.
const SERIAL_LEN: usize = 20;
/// How far an extent of an image may reach beyond the end of its file: extents are padded to this many bytes.
const MAX_PADDING: u64 = 2 << 20;

/// Why files do not make a disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The length of a file cannot be read.
    #[error("cannot read the size of disk extent {index}")]
    ReadSize {
        /// The extent's index.
        index: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An extent reaches beyond its file, or is no whole number of sectors.
    #[error("disk extent {index} of {len} bytes at {offset} does not fit a file of {file_len} bytes")]
    Extent {
        /// The extent's index.
        index: usize,
        /// Bytes into the file.
        offset: u64,
        /// Bytes of the extent.
        len: u64,
        /// Bytes of the file.
        file_len: u64,
    },
    /// Another virtual machine writes to the file.
    #[error("the writable disk is in use by another process")]
    InUse,
    /// The file cannot be locked.
    #[error("cannot lock the writable disk")]
    Lock(#[source] io::Error),
}

/// A range of a file that stands for a range of the disk.
#[derive(Debug)]
pub struct Extent {
    /// The file.
    pub file: File,
    /// Bytes into the file.
    pub offset: u64,
    /// Bytes, a multiple of 512. May reach beyond the end of a read-only file by less than 2 MiB: zeros.
    pub len: u64,
}

/// What a block device shows to the guest.
#[derive(Debug)]
pub struct DiskConfig {
    parts: Vec<Part>,
    len: u64,
    read_only: bool,
    serial: [u8; SERIAL_LEN],
    sync: fn(&File) -> io::Result<()>,
    /// The kernel has lost writes: it says so once, and calls the next fdatasync(2) a success.
    is_torn: Cell<bool>,
    throttle: Throttle,
}

#[derive(Debug)]
struct Part {
    file: File,
    /// Where the part starts on the disk, in bytes.
    start: u64,
    /// Where the part starts in the file, in bytes.
    offset: u64,
    len: u64,
    /// Bytes of `len` that are in the file; the rest is zeros.
    data_len: u64,
}

impl DiskConfig {
    /// A read-only disk of consecutive extents. Of `serial`, the first 20 bytes are shown.
    ///
    /// # Errors
    /// [`DiskError::ReadSize`] and [`DiskError::Extent`].
    pub fn image(extents: Vec<Extent>, serial: &str) -> Result<Self, DiskError> {
        Self::new(extents, serial, true, MAX_PADDING)
    }

    /// A writable disk of one file, whose length must be a multiple of 512. The file is locked against other
    /// writers (flock(2), exclusive) for as long as the disk lives.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn writable(file: File, serial: &str) -> Result<Self, DiskError> {
        lock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let len = file_len(&file, 0)?;
        Self::new(vec![Extent { file, offset: 0, len }], serial, false, 1)
    }

    /// The same disk for reading: locked against writers for as long as it lives, not against others that read.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn readable(file: File, serial: &str) -> Result<Self, DiskError> {
        lock(&file, FlockOperation::NonBlockingLockShared)?;
        let len = file_len(&file, 0)?;
        Self::new(vec![Extent { file, offset: 0, len }], serial, true, 1)
    }

    fn new(extents: Vec<Extent>, serial: &str, read_only: bool, padding: u64) -> Result<Self, DiskError> {
        let mut disk = Self {
            parts: Vec::new(),
            len: 0,
            read_only,
            serial: [0; SERIAL_LEN],
            sync: chosen_sync(),
            is_torn: Cell::new(false),
            throttle: Throttle::default(),
        };
        for (to, from) in disk.serial.iter_mut().zip(serial.bytes()) {
            *to = from;
        }
        for (index, Extent { file, offset, len }) in extents.into_iter().enumerate() {
            let file_len = file_len(&file, index)?;
            let refused = DiskError::Extent { index, offset, len, file_len };
            let data_len = file_len.saturating_sub(offset).min(len);
            let (Some(end), Some(_)) = (disk.len.checked_add(len), offset.checked_add(len)) else {
                return Err(refused);
            };
            if !len.is_multiple_of(SECTOR) || len - data_len >= padding {
                return Err(refused);
            }
            disk.parts.push(Part { file, start: disk.len, offset, len, data_len });
            disk.len = end;
        }
        Ok(disk)
    }

    /// Takes in what its file has become longer by, in whole sectors; answers its bytes. An image stays as it is.
    ///
    /// # Errors
    /// The file cannot be measured.
    pub(super) fn grow(&mut self) -> io::Result<u64> {
        if !self.read_only
            && let [part] = &mut self.parts[..]
        {
            let len = io::Seek::seek(&mut &part.file, io::SeekFrom::End(0))?;
            self.len = self.len.max(len - len % SECTOR);
            (part.len, part.data_len) = (self.len, self.len);
        }
        Ok(self.len)
    }

    /// Bytes on the disk.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the disk has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether writes are refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Puts the disk under limits, which it shares with all that have a clone of them.
    #[must_use]
    pub fn limited_by(self, throttle: &Throttle) -> Self {
        Self { throttle: throttle.clone(), ..self }
    }

    pub(super) fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    pub(super) fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Fills `data` from byte `start`; the range is inside the disk.
    ///
    /// # Errors
    /// A file's; `UnexpectedEof` where a file has become shorter.
    pub(super) fn read(&self, start: u64, mut data: Buffers<'_>) -> io::Result<()> {
        self.for_each_part(start, data.len() as u64, |part, skip, len| {
            let in_file = part.data_len.saturating_sub(skip).min(len);
            data.take_front(as_usize(in_file)?).read_from_file(part.file.as_fd(), part.offset + skip)?;
            data.write_zeros(as_usize(len - in_file)?);
            Ok(())
        })
    }

    /// Writes `data` to byte `start`; the range is inside the disk, which is writable.
    ///
    /// # Errors
    /// A file's; any write's after a failed [`Self::flush`].
    pub(super) fn write(&self, start: u64, mut data: Buffers<'_>) -> io::Result<()> {
        self.check_whole()?;
        self.for_each_part(start, data.len() as u64, |part, skip, len| {
            data.take_front(as_usize(len)?).write_to_file(part.file.as_fd(), part.offset + skip)
        })
    }

    /// Makes everything written durable: fdatasync(2).
    ///
    /// Where that fails, some of what was written is gone, and nobody knows what: the disk takes no more writes and
    /// never says again that it is durable, whoever the driver is, until it is opened anew.
    ///
    /// # Errors
    /// The system call's.
    pub(super) fn flush(&self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.check_whole()?;
        let flushed = self.parts.iter().try_for_each(|part| (self.sync)(&part.file));
        self.is_torn.set(flushed.is_err());
        flushed
    }

    fn check_whole(&self) -> io::Result<()> {
        match self.is_torn.get() {
            true => Err(io::Error::other("writes were lost before")),
            false => Ok(()),
        }
    }

    /// In place of fdatasync(2).
    #[cfg(test)]
    pub(super) fn sync_by(&mut self, sync: fn(&File) -> io::Result<()>) {
        self.sync = sync;
    }

    /// Gives space back to the host's file system where it can take it; the content is undefined after it.
    ///
    /// # Errors
    /// The system call's.
    pub(super) fn discard(&self, start: u64, len: u64) -> io::Result<()> {
        self.check_whole()?;
        self.for_each_part(start, len, |part, skip, len| {
            try_fallocate(&part.file, FallocateMode::PunchHole, part.offset + skip, len).map(|_| ())
        })
    }

    /// Makes a range read as zeros, giving its space back where `unmap` is set and the file system can.
    ///
    /// # Errors
    /// A system call's.
    pub(super) fn write_zeroes(&self, start: u64, len: u64, unmap: bool) -> io::Result<()> {
        self.check_whole()?;
        self.for_each_part(start, len, |part, skip, len| {
            let offset = part.offset + skip;
            let mode = if unmap { FallocateMode::PunchHole } else { FallocateMode::ZeroRange };
            if try_fallocate(&part.file, mode, offset, len)? {
                return Ok(());
            }
            write_zeros(&part.file, offset, len)
        })
    }

    /// Calls `part` with each part of a range: bytes to skip in it, and bytes.
    fn for_each_part(
        &self,
        start: u64,
        len: u64,
        mut call: impl FnMut(&Part, u64, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let end = start + len;
        let first = self.parts.partition_point(|part| part.start + part.len <= start);
        for part in &self.parts[first..] {
            let from = start.max(part.start);
            let to = end.min(part.start + part.len);
            if from >= to {
                break;
            }
            call(part, from - part.start, to - from)?;
        }
        Ok(())
    }
}

/// fdatasync(2). A test of durability must fail without it: then it sets `CRADLE_TEST_NO_FLUSH`, which no release looks at.
fn chosen_sync() -> fn(&File) -> io::Result<()> {
    if cfg!(debug_assertions) && std::env::var_os("CRADLE_TEST_NO_FLUSH").is_some() {
        return |_| Ok(());
    }
    File::sync_data
}

fn lock(file: &File, operation: FlockOperation) -> Result<(), DiskError> {
    match flock(file, operation) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(DiskError::InUse),
        Err(error) => Err(DiskError::Lock(error.into())),
    }
}

fn file_len(file: &File, index: usize) -> Result<u64, DiskError> {
    // Seeking instead of stat(2): it also measures block devices.
    io::Seek::seek(&mut &*file, io::SeekFrom::End(0)).map_err(|source| DiskError::ReadSize { index, source })
}

/// fallocate(2) without a change of the file's length; false where the file system does not support the mode.
fn try_fallocate(file: &File, mode: FallocateMode, offset: u64, len: u64) -> io::Result<bool> {
    if len == 0 {
        return Ok(true);
    }
    match fallocate(file, mode, true, offset, len) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.errno(), libc::EOPNOTSUPP | libc::ENOSYS | libc::ENODEV) => Ok(false),
        Err(error) => Err(io::Error::from_raw_os_error(error.errno())),
    }
}

fn write_zeros(file: &File, mut offset: u64, mut len: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while len > 0 {
        let chunk = ZEROS.len().min(as_usize(len)?);
        file.write_all_at(&ZEROS[..chunk], offset)?;
        offset += chunk as u64;
        len -= chunk as u64;
    }
    Ok(())
}

fn as_usize(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput.into())
}
