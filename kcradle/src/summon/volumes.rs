//! What the containers of a pod in the making mount: volumes, which are made where they are missing, directories and files
//! of the host, memory file systems.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use image::Digest;
use pod::mount::{VolumeWish, Wish};
use pod::share::{Cache, Shares};
use pod::volume::attach::{self, VolumeDisk};
use pod::volume::{Locked, Wanted, device};
use spec::ContainerSpec;
use spec::launch::{MountSource, MountSpec};

use super::plan::ContainerPlan;
use crate::failure::Failure;

/// What a pod mounts.
#[derive(Default)]
pub(super) struct Mounted {
    pub(super) disks: Vec<VolumeDisk>,
    pub(super) shares: Shares,
}

/// Where volumes come from. While it lives nobody removes one that the pod is to have.
pub(super) struct Origin<'a> {
    pub(super) store: &'a pod::Volumes,
    pub(super) locked: Option<Locked<'a>>,
    pub(super) templates: PathBuf,
    /// Bytes of those that are made.
    pub(super) size: u64,
    /// Devices that the pod file has under names of its own.
    pub(super) devices: &'a BTreeMap<String, PathBuf>,
}

impl Mounted {
    /// Mounts what a container's plan says, in place of volumes that the image would have there.
    pub(super) fn add(
        &mut self,
        plan: &ContainerPlan,
        spec: &mut ContainerSpec,
        source: &Origin<'_>,
    ) -> Result<(), Failure> {
        for (target, wish) in &plan.mounts {
            let of_image = spec.mounts.iter().position(|mount| mount.guest_path == *target);
            let mount = match wish {
                // Among the container's other memory file systems already.
                Wish::Tmpfs(_) => continue,
                Wish::Bind(bind) => {
                    self.shares.add(bind.clone(), Cache::Auto).map_err(anyhow::Error::from)?
                }
                Wish::Volume(wish) => match &wish.name {
                    Some(name) => self.volume(name, wish, target, source)?,
                    None => anonymous(wish, target, &spec.name)?,
                },
            };
            if let Some(index) = of_image {
                spec.mounts.remove(index);
            }
            spec.mounts.push(mount);
        }
        spec.mounts.sort_by_key(|mount| mount.guest_path.matches('/').count());
        Ok(())
    }

    fn volume(
        &mut self,
        name: &str,
        wish: &VolumeWish,
        target: &str,
        source: &Origin<'_>,
    ) -> Result<MountSpec, Failure> {
        if let Some(path) = source.devices.get(name) {
            return self.device(name, path, wish, target);
        }
        let locked = source.locked.as_ref().context("the store of volumes is not locked")?;
        let wanted = Wanted {
            name: name.to_owned(),
            driver: wish.driver.clone(),
            labels: wish.labels.clone(),
            options: wish.options.clone(),
            size: source.size,
        };
        let (volume, _) = locked.make(&wanted, &source.templates).map_err(anyhow::Error::from)?;
        let place = source.store.place(&volume);
        let target = target.to_owned();
        let mount = attach::mount(&volume, place, wish, target, &mut self.disks, &mut self.shares);
        Ok(mount.map_err(anyhow::Error::from)?)
    }

    /// A device that belongs to the pod file and to no store.
    fn device(
        &mut self,
        name: &str,
        path: &std::path::Path,
        wish: &VolumeWish,
        target: &str,
    ) -> Result<MountSpec, Failure> {
        match self.disks.iter_mut().find(|disk| disk.name == name) {
            Some(disk) => disk.read_only &= wish.read_only,
            None => {
                let found = device::examine(path).map_err(anyhow::Error::from)?;
                // Its lock, where it has one, is held until the file system is there.
                if let device::Content::Zeros(_) = &found {
                    let failed = || format!("cannot make a file system on {}", path.display());
                    image::ext4::format(path).with_context(failed)?;
                }
                let (name, path) = (name.to_owned(), path.to_owned());
                self.disks.push(VolumeDisk { name, path, whole: true, read_only: wish.read_only });
            }
        }
        let source = MountSource::Volume {
            name: name.to_owned(),
            subpath: wish.subpath.clone(),
            no_copy: wish.no_copy,
        };
        Ok(MountSpec { guest_path: target.to_owned(), source, read_only: wish.read_only })
    }
}

/// A volume of the container's own, on the pod's writable disk.
fn anonymous(wish: &VolumeWish, target: &str, container: &str) -> Result<MountSpec, Failure> {
    let plain = VolumeWish { read_only: wish.read_only, untrusted: wish.untrusted, ..VolumeWish::default() };
    if *wish != plain {
        return Err(Failure::new(format!("the volume at {target} has options and no name")).hint("name it"));
    }
    let name = format!("{container}-{}", Digest::of(target.as_bytes()).short());
    Ok(MountSpec {
        guest_path: target.to_owned(),
        source: MountSource::Anonymous { name },
        read_only: wish.read_only,
    })
}
