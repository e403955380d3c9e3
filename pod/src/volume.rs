//! Named volumes of this host: what outlives pods. Each is a directory of a [`store`], with a record and what it holds.
//!
//! Made, listed and removed by `kcradle volume` and by the API frontend, which see the same store; docs/volumes.md.

pub mod attach;
pub mod device;
pub mod options;
pub mod store;
pub mod superblock;
mod tree;
pub mod users;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use options::{OptionError, Wanted};
pub use store::{Locked, VolumeError, Volumes};

/// The version of [`Volume`].
pub const VERSION: u32 = 1;

/// Bytes of a volume's disk where nothing is said; the file is sparse.
pub const DEFAULT_SIZE: u64 = 10 << 30;

/// The driver of volumes that are disks.
pub const LOCAL: &str = "local";

/// The driver of volumes that are directories of the host, which several pods have at a time.
pub const GFS: &str = "gfs";

/// The label of volumes that nobody named.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What is kept of a volume: `volume.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Volume {
    /// [`VERSION`].
    pub version: u32,
    /// Its name, which is its directory's.
    pub name: String,
    /// Nanoseconds since 1970.
    pub created: u64,
    /// For people and filters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// As they were given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Where its files are.
    pub kind: Kind,
}

/// Where the files of a volume are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "is")]
pub enum Kind {
    /// In a file system of its own, in a file of the store.
    Disk {
        /// Bytes of the file.
        size: u64,
    },
    /// In the file system of a device or a file that was there before it, and stays.
    Device {
        /// The device or file, absolute.
        path: PathBuf,
    },
    /// In a directory of the store, which virtiofsd serves.
    #[serde(rename_all = "camelCase")]
    Directory {
        /// Whether several pods may write at a time.
        many_writers: bool,
    },
}

impl Volume {
    /// Whether it was made for a container, without a name.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// The driver's name.
    #[must_use]
    pub fn driver(&self) -> &'static str {
        match self.kind {
            Kind::Disk { .. } | Kind::Device { .. } => LOCAL,
            Kind::Directory { .. } => GFS,
        }
    }

    /// Whether one machine has it at a time where somebody writes: it is a disk.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        !matches!(self.kind, Kind::Directory { .. })
    }

    /// Whether one pod may write to it at a time.
    #[must_use]
    pub fn has_one_writer(&self) -> bool {
        !matches!(self.kind, Kind::Directory { many_writers: true })
    }
}

/// Checks a name as Docker does: it is also a directory's.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let goes_on = name.len() > 1 && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    begins && goes_on && name.len() <= MAX_NAME
}

/// Bytes of the longest name: the guest, too, has a directory of that name, and room for more in its own.
pub const MAX_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_directories() {
        for good in ["ab", "a.b", "A-1_x", &"a".repeat(MAX_NAME)] {
            assert!(is_name(good), "{good}");
        }
        for bad in
            ["", "a", ".", "..", ".a", "a/b", "../x", "-x", "a b", "a\0", "é1", &"a".repeat(MAX_NAME + 1)]
        {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn the_record_has_this_form() {
        let volume = |kind| Volume {
            version: VERSION,
            name: "data".into(),
            created: 7,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            kind,
        };
        let start = r#"{"version":1,"name":"data","created":7,"kind":"#;
        for (kind, text) in [
            (Kind::Disk { size: 4096 }, r#"{"is":"disk","size":4096}}"#),
            (Kind::Device { path: "/dev/x".into() }, r#"{"is":"device","path":"/dev/x"}}"#),
            (Kind::Directory { many_writers: true }, r#"{"is":"directory","manyWriters":true}}"#),
        ] {
            let golden = format!("{start}{text}");
            assert_eq!(serde_json::to_string(&volume(kind.clone())).unwrap(), golden);
            assert_eq!(serde_json::from_str::<Volume>(&golden).unwrap(), volume(kind));
        }
    }
}
