//! From images and the containers that are to run of them to a pod directory: disks, launch.json, pod.json and the
//! writable disk. Called by `kcradle summon` and by the API frontend.
//!
//! Two steps, so that the caller may give up in between: [`Blueprint::write`] makes everything in the hidden directory
//! of a [`Staging`], [`Written::put`] tells the image store and moves the pod to its place.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use image::{ContainerError, ContainerOverrides, ImageHandle, Store, StoreError, Verity, container_spec};
use spec::launch::{
    DiskSpec, ImageSpec, MountSource, MountSpec, NetworkSpec, Resources, VeritySpec, Writable,
};
use spec::package::Machine;
use spec::{ContainerSpec, LaunchSpec};
use thiserror::Error;

use crate::home::Home;
use crate::limits::{LimitError, LimitWish, Limits};
use crate::network::Networking;
use crate::package::Package;
use crate::record::{self, DiskRecord, Extent, ImageRecord, PodRecord, RestartPolicy};
use crate::share::Shares;
use crate::staging::{Staging, StagingError};
use crate::state;
use crate::volume::attach::VolumeDisk;

/// Why a pod was not made.
#[derive(Debug, Error)]
pub enum MakeError {
    /// An image and the wishes about its container do not fit.
    #[error("cannot make a container of {reference}")]
    Container {
        /// The image.
        reference: String,
        /// Why.
        #[source]
        source: ContainerError,
    },
    /// More disks than a number has room for.
    #[error("too many disks")]
    TooManyDisks,
    /// A container names a disk that is not an image's.
    #[error("container {0} names an image that the pod does not have")]
    NoSuchImage(String),
    /// The kernel gave no random bytes for an id.
    #[error("cannot get random bytes")]
    Random(#[source] io::Error),
    /// The writable disk.
    #[error("cannot make the pod's writable disk")]
    Scratch(#[source] image::ext4::Ext4Error),
    /// An image without a tree of hashes in the pod of an SNP guest.
    #[error("the image {0} is not bound to a root that an SNP guest could check it against")]
    Unbound(String),
    /// A volume with a file system of blocks in the pod of an SNP guest.
    #[error(
        "the volume {0} is a disk that the host can read and change: an SNP guest mounts no file system that its host could \
         have written"
    )]
    HostDisk(String),
    /// A directory or file of the host in the pod of an SNP guest.
    #[error("{} is the host's, which can read and change it behind an SNP guest's back", .0.display())]
    HostShare(PathBuf),
    /// A limit of a disk.
    #[error("cannot limit a disk")]
    Limit(#[source] LimitError),
    /// The directory.
    #[error(transparent)]
    Staging(#[from] StagingError),
    /// The image store does not take note of the pod.
    #[error("cannot register the pod with the store")]
    Store(#[source] StoreError),
}

/// A pod that is to be made.
#[derive(Debug)]
pub struct Blueprint<'a> {
    /// 64 lower-case hexadecimal digits; see [`new_id`].
    pub id: String,
    /// The size of the virtual machine.
    pub resources: Resources,
    /// The size of the writable disk in bytes: at least 16 MiB, a multiple of 4 KiB.
    pub disk_size: u64,
    /// The images, each a disk; none twice.
    pub images: Vec<&'a ImageHandle>,
    /// The containers; their images are indices of `images`, and what they write goes to the disk behind those. See
    /// [`container`].
    pub containers: Vec<ContainerSpec>,
    /// The named volumes that the containers mount and that are disks. None twice.
    pub volumes: Vec<VolumeDisk>,
    /// The directories and files of the host that the containers mount.
    pub shares: Shares,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// What is done when the virtual machine has ended.
    pub restart: RestartPolicy,
    /// Names and addresses.
    pub network: NetworkSpec,
    /// The networks that it is on while it runs.
    pub networking: Networking,
    /// How fast the disks may be.
    pub limits: Vec<LimitWish>,
}

/// 64 random hexadecimal digits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn new_id() -> Result<String, MakeError> {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| MakeError::Random(error.into()))?;
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A container of the image with that index among `images`, called `reference` by the user, otherwise than the image
/// has it where `overrides` says so. What it writes goes to the disk behind the images'.
///
/// # Errors
/// The image and the wishes do not fit, or there is no such image.
pub fn container(
    images: &[&ImageHandle],
    disk: usize,
    reference: &str,
    overrides: &ContainerOverrides,
) -> Result<ContainerSpec, MakeError> {
    let image = images.get(disk).ok_or_else(|| MakeError::NoSuchImage(overrides.name.clone()))?;
    let source = ImageSpec {
        reference: reference.to_owned(),
        digest: image.manifest_digest().map(|digest| digest.to_string()).unwrap_or_default(),
        disk: number(disk)?,
        writable: Writable::Disk(number(images.len())?),
    };
    container_spec(image.config(), source, overrides)
        .map_err(|source| MakeError::Container { reference: reference.to_owned(), source })
}

impl<'a> Blueprint<'a> {
    /// Makes the pod in its hidden directory; `home` has the store that the images are of.
    ///
    /// # Errors
    /// The blueprint makes no sense, or a file cannot be written. Nothing is left of the pod then.
    pub fn write(self, staging: Staging, home: &Home, package: &Package) -> Result<Written<'a>, MakeError> {
        let launch = self.launch(package.spec.machine)?;
        let mut limits = Limits::new();
        for wish in &self.limits {
            wish.apply(&launch, &mut limits).map_err(MakeError::Limit)?;
        }
        let record = PodRecord {
            version: record::VERSION,
            id: self.id,
            created: state::now() / state::SECOND,
            home: home.path().to_owned(),
            labels: self.labels,
            restart: self.restart,
            images: launch.containers.iter().map(|container| image_record(&container.image)).collect(),
            disks: disk_records(&self.images, &launch.disks, &self.volumes),
            shares: self.shares.into_records(),
            networking: self.networking,
            limits,
        };
        if launch.disks.contains(&DiskSpec::Scratch) {
            image::ext4::create_scratch(&home.templates(), &staging.dir().scratch(), self.disk_size)
                .map_err(MakeError::Scratch)?;
        }
        staging.write(&launch, &record, package)?;
        Ok(Written { staging, images: self.images, record })
    }

    /// What the guest is told: image disks first, then the writable disk, if anything is written to it, then volumes.
    /// An SNP guest has what it can check alone: writes go to memory.
    fn launch(&self, machine: Machine) -> Result<LaunchSpec, MakeError> {
        let scratch = number(self.images.len())?;
        let fits = |container: &&ContainerSpec| {
            let image = &container.image;
            image.disk < scratch && !matches!(image.writable, Writable::Disk(disk) if disk != scratch)
        };
        if let Some(wrong) = self.containers.iter().find(|container| !fits(container)) {
            return Err(MakeError::NoSuchImage(wrong.name.clone()));
        }
        let mut disks: Vec<_> = self.images.iter().map(|image| image_disk(image)).collect();
        let mut containers = self.containers.clone();
        if machine == Machine::Snp {
            self.check_bound()?;
            for image in containers.iter_mut().map(|container| &mut container.image) {
                if let Writable::Disk(_) = image.writable {
                    image.writable = Writable::Tmpfs;
                }
            }
        } else if containers.iter().any(writes) {
            disks.push(DiskSpec::Scratch);
        }
        disks.extend(self.volumes.iter().map(VolumeDisk::spec));
        Ok(LaunchSpec {
            version: spec::launch::VERSION,
            id: self.id.clone(),
            resources: self.resources,
            disks,
            shares: self.shares.specs(),
            containers,
            network: self.network.clone(),
            hold: false,
            quiet: false,
        })
    }

    /// Whether an SNP guest can check all that it is given, or its user knows that it cannot.
    fn check_bound(&self) -> Result<(), MakeError> {
        if let Some(image) = self.images.iter().find(|image| image.verity().is_none()) {
            return Err(MakeError::Unbound(image.reference().to_owned()));
        }
        if let Some(volume) = self.volumes.first() {
            return Err(MakeError::HostDisk(volume.name.clone()));
        }
        match self.shares.specs().into_iter().zip(self.shares.paths()).find(|(share, _)| !share.untrusted) {
            Some((_, path)) => Err(MakeError::HostShare(path.to_owned())),
            None => Ok(()),
        }
    }
}

/// What the guest is told of an image's disk.
fn image_disk(image: &ImageHandle) -> DiskSpec {
    let spec = |verity: Verity| VeritySpec { root: verity.root.hex(), data_blocks: verity.data_blocks };
    DiskSpec::Image { verity: image.verity().map(spec) }
}

/// A pod whose files are written, and that is not yet in its place. Dropped, nothing is left of it.
#[derive(Debug)]
pub struct Written<'a> {
    staging: Staging,
    images: Vec<&'a ImageHandle>,
    record: PodRecord,
}

