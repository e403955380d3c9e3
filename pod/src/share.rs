//! Directories and files of the host that a pod's containers see: what a user may ask for, and what is kept of it in
//! `pod.json`. Read by `kcradle run`, which starts a process for each.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::launch::{MAX_SHARES, MountSource, MountSpec, ShareSpec};
use thiserror::Error;

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

/// Why something of the host cannot be mounted. Texts are Docker's where it has them.
#[derive(Debug, Error)]
pub enum ShareError {
    /// Not of the form that `-v` takes.
    #[error("invalid volume specification: '{0}'")]
    Specification(String),
    /// An unknown option of `-v`.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// `--mount` without a field, or with one that is unknown or cannot be there.
    #[error("invalid argument \"{text}\" for \"--mount\" flag: {why}")]
    Mount {
        /// What was written.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// The guest has mounts of its own, and none of the host's afterwards.
    #[error(
        "invalid mount config for type \"bind\": propagation '{0}' is not supported: mounts of the host do not become the \
         microVM's, only rprivate is"
    )]
    Propagation(String),
    /// Volumes are filled, directories of the host are not.
    #[error("invalid mount config for type \"bind\": field VolumeOptions must not be specified")]
    NoCopy,
    /// A source that cannot be.
    #[error("invalid mount path: '{0}'")]
    Source(String),
    /// A destination that cannot be.
    #[error("invalid mount config for type \"bind\": {0}")]
    Target(TargetError),
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

/// Why nothing can be mounted at a path of a container, in Docker's words.
#[derive(Debug, Error)]
pub enum TargetError {
    /// It is not absolute.
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    Relative(String),
    /// It is the root.
    #[error("invalid specification: destination can't be '/'")]
    Root,
    /// It has `..` or NUL.
    #[error("invalid mount path: '{0}'")]
    Path(String),
}

/// A directory or file of the host at a place in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The path on the host, absolute.
    pub source: PathBuf,
    /// The path in the container, absolute.
    pub target: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether a directory that is missing is made.
    pub create: bool,
}

/// Options of `-v` on a path of the host: labels and hints of consistency mean nothing here, and do no harm.
const WITHOUT_MEANING: [&str; 9] =
    ["", "rw", "z", "Z", "rprivate", "private", "cached", "delegated", "consistent"];

/// Kinds of propagation that would be the host's business.
const PROPAGATIONS: [&str; 4] = ["shared", "rshared", "slave", "rslave"];

/// Reads the options behind a path: whether writes are refused.
///
/// # Errors
/// An option that is unknown or cannot be had.
pub fn read_only(mode: &str) -> Result<bool, ShareError> {
    let mut read_only = false;
    for option in mode.split(',') {
        match option {
            "ro" => read_only = true,
            "nocopy" => return Err(ShareError::NoCopy),
            _ if PROPAGATIONS.contains(&option) => return Err(ShareError::Propagation(option.to_owned())),
            _ if WITHOUT_MEANING.contains(&option) => {}
            _ => return Err(ShareError::Mode(option.to_owned())),
        }
    }
    Ok(read_only)
}

/// Checks a kind of propagation as `--mount` and the API have it.
///
/// # Errors
/// One that would be the host's business.
pub fn check_propagation(kind: &str) -> Result<(), ShareError> {
    if ["", "rprivate", "private"].contains(&kind) {
        return Ok(());
    }
    Err(ShareError::Propagation(kind.to_owned()))
}

impl Bind {
    /// Reads `-v SOURCE:TARGET[:OPTIONS]`; a source that is not absolute is one of the working directory.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn from_volume(text: &str) -> Result<Self, ShareError> {
        let wrong = || ShareError::Specification(text.to_owned());
        let (source, target, mode) = match text.split(':').collect::<Vec<_>>().as_slice() {
            [source, target] => (*source, *target, ""),
            [source, target, mode] => (*source, *target, *mode),
            _ => return Err(wrong()),
        };
        // A name alone is a volume's.
        if !source.starts_with(['/', '.']) {
            return Err(wrong());
        }
        Self::new(source, target, read_only(mode)?, true)
    }

    /// Reads `--mount type=bind,source=…,target=…[,readonly]`.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn from_mount(text: &str) -> Result<Self, ShareError> {
        let wrong = |why: String| ShareError::Mount { text: text.to_owned(), why };
        let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
        for field in text.split(',') {
            let (name, value) = field.split_once('=').unwrap_or((field, "true"));
            let name = match name {
                "src" => "source",
                "dst" | "destination" => "target",
                "ro" => "readonly",
                name => name,
            };
            fields.insert(name, value);
        }
        if fields.remove("type") != Some("bind") {
            return Err(wrong("only type=bind is known here".to_owned()));
        }
        check_propagation(fields.remove("bind-propagation").unwrap_or_default())?;
        let mut required = |name| fields.remove(name).ok_or_else(|| wrong(format!("{name} is required")));
        let (source, target) = (required("source")?, required("target")?);
        let read_only = match fields.remove("readonly").unwrap_or("false") {
            "true" | "1" => true,
            "false" | "0" => false,
            other => return Err(wrong(format!("invalid value for readonly: {other}"))),
        };
        if let Some(unknown) = fields.keys().next() {
            return Err(wrong(format!("unexpected key '{unknown}'")));
        }
        Self::new(source, target, read_only, false)
    }

    /// What is at `source`, of the working directory where it is not absolute, at `target` in the container.
    ///
    /// # Errors
    /// Paths that cannot be.
    pub fn new(source: &str, target: &str, read_only: bool, create: bool) -> Result<Self, ShareError> {
        if source.contains('\0') {
            return Err(ShareError::Source(source.to_owned()));
        }
        let absolute = std::path::absolute(source).map_err(|_| ShareError::Source(source.to_owned()))?;
        let target = clean_target(target).map_err(ShareError::Target)?;
        Ok(Self { source: clean_source(&absolute), target, read_only, create })
    }
}

