//! Who has a volume: pods whose `pod.json` names its file, device or directory, under whatever name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use image::{Store, StoreError};

use super::device::Identity;
use crate::dir::PodDir;
use crate::record::{DiskRecord, PodRecord};

/// The pods of a host with what they have.
#[derive(Debug, Default)]
pub struct Users {
    pods: Vec<(PodDir, Vec<PathBuf>)>,
}

impl Users {
    /// All pods that an image store knows. A directory that was removed by hand is none of them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(store: &Store) -> Result<Self, StoreError> {
        let dirs: BTreeSet<_> = store.list()?.into_iter().flat_map(|image| image.pods).collect();
        let pod = |dir: &PathBuf| {
            let dir = PodDir::new(dir).ok()?;
            let places = places(&dir.read_record().ok()?);
            (!places.is_empty()).then_some((dir, places))
        };
        Ok(Self { pods: dirs.iter().filter_map(pod).collect() })
    }

    /// The pods that have what is at `place`.
    pub fn having(&self, place: &Path) -> impl Iterator<Item = &PodDir> {
        let wanted = Identity::of(place).ok();
        let place = place.to_owned();
        let is_it = move |path: &PathBuf| {
            *path == place
                || wanted.is_some_and(|wanted| Identity::of(path).is_ok_and(|found| found == wanted))
        };
        self.pods.iter().filter(move |(_, places)| places.iter().any(&is_it)).map(|(dir, _)| dir)
    }

    /// Those that run.
    pub fn running_with(&self, place: &Path) -> impl Iterator<Item = &PodDir> {
        self.having(place).filter(|dir| dir.is_running().unwrap_or(false))
    }
}

/// The places of a pod's volumes. A directory of the host that is mounted as such is not meant.
fn places(record: &PodRecord) -> Vec<PathBuf> {
    let disk = |disk: &DiskRecord| match disk {
        DiskRecord::Volume { path, .. } => Some(path.clone()),
        DiskRecord::Image { .. } | DiskRecord::Scratch => None,
    };
    let disks = record.disks.iter().filter_map(disk);
    disks
        .chain(record.shares.iter().filter(|share| share.volume.is_some()).map(|share| share.path.clone()))
        .collect()
}
