//! The limits of the pod's disks while it runs.

use std::collections::BTreeMap;

use pod::limits::{LimitWish, name_of};
use pod::{DiskRecord, PodRecord};
use spec::{DiskLimits, LaunchSpec, LimitChanges};
use vmm::devices::block::{DiskConfig, Throttle};

use crate::failure::Failure;

/// One a name of [`pod::limits`], also where there is no limit yet.
pub(crate) struct Throttles {
    by_disk: BTreeMap<String, Throttle>,
    /// Bytes of the guest's memory.
    memory: u64,
    /// The guest has said that its containers have ended.
    is_pardoned: bool,
}

impl Throttles {
    /// Those of a run: the record's, otherwise where `wishes` say so.
    pub(crate) fn new(
        record: &PodRecord,
        launch: &LaunchSpec,
        wishes: &[LimitWish],
    ) -> Result<Self, Failure> {
        let mut limits = record.limits.clone();
        for wish in wishes {
            wish.apply(launch, &mut limits).map_err(anyhow::Error::from)?;
        }
        let throttle = |disk: &DiskRecord| {
            let name = name_of(disk);
            (name.to_owned(), Throttle::new(limits.get(name).copied().unwrap_or_default()))
        };
        let by_disk = record.disks.iter().map(throttle).collect();
        Ok(Self { by_disk, memory: launch.resources.mem << 20, is_pardoned: false })
    }

    /// Puts disks, which are the record's, under their limits.
    pub(crate) fn hold(&self, disks: Vec<DiskConfig>, record: &PodRecord) -> Vec<DiskConfig> {
        let hold = |(disk, record): (DiskConfig, &DiskRecord)| match self.by_disk.get(name_of(record)) {
            Some(throttle) => disk.limited_by(throttle),
            None => disk,
        };
        disks.into_iter().zip(&record.disks).map(hold).collect()
    }

    /// Changes the limits of a disk; false where there is none of that name.
    pub(crate) fn set(&self, disk: &str, changes: LimitChanges) -> bool {
        self.by_disk.get(disk).inspect(|throttle| throttle.set(changes.of(throttle.limits()))).is_some()
    }

    /// The limits of all disks that have any.
    pub(crate) fn limits(&self) -> BTreeMap<String, DiskLimits> {
        let all = self.by_disk.iter().map(|(name, throttle)| (name.clone(), throttle.limits()));
        all.filter(|(_, limits)| !limits.is_none()).collect()
    }

    /// The pod is to end, or has ended: whatever its memory holds that is not on its disks yet goes there without limits.
    /// More than that does not, in case that the guest has other plans.
    pub(crate) fn pardon(&self) {
        self.by_disk.values().for_each(|throttle| throttle.pardon(self.memory));
    }

    /// As [`Self::pardon`], on the guest's word, which counts once.
    pub(crate) fn pardon_once(&mut self) {
        if !std::mem::replace(&mut self.is_pardoned, true) {
            self.pardon();
        }
    }
}
