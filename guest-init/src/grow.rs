//! File systems of volumes that follow disks that have become larger: at the mount, and when the host says so.
#![expect(unsafe_code, reason = "EXT4_IOC_RESIZE_FS has no safe wrapper")]

use crate::launch;
use crate::pod::Pod;
use rustix::fs::{Mode, OFlags};
use spec::frame::Kind;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// Where the superblock is, in bytes, and how much of it is read.
const SUPERBLOCK: u64 = 1024;
const SUPERBLOCK_LEN: usize = 0x160;

/// How often, and how long apart, the block device is looked at: its driver hears of the change by an interrupt.
const LOOKS: u32 = 500;
const APART: Duration = Duration::from_millis(10);

/// `EXT4_IOC_RESIZE_FS`: `_IOW('f', 16, __u64)`.
const RESIZE: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<u64>(b'f', 16);

/// Has the file system at `place` take all of the disk with that index. Nothing is done where it does already.
///
/// # Errors
/// The disk cannot be read, or the kernel does not do it: the file system is as it was, or larger.
pub(crate) fn to_disk(index: usize, place: &Path) -> io::Result<()> {
    let mut device = File::open(launch::disk_device(index))?;
    let bytes = device.seek(SeekFrom::End(0))?;
    let (blocks, block) = blocks(&device)?;
    if block == 0 || bytes / block <= blocks {
        return Ok(());
    }
    let root = rustix::fs::open(place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: the request takes a number of blocks of 64 bits.
    let request = unsafe { rustix::ioctl::Setter::<RESIZE, u64>::new(bytes / block) };
    // SAFETY: it reads the number that it points to, and writes no memory of this process.
    unsafe { rustix::ioctl::ioctl(root, request) }?;
    Ok(())
}

/// Blocks of the file system on a device, and bytes of one.
fn blocks(device: &File) -> io::Result<(u64, u64)> {
    let mut bytes = [0; SUPERBLOCK_LEN];
    device.read_exact_at(&mut bytes, SUPERBLOCK)?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let count = u64::from(word(0x4)) | u64::from(word(0x150)) << 32;
    Ok((count, 1024u64.checked_shl(word(0x18)).unwrap_or(0)))
}

/// Obeys a [`Kind::Grow`] beside everything else, and tells the host when it is done.
pub(crate) fn obey(pod: &Rc<Pod>, payload: &[u8]) {
    let Ok(payload) = <[u8; 12]>::try_from(payload) else { return };
    let [a, b, c, d, bytes @ ..] = payload;
    let (index, bytes) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(bytes));
    let place = pod.disks.growing.get(&index).cloned();
    let pod = Rc::clone(pod);
    vdocker::task::spawn(async move {
        let result = match place {
            None => Err(io::ErrorKind::NotFound.into()),
            Some(place) => {
                let work = move || follow(index as usize, &place, bytes);
                tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
        };
        let why = result.err().map(|error| error.to_string()).unwrap_or_default();
        pod.host.push(Kind::Grown, 0, &[&index.to_le_bytes(), why.as_bytes()].concat());
    });
}

/// Waits until the block device has so many bytes, then [`to_disk`].
fn follow(index: usize, place: &Path, bytes: u64) -> io::Result<()> {
    let mut device = File::open(launch::disk_device(index))?;
    for _ in 0..LOOKS {
        if device.seek(SeekFrom::End(0))? >= bytes {
            return to_disk(index, place);
        }
        std::thread::sleep(APART);
    }
    Err(io::ErrorKind::TimedOut.into())
}
