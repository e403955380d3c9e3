//! How fast a pod's disks may be: how that is asked for, as with Docker's `--device-write-bps PATH:RATE`, and which disk a
//! path means.

use std::collections::{BTreeMap, BTreeSet};

use spec::launch::{DiskSpec, MountSource};
use spec::{DiskLimits, LaunchSpec, LimitChanges};
use thiserror::Error;

use crate::record::DiskRecord;
use crate::size::{SizeError, parse_bytes};

/// The name of the pod's own disks: images and what containers write to their root. No volume is called so.
pub const ROOT: &str = "/";

/// Its other name, for clients that take nothing but devices.
const ROOT_DEVICE: &str = "/dev/root";
/// What stands before a volume's name for such clients.
const VOLUME_DEVICE: &str = "/dev/volume/";

/// Limits by the name of what they limit: [`ROOT`], or a volume of the pod.
pub type Limits = BTreeMap<String, DiskLimits>;

/// Why there cannot be such a limit.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LimitError {
    /// It has another form.
    #[error("\"{0}\" is no limit: write PATH:RATE, as in {1}")]
    Form(String, &'static str),
    /// The rate is no number of bytes.
    #[error("\"{text}\" is no limit")]
    Rate {
        /// As it was written.
        text: String,
        /// Why.
        #[source]
        source: SizeError,
    },
    /// The pod has no such disk.
    #[error("{path} is no disk of the pod, which has {known}")]
    NoSuchDisk {
        /// As it was written.
        path: String,
        /// What there is.
        known: String,
    },
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// Bytes read a second.
    ReadBps,
    /// Bytes written a second.
    WriteBps,
    /// Requests a second that read.
    ReadIops,
    /// Requests a second that write.
    WriteIops,
}

impl LimitKind {
    /// Reads a limit as Docker writes it: a path, a colon, and a number, of bytes with a unit where bytes are limited.
    ///
    /// # Errors
    /// [`LimitError::Form`] and [`LimitError::Rate`].
    pub fn parse(self, text: &str) -> Result<LimitWish, LimitError> {
        let example = match self {
            Self::ReadBps | Self::WriteBps => "/:10m",
            Self::ReadIops | Self::WriteIops => "/:100",
        };
        let form = || LimitError::Form(text.to_owned(), example);
        let (path, rate) = text.rsplit_once(':').filter(|(path, _)| !path.is_empty()).ok_or_else(form)?;
        let rate = match self {
            Self::ReadBps | Self::WriteBps => {
                parse_bytes(rate).map_err(|source| LimitError::Rate { text: text.to_owned(), source })?
            }
            Self::ReadIops | Self::WriteIops => rate.parse().map_err(|_| form())?,
        };
        Ok(LimitWish { kind: self, path: path.to_owned(), rate })
    }
}

/// A limit as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitWish {
    /// What is limited.
    pub kind: LimitKind,
    /// The disk: `/`, the path of a container at which a volume is mounted, or the name of a volume.
    pub path: String,
    /// So many a second; 0: any number.
    pub rate: u64,
}

impl LimitWish {
    /// Changes the limits of the disk that is meant, and answers its name.
    ///
    /// # Errors
    /// [`LimitError::NoSuchDisk`].
    pub fn apply(&self, launch: &LaunchSpec, limits: &mut Limits) -> Result<String, LimitError> {
        let disk = disk(&self.path, launch).ok_or_else(|| LimitError::NoSuchDisk {
            path: self.path.clone(),
            known: names(launch).into_iter().collect::<Vec<_>>().join(", "),
        })?;
        let of_disk = limits.entry(disk.clone()).or_default();
        let mut change = LimitChanges::default();
        self.add_to(&mut change);
        *of_disk = change.of(*of_disk);
        Ok(disk)
    }

    /// Notes it among the changes of its disk.
    pub fn add_to(&self, changes: &mut LimitChanges) {
        let place = match self.kind {
            LimitKind::ReadBps => &mut changes.read_bps,
            LimitKind::WriteBps => &mut changes.write_bps,
            LimitKind::ReadIops => &mut changes.read_iops,
            LimitKind::WriteIops => &mut changes.write_iops,
        };
        *place = Some(self.rate);
    }
}

