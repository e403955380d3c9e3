//! The volumes that the containers of a pod in the making mount: each a disk of it or a share, once.

use std::path::PathBuf;

use spec::launch::{DiskSpec, MountSource, MountSpec};

use super::{Kind, Volume};
use crate::mount::VolumeWish;
use crate::record::DiskRecord;
use crate::share::{ShareError, ShareVolume, Shares};

/// A volume that is a disk of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeDisk {
    /// Its name.
    pub name: String,
    /// Its file or device.
    pub path: PathBuf,
    /// Whether all of its file system is the volume.
    pub whole: bool,
    /// Whether nobody in the pod writes to it.
    pub read_only: bool,
}

impl VolumeDisk {
    /// What the guest is told.
    pub(crate) fn spec(&self) -> DiskSpec {
        DiskSpec::Volume { name: self.name.clone(), whole: self.whole, read_only: self.read_only }
    }

    /// What the host keeps.
    pub(crate) fn record(&self) -> DiskRecord {
        DiskRecord::Volume { name: self.name.clone(), path: self.path.clone(), read_only: self.read_only }
    }
}

/// Adds a mount of `volume`, whose files are at `place`, to a pod's disks or shares.
///
/// # Errors
/// There are too many shares.
pub fn mount(
    volume: &Volume,
    place: PathBuf,
    wish: &VolumeWish,
    target: String,
    disks: &mut Vec<VolumeDisk>,
    shares: &mut Shares,
) -> Result<MountSpec, ShareError> {
    let (name, read_only) = (volume.name.clone(), wish.read_only);
    match volume.kind {
        Kind::Directory { many_writers } => {
            shares.add_volume(
                ShareVolume { name: name.clone(), many_writers },
                place,
                read_only,
                wish.untrusted,
            )?;
        }
        Kind::Disk { .. } | Kind::Device { .. } => match disks.iter_mut().find(|disk| disk.name == name) {
            Some(disk) => disk.read_only &= read_only,
            None => {
                let whole = matches!(volume.kind, Kind::Device { .. });
                disks.push(VolumeDisk { name: name.clone(), path: place, whole, read_only });
            }
        },
    }
    let source = MountSource::Volume { name, subpath: wish.subpath.clone(), no_copy: wish.no_copy };
    Ok(MountSpec { guest_path: target, source, read_only })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::share::Cache;

    #[test]
    fn each_volume_comes_once_and_is_written_where_anybody_writes() {
        let volume = |name: &str, kind| Volume {
            version: 1,
            name: name.into(),
            created: 0,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            kind,
        };
        let wish = |read_only| VolumeWish { read_only, ..VolumeWish::default() };
        let (mut disks, mut shares) = (Vec::new(), Shares::default());
        let mut add = |volume: &Volume, read_only| {
            let place = PathBuf::from(format!("/{}", volume.name));
            mount(volume, place, &wish(read_only), "/x".into(), &mut disks, &mut shares).unwrap();
        };
        let (disk, file) =
            (volume("aa", Kind::Disk { size: 1 }), volume("ff", Kind::Device { path: "/ff".into() }));
        let (one, many) = (
            volume("one", Kind::Directory { many_writers: false }),
            volume("many", Kind::Directory { many_writers: true }),
        );
        for (volume, read_only) in
            [(&disk, true), (&file, true), (&one, true), (&many, true), (&disk, false), (&many, false)]
        {
            add(volume, read_only);
        }
        let of = |name: &str, whole, read_only| VolumeDisk {
            name: name.into(),
            path: format!("/{name}").into(),
            whole,
            read_only,
        };
        assert_eq!(disks, [of("aa", false, false), of("ff", true, true)]);
        let specs = shares.specs();
        assert_eq!(specs[0].volume.as_deref(), Some("one"));
        assert_eq!(specs.iter().map(|spec| spec.read_only).collect::<Vec<_>>(), [true, false]);
        let caches = shares.into_records().into_iter().map(|record| record.cache);
        assert_eq!(caches.collect::<Vec<_>>(), [Cache::Auto, Cache::Never]);
    }
}
