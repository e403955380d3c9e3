//! One request of the block protocol (virtio 1.3, section 5.2.6): header, data and status byte.

use std::io;

use super::{DiskConfig, SECTOR};
use crate::virtio::{Buffers, Chain};

/// The longest buffer in bytes, `size_max`.
pub(super) const MAX_SEGMENT: u32 = 64 * 1024;
/// The most buffers of data in a request, `seg_max`: a queue's descriptors less header and status.
pub(super) const MAX_SEGMENTS: u32 = 254;
/// The longest range in sectors of a discard: 1 GiB.
pub(super) const MAX_DISCARD_SECTORS: u32 = 1 << 21;
/// The most ranges of a discard.
pub(super) const MAX_DISCARD_SEGMENTS: u32 = 16;
/// The longest range in sectors of a write-zeroes: 64 MiB, as it may have to be written.
pub(super) const MAX_ZERO_SECTORS: u32 = 1 << 17;

/// The most bytes of data in a request.
const MAX_DATA: usize = MAX_SEGMENT as usize * MAX_SEGMENTS as usize;

/// Request types.
pub(super) mod kind {
    pub(in super::super) const IN: u32 = 0;
    pub(in super::super) const OUT: u32 = 1;
    pub(in super::super) const FLUSH: u32 = 4;
    pub(in super::super) const GET_ID: u32 = 8;
    pub(in super::super) const DISCARD: u32 = 11;
    pub(in super::super) const WRITE_ZEROES: u32 = 13;
}

/// The `unmap` flag of a write-zeroes range.
const UNMAP: u32 = 1;

/// The status byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// Does the request and writes its status; answers how many bytes of the chain were written. With `write_through`,
/// what was written is durable then.
pub(super) fn handle(disk: &DiskConfig, mut chain: Chain<'_>, write_through: bool) -> u32 {
    let Some(mut status_byte) = chain.writable.take_back(1) else { return 0 };
    let (status, written) = match perform(disk, chain, write_through) {
        Ok(written) => (Status::Ok, written),
        Err(status) => (status, 0),
    };
    status_byte.write(&[status as u8]);
    written.saturating_add(1)
}

/// Does the request; answers how many bytes of data were written into the chain.
fn perform(disk: &DiskConfig, mut chain: Chain<'_>, write_through: bool) -> Result<u32, Status> {
    let header: [u8; 16] = chain.readable.read_array().ok_or(Status::IoError)?;
    let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
    let sector = u64::from_le_bytes(sector);
    if chain.readable.len() > MAX_DATA || chain.writable.len() > MAX_DATA {
        return Err(Status::IoError);
    }
    let kind = u32::from_le_bytes([k0, k1, k2, k3]);
    let written = match kind {
        kind::IN => read(disk, sector, chain.writable),
        kind::OUT => write(disk, sector, chain.readable),
        kind::FLUSH => flush(disk),
        kind::GET_ID => Ok(identify(disk, chain.writable)),
        kind::DISCARD => discard(disk, chain.readable),
        kind::WRITE_ZEROES => write_zeroes(disk, chain.readable),
        _ => Err(Status::Unsupported),
    }?;
    if write_through && matches!(kind, kind::OUT | kind::WRITE_ZEROES) {
        flush(disk)?;
    }
    Ok(written)
}

fn flush(disk: &DiskConfig) -> Result<u32, Status> {
    disk.flush().map_err(|error| failed("flush", &error))?;
    Ok(0)
}

fn read(disk: &DiskConfig, sector: u64, data: Buffers<'_>) -> Result<u32, Status> {
    let len = u32::try_from(data.len()).map_err(|_| Status::IoError)?;
    let start = check_range(disk, sector, u64::from(len))?;
    disk.read(start, data).map_err(|error| failed("read", &error))?;
    Ok(len)
}

fn write(disk: &DiskConfig, sector: u64, data: Buffers<'_>) -> Result<u32, Status> {
    check_writable(disk)?;
    let start = check_range(disk, sector, data.len() as u64)?;
    disk.write(start, data).map_err(|error| failed("write", &error))?;
    Ok(0)
}

fn identify(disk: &DiskConfig, mut data: Buffers<'_>) -> u32 {
    u32::try_from(data.write(disk.serial())).unwrap_or(0)
}

fn discard(disk: &DiskConfig, ranges: Buffers<'_>) -> Result<u32, Status> {
    check_writable(disk)?;
    for range in parse_ranges(disk, ranges, MAX_DISCARD_SEGMENTS, MAX_DISCARD_SECTORS)? {
        if range.flags != 0 {
            return Err(Status::Unsupported);
        }
        disk.discard(range.start, range.len).map_err(|error| failed("discard", &error))?;
    }
    Ok(0)
}

fn write_zeroes(disk: &DiskConfig, ranges: Buffers<'_>) -> Result<u32, Status> {
    check_writable(disk)?;
    for range in parse_ranges(disk, ranges, 1, MAX_ZERO_SECTORS)? {
        if range.flags & !UNMAP != 0 {
            return Err(Status::Unsupported);
        }
        disk.write_zeroes(range.start, range.len, range.flags & UNMAP != 0)
            .map_err(|error| failed("write zeroes", &error))?;
    }
    Ok(0)
}

/// A `struct virtio_blk_discard_write_zeroes`, in bytes and inside the disk.
struct Range {
    start: u64,
    len: u64,
    flags: u32,
}

fn parse_ranges(
    disk: &DiskConfig,
    mut data: Buffers<'_>,
    max_count: u32,
    max_sectors: u32,
) -> Result<Vec<Range>, Status> {
    const RANGE_LEN: usize = 16;
    let count = data.len() / RANGE_LEN;
    if !data.len().is_multiple_of(RANGE_LEN) || count == 0 || count > max_count as usize {
        return Err(Status::IoError);
    }
    let mut ranges = Vec::with_capacity(count);
    while let Some(bytes) = data.read_array::<RANGE_LEN>() {
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = bytes;
        let sectors = u32::from_le_bytes([n0, n1, n2, n3]);
        if sectors > max_sectors {
            return Err(Status::IoError);
        }
        let len = u64::from(sectors) * SECTOR;
        let start = check_range(disk, u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]), len)?;
        ranges.push(Range { start, len, flags: u32::from_le_bytes(flags) });
    }
    Ok(ranges)
}

fn check_writable(disk: &DiskConfig) -> Result<(), Status> {
    if disk.is_read_only() { Err(Status::IoError) } else { Ok(()) }
}

/// The byte at which a range of whole sectors starts, where it is inside the disk.
fn check_range(disk: &DiskConfig, sector: u64, len: u64) -> Result<u64, Status> {
    let start = sector.checked_mul(SECTOR).ok_or(Status::IoError)?;
    let end = start.checked_add(len).ok_or(Status::IoError)?;
    if !len.is_multiple_of(SECTOR) || end > disk.len() {
        return Err(Status::IoError);
    }
    Ok(start)
}

fn failed(what: &str, error: &io::Error) -> Status {
    log::warn!("cannot {what} a disk: {error}");
    Status::IoError
}
