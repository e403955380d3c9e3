//! The pod's disks, and of them each container's file tree: EROFS image, overlay, upper layer (design: one
//! read-only disk an image, one writable ext4).
//!
//! On the writable disk a container has `/<name>/{upper,work}`; `/@volumes` holds anonymous volumes, `/@logs` what
//! containers have written. All are kept when the pod is run again. A container's directory has the attribute [`RAN`]
//! once the pod has run.

use crate::attributes;
use crate::container::etc;
use crate::files::Layers;
use crate::grow;
use crate::launch;
use crate::processors;
use crate::verity;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use spec::launch::{DiskSpec, SHARE_FILE, ShareSpec, VOLUME_DATA, Writable};
use spec::{ContainerSpec, LaunchSpec};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where PID 1 keeps its mounts; no container sees it.
const BASE: &str = "/run/pod";

/// ext4 would read the bitmaps of all block groups as soon as it is mounted, while the first container starts, and keep
/// them: 4 KiB a group. It reads those that it needs when it needs them.
const EXT4_OPTIONS: &CStr = c"no_prefetch_block_bitmaps";

/// Tells that a container has been more than looked at.
const RAN: &CStr = c"user.cradle.ran";

/// A disk or a file tree that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// A disk cannot be mounted.
    #[error("cannot mount disk {device} as {kind}")]
    Mount {
        /// The block device.
        device: String,
        /// Its file system.
        kind: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A disk cannot be checked.
    #[error("cannot have {0} checked against its root")]
    Verity(String, #[source] io::Error),
    /// A share cannot be mounted.
    #[error("cannot mount {0}, which the host shares")]
    Share(String, #[source] io::Error),
    /// A container's overlay cannot be made.
    #[error("cannot make the file tree of container {0}")]
    Tree(String, #[source] io::Error),
    /// A directory of PID 1's own cannot be made.
    #[error("cannot make {}", .0.display())]
    Directory(PathBuf, #[source] io::Error),
}

/// A container's file tree, mounted for as long as the pod lives.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The overlay's mount point.
    pub(crate) root: String,
    /// The folder of the container's own `hosts`, `hostname` and `resolv.conf`.
    pub(crate) etc: PathBuf,
    /// The directories that the overlay is made of.
    pub(crate) layers: Layers,
    /// Whether an earlier run of the pod left it.
    pub(crate) ran: bool,
}

/// The pod's mounted disks.
#[derive(Debug)]
pub(crate) struct Disks {
    /// One entry a container, in their order.
    pub(crate) trees: Vec<Tree>,
    /// The folder of anonymous volumes.
    pub(crate) volumes: PathBuf,
    /// The folder of containers' logs, where there is a writable disk.
    pub(crate) logs: Option<PathBuf>,
    writable: BTreeMap<u32, PathBuf>,
    /// Where the disks of named volumes are mounted.
    named: Vec<PathBuf>,
    /// Those of them that may become larger, by the disk's index.
    pub(crate) growing: BTreeMap<u32, PathBuf>,
}

/// Where a share is mounted.
fn share_place(tag: &str) -> PathBuf {
    PathBuf::from(format!("{BASE}/share/{tag}"))
}

/// Opens (`O_PATH`) what is shared under a tag: a directory, or a single file.
///
/// # Errors
/// What open(2) says.
pub(crate) fn open_share(tag: &str, file: bool) -> io::Result<OwnedFd> {
    let place = share_place(tag);
    let place = if file { place.join(SHARE_FILE) } else { place };
    Ok(rustix::fs::open(&place, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Where the disk of a named volume is mounted, or the directory that it is.
pub(crate) fn named_volume(name: &str) -> PathBuf {
    PathBuf::from(format!("{BASE}/volume/{name}"))
}

impl Disks {
    /// Mounts all disks and makes all containers' trees. The specification was checked by [`launch`].
    ///
    /// # Errors
    /// The first that failed.
    pub(crate) fn mount(spec: &LaunchSpec) -> Result<Self, DiskError> {
        let mut places = Vec::new();
        let (mut writable, mut named, mut growing) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for (index, disk) in spec.disks.iter().enumerate() {
            let place = match disk {
                DiskSpec::Volume { name, whole: false, .. } => named_volume(name),
                DiskSpec::Volume { name, whole: true, .. } => named_volume(name).join(VOLUME_DATA),
                DiskSpec::Image { .. } | DiskSpec::Scratch => PathBuf::from(format!("{BASE}/disk{index}")),
            };
            make_dir(&place)?;
            match disk {
                DiskSpec::Image { verity: None } => {
                    mount_disk(index, &place, "erofs", MountFlags::RDONLY, c"")?;
                }
                DiskSpec::Image { verity: Some(root) } => {
                    let device = launch::disk_device(index);
                    let checked = verity::map(&device, &format!("image{index}"), root);
                    let checked = checked.map_err(|error| DiskError::Verity(device, error))?;
                    mount_device(checked, &place, "erofs", MountFlags::RDONLY, c"")?;
                }
                DiskSpec::Scratch => {
                    mount_disk(index, &place, "ext4", MountFlags::NODEV, EXT4_OPTIONS)?;
                    writable.insert(u32::try_from(index).unwrap_or(u32::MAX), place.clone());
                }
                DiskSpec::Volume { read_only: true, .. } => {
                    let flags = MountFlags::NODEV | MountFlags::RDONLY;
                    mount_disk(index, &place, "ext4", flags, EXT4_OPTIONS)?;
                }
                DiskSpec::Volume { name, .. } => {
                    mount_disk(index, &place, "ext4", MountFlags::NODEV, EXT4_OPTIONS)?;
                    // What a resize began that was cut short. Without it the volume is as good, and smaller.
                    if let Err(error) = grow::to_disk(index, &place) {
                        crate::last_words(&format!("volume {name} does not take all of its disk: {error}"));
                    }
                    named.push(place.clone());
                    growing.insert(u32::try_from(index).unwrap_or(u32::MAX), place.clone());
                }
            }
            places.push(place);
        }
        mount_shares(&spec.shares)?;
        let memory = PathBuf::from(format!("{BASE}/memory"));
        make_dir(&memory)?;
        let volumes = writable.values().next().unwrap_or(&memory).join("@volumes");
        make_dir(&volumes)?;
        let logs = writable.values().next().map(|disk| disk.join("@logs"));
        let mut disks = Self { trees: Vec::new(), volumes, logs, writable, named, growing };
        for container in &spec.containers {
            let image = &places[container.image.disk as usize];
            let failed = |error| DiskError::Tree(container.name.clone(), error);
            let tree = disks.tree(spec, container, image, &memory).map_err(failed)?;
            disks.trees.push(tree);
        }
        Ok(disks)
    }

    fn tree(
        &self,
        spec: &LaunchSpec,
        container: &ContainerSpec,
        image: &Path,
        memory: &Path,
    ) -> io::Result<Tree> {
        let place = match container.image.writable {
            Writable::Disk(index) => self.writable[&index].join(&container.name),
            // A read-only root takes mount points at its start, so it has an upper layer too.
            Writable::Tmpfs | Writable::ReadOnly => {
                let place = memory.join(&container.name);
                fs::create_dir(&place)?;
                rustix::mount::mount("tmpfs", &place, "tmpfs", MountFlags::empty(), c"mode=700")?;
                place
            }
        };
        let (upper, work) = (place.join("upper"), place.join("work"));
        fs::create_dir_all(&work)?;
        let ran = rustix::fs::getxattr(&place, RAN, &mut [0; 1][..]).is_ok();
        if !ran && !spec.hold && matches!(container.image.writable, Writable::Disk(_)) {
            rustix::fs::setxattr(&place, RAN, b"1", XattrFlags::empty())?;
        }
        make_upper(image, &upper)?;
        let own = PathBuf::from(format!("{BASE}/container/{}", container.name));
        let (root, etc) = (own.join("root"), own.join("etc"));
        fs::create_dir_all(&root)?;
        fs::create_dir_all(&etc)?;
        let options =
            format!("lowerdir={},upperdir={},workdir={}", image.display(), upper.display(), work.display());
        rustix::mount::mount(
            "overlay",
            &root,
            "overlay",
            MountFlags::empty(),
            options_string(options)?.as_c_str(),
        )?;
        fs::write(etc.join("hosts"), etc::hosts(&spec.network, &container.hostname))?;
        fs::write(etc.join("hostname"), etc::hostname(&container.hostname))?;
        fs::write(etc.join("resolv.conf"), etc::resolv_conf(&spec.network))?;
        let layers = Layers { upper, image: image.to_owned() };
        Ok(Tree { root: root.to_string_lossy().into_owned(), etc, layers, ran })
    }

    /// Makes the folder of logs where it is missing. Not at boot: a
    /// directory costs the disk more writes than all that a short pod does else.
    pub(crate) fn make_logs(&self) {
        if let Some(logs) = &self.logs {
            // The logs say it themselves, when they cannot be written.
            let _exists = fs::create_dir(logs);
        }
    }

    /// Writes everything to the writable disks and unmounts them, after the last process has ended. Where
    /// something still holds one, it is synced and made read-only.
    pub(crate) fn flush(&self) {
        processors::hurry();
        for tree in &self.trees {
            // What is still held keeps its disk busy too, which is dealt with below.
            let _busy = rustix::mount::unmount(&tree.root, UnmountFlags::empty());
        }
        for place in self.writable.values().chain(&self.named) {
            if rustix::mount::unmount(place, UnmountFlags::empty()).is_err() {
                rustix::fs::sync();
                let _busy = rustix::mount::mount_remount(place, MountFlags::RDONLY, c"");
            }
        }
    }
}

fn mount_disk(
    index: usize,
    place: &Path,
    kind: &'static str,
    flags: MountFlags,
    options: &CStr,
) -> Result<(), DiskError> {
    mount_device(launch::disk_device(index), place, kind, flags, options)
}

fn mount_device(
    device: String,
    place: &Path,
    kind: &'static str,
    flags: MountFlags,
    options: &CStr,
) -> Result<(), DiskError> {
    rustix::mount::mount(&device, place, kind, flags, options).map_err(|error| DiskError::Mount {
        device,
        kind,
        source: error.into(),
    })
}

/// Mounts what the host shares. Nodes for devices mean nothing there, as everywhere in a container; the host refuses
/// writes by itself where they are not wished.
fn mount_shares(shares: &[ShareSpec]) -> Result<(), DiskError> {
    for ShareSpec { tag, read_only, volume, .. } in shares {
        // As the disk of a volume, all of which is the volume.
        let volume = volume.as_ref().map(|name| named_volume(name).join(VOLUME_DATA));
        let place = volume.unwrap_or_else(|| share_place(tag));
        make_dir(&place)?;
        let flags = if *read_only { MountFlags::NODEV | MountFlags::RDONLY } else { MountFlags::NODEV };
        rustix::mount::mount(tag, &place, "virtiofs", flags, c"")
            .map_err(|error| DiskError::Share(tag.clone(), error.into()))?;
    }
    Ok(())
}

/// Makes the upper layer with the attributes of the image's root, which the overlay shows from there. A layer
/// that exists is one of an earlier run: it is complete, because it gets its name last.
fn make_upper(image: &Path, upper: &Path) -> io::Result<()> {
    if upper.is_dir() {
        return Ok(());
    }
    let unfinished = upper.with_extension("new");
    fs::create_dir_all(&unfinished)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = rustix::fs::open(image, flags, Mode::empty())?;
    let to = rustix::fs::open(&unfinished, flags, Mode::empty())?;
    attributes::copy(from, to)?;
    fs::rename(unfinished, upper)
}

fn make_dir(path: &Path) -> Result<(), DiskError> {
    fs::create_dir_all(path).map_err(|error| DiskError::Directory(path.to_owned(), error))
}

fn options_string(options: String) -> io::Result<std::ffi::CString> {
    std::ffi::CString::new(options).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
