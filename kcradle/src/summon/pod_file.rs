//! From a pod file to a [`Plan`]: each field is converted, ignored or refused as docs/pod-file.md lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image::container::{ContainerOverrides, EnvChange};
use spec::PodFile;
use spec::launch::{EnvFrom, EnvSpec, HealthSpec, LifecycleSpec};
use spec::pod::{
    INTENT_API_VERSION, INTENT_KIND, LaunchIntent, PodContainer, PodEnv, PodHealthcheck, PodLifecycle,
    PodNetwork, PodVolume, PodVolumeMount,
};
use thiserror::Error;

use crate::duration::GoDuration;
use crate::failure::Failure;
use crate::network::addresses::Family;
use pod::bind::clean_target;
use pod::mount::{VolumeWish, Wish};
use pod::read_bounded;
use pod::size::{Cpus, parse_bytes};

use super::plan::{ContainerPlan, Plan};

/// The largest pod file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The label that keeps the id of the original's files.
const ID_LABEL: &str = "cradle.kraudcloud.com/id";

/// Why a pod file is not understood.
#[derive(Debug, Error)]
pub(crate) enum PodFileError {
    /// Not JSON of the expected form.
    #[error("not a pod file")]
    Json(#[source] serde_json::Error),
    /// Not YAML of the expected form.
    #[error("not a pod file")]
    Yaml(#[source] serde_norway::Error),
    /// A Kubernetes object of another kind.
    #[error("apiVersion {version:?}, kind {kind:?} is not {INTENT_API_VERSION:?}, {INTENT_KIND:?}")]
    Kind {
        /// Its `apiVersion`.
        version: String,
        /// Its `kind`.
        kind: String,
    },
    /// A field that cannot be obeyed.
    #[error("{field}: {why}")]
    Field {
        /// The field's path, as in `containers[0].volumeMounts`.
        field: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads the pod file at `path` into `plan`.
pub(crate) fn read(path: &Path, plan: &mut Plan) -> Result<(), Failure> {
    let wrong = || format!("cannot read pod file {}", path.display());
    let bytes = read_bounded(path, MAX_FILE).with_context(wrong)?;
    let pod = parse(&bytes).with_context(wrong)?;
    convert(pod, plan).with_context(wrong)?;
    Ok(())
}

/// JSON where the first character is a brace, else YAML; with or without the wrapping of a Kubernetes object.
fn parse(bytes: &[u8]) -> Result<PodFile, PodFileError> {
    let json = bytes.trim_ascii_start().starts_with(b"{");
    // The wrapping is looked for first: the error of the wrong one of two types would mislead.
    let probe: serde_json::Value = if json {
        serde_json::from_slice(bytes).map_err(PodFileError::Json)?
    } else {
        serde_norway::from_slice(bytes).map_err(PodFileError::Yaml)?
    };
    let text = |name: &str| probe.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    if probe.get("apiVersion").is_none() && probe.get("kind").is_none() {
        return if json {
            serde_json::from_slice(bytes).map_err(PodFileError::Json)
        } else {
            serde_norway::from_slice(bytes).map_err(PodFileError::Yaml)
        };
    }
    let (version, kind) = (text("apiVersion").unwrap_or_default(), text("kind").unwrap_or_default());
    if version != INTENT_API_VERSION || kind != INTENT_KIND {
        return Err(PodFileError::Kind { version, kind });
    }
    let intent: LaunchIntent = if json {
        serde_json::from_slice(bytes).map_err(PodFileError::Json)?
    } else {
        serde_norway::from_slice(bytes).map_err(PodFileError::Yaml)?
    };
    Ok(intent.spec)
}

fn field(field: impl Into<String>, why: impl Into<String>) -> PodFileError {
    PodFileError::Field { field: field.into(), why: why.into() }
}

fn convert(pod: PodFile, plan: &mut Plan) -> Result<(), PodFileError> {
    plan.devices = devices("volumes", pod.volumes)?;
    for (name, path) in devices("volumeDevices", pod.volume_devices)? {
        if plan.devices.insert(name.clone(), path).is_some() {
            return Err(field("volumeDevices", format!("\"{name}\" is among volumes too")));
        }
    }
    plan.labels = pod.labels;
    if is_id(&pod.id) {
        plan.id = Some(pod.id);
    } else if !pod.id.is_empty() {
        plan.labels.insert(ID_LABEL.to_owned(), pod.id);
    }
    if pod.resources.cpu > 32 {
        return Err(field("resources.cpu", format!("{} is over the limit of 32", pod.resources.cpu)));
    }
    if pod.resources.cpu > 0 {
        plan.cpus = Cpus { count: pod.resources.cpu, millis: None };
    }
    if pod.resources.mem > 0 {
        plan.memory = pod.resources.mem;
    }
    if !pod.disk_size.is_empty() {
        plan.disk_size = parse_bytes(&pod.disk_size).map_err(|error| field("diskSize", error.to_string()))?;
    }
    plan.restart = pod.restart.parse().map_err(|why: String| field("restart", why))?;
    plan.addresses.families = addresses(&pod.network)?;
    plan.network.nameservers = pod.network.nameservers;
    plan.network.search_domain = pod.network.search_domain;
    for (index, container) in pod.containers.into_iter().enumerate() {
        plan.containers.push(convert_container(&format!("containers[{index}]"), container)?);
    }
    Ok(())
}

/// The pod's addresses, IPv4's first.
fn addresses(network: &PodNetwork) -> Result<Vec<Family>, PodFileError> {
    let ipv4 = Family::read(&network.tip4, &network.tgw4, false);
    let ipv4 = ipv4.map_err(|(own, why)| field(if own { "network.tip4" } else { "network.tgw4" }, why))?;
    let ipv6 = Family::read(&network.fip6, &network.fgw6, true);
    let ipv6 = ipv6.map_err(|(own, why)| field(if own { "network.fip6" } else { "network.fgw6" }, why))?;
    Ok(ipv4.into_iter().chain(ipv6).collect())
}

fn convert_container(path: &str, container: PodContainer) -> Result<ContainerPlan, PodFileError> {
    for (name, given, why) in [
        (
            "kernelMounts",
            !container.kernel_mounts.is_empty(),
            "mounts of the guest's own files are not supported yet",
        ),
        (
            "bindMounts",
            !container.bind_mounts.is_empty(),
            "mounts of the guest's own files are not supported yet",
        ),
    ] {
        if given {
            return Err(field(format!("{path}.{name}"), why));
        }
    }
    // `layers` names files of the original's cache; the reference says the same.
    if container.image.reference.is_empty() {
        let why = if container.image.layers.is_empty() {
            "missing"
        } else {
            "missing; layers alone are not enough"
        };
        return Err(field(format!("{path}.image.ref"), why));
    }
    let process = container.process;
    let env = process.env.into_iter().enumerate();
    let env = env.map(|(index, env)| convert_env(&format!("{path}.process.env[{index}]"), env));
    let some = |text: String| (!text.is_empty()).then_some(text);
    Ok(ContainerPlan {
        mounts: volume_mounts(path, container.volume_mounts)?,
        overrides: ContainerOverrides {
            name: container.name,
            // The original's `cmd` stands for entry point and command together.
            entrypoint: (!process.cmd.is_empty()).then(Vec::new),
            cmd: process.cmd,
            env: env.collect::<Result<_, _>>()?,
            user: some(process.user),
            workdir: some(process.workdir),
            hostname: container.hostname,
            init: process.init,
            tty: process.tty,
            stdin: process.stdin,
            read_only: container.read_only,
            tmpfs: container.tmpfs,
            stop_timeout: process.stop_timeout,
            lifecycle: convert_lifecycle(path, &container.lifecycle)?,
            labels: container.labels,
            health: container.healthcheck.map(|health| convert_health(path, health)).transpose()?,
            ..ContainerOverrides::default()
        },
        image: container.image.reference,
    })
}

/// The devices and files of the host among the volumes; one without a path is a volume of the store.
fn devices(list: &str, volumes: Vec<PodVolume>) -> Result<BTreeMap<String, PathBuf>, PodFileError> {
    let mut devices = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (index, volume) in volumes.into_iter().enumerate() {
        let path = format!("{list}[{index}]");
        if !pod::volume::is_name(&volume.name) || !names.insert(volume.name.clone()) {
            return Err(field(
                format!("{path}.name"),
                format!("\"{}\" is no name of a volume, or comes twice", volume.name),
            ));
        }
        match volume.device_path.as_str() {
            "" => {}
            device if device.starts_with('/') => {
                devices.insert(volume.name, PathBuf::from(device));
            }
            device => {
                return Err(field(format!("{path}.devicePath"), format!("\"{device}\" is no absolute path")));
            }
        }
    }
    Ok(devices)
}

fn volume_mounts(path: &str, mounts: Vec<PodVolumeMount>) -> Result<Vec<(String, Wish)>, PodFileError> {
    let mut all: Vec<(String, Wish)> = Vec::new();
    for (index, mount) in mounts.into_iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        if !pod::volume::is_name(&mount.volume_name) {
            return Err(field(format!("{path}.volumeName"), "missing, or no name of a volume"));
        }
        let target = clean_target(&mount.guest_path);
        let target = target.map_err(|error| field(format!("{path}.guestPath"), error.to_string()))?;
        if all.iter().any(|(other, _)| *other == target) {
            return Err(field(format!("{path}.guestPath"), "another volume is mounted there"));
        }
        let subpath = mount.volume_path.trim_matches('/').to_owned();
        let wish = VolumeWish {
            name: Some(mount.volume_name),
            subpath: (!subpath.is_empty()).then_some(subpath),
            read_only: mount.read_only,
            untrusted: mount.untrusted,
            ..VolumeWish::default()
        };
        all.push((target, Wish::Volume(wish)));
    }
    Ok(all)
}

fn convert_env(path: &str, env: PodEnv) -> Result<EnvChange, PodFileError> {
    if env.name.is_empty() {
        return Err(field(format!("{path}.name"), "missing"));
    }
    let from = env.value_from.map(|from| from.pod_env).unwrap_or_default();
    let from = match (from.is_empty(), env.from_pod_env.is_empty()) {
        (false, false) if from != env.from_pod_env => {
            return Err(field(format!("{path}.fromPodEnv"), "differs from valueFrom.podEnv"));
        }
        (true, _) => env.from_pod_env,
        _ => from,
    };
    let value_from = (!from.is_empty()).then_some(EnvFrom { pod_env: from });
    Ok(EnvChange::Set(EnvSpec { name: env.name, value: env.value, value_from }))
}

fn convert_lifecycle(path: &str, lifecycle: &PodLifecycle) -> Result<LifecycleSpec, PodFileError> {
    let before = match lifecycle.before.as_str() {
        "" | "volumes" => lifecycle.before.clone(),
        // The original's own example has this slip, and never starts the container.
        "volume" => "volumes".to_owned(),
        other => {
            let why = format!("\"{other}\" is no step of the boot; the only one is \"volumes\"");
            return Err(field(format!("{path}.lifecycle.before"), why));
        }
    };
    Ok(LifecycleSpec {
        before,
        restart_on_success: lifecycle.restart_on_success,
        restart_on_failure: lifecycle.restart_on_failure,
        restart_delay: lifecycle.restart_delay,
        max_restarts: lifecycle.max_restarts,
        critical: lifecycle.critical,
    })
}

fn convert_health(path: &str, health: PodHealthcheck) -> Result<HealthSpec, PodFileError> {
    let time = |name: &str, text: &str| {
        let field = |why: String| field(format!("{path}.healthcheck.{name}"), why);
        let time = if text.is_empty() { Ok(GoDuration(0)) } else { text.parse::<GoDuration>() };
        let time = time.map_err(|error| field(error.to_string()))?;
        u64::try_from(time.0).map_err(|_| field(format!("{text:?} is negative")))
    };
    Ok(HealthSpec {
        interval: time("interval", &health.interval)?,
        timeout: time("timeout", &health.timeout)?,
        start_period: time("startPeriod", &health.start_period)?,
        start_interval: time("startInterval", &health.start_interval)?,
        retries: health.retries,
        test: health.test,
    })
}

/// Whether a text is an id of our own form.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
