//! The pod file: what a user writes to ask for a pod of several containers.
//!
//! Read by `kcradle summon --file`. It takes the launch.json and the launch intent of kraud's cradle as they
//! are, and adds fields of our own; which field is converted, ignored or refused is listed in
//! docs/pod-file.md. Unknown fields are refused. The guest never sees a pod file: it gets the strict
//! [`crate::LaunchSpec`] made from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The `apiVersion` of a [`LaunchIntent`].
pub const INTENT_API_VERSION: &str = "cradle.kraudcloud.com/v3";

/// The `kind` of a [`LaunchIntent`].
pub const INTENT_KIND: &str = "CradleLaunchIntent";

/// A pod file in the wrapping of a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LaunchIntent {
    /// [`INTENT_API_VERSION`].
    pub api_version: String,
    /// [`INTENT_KIND`].
    pub kind: String,
    /// The pod.
    pub spec: PodFile,
}

/// A pod as a user asks for it. `null` stands for an absent field, as the original's JSON has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodFile {
    /// The original's name of the pod, a UUID there.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The size of the virtual machine.
    #[serde(deserialize_with = "or_default")]
    pub resources: PodResources,
    /// Names and addresses.
    #[serde(deserialize_with = "or_default")]
    pub network: PodNetwork,
    /// The containers, in order; at least one.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<PodContainer>,
    /// Block volumes, as launch.json names them.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<PodVolume>,
    /// Block volumes, as the launch intent names them.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub volume_devices: Vec<PodVolume>,
    /// Labels of the pod (ours).
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The restart policy of the virtual machine (ours), as in `--restart`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub restart: String,
    /// The size of the writable disk (ours), as in `--disk-size`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub disk_size: String,
}

/// The size of the virtual machine; 0 takes the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodResources {
    /// vCPUs.
    pub cpu: u32,
    /// Guest memory in MiB.
    pub mem: u64,
}

/// Names and addresses, with the original's field names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodNetwork {
    /// `nameserver` lines of `/etc/resolv.conf`.
    #[serde(deserialize_with = "or_default")]
    pub nameservers: Vec<String>,
    /// The `search` line of `/etc/resolv.conf`.
    #[serde(deserialize_with = "or_default")]
    pub search_domain: String,
    /// IPv6 addresses.
    #[serde(deserialize_with = "or_default")]
    pub fip6: Vec<String>,
    /// The IPv6 gateway.
    #[serde(deserialize_with = "or_default")]
    pub fgw6: String,
    /// IPv4 addresses.
    #[serde(deserialize_with = "or_default")]
    pub tip4: Vec<String>,
    /// The IPv4 gateway.
    #[serde(deserialize_with = "or_default")]
    pub tgw4: String,
}

/// A container as a user asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodContainer {
    /// The container's name; empty: made from the image's.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Where its file tree comes from.
    #[serde(deserialize_with = "or_default")]
    pub image: PodImage,
    /// Its main process.
    #[serde(deserialize_with = "or_default")]
    pub process: PodProcess,
    /// When it starts, and what follows its end.
    #[serde(deserialize_with = "or_default")]
    pub lifecycle: PodLifecycle,
    /// Mounts of block volumes.
    #[serde(deserialize_with = "or_default")]
    pub volume_mounts: Vec<PodVolumeMount>,
    /// Mounts of the pod's own files.
    #[serde(deserialize_with = "or_default")]
    pub kernel_mounts: Vec<PodKernelMount>,
    /// An older spelling of `kernelMounts`.
    #[serde(deserialize_with = "or_default")]
    pub bind_mounts: Vec<PodKernelMount>,
    /// The host name (ours).
    #[serde(deserialize_with = "or_default")]
    pub hostname: String,
    /// Whether the root file system is read-only (ours).
    #[serde(deserialize_with = "or_default")]
    pub read_only: bool,
    /// Memory file systems (ours), as in `--tmpfs`.
    #[serde(deserialize_with = "or_default")]
    pub tmpfs: Vec<String>,
    /// Labels of the container (ours), beside the pod's.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its health check (ours), where it differs from the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<PodHealthcheck>,
}

/// A health check where it differs from the image's. Times are as in `--health-interval`: `1m30s`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodHealthcheck {
    /// `["NONE"]`, `["CMD", program, arguments…]` or `["CMD-SHELL", line]`.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// From the end of one check to the start of the next.
    #[serde(deserialize_with = "or_default")]
    pub interval: String,
    /// After which a check is killed and counts as failed.
    #[serde(deserialize_with = "or_default")]
    pub timeout: String,
    /// After a start, in which failures do not count.
    #[serde(deserialize_with = "or_default")]
    pub start_period: String,
    /// In place of `interval` during `startPeriod`.
    #[serde(deserialize_with = "or_default")]
    pub start_interval: String,
    /// Failures in a row that make a container unhealthy.
    #[serde(deserialize_with = "or_default")]
    pub retries: u32,
}

/// Where a container's file tree comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodImage {
    /// The image's reference.
    #[serde(rename = "ref", deserialize_with = "or_default")]
    pub reference: String,
    /// Layers that the original had already fetched.
    #[serde(deserialize_with = "or_default")]
    pub layers: Vec<PodLayer>,
}

/// A layer that the original had already fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodLayer {
    /// The layer's file name.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// The digest of the compressed layer.
    #[serde(deserialize_with = "or_default")]
    pub sha256: String,
    /// The digest of the layer's tar archive.
    #[serde(deserialize_with = "or_default")]
    pub digest: String,
}

