//! Directories and files of the host that a pod's containers see, as they are kept in `pod.json`. Read by `kcradle run`,
//! which starts a process for each. What a user may ask for stands in [`crate::bind`].

use std::fmt;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::launch::{MAX_SHARES, MountSource, MountSpec, ShareSpec};
use thiserror::Error;

use crate::bind::Bind;

/// What is kept of a share on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShareRecord {
    /// As in launch.json.
    pub tag: String,
    /// The directory or file, absolute.
    pub path: PathBuf,
    /// Whether it is a single file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub file: bool,
    /// Whether the host refuses writes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Whether a directory that is missing is made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub create: bool,
    /// What the guest may remember.
    #[serde(default, skip_serializing_if = "Cache::is_default")]
    pub cache: Cache,
    /// The volume whose directory it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<ShareVolume>,
    /// As in launch.json.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
}

/// A volume that is a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShareVolume {
    /// Its name.
    pub name: String,
    /// Whether several pods may write at a time.
    pub many_writers: bool,
}

/// What a guest may remember of a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cache {
    /// Names and attributes for a second, and content as long as a file is not seen to have changed when it is opened.
    #[default]
    Auto,
    /// Nothing: what another pod or the host does is seen at once.
    Never,
}

impl Cache {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Why something of the host cannot be shared. Texts are Docker's where it has them.
#[derive(Debug, Error)]
pub enum ShareError {
    /// Nothing is there.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", .0.display())]
    Missing(PathBuf),
    /// It is neither directory nor file.
    #[error(
        "invalid mount config for type \"bind\": {} is a {kind}: a microVM can share directories and files of the host, and \
         nothing that belongs to the host's kernel", .path.display()
    )]
    Special {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// It is not any more what it was.
    #[error("{} was a {} when the pod was made, and is none now", .path.display(), if *.file { "file" } else { "directory" })]
    Changed {
        /// The path.
        path: PathBuf,
        /// What it was.
        file: bool,
    },
    /// It cannot be looked at.
    #[error("cannot examine {}", .path.display())]
    Examine {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be made.
    #[error("error while creating mount source path '{}'", .path.display())]
    Create {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More than a pod can have.
    #[error("more than {MAX_SHARES} directories and files of the host in one pod")]
    TooMany,
}

/// The shares of a pod that is made: each path once for writing and once without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares(Vec<ShareRecord>);

impl Shares {
    /// Those of a pod that is there, to which more are added.
    #[must_use]
    pub fn of(records: Vec<ShareRecord>) -> Self {
        Self(records)
    }

    /// Adds what a bind needs, makes its directory where that is wished, and answers the mount.
    ///
    /// # Errors
    /// Nothing is there, or nothing that can be shared, or there are too many.
    pub fn add(&mut self, bind: Bind, cache: Cache) -> Result<MountSpec, ShareError> {
        let Bind { source: path, target, read_only, create } = bind;
        let file = is_file(&path, create)?;
        let same = |share: &ShareRecord| {
            share.volume.is_none()
                && share.path == path
                && share.read_only == read_only
                && share.cache == cache
        };
        let count = self.0.len();
        let tag = match self.0.iter_mut().find(|share| same(share)) {
            Some(share) => {
                share.create |= create;
                share.tag.clone()
            }
            None if count >= MAX_SHARES => return Err(ShareError::TooMany),
            None => {
                let tag = format!("share{count}");
                self.0.push(ShareRecord {
                    tag: tag.clone(),
                    path,
                    file,
                    read_only,
                    create,
                    cache,
                    volume: None,
                    untrusted: false,
                });
                tag
            }
        };
        Ok(MountSpec { guest_path: target, source: MountSource::Share { tag, file }, read_only })
    }

    /// Adds the directory of a volume: once, for writing where anybody wants that, `untrusted` where everybody says so.
    ///
    /// # Errors
    /// There are too many.
    pub fn add_volume(
        &mut self,
        volume: ShareVolume,
        path: PathBuf,
        read_only: bool,
        untrusted: bool,
    ) -> Result<(), ShareError> {
        if let Some(share) = self.0.iter_mut().find(|share| share.volume.as_ref() == Some(&volume)) {
            share.read_only &= read_only;
            share.untrusted &= untrusted;
            return Ok(());
        }
        let count = self.0.len();
        if count >= MAX_SHARES {
            return Err(ShareError::TooMany);
        }
        // Pods do not see each other's locks, so what one remembers another may have changed.
        let cache = if volume.many_writers { Cache::Never } else { Cache::Auto };
        let (tag, volume) = (format!("share{count}"), Some(volume));
        self.0.push(ShareRecord {
            tag,
            path,
            file: false,
            read_only,
            create: false,
            cache,
            volume,
            untrusted,
        });
        Ok(())
    }

    /// The paths, in the order of [`Self::specs`].
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|share| share.path.as_path())
    }

    /// What the guest is told.
    #[must_use]
    pub fn specs(&self) -> Vec<ShareSpec> {
        let spec = |share: &ShareRecord| ShareSpec {
            tag: share.tag.clone(),
            read_only: share.read_only,
            volume: share.volume.as_ref().map(|volume| volume.name.clone()),
            untrusted: share.untrusted,
        };
        self.0.iter().map(spec).collect()
    }

    /// What the host keeps.
    #[must_use]
    pub fn into_records(self) -> Vec<ShareRecord> {
        self.0
    }
}

