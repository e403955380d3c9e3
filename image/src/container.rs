//! From an image's configuration and a user's wishes to what the guest runs, by Docker's rules.
//!
//! Called by `kcradle summon` once a container; the result goes into launch.json.

pub mod capabilities;
pub mod env;
pub mod health;
pub mod signal;
pub mod tmpfs;

use std::collections::BTreeMap;
use std::path::{Component, Path};

use spec::launch::{
    ContainerSpec, HealthSpec, ImageSpec, LifecycleSpec, LimitsSpec, MountSource, MountSpec, ProcessSpec,
    Writable,
};

pub use env::EnvChange;

use crate::config::{ImageConfig, RunConfig};
use crate::digest::Digest;

/// Bytes of `/dev/shm`, as Docker's default.
pub const SHM_SIZE: u64 = 64 << 20;

/// Seconds from the stop signal to SIGKILL, as Docker's default.
pub const STOP_TIMEOUT: u32 = 10;

/// Variables, labels and volumes that an image may ask for: far more than any does, and few enough to compare with each
/// other.
const MAX_ENV: usize = 10_000;
const MAX_LABELS: usize = 10_000;
const MAX_VOLUMES: usize = 1000;

/// What a user wants otherwise than the image's configuration has it.
#[derive(Clone, Debug, Default)]
pub struct ContainerOverrides {
    /// The container's name, unique in the pod.
    pub name: String,
    /// Replaces the image's entry point and drops its command; an empty list or one empty word: no entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command where it is not empty.
    pub cmd: Vec<String>,
    /// Changes to the image's environment, in order. See [`env::from_option`] and [`env::from_file`].
    pub env: Vec<EnvChange>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// The working directory, an absolute path.
    pub workdir: Option<String>,
    /// The host name inside the container.
    pub hostname: String,
    /// Whether an init is the container's PID 1, and the program its child.
    pub init: bool,
    /// Whether the process gets a terminal.
    pub tty: bool,
    /// Whether standard input is kept open.
    pub stdin: bool,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Memory file systems, each as in `/run:rw,size=64m,mode=1777,exec`.
    pub tmpfs: Vec<String>,
    /// Seconds from the stop signal to SIGKILL.
    pub stop_timeout: Option<u32>,
    /// The stop signal by name or number.
    pub stop_signal: Option<String>,
    /// Capabilities added to Docker's default ones, by name or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken away, by name or `ALL`.
    pub cap_drop: Vec<String>,
    /// When the container starts, and what follows its end.
    pub lifecycle: LifecycleSpec,
    /// Labels beside the image's, and in place of those with the same names.
    pub labels: BTreeMap<String, String>,
    /// Changes to the image's health check: what is empty or 0 leaves the image's, a test of `["NONE"]` ends it.
    pub health: Option<HealthSpec>,
}