impl Written<'_> {
    /// Puts the pod in its place and answers that; `store` is the images'.
    ///
    /// # Errors
    /// The store cannot take note of it, or the place has been taken meanwhile. Nothing is left of the pod then.
    pub fn put(self, store: &Store) -> Result<(PathBuf, PodRecord), MakeError> {
        // Before the pod is in place: a collection in between must not take its layers. The handles keep them until
        // then.
        let destination = self.staging.destination().to_owned();
        store.add_root(&destination, &self.images).map_err(MakeError::Store)?;
        match self.staging.finish() {
            Ok(dir) => Ok((dir, self.record)),
            Err(error) => {
                let _ = store.remove_root(&destination);
                Err(error.into())
            }
        }
    }
}

fn number(count: usize) -> Result<u32, MakeError> {
    u32::try_from(count).map_err(|_| MakeError::TooManyDisks)
}

/// Whether a container needs the writable disk.
fn writes(container: &ContainerSpec) -> bool {
    let anonymous = |mount: &MountSpec| matches!(mount.source, MountSource::Anonymous { .. });
    matches!(container.image.writable, Writable::Disk(_)) || container.mounts.iter().any(anonymous)
}

fn image_record(image: &ImageSpec) -> ImageRecord {
    ImageRecord { reference: image.reference.clone(), digest: image.digest.clone() }
}

fn disk_records(images: &[&ImageHandle], disks: &[DiskSpec], volumes: &[VolumeDisk]) -> Vec<DiskRecord> {
    let extent = |extent: &image::Extent| Extent { path: extent.path.clone(), length: extent.len };
    let images = images
        .iter()
        .map(|image| DiskRecord::Image { extents: image.extents().iter().map(extent).collect() });
    let scratch = disks.iter().filter(|disk| **disk == DiskSpec::Scratch).map(|_| DiskRecord::Scratch);
    images.chain(scratch).chain(volumes.iter().map(VolumeDisk::record)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_random_and_of_the_form_that_guests_know() {
        let (one, two) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, two);
        for id in [one, two] {
            assert!(
                id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
                "{id}"
            );
        }
    }

    #[test]
    fn a_container_of_an_image_that_is_not_there_is_refused() {
        let overrides = ContainerOverrides { name: "web".to_owned(), ..ContainerOverrides::default() };
        let error = container(&[], 0, "busybox", &overrides).unwrap_err();
        assert!(matches!(error, MakeError::NoSuchImage(name) if name == "web"));
    }
}