impl ShareRecord {
    /// Looks at what is there now, and makes the directory where it is missing and that is wished.
    ///
    /// # Errors
    /// It is not there, or not what it was.
    pub fn check(&self) -> Result<(), ShareError> {
        if is_file(&self.path, self.create)? == self.file {
            return Ok(());
        }
        Err(ShareError::Changed { path: self.path.clone(), file: self.file })
    }
}

impl fmt::Display for ShareRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// Whether a file is there (or else a directory).
fn is_file(path: &Path, create: bool) -> Result<bool, ShareError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(false),
        Ok(found) if found.is_file() => Ok(true),
        Ok(found) => Err(ShareError::Special { path: path.to_owned(), kind: kind(found.file_type()) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            let made = fs::create_dir_all(path);
            made.map(|()| false).map_err(|source| ShareError::Create { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ShareError::Missing(path.to_owned())),
        Err(source) => Err(ShareError::Examine { path: path.to_owned(), source }),
    }
}

fn kind(found: FileType) -> &'static str {
    if found.is_socket() {
        "socket"
    } else if found.is_fifo() {
        "named pipe"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_one_share_and_what_cannot_be_shared_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "x").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let bind = |name: &str, read_only, create| Bind {
            source: path(name),
            target: format!("/{name}"),
            read_only,
            create,
        };
        let mut shares = Shares::default();
        let mut add = |bind| shares.add(bind, Cache::Auto).map(|mount| mount.source);
        let share = |tag: &str| MountSource::Share { tag: tag.to_owned(), file: tag == "share2" };
        assert_eq!(add(bind("made/deep", false, true)).unwrap(), share("share0"));
        assert!(path("made/deep").is_dir());
        assert_eq!(add(bind("made/deep", true, false)).unwrap(), share("share1"));
        assert_eq!(add(bind("made/deep", false, false)).unwrap(), share("share0"));
        assert_eq!(add(bind("made/deep", true, true)).unwrap(), share("share1"));
        assert_eq!(add(bind("file", false, false)).unwrap(), share("share2"));
        let error = add(bind("none", false, false)).unwrap_err().to_string();
        assert!(error.contains("bind source path does not exist: /"), "{error}");
        let error = add(bind("socket", false, true)).unwrap_err().to_string();
        assert!(error.contains("is a socket"), "{error}");
        let error =
            add(Bind { source: "/dev/null".into(), ..bind("x", false, true) }).unwrap_err().to_string();
        assert!(error.contains("is a device"), "{error}");
        let specs = shares.specs();
        assert_eq!(specs.iter().map(|spec| spec.read_only).collect::<Vec<_>>(), [false, true, false]);
        let records = shares.clone().into_records();
        // One wish is enough for a directory to be made.
        assert_eq!([0, 1, 2].map(|index| records[index].create), [true, true, false]);
        fs::remove_file(path("file")).unwrap();
        assert!(matches!(records[2].check(), Err(ShareError::Missing(_))));
        fs::create_dir(path("file")).unwrap();
        assert!(matches!(records[2].check(), Err(ShareError::Changed { file: true, .. })));
        for number in 0..MAX_SHARES - 3 {
            shares.add(bind(&number.to_string(), false, true), Cache::Auto).unwrap();
        }
        assert!(matches!(shares.add(bind("more", false, true), Cache::Auto), Err(ShareError::TooMany)));
    }
}
