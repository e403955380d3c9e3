//! What a user can do about an error, told by the causes in its chain. Printed as the `hint:` line.

use std::io::ErrorKind;

use image::erofs::ConvertError;
use image::{ArchiveError, DaemonError, LayerError, RegistryError, ResolveError};

use crate::failure::Failure;
use pod::{PackageError, PodError, StagingError};

/// The advice of the first cause, outermost first, that has one.
pub(crate) fn of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return of_io(error.kind()).map(str::to_owned);
        }
        if let Some(error) = cause.downcast_ref::<PodError>() {
            return of_pod(error);
        }
        if let Some(error) = cause.downcast_ref::<StagingError>()
            && let Some(hint) = of_staging(error)
        {
            return Some(hint);
        }
        if let Some(PackageError::Missing(_) | PackageError::Machine { .. }) = cause.downcast_ref() {
            return Some(PACKAGE.to_owned());
        }
        if let Some(error) = cause.downcast_ref::<ResolveError>() {
            return of_resolve(error).map(str::to_owned);
        }
        if let Some(vmm::snp::SnpError::Precondition { .. }) = cause.downcast_ref() {
            return Some("`kcradle check --snp` says all that this host lacks, and what to do".to_owned());
        }
        if let Some(error) = cause.downcast_ref::<vmm::HostError>() {
            return Some(error.remedy().to_owned());
        }
        None
    })
}

/// The failure of a command that ends or removes a pod: who has none there does not want a new one.
pub(crate) fn where_pods_are(error: PodError) -> Failure {
    let missing = matches!(error, PodError::Missing(_));
    let failure = Failure::from(anyhow::Error::from(error));
    if missing { failure.hint("`kcradle ls` lists the pods") } else { failure }
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

fn of_staging(error: &StagingError) -> Option<String> {
    Some(match error {
        StagingError::Pod(path) => {
            format!("remove it with `kcradle rm {}`, or choose another directory", path.display())
        }
        StagingError::Occupied(_) => "choose a directory that is empty or does not exist".to_owned(),
        StagingError::Busy(_) => "wait for it, or choose another directory".to_owned(),
        StagingError::Foreign(path) => {
            format!("remove {}, or choose a directory that only you can write to", path.display())
        }
        _ => return None,
    })
}

/// Where there is no runtime package.
pub(crate) const PACKAGE: &str = "build one with `make` (of SNP guests with `make VARIANT=snp`), install it with `make install`, or name one in CRADLE_PKG";

const TRY_AGAIN: &str = "try again; if it stays so, the registry or a proxy before it changes what it sends";
const MAKE_AGAIN: &str = "get or make the image again, for example with `docker save` or `skopeo copy`";
const HOSTILE: &str = "do not use this image unless you know why it is made so";

fn of_resolve(error: &ResolveError) -> Option<&'static str> {
    match error {
        ResolveError::NotInStore(_) => Some("`kcradle image ls` lists the images of the store"),
        ResolveError::Registry { source, .. } => of_registry(source),
        ResolveError::Archive { source, .. } => of_archive(source),
        ResolveError::Daemon { source, .. } => of_daemon(source),
        ResolveError::Platform(_) => Some("choose a tag or digest that is made for linux/amd64"),
        ResolveError::Layer { source, .. } => of_layer(source),
        ResolveError::Merge(_) | ResolveError::TooManyLayers { .. } => Some(HOSTILE),
        _ => None,
    }
}

fn of_registry(error: &RegistryError) -> Option<&'static str> {
    match error {
        RegistryError::Transport { .. } => Some(
            "see that the name is right and that its registry can be reached; \
             docker-archive:FILE and oci:DIR need no registry",
        ),
        RegistryError::NotFound(_) => Some("see that the name and the tag are right"),
        RegistryError::Denied { .. } | RegistryError::Token(_) => {
            Some("see that the name is right, or log in with `docker login`")
        }
        RegistryError::Credentials(_) => Some("log in again with `docker login`"),
        RegistryError::Truncated { .. }
        | RegistryError::Digest { .. }
        | RegistryError::Size { .. }
        | RegistryError::Status { .. } => Some(TRY_AGAIN),
        _ => None,
    }
}

fn of_archive(error: &ArchiveError) -> Option<&'static str> {
    match error {
        ArchiveError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
            Some("see that the path is right")
        }
        ArchiveError::Read { source, .. } => of_io(source.kind()),
        ArchiveError::Tar { .. } | ArchiveError::Json(..) | ArchiveError::Digest { .. } => Some(MAKE_AGAIN),
        ArchiveError::Missing { .. } => Some(
            "see that the path is right: docker-archive: takes what `docker save` wrote, oci: and oci-archive: \
             an OCI image layout, bundle: what `umoci unpack` left",
        ),
        ArchiveError::Bomb { .. } | ArchiveError::Outside(_) => Some(HOSTILE),
        _ => None,
    }
}

fn of_daemon(error: &DaemonError) -> Option<&'static str> {
    match error {
        DaemonError::NoImage(_) => Some("`docker images` lists the images of the daemon"),
        DaemonError::Archive(error) => of_archive(error),
        _ => None,
    }
}

fn of_layer(error: &LayerError) -> Option<&'static str> {
    match error {
        LayerError::Digest { .. } | LayerError::DiffId { .. } | LayerError::Size { .. } => Some(
            "get the image again from where it comes from: these are not the bytes that its manifest names",
        ),
        LayerError::Convert(ConvertError::Archive(_)) | LayerError::Open(_) => Some(MAKE_AGAIN),
        LayerError::Convert(ConvertError::Entry(_)) | LayerError::Bomb(_) | LayerError::TooLarge(_) => {
            Some(HOSTILE)
        }
        _ => None,
    }
}
