//! The volumes of a pod, opened and locked for as long as the machine is there: one pod has a volume where it writes, several
//! where all only read. A directory has one that writes and any that read, unless it was made for many.

use std::fs::File;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use anyhow::Context as _;
use pod::volume::device::{self, DeviceError};
use pod::volume::store::writer_lock;
use pod::volume::superblock::Superblock;
use pod::volume::users::Users;
use pod::{Home, PodDir, PodRecord, ShareRecord};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use spec::launch::DiskSpec;
use vmm::devices::block::{DiskConfig, DiskError};

use crate::failure::Failure;

/// The disk of a named volume, of which the guest is told by `spec`.
///
/// One that nobody in the pod writes to is shared with others of that kind, if its file system can be mounted without a write.
/// Else, as after a machine that was killed, this one's guest has it for itself, to make that so.
pub(super) fn disk(
    dir: &PodDir,
    record: &PodRecord,
    name: &str,
    path: &Path,
    spec: &mut DiskSpec,
) -> Result<DiskConfig, Failure> {
    open(name, path, spec).map_err(|error| match is_in_use(&error) {
        true => in_use(dir, record, name, path),
        false => Failure::from(error.context(format!("cannot use volume {name} at {}", path.display()))),
    })
}

fn open(name: &str, path: &Path, spec: &mut DiskSpec) -> anyhow::Result<DiskConfig> {
    if let DiskSpec::Volume { read_only: read_only @ true, .. } = spec {
        // The claim of a device goes with this, and would keep others from reading.
        drop(device::open(path, false)?);
        let disk = DiskConfig::readable(File::open(path)?, name)?;
        // Under the lock, so that nobody mounts it meanwhile.
        if Superblock::read(&File::open(path)?)?.is_some_and(|found| found.is_at_rest()) {
            return Ok(disk);
        }
        drop(disk);
        *read_only = false;
    }
    Ok(DiskConfig::writable(device::open(path, true)?, name)?)
}

fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(DiskError::InUse))
        || matches!(error.downcast_ref(), Some(DeviceError::Busy(_)))
}

/// Says who has a volume, where that is a pod.
fn in_use(dir: &PodDir, record: &PodRecord, name: &str, path: &Path) -> Failure {
    let home = Home::at(record.home.clone());
    let users = home.store().ok().and_then(|store| Users::of(&store).ok()).unwrap_or_default();
    let other = users.running_with(path).find(|pod| pod.path() != dir.path());
    let text = match other {
        Some(pod) => format!("volume {name} is in use by pod {}", pod.path().display()),
        None if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device()) => {
            format!("volume {name} is in use: {} is mounted, or a part of another device", path.display())
        }
        None => format!("volume {name} is in use by another process"),
    };
    Failure::new(text).hint("while somebody writes to a volume, nobody else has it: stop the other pod first")
}

/// Locks the volumes among the shares that the pod writes to; the locks last as long as the answer.
pub(super) fn lock_directories(
    dir: &PodDir,
    record: &PodRecord,
    shares: &[ShareRecord],
) -> Result<Vec<File>, Failure> {
    let mut locks = Vec::new();
    for share in shares {
        let Some(volume) = &share.volume else { continue };
        if share.read_only || volume.many_writers {
            continue;
        }
        let path = writer_lock(&share.path);
        let context = || format!("cannot lock volume {} at {}", volume.name, path.display());
        let file = File::options().write(true).open(&path).with_context(context)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => locks.push(file),
            Err(Errno::WOULDBLOCK) => {
                return Err(in_use(dir, record, &volume.name, &share.path).hint(
                    "one pod at a time writes to this volume, others may read (:ro); several write where it is made with \
                     -o writers=many",
                ));
            }
            Err(error) => return Err(anyhow::Error::from(error).context(context()).into()),
        }
    }
    Ok(locks)
}
