//! What a user can do about an error, told by the causes in its chain. Printed as the `hint:` line.

use std::io::ErrorKind;

use crate::pod::PodError;

/// The advice of the first cause, outermost first, that has one.
pub(crate) fn of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return of_io(error.kind()).map(str::to_owned);
        }
        if let Some(error) = cause.downcast_ref::<PodError>() {
            return of_pod(error);
        }
        if let Some(error) = cause.downcast_ref::<vmm::HostError>() {
            return Some(error.remedy().to_owned());
        }
        None
    })
}

fn of_io(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("free some space (`kcradle image prune` removes images that nothing uses), then try again")
        }
        ErrorKind::PermissionDenied => {
            Some("run as a user who may use the file, or set CRADLE_HOME to a directory of yours")
        }
        ErrorKind::ReadOnlyFilesystem => Some("choose a directory on a writable file system"),
        _ => None,
    }
}

fn of_pod(error: &PodError) -> Option<String> {
    match error {
        PodError::Missing(dir) => Some(format!("make one with `kcradle summon {} IMAGE`", dir.display())),
        PodError::NotAPod { dir, .. } | PodError::Parse { path: dir, .. } => {
            let dir = if dir.is_dir() { dir } else { dir.parent()? };
            Some(format!("if nothing in {} is needed, remove it and summon the pod again", dir.display()))
        }
        PodError::Version { dir, .. } => {
            Some(format!("use that kcradle, or remove {} and summon the pod again", dir.display()))
        }
        PodError::Read { .. } => None,
    }
}