/// An absolute path of the host as Docker keeps it: `..` takes away the name before it, whatever that is a link to, and a
/// slash at the end is nothing.
fn clean_source(source: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in source.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

/// A path in a container at which something can be mounted, without doubled or trailing slashes.
///
/// # Errors
/// [`TargetError`].
pub fn clean_target(target: &str) -> Result<String, TargetError> {
    if !target.starts_with('/') {
        return Err(TargetError::Relative(target.to_owned()));
    }
    let parts: Vec<_> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || target.contains('\0') {
        return Err(TargetError::Path(target.to_owned()));
    }
    if parts.is_empty() { Err(TargetError::Root) } else { Ok(format!("/{}", parts.join("/"))) }
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
        let same =
            |share: &ShareRecord| share.path == path && share.read_only == read_only && share.cache == cache;
        let count = self.0.len();
        let tag = match self.0.iter_mut().find(|share| same(share)) {
            Some(share) => {
                share.create |= create;
                share.tag.clone()
            }
            None if count >= MAX_SHARES => return Err(ShareError::TooMany),
            None => {
                let tag = format!("share{count}");
                self.0.push(ShareRecord { tag: tag.clone(), path, file, read_only, create, cache });
                tag
            }
        };
        Ok(MountSpec { guest_path: target, source: MountSource::Share { tag, file }, read_only })
    }

    /// What the guest is told.
    #[must_use]
    pub fn specs(&self) -> Vec<ShareSpec> {
        let spec = |share: &ShareRecord| ShareSpec { tag: share.tag.clone(), read_only: share.read_only };
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

    fn volume(text: &str) -> Result<Bind, String> {
        Bind::from_volume(text).map_err(|error| error.to_string())
    }

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        let bind = volume("/srv//data:/data/:ro,Z").unwrap();
        let expected =
            Bind { source: "/srv/data".into(), target: "/data".to_owned(), read_only: true, create: true };
        assert_eq!(bind, expected);
        assert!(!volume("./x:/y:rw,z,rprivate,cached").unwrap().read_only);
        assert!(volume("./x:/y").unwrap().source.is_absolute());
        for source in ["/srv/data/", "/srv/./x/../data", "/../../srv/data//"] {
            let bind = volume(&format!("{source}:/y")).unwrap();
            assert_eq!(bind.source.to_str(), Some("/srv/data"), "{source}");
        }
        for (text, words) in [
            ("/a", "invalid volume specification"),
            ("/a:/b:ro:x", "invalid volume specification"),
            ("name:/b", "invalid volume specification"),
            ("/a:b", "must be absolute"),
            ("/a:/", "can't be '/'"),
            ("/a:/x/../y", "invalid mount path"),
            ("/a:/b:bogus", "invalid mode: bogus"),
            ("/a:/b:rshared", "propagation 'rshared'"),
            ("/a:/b:nocopy", "VolumeOptions must not be specified"),
        ] {
            let error = volume(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn mounts_are_read_as_docker_reads_them() {
        let mount = |text| Bind::from_mount(text).map_err(|error| error.to_string());
        let bind = mount("type=bind,src=/srv,dst=/data,readonly").unwrap();
        assert_eq!((bind.read_only, bind.create, bind.target.as_str()), (true, false, "/data"));
        assert!(!mount("type=bind,source=/srv,target=/data,ro=false").unwrap().read_only);
        for (text, words) in [
            ("source=/a,target=/b", "only type=bind"),
            ("type=volume,source=a,target=/b", "only type=bind"),
            ("type=bind,target=/b", "source is required"),
            ("type=bind,source=/a", "target is required"),
            ("type=bind,source=/a,target=/b,colour=red", "unexpected key 'colour'"),
            ("type=bind,source=/a,target=/b,bind-propagation=rslave", "propagation 'rslave'"),
            ("type=bind,source=/a,target=/b,ro=maybe", "invalid value for readonly"),
        ] {
            let error = mount(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

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
