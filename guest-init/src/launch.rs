//! Reading and checking the launch specification. Called once by the boot recipe.
//!
//! The types refuse unknown fields; here stands what types cannot say. The host checks the same when it
//! writes the file: what is refused here is a fault of the host, not of a user.

use crate::container::privileges;
use crate::lifecycle::BEFORE_VOLUMES;
use spec::launch::{DiskSpec, MAX_CONTAINERS, MAX_SHARES, MountSource, ShareSpec, VERSION, Writable};
use spec::{ContainerSpec, LAUNCH_PATH, LaunchSpec};
use std::collections::HashSet;
use std::io;
use std::path::Path;

/// The longest launch.json in bytes.
const MAX_LEN: u64 = 8 << 20;

/// The most disks: `/dev/vda` to `/dev/vdzz`.
const MAX_DISKS: usize = 26 + 26 * 26;

/// Where Linux tells an SNP guest its privilege level; in other machines it is not there.
const SNP_GUEST: &str = "/sys/devices/system/cpu/sev/vmpl";

/// Why the launch specification cannot be obeyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// It cannot be read.
    #[error("cannot read {LAUNCH_PATH}")]
    Read(#[source] io::Error),
    /// It is no launch specification of this version.
    #[error("cannot parse {LAUNCH_PATH}")]
    Parse(#[source] serde_json::Error),
    /// It says something that makes no sense.
    #[error("{LAUNCH_PATH} is refused: {0}")]
    Refused(String),
}

/// Reads the launch specification, removes it from the initramfs and checks it.
///
/// # Errors
/// Each variant.
pub(crate) fn read() -> Result<LaunchSpec, LaunchError> {
    use std::io::Read as _;
    let file = std::fs::File::open(LAUNCH_PATH).map_err(LaunchError::Read)?;
    let mut bytes = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(LaunchError::Read)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(LaunchError::Read(io::Error::from_raw_os_error(libc::EFBIG)));
    }
    let spec: LaunchSpec = serde_json::from_slice(&bytes).map_err(LaunchError::Parse)?;
    check(&spec).map_err(LaunchError::Refused)?;
    Ok(spec)
}

/// The block device of the disk with that index.
pub(crate) fn disk_device(index: usize) -> String {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap_or(0));
    match index.checked_sub(26) {
        None => format!("/dev/vd{}", letter(index)),
        Some(rest) => format!("/dev/vd{}{}", letter(rest / 26), letter(rest)),
    }
}

/// Refuses what the host could change behind the guest's back, in an SNP guest and in every pod whose images are bound to
/// roots. Once `/sys` is there.
///
/// # Errors
/// [`LaunchError::Refused`].
pub(crate) fn check_binding(spec: &LaunchSpec) -> Result<(), LaunchError> {
    // The kernel asks the processor, by what the host cannot intercept, and not the host.
    bound(spec, Path::new(SNP_GUEST).exists()).map_err(LaunchError::Refused)
}

fn bound(spec: &LaunchSpec, snp: bool) -> Result<(), String> {
    let has_root = |disk: &DiskSpec| matches!(disk, DiskSpec::Image { verity: Some(_) });
    if !snp && !spec.disks.iter().any(has_root) {
        return Ok(());
    }
    for (index, disk) in spec.disks.iter().enumerate() {
        let sound = matches!(disk, DiskSpec::Image { verity: Some(root) } if root.is_sound());
        require(sound, || format!("disk {index} is not checked against a root: the host could change it"))?;
    }
    for ShareSpec { tag, untrusted, .. } in &spec.shares {
        require(*untrusted, || format!("share {tag:?} is not marked untrusted: the host can change it"))?;
    }
    Ok(())
}