/// Why a container cannot be made of an image and overrides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// Neither the image nor the user says what to run.
    #[error("no command specified: the image has none, so name one behind the image")]
    NoCommand,
    /// The container's name does not fit.
    #[error("invalid container name {0:?}: letters, digits, '_', '.' and '-' are allowed")]
    Name(String),
    /// The host name does not fit.
    #[error("invalid host name {0:?}")]
    Hostname(String),
    /// A relative working directory.
    #[error("the working directory {0:?} is invalid, it needs to be an absolute path")]
    Workdir(String),
    /// A volume of the image at an impossible path.
    #[error("invalid volume path {0:?} in the image's configuration")]
    Volume(String),
    /// More of something in the image's configuration than this code takes.
    #[error("the image's configuration has {0} {1}, more than {2}")]
    TooMany(usize, &'static str, usize),
    /// A text with a NUL byte where the kernel cannot have one.
    #[error("{0} contains a NUL byte")]
    Nul(&'static str),
    /// The environment.
    #[error(transparent)]
    Env(#[from] env::EnvError),
    /// The stop signal.
    #[error(transparent)]
    Signal(#[from] signal::SignalError),
    /// A memory file system.
    #[error(transparent)]
    Tmpfs(#[from] tmpfs::TmpfsError),
    /// A capability.
    #[error(transparent)]
    Capability(#[from] capabilities::CapabilityError),
    /// The health check.
    #[error(transparent)]
    Health(#[from] health::HealthError),
}

/// Merges an image's configuration and a user's wishes; `image` says where the file tree comes from, and its
/// `writable` becomes [`Writable::ReadOnly`] where the user asked for that.
///
/// # Errors
/// What in the configuration or the wishes cannot be obeyed.
pub fn container_spec(
    config: &ImageConfig,
    image: ImageSpec,
    overrides: &ContainerOverrides,
) -> Result<ContainerSpec, ContainerError> {
    if !is_name(&overrides.name) {
        return Err(ContainerError::Name(overrides.name.clone()));
    }
    let counts = [
        (config.config.env.len(), "variables", MAX_ENV),
        (config.config.labels.len(), "labels", MAX_LABELS),
        (config.config.volumes.len(), "volumes", MAX_VOLUMES),
    ];
    if let Some((count, what, limit)) = counts.into_iter().find(|(count, _, limit)| count > limit) {
        return Err(ContainerError::TooMany(count, what, limit));
    }
    let hostname = if overrides.hostname.is_empty() { &overrides.name } else { &overrides.hostname };
    if !is_hostname(hostname) {
        return Err(ContainerError::Hostname(hostname.clone()));
    }
    let writable = if overrides.read_only { Writable::ReadOnly } else { image.writable };
    let image = ImageSpec { writable, ..image };
    Ok(ContainerSpec {
        name: overrides.name.clone(),
        image,
        process: process(&config.config, overrides, hostname)?,
        lifecycle: overrides.lifecycle.clone(),
        hostname: hostname.clone(),
        mounts: mounts(&config.config, overrides)?,
        limits: LimitsSpec::default(),
        shm_size: SHM_SIZE,
        labels: config.config.labels.iter().chain(&overrides.labels).map(owned).collect(),
        healthcheck: health::merge(&config.config, overrides.health.as_ref())?,
    })
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

fn process(
    config: &RunConfig,
    overrides: &ContainerOverrides,
    hostname: &str,
) -> Result<ProcessSpec, ContainerError> {
    let cmd = command(config, overrides);
    if cmd.first().is_none_or(String::is_empty) {
        return Err(ContainerError::NoCommand);
    }
    if cmd.iter().any(|word| word.contains('\0')) {
        return Err(ContainerError::Nul("the command"));
    }
    let user = overrides.user.as_ref().unwrap_or(&config.user);
    if user.contains('\0') {
        return Err(ContainerError::Nul("the user"));
    }
    let stop_signal = overrides.stop_signal.as_ref().unwrap_or(&config.stop_signal);
    Ok(ProcessSpec {
        cmd,
        init: overrides.init,
        env: env::merge(&config.env, &overrides.env, hostname, overrides.tty)?,
        workdir: workdir(config, overrides)?,
        tty: overrides.tty,
        stdin: overrides.stdin,
        stdin_once: true,
        user: user.clone(),
        capabilities: capabilities::select(&overrides.cap_add, &overrides.cap_drop)?,
        no_new_privileges: false,
        groups: Vec::new(),
        rlimits: Vec::new(),
        stop_signal: if stop_signal.is_empty() { signal::SIGTERM } else { signal::number(stop_signal)? },
        stop_timeout: overrides.stop_timeout.unwrap_or(STOP_TIMEOUT),
    })
}

// A new entry point makes the image's command meaningless, so Docker drops it.
fn command(config: &RunConfig, overrides: &ContainerOverrides) -> Vec<String> {
    let entrypoint = overrides.entrypoint.as_ref().unwrap_or(&config.entrypoint);
    let entrypoint = if entrypoint.as_slice() == [""] { &[] } else { entrypoint.as_slice() };
    let cmd = match overrides.entrypoint {
        None if overrides.cmd.is_empty() => &config.cmd,
        _ => &overrides.cmd,
    };
    entrypoint.iter().chain(cmd).cloned().collect()
}

fn workdir(config: &RunConfig, overrides: &ContainerOverrides) -> Result<String, ContainerError> {
    let workdir = match &overrides.workdir {
        Some(workdir) if !workdir.starts_with('/') => return Err(ContainerError::Workdir(workdir.clone())),
        Some(workdir) => workdir.clone(),
        None if config.working_dir.starts_with('/') => config.working_dir.clone(),
        None => format!("/{}", config.working_dir),
    };
    if workdir.contains('\0') {
        Err(ContainerError::Nul("the working directory"))
    } else {
        Ok(clean(&workdir))
    }
}

/// The user's memory file systems and the image's volumes, parents before children.
fn mounts(config: &RunConfig, overrides: &ContainerOverrides) -> Result<Vec<MountSpec>, ContainerError> {
    let mut mounts = Vec::new();
    for option in &overrides.tmpfs {
        let mount = tmpfs::parse(option)?;
        mounts.retain(|other: &MountSpec| other.guest_path != mount.guest_path);
        mounts.push(mount);
    }
    for volume in config.volumes.keys() {
        let guest_path = clean(volume);
        if !volume.starts_with('/') || guest_path == "/" || volume.contains('\0') {
            return Err(ContainerError::Volume(volume.clone()));
        }
        if mounts.iter().any(|mount| mount.guest_path == guest_path) {
            continue;
        }
        let name = format!("{}-{}", overrides.name, Digest::of(guest_path.as_bytes()).short());
        mounts.push(MountSpec { guest_path, source: MountSource::Anonymous { name }, read_only: false });
    }
    mounts.sort_by_key(|mount| mount.guest_path.matches('/').count());
    Ok(mounts)
}

/// An absolute path without `.`, `..` and doubled slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    format!("/{}", parts.join("/"))
}

fn is_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn is_hostname(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests;
