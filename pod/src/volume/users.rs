//! Who has a volume: pods whose `pod.json` names its file, device or directory, under whatever name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use image::{Store, StoreError};

use super::device::Identity;
use crate::dir::{PodDir, PodError};
use crate::record::{DiskRecord, PodRecord};

/// The pods of a host with what they have.
#[derive(Debug, Default)]
pub struct Users {
    /// Without places: what it has cannot be read, and may be anything.
    pods: Vec<(PodDir, Option<Vec<PathBuf>>)>,
}

impl Users {
    /// All pods that an image store knows. A directory that was removed by hand is none of them; a pod that cannot be read
    /// (it is damaged, or of another version) is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn of(store: &Store) -> Result<Self, StoreError> {
        let dirs: BTreeSet<_> = store.pods()?.into_iter().collect();
        let pod = |dir: &PathBuf| {
            let dir = PodDir::new(dir).ok()?;
            match dir.read_record() {
                Ok(record) => Some((dir, Some(places(&record)))),
                Err(PodError::Missing(_) | PodError::NotAPod { .. }) => None,
                Err(_) => Some((dir, None)),
            }
        };
        Ok(Self { pods: dirs.iter().filter_map(pod).collect() })
    }

    /// The pods that have what is at `place`, and those that cannot be read: they may have it.
    pub fn having(&self, place: &Path) -> impl Iterator<Item = &PodDir> {
        let is_it = is_it(place);
        let has_it = move |places: &Option<Vec<PathBuf>>| {
            places.as_ref().is_none_or(|places| places.iter().any(&is_it))
        };
        self.pods.iter().filter(move |(_, places)| has_it(places)).map(|(dir, _)| dir)
    }

    /// Those that have it and run.
    pub fn running_with(&self, place: &Path) -> impl Iterator<Item = &PodDir> {
        let is_it = is_it(place);
        let has_it = move |places: &Option<Vec<PathBuf>>| places.iter().flatten().any(&is_it);
        let having = self.pods.iter().filter(move |(_, places)| has_it(places)).map(|(dir, _)| dir);
        having.filter(|dir| dir.is_running().unwrap_or(false))
    }
}

/// Whether something is at `place`, under that name or another.
fn is_it(place: &Path) -> impl Fn(&PathBuf) -> bool + use<> {
    let wanted = Identity::of(place).ok();
    let place = place.to_owned();
    move |path| {
        *path == place || wanted.is_some_and(|wanted| Identity::of(path).is_ok_and(|found| found == wanted))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_pod_that_cannot_be_read_may_have_any_volume() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let pod = |name: &str| dir.path().join(name);
        for name in ["damaged", "other", "plain", "gone"] {
            fs::create_dir(pod(name)).unwrap();
            // No image: its configuration is missing, or nobody can read it.
            store.add_root(&pod(name), &[]).unwrap();
        }
        let version = crate::record::VERSION;
        fs::write(pod("damaged/pod.json"), "{").unwrap();
        fs::write(pod("other/pod.json"), format!(r#"{{"version":{}}}"#, version + 1)).unwrap();
        fs::remove_dir(pod("gone")).unwrap();
        let volume = dir.path().join("disk");
        let users = Users::of(&store).unwrap();
        let having: Vec<_> = users.having(&volume).map(PodDir::path).collect();
        assert_eq!(having, [pod("damaged"), pod("other")]);
        assert_eq!(users.running_with(&volume).count(), 0);
    }
}