/// A container's main process, where it differs from the image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodProcess {
    /// Replaces the image's entry point and command.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Added to the image's environment.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<PodEnv>,
    /// The working directory.
    #[serde(deserialize_with = "or_default")]
    pub workdir: String,
    /// Whether the process gets a terminal.
    #[serde(deserialize_with = "or_default")]
    pub tty: bool,
    /// `user[:group]`.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// Whether standard input is kept open (ours).
    #[serde(deserialize_with = "or_default")]
    pub stdin: bool,
    /// Whether an init is the container's PID 1, and the program its child (ours).
    #[serde(deserialize_with = "or_default")]
    pub init: bool,
    /// Seconds from the stop signal to SIGKILL (ours).
    pub stop_timeout: Option<u32>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodEnv {
    /// The variable's name.
    pub name: String,
    /// The variable's value.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
    /// Takes the value from the environment of the VM's process.
    pub value_from: Option<PodEnvFrom>,
    /// An older spelling of `valueFrom.podEnv`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub from_pod_env: String,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodEnvFrom {
    /// The name of a variable in the environment of the VM's process.
    #[serde(deserialize_with = "or_default")]
    pub pod_env: String,
}

/// When a container starts, and what follows its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodLifecycle {
    /// The step of the boot that waits for this container's end.
    #[serde(deserialize_with = "or_default")]
    pub before: String,
    /// Whether to start again after exit code 0.
    #[serde(deserialize_with = "or_default")]
    pub restart_on_success: bool,
    /// Whether to start again after another exit code.
    #[serde(deserialize_with = "or_default")]
    pub restart_on_failure: bool,
    /// Milliseconds between an end and the next start; 0 means 300.
    #[serde(deserialize_with = "or_default")]
    pub restart_delay: u64,
    /// How many starts at most, the first counted; 0 means no limit.
    #[serde(deserialize_with = "or_default")]
    pub max_restarts: u32,
    /// Whether the pod ends when this container has ended for good.
    #[serde(deserialize_with = "or_default")]
    pub critical: bool,
}

/// A block volume of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodVolume {
    /// The volume's name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The block device's path on the host.
    #[serde(deserialize_with = "or_default")]
    pub device_path: String,
    /// How the hypervisor hands it in.
    #[serde(deserialize_with = "or_default")]
    pub transport: String,
}

/// A mount of a block volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodVolumeMount {
    /// The volume's name.
    #[serde(deserialize_with = "or_default")]
    pub volume_name: String,
    /// The path inside the volume.
    #[serde(deserialize_with = "or_default")]
    pub volume_path: String,
    /// The path inside the container.
    #[serde(deserialize_with = "or_default")]
    pub guest_path: String,
    /// Whether writes are refused.
    #[serde(deserialize_with = "or_default")]
    pub read_only: bool,
    /// Whether an SNP guest has it all the same, although the host can read and change it (ours).
    #[serde(deserialize_with = "or_default")]
    pub untrusted: bool,
}

/// A mount of a file of the guest's own root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodKernelMount {
    /// The path in the guest's root.
    #[serde(deserialize_with = "or_default")]
    pub host_path: String,
    /// The path inside the container.
    #[serde(deserialize_with = "or_default")]
    pub guest_path: String,
    /// Whether writes are refused.
    #[serde(deserialize_with = "or_default")]
    pub read_only: bool,
}

/// Go writes an absent list or object as `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the original writes launch.json: every field of its types, absent lists as `null`.
    const LAUNCH_JSON: &str = r#"{
        "id": "f8b26feb-8997-4ab4-ae74-843b1abd9d44",
        "network": {"nameservers": ["1.1.1.1"], "searchDomain": "pod.local"},
        "resources": {"cpu": 1, "mem": 1024},
        "containers": [{
            "name": "db",
            "image": {"layers": [{"id": "0", "sha256": "aa", "digest": "bb"}], "ref": "postgres:15.3"},
            "process": {"cmd": null, "env": [{"name": "A", "valueFrom": {"podEnv": "B"}}], "tty": false},
            "lifecycle": {"restartOnSuccess": false, "restartOnFailure": true, "restartDelay": 500, "critical": true}
        }]
    }"#;

    #[test]
    fn reads_the_originals_launch_json() {
        let pod: PodFile = serde_json::from_str(LAUNCH_JSON).unwrap();
        assert_eq!(pod.resources, PodResources { cpu: 1, mem: 1024 });
        let container = &pod.containers[0];
        assert_eq!(container.image.reference, "postgres:15.3");
        assert!(container.process.cmd.is_empty());
        assert_eq!(container.process.env[0].value_from.as_ref().unwrap().pod_env, "B");
        assert!(container.lifecycle.restart_on_failure && container.lifecycle.critical);
    }

    #[test]
    fn refuses_a_field_it_does_not_know() {
        let error = serde_json::from_str::<PodFile>(r#"{"contaners": []}"#).unwrap_err().to_string();
        assert!(error.contains("contaners"), "{error}");
    }

    #[test]
    fn survives_a_round_trip() {
        let pod: PodFile = serde_json::from_str(LAUNCH_JSON).unwrap();
        let json = serde_json::to_string(&pod).unwrap();
        assert_eq!(serde_json::from_str::<PodFile>(&json).unwrap(), pod);
    }
}
