//! Runs of data in a sparse file: as an archive describes them, and as the host's file system knows them.
//! Used by the EROFS chunk planner, the directory walk and the scratch disk's copy.

use std::fs::File;
use std::io;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

pub(crate) use tar::Extent;

/// The data of a host file of `size` bytes. A file system that knows no holes answers with one extent.
pub(crate) fn data_extents(file: &File, size: u64) -> io::Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match seek(file, SeekFrom::Data(at)) {
            Ok(offset) => offset,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => return Ok(vec![Extent { offset: 0, length: size }]),
            Err(error) => return Err(error.into()),
        };
        // A file that grows meanwhile is read to its old size.
        let end = seek(file, SeekFrom::Hole(offset))?.min(size);
        if offset >= end {
            break;
        }
        extents.push(Extent { offset, length: end - offset });
        at = end;
    }
    Ok(extents)
}
