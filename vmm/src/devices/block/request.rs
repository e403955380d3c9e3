//! One request of the block protocol (virtio 1.3, section 5.2.6): header, data and status byte.

use std::io;

use super::throttle::{Cost, Lane};
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

/// A request that was read from guest memory, once: what it costs is what is done.
pub(super) struct Request<'m> {
    status: Buffers<'m>,
    action: Result<Action<'m>, Status>,
}

enum Action<'m> {
    Read { start: u64, data: Buffers<'m> },
    Write { start: u64, data: Buffers<'m> },
    Flush,
    Identify(Buffers<'m>),
    Discard(Vec<Range>),
    WriteZeroes(Vec<Range>),
}

impl<'m> Request<'m> {
    /// Reads a request; `None` where there is no room for a status.
    pub(super) fn parse(disk: &DiskConfig, mut chain: Chain<'m>) -> Option<Self> {
        let status = chain.writable.take_back(1)?;
        Some(Self { status, action: parse(disk, chain) })
    }

    /// What it takes of the disk's limits; nothing where it does not reach the disk.
    pub(super) fn cost(&self) -> Option<Cost> {
        let (lane, bytes) = match self.action.as_ref().ok()? {
            Action::Read { data, .. } => (Lane::Read, data.len() as u64),
            Action::Write { data, .. } => (Lane::Write, data.len() as u64),
            Action::Flush | Action::Discard(_) => (Lane::Write, 0),
            Action::WriteZeroes(ranges) => (Lane::Write, ranges.iter().map(|range| range.len).sum()),
            Action::Identify(_) => return None,
        };
        Some(Cost { lane, bytes })
    }

    /// Does the request and writes its status; answers how many bytes of the chain were written. With `write_through`,
    /// what was written is durable then.
    pub(super) fn perform(mut self, disk: &DiskConfig, write_through: bool) -> u32 {
        let (status, written) = match self.action.and_then(|action| perform(disk, action, write_through)) {
            Ok(written) => (Status::Ok, written),
            Err(status) => (status, 0),
        };
        self.status.write(&[status as u8]);
        written.saturating_add(1)
    }
}

fn parse<'m>(disk: &DiskConfig, mut chain: Chain<'m>) -> Result<Action<'m>, Status> {
    let header: [u8; 16] = chain.readable.read_array().ok_or(Status::IoError)?;
    let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = header;
    let sector = u64::from_le_bytes(sector);
    if chain.readable.len() > MAX_DATA || chain.writable.len() > MAX_DATA {
        return Err(Status::IoError);
    }
    let range = |data: &Buffers<'_>| check_range(disk, sector, data.len() as u64);
    match u32::from_le_bytes([k0, k1, k2, k3]) {
        kind::IN => Ok(Action::Read { start: range(&chain.writable)?, data: chain.writable }),
        kind::OUT => {
            check_writable(disk)?;
            Ok(Action::Write { start: range(&chain.readable)?, data: chain.readable })
        }
        kind::FLUSH => Ok(Action::Flush),
        kind::GET_ID => Ok(Action::Identify(chain.writable)),
        kind::DISCARD => {
            check_writable(disk)?;
            let ranges = parse_ranges(disk, chain.readable, MAX_DISCARD_SEGMENTS, MAX_DISCARD_SECTORS)?;
            check_flags(&ranges, 0).map(|()| Action::Discard(ranges))
        }
        kind::WRITE_ZEROES => {
            check_writable(disk)?;
            let ranges = parse_ranges(disk, chain.readable, 1, MAX_ZERO_SECTORS)?;
            check_flags(&ranges, UNMAP).map(|()| Action::WriteZeroes(ranges))
        }
        _ => Err(Status::Unsupported),
    }
}

/// Does it; answers how many bytes of data were written into the chain.
fn perform(disk: &DiskConfig, action: Action<'_>, write_through: bool) -> Result<u32, Status> {
    let flush = || disk.flush().map_err(|error| failed("flush", &error));
    let durable = || if write_through { flush() } else { Ok(()) };
    match action {
        Action::Read { start, data } => {
            let len = u32::try_from(data.len()).map_err(|_| Status::IoError)?;
            disk.read(start, data).map_err(|error| failed("read", &error))?;
            return Ok(len);
        }
        Action::Identify(mut data) => return Ok(u32::try_from(data.write(disk.serial())).unwrap_or(0)),
        Action::Write { start, data } => {
            disk.write(start, data).map_err(|error| failed("write", &error))?;
            durable()?;
        }
        Action::Flush => flush()?,
        Action::Discard(ranges) => {
            for range in ranges {
                disk.discard(range.start, range.len).map_err(|error| failed("discard", &error))?;
            }
        }
        Action::WriteZeroes(ranges) => {
            for range in ranges {
                disk.write_zeroes(range.start, range.len, range.flags & UNMAP != 0)
                    .map_err(|error| failed("write zeroes", &error))?;
            }
            durable()?;
        }
    }
    Ok(0)
}

fn check_flags(ranges: &[Range], known: u32) -> Result<(), Status> {
    if ranges.iter().all(|range| range.flags & !known == 0) { Ok(()) } else { Err(Status::Unsupported) }
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
