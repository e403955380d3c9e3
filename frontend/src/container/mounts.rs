//! The mounts of a container to be: volumes with and without a name, directories and files of the host, and memory file
//! systems. The host is the daemon's, wherever the client is.

mod wishes;

use std::collections::BTreeMap;

use bollard_stubs::models::{ContainerConfig, HostConfig, MountPoint, MountPointTypeEnum};
use pod::mount::{VolumeWish, Wish};
use pod::share::Cache;
use pod::volume::Wanted;
use pod::volume::attach::{self, VolumeDisk};
use pod::{ShareError, Shares};
use spec::launch::MountSpec;
use vdocker::EngineError;

use crate::daemon::Daemon;
use crate::volume;

use wishes::Asked;

/// What is mounted, as clients see it and as the guest does it.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// Volumes and binds: what inspect shows.
    pub(super) points: Vec<MountPoint>,
    /// The same, and what the guest mounts beside.
    pub(super) specs: Vec<MountSpec>,
    /// Options as `--tmpfs` has them.
    pub(super) tmpfs: Vec<String>,
    /// The volumes that are disks.
    pub(super) disks: Vec<VolumeDisk>,
    /// What of the host is mounted, and the volumes that are directories.
    pub(super) shares: Shares,
    /// Volumes without a name, which were made for it.
    pub(super) made: Vec<String>,
}

/// Finds what is to be mounted, and makes the volumes that are missing.
///
/// # Errors
/// [`EngineError::BadRequest`] for what cannot be mounted, and those of making volumes.
pub(super) async fn prepare(
    daemon: &Daemon,
    config: &ContainerConfig,
    host: &HostConfig,
) -> Result<Mounts, EngineError> {
    let mut mounts = Mounts::default();
    let prepared = add_all(daemon, wishes::all(daemon, config, host)?, &mut mounts).await;
    if let Err(error) = prepared {
        super::remove::remove_anonymous(daemon, &mounts.made).await;
        return Err(error);
    }
    Ok(mounts)
}

async fn add_all(
    daemon: &Daemon,
    wishes: BTreeMap<String, Asked>,
    mounts: &mut Mounts,
) -> Result<(), EngineError> {
    for (target, Asked { wish, mode }) in wishes {
        match wish {
            Wish::Tmpfs(options) => {
                mounts.tmpfs.push(format!("{target}:{options}").trim_end_matches(':').to_owned());
            }
            Wish::Bind(bind) => {
                mounts.points.push(MountPoint {
                    typ: Some(MountPointTypeEnum::BIND),
                    name: None,
                    source: Some(bind.source.display().to_string()),
                    destination: Some(target),
                    driver: None,
                    mode: Some(mode),
                    rw: Some(!bind.read_only),
                    propagation: Some("rprivate".to_owned()),
                });
                let mut shares = std::mem::take(&mut mounts.shares);
                let added = daemon.blocking(move || {
                    let spec = shares.add(bind, Cache::Auto)?;
                    Ok::<_, ShareError>((shares, spec))
                });
                let (shares, spec) = added.await?.map_err(refused)?;
                mounts.shares = shares;
                mounts.specs.push(spec);
            }
            Wish::Volume(wish) => mounts.add_volume(daemon, target, wish, mode).await?,
        }
    }
    Ok(())
}

impl Mounts {
    async fn add_volume(
        &mut self,
        daemon: &Daemon,
        target: String,
        wish: VolumeWish,
        mode: String,
    ) -> Result<(), EngineError> {
        let wanted = Wanted {
            name: wish.name.clone().unwrap_or_default(),
            driver: wish.driver.clone(),
            labels: wish.labels.clone(),
            options: wish.options.clone(),
            size: 0,
        };
        let volume = volume::create(daemon, wanted).await.map_err(|error| match error {
            // Clients would take it for a missing image.
            EngineError::NotFound(text) => EngineError::BadRequest(text),
            error => error,
        })?;
        if wish.name.is_none() {
            self.made.push(volume.name.clone());
        }
        let place = daemon.volumes.store().place(&volume);
        self.points.push(MountPoint {
            typ: Some(MountPointTypeEnum::VOLUME),
            name: Some(volume.name.clone()),
            source: Some(place.display().to_string()),
            destination: Some(target.clone()),
            driver: Some(volume.driver().to_owned()),
            mode: Some(mode),
            rw: Some(!wish.read_only),
            propagation: Some(String::new()),
        });
        let mount = attach::mount(&volume, place, &wish, target, &mut self.disks, &mut self.shares);
        self.specs.push(mount.map_err(refused)?);
        Ok(())
    }
}

fn refused(error: ShareError) -> EngineError {
    EngineError::BadRequest(crate::failure::chain(&error))
}
