//! Files of a container as tar archives (Docker Engine API, "Archive"), as engine and API share them.

use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::mpsc;

/// A stream of bytes with backpressure; an error is the last item.
pub type Chunks = mpsc::Receiver<io::Result<Bytes>>;

/// The answer to `HEAD archive`, in the header `X-Docker-Container-Path-Stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// The last component of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Go's `os.FileMode`: permission bits, directory `1 << 31`, symbolic link `1 << 27`, …
    pub mode: u32,
    /// Last modification.
    pub mtime: SystemTime,
    /// Where a symbolic link leads, as an absolute path in the container; empty for others.
    pub link_target: String,
}

/// How to unpack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Refuse to replace a directory by something else and the reverse (`noOverwriteDirNonDir`).
    pub no_overwrite_dir_non_dir: bool,
    /// Give all files to the container's user, where it has one that is not the default (`copyUIDGID`, as Docker's
    /// daemon takes it); else owners are those of the archive.
    pub copy_uid_gid: bool,
}

/// A difference from the image (`docker diff`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The absolute path.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to a path; the numbers of the Docker Engine API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Its content or attributes differ, or something below it.
    Modified = 0,
    /// The image does not have it.
    Added = 1,
    /// The image has it.
    Deleted = 2,
}