fn check(spec: &LaunchSpec) -> Result<(), String> {
    require(spec.version == VERSION, || format!("version {} is not {VERSION}", spec.version))?;
    let count = spec.containers.len();
    require((1..=MAX_CONTAINERS).contains(&count), || format!("{count} containers"))?;
    require(spec.disks.len() <= MAX_DISKS, || format!("{} disks", spec.disks.len()))?;
    spec.network.check()?;
    let mut names = HashSet::new();
    let mut volumes = HashSet::new();
    for disk in &spec.disks {
        if let DiskSpec::Volume { name, .. } = disk {
            require(is_name(name) && volumes.insert(name), || format!("volume name {name:?}"))?;
        }
    }
    let count = spec.shares.len();
    require(count <= MAX_SHARES, || format!("{count} shares"))?;
    let mut shares = HashSet::new();
    for ShareSpec { tag, volume, .. } in &spec.shares {
        require(is_name(tag) && tag.len() <= 36 && shares.insert(tag), || format!("share {tag:?}"))?;
        if let Some(name) = volume {
            require(is_name(name) && volumes.insert(name), || format!("volume name {name:?}"))?;
        }
    }
    let mut anonymous = HashSet::new();
    for container in &spec.containers {
        let name = &container.name;
        require(is_name(name) && names.insert(name), || format!("container name {name:?}"))?;
        check_container(spec, container).map_err(|why| format!("container {name}: {why}"))?;
        for mount in &container.mounts {
            match &mount.source {
                MountSource::Tmpfs { .. } => {}
                MountSource::Anonymous { name } => {
                    require(is_name(name) && anonymous.insert(name), || format!("volume name {name:?}"))?;
                }
                MountSource::Volume { name, subpath, .. } => {
                    require(volumes.contains(name), || format!("no disk or share for volume {name:?}"))?;
                    let sound = subpath.as_ref().is_none_or(|path| !path.is_empty() && !path.contains('\0'));
                    require(sound, || format!("subpath {subpath:?}"))?;
                }
                MountSource::Share { tag, .. } => {
                    require(shares.contains(tag), || format!("no share {tag:?}"))?;
                }
            }
        }
    }
    Ok(())
}

fn check_container(spec: &LaunchSpec, container: &ContainerSpec) -> Result<(), String> {
    let disk = |index: u32| spec.disks.get(index as usize);
    let image = &container.image;
    require(matches!(disk(image.disk), Some(DiskSpec::Image { .. })), || {
        format!("image disk {}", image.disk)
    })?;
    if let Writable::Disk(index) = image.writable {
        require(disk(index) == Some(&DiskSpec::Scratch), || format!("writable disk {index}"))?;
    }
    let process = &container.process;
    require(!process.cmd.is_empty(), || "no command".to_owned())?;
    require(process.cmd.iter().all(|word| !word.contains('\0')), || "a NUL byte in the command".to_owned())?;
    for variable in &process.env {
        let name = &variable.name;
        let sound = !name.is_empty() && !name.contains(['=', '\0']) && !variable.value.contains('\0');
        require(sound, || format!("environment variable {name:?}"))?;
        require(variable.value_from.is_none(), || format!("unresolved environment variable {name}"))?;
    }
    require(!process.workdir.contains('\0'), || "working directory".to_owned())?;
    for name in &process.capabilities {
        require(privileges::capability(name).is_some(), || format!("capability {name:?}"))?;
    }
    for limit in &process.rlimits {
        require(privileges::resource(&limit.name).is_some(), || format!("resource limit {:?}", limit.name))?;
    }
    require((1..=64).contains(&process.stop_signal), || format!("stop signal {}", process.stop_signal))?;
    let host = &container.hostname;
    require(host.len() <= 64 && !host.contains(|c: char| c.is_control()), || format!("host name {host:?}"))?;
    let before = &container.lifecycle.before;
    require(before.is_empty() || before == BEFORE_VOLUMES, || format!("before {before:?}"))?;
    for mount in &container.mounts {
        let path = &mount.guest_path;
        require(path.starts_with('/') && !path.contains('\0'), || format!("mount path {path:?}"))?;
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=200).contains(&name.len()) && name != "." && name != ".." && name.chars().all(allowed)
}

fn require(sound: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if sound { Ok(()) } else { Err(what()) }
}

#[cfg(test)]
#[path = "launch_tests.rs"]
pub(crate) mod tests;