/// Whose limits a disk has.
#[must_use]
pub fn name_of(disk: &DiskRecord) -> &str {
    match disk {
        DiskRecord::Image { .. } | DiskRecord::Scratch => ROOT,
        DiskRecord::Volume { name, .. } => name,
    }
}

/// The name of the disk that a path means.
fn disk(path: &str, launch: &LaunchSpec) -> Option<String> {
    if [ROOT, ROOT_DEVICE].contains(&path) {
        return Some(ROOT.to_owned());
    }
    let mounts = launch.containers.iter().flat_map(|container| &container.mounts);
    let mounted = mounts.filter(|mount| mount.guest_path.trim_end_matches('/') == path.trim_end_matches('/'));
    let mounted = mounted.filter_map(|mount| match &mount.source {
        MountSource::Volume { name, .. } => Some(name.as_str()),
        _ => None,
    });
    let named = path.strip_prefix(VOLUME_DEVICE).unwrap_or(path);
    let known = names(launch);
    mounted.chain([named]).find(|name| *name != ROOT && known.contains(name)).map(str::to_owned)
}

/// The names of the pod's disks.
fn names(launch: &LaunchSpec) -> BTreeSet<&str> {
    launch
        .disks
        .iter()
        .map(|disk| match disk {
            DiskSpec::Image { .. } | DiskSpec::Scratch => ROOT,
            DiskSpec::Volume { name, .. } => name,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> LaunchSpec {
        serde_json::from_value(serde_json::json!({
            "version": 1, "id": "ab", "resources": {"cpu": 1, "mem": 64},
            "disks": [{"kind": "image"}, {"kind": "scratch"}, {"kind": "volume", "name": "db"}],
            "containers": [],
        }))
        .unwrap()
    }

    #[test]
    fn limits_are_read_as_docker_writes_them() {
        let wish = |path: &str, rate| LimitWish { kind: LimitKind::WriteBps, path: path.to_owned(), rate };
        for (text, wanted) in [
            ("/:10m", wish("/", 10 << 20)),
            ("/dev/root:1mb", wish("/dev/root", 1 << 20)),
            ("/a:b:512", wish("/a:b", 512)),
            ("db:0", wish("db", 0)),
        ] {
            assert_eq!(LimitKind::WriteBps.parse(text), Ok(wanted), "{text}");
        }
        assert_eq!(LimitKind::ReadIops.parse("/:100").unwrap().rate, 100);
        for text in ["", "/", "/:", ":1", "/:fast", "/:-1"] {
            assert!(LimitKind::WriteBps.parse(text).is_err(), "{text}");
            assert!(LimitKind::WriteIops.parse(text).is_err(), "{text}");
        }
        assert!(LimitKind::WriteIops.parse("/:1m").is_err());
    }

    #[test]
    fn paths_mean_disks() {
        let (launch, mut limits) = (launch(), Limits::new());
        for (path, disk) in [("/", "/"), ("/dev/root", "/"), ("db", "db"), ("/dev/volume/db", "db")] {
            let wish = LimitWish { kind: LimitKind::ReadIops, path: path.to_owned(), rate: 7 };
            assert_eq!(wish.apply(&launch, &mut limits).as_deref(), Ok(disk));
        }
        assert_eq!(limits.keys().collect::<Vec<_>>(), ["/", "db"]);
        assert_eq!(limits["db"], DiskLimits { read_iops: 7, ..DiskLimits::default() });
        for path in ["", "/dev/sda", "/var/lib/db", "other", "/dev/volume/", "/dev/volume//"] {
            let wish = LimitWish { kind: LimitKind::ReadIops, path: path.to_owned(), rate: 7 };
            let error = wish.apply(&launch, &mut limits).unwrap_err().to_string();
            assert!(error.ends_with("is no disk of the pod, which has /, db"), "{error}");
        }
    }
}
