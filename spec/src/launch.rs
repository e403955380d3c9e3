//! `launch.json`: everything the guest is told. Written by `kcradle summon`, read by guest-init.
//!
//! Field names are those of kraud's cradle where it has the field. The type is strict: an unknown field or
//! another version is refused, so an old guest never half-obeys a new host. [`crate::launch`] is versioned
//! by [`VERSION`].

mod network;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use network::{
    HostEntry, InterfaceAddress, InterfaceSpec, LinkChange, MAX_ADDRESSES, MAX_INTERFACES, MAX_MTU,
    MAX_QUEUES, MIN_MTU, MIN_MTU6, NetworkSpec,
};

/// The version of the launch specification.
pub const VERSION: u32 = 1;

/// The most containers a pod can have; frames carry the index in one byte.
pub const MAX_CONTAINERS: usize = 128;

/// What the guest is to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LaunchSpec {
    /// [`VERSION`].
    pub version: u32,
    /// The pod's id: 64 lower-case hexadecimal digits.
    pub id: String,
    /// The size of the virtual machine.
    pub resources: Resources,
    /// What the virtio block devices are, in the order of attachment (`/dev/vda`, `/dev/vdb`, …).
    pub disks: Vec<DiskSpec>,
    /// Directories and files of the host, each a virtio file system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<ShareSpec>,
    /// The containers, in order.
    pub containers: Vec<ContainerSpec>,
    /// Names and addresses; no interfaces but loopback where it is empty.
    #[serde(default, skip_serializing_if = "NetworkSpec::is_empty")]
    pub network: NetworkSpec,
    /// Whether no container's process is started: file systems are mounted and the Docker API answers, so that what
    /// the containers left can be read. Such a pod ends when it is told to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// Whether the stdio stream carries no output of the containers and no input for them: starts and ends, the
    /// guest's own lines and the exit record come as ever. An input that is kept open ends when a client of the
    /// Docker API ends it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

impl LaunchSpec {
    /// The id of the container with that index: 64 lower-case hexadecimal digits. The first has the pod's own;
    /// the others' differ from it in every part, so that short ids tell them apart.
    #[must_use]
    pub fn container_id(&self, index: usize) -> String {
        if index == 0 {
            return self.id.clone();
        }
        let seed = self.id.bytes().chain(index.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, fnv1a);
        (0u64..4).map(|part| format!("{:016x}", splitmix64(seed.wrapping_add(part)))).collect()
    }
}

/// A step of the FNV-1a hash.
const fn fnv1a(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

/// Spreads what distinguishes two numbers over all bits.
const fn splitmix64(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The size of the virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Resources {
    /// vCPUs, 1 to 32.
    pub cpu: u32,
    /// Guest memory in MiB, at least 64.
    pub mem: u64,
}

/// What a block device holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "kind")]
pub enum DiskSpec {
    /// A read-only EROFS with an image's merged file tree.
    Image {
        /// What the guest checks each of its blocks against: the pod is bound to the image then, and its host not
        /// believed. All images of a pod have it, or none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verity: Option<VeritySpec>,
    },
    /// The pod's writable ext4: one directory a container with its overlay's upper layer.
    Scratch,
    /// A named volume: an ext4 that outlives the pod, whose files are in its directory [`VOLUME_DATA`].
    #[serde(rename_all = "camelCase")]
    Volume {
        /// The volume's name, unique in the pod: letters, digits, `_`, `.`, `-`.
        name: String,
        /// Whether all of the file system is the volume, and not that directory of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        whole: bool,
        /// Whether the host refuses writes.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read_only: bool,
    },
}

/// What a disk is checked against by dm-verity: format 1, SHA-256, blocks of 4096 bytes, no salt, no superblock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VeritySpec {
    /// The digest at the tree's root: 64 lower-case hexadecimal digits.
    pub root: String,
    /// Blocks that are checked, from the disk's first; the tree begins behind them.
    pub data_blocks: u64,
}

impl VeritySpec {
    /// Whether it is what it says; there is no disk beyond 16 TiB.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.root.len() == 64
            && self.root.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && (1..=u64::from(u32::MAX)).contains(&self.data_blocks)
    }
}

/// The most shares a pod can have: each is a device, and a process on the host.
pub const MAX_SHARES: usize = 12;

/// A directory or file of the host that the guest mounts by its tag. The host keeps the path to itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ShareSpec {
    /// Unique in the pod: at most 36 bytes, letters, digits, `_`, `.`, `-`.
    pub tag: String,
    /// Whether the host refuses writes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The named volume that it is, if it is one; unique in the pod as those of disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Whether the user knows that the host can read and change it. A pod that is bound to its images has no other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
}

/// The name of a single file in the file system in which it is shared.
pub const SHARE_FILE: &str = "file";

/// The directory of a [`DiskSpec::Volume`] that is the volume; the guest makes it.
pub const VOLUME_DATA: &str = "_data";

/// One container, its image's configuration and the user's wishes already merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ContainerSpec {
    /// The container's name, unique in the pod: letters, digits, `_`, `.`, `-`.
    pub name: String,
    /// Where its file tree comes from.
    pub image: ImageSpec,
    /// Its main process.
    pub process: ProcessSpec,
    /// When it starts, and what follows its end.
    #[serde(default)]
    pub lifecycle: LifecycleSpec,
    /// The host name inside it.
    pub hostname: String,
    /// Mounted over its file tree, in this order, after the default file systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountSpec>,
    /// Limits of its control group.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Labels of the image and the user's, for the pod's Docker API.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How to find out whether the container works; `None`: nobody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthSpec>,
}

/// A health check, with the meaning that Docker gives it. Times are nanoseconds, as in the Docker Engine API;
/// 0 takes Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HealthSpec {
    /// `["CMD", program, arguments…]` or `["CMD-SHELL", line]`.
    pub test: Vec<String>,
    /// From the end of one check to the start of the next.
    #[serde(default)]
    pub interval: u64,
    /// After which a check is killed and counts as failed.
    #[serde(default)]
    pub timeout: u64,
    /// After a start, in which failures do not count.
    #[serde(default)]
    pub start_period: u64,
    /// In place of `interval` during `start_period`.
    #[serde(default)]
    pub start_interval: u64,
    /// Failures in a row that make a container unhealthy.
    #[serde(default)]
    pub retries: u32,
}

/// Where a container's file tree comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageSpec {
    /// The reference as the user wrote it, for people.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The digest of the image's manifest (`sha256:…`), empty where the source had none.
    pub digest: String,
    /// Index of the [`DiskSpec::Image`] in [`LaunchSpec::disks`].
    pub disk: u32,
    /// Where writes go.
    pub writable: Writable,
}

/// Where a container's writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Writable {
    /// To the disk of that index, a [`DiskSpec::Scratch`]; kept when the pod is run again.
    Disk(u32),
    /// To memory; gone when the container ends for good.
    Tmpfs,
    /// Nowhere: the root file system is read-only.
    ReadOnly,
}

/// A container's main process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProcessSpec {
    /// Entry point, command and arguments; at least one. The first is looked up in the container's PATH.
    pub cmd: Vec<String>,
    /// Whether the container's PID 1 is a small init, whose child the program is: it passes signals on, reaps orphans
    /// and ends with the program's exit code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
    /// The environment, in order; a later entry of the same name wins.
    #[serde(default)]
    pub env: Vec<EnvSpec>,
    /// The working directory inside the container; created where it is missing, as Docker does.
    pub workdir: String,
    /// Whether the process gets a terminal.
    pub tty: bool,
    /// Whether standard input is kept open for the host; else it is `/dev/null`.
    pub stdin: bool,
    /// Whether standard input ends with that of the first client of the Docker API that is attached to it (not a
    /// terminal's, which has no end). Else it stays open for the next.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub stdin_once: bool,
    /// `user[:group]`, each a name from the image's files or a number; empty: root.
    #[serde(default)]
    pub user: String,
    /// More groups of the process, each a name from the image's file or a number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Capabilities of the process by name (`CAP_CHOWN`): bounding, effective and permitted sets.
    pub capabilities: Vec<String>,
    /// Whether set-user-id programs are kept from raising privileges.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Limits of setrlimit(2).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<RlimitSpec>,
    /// The signal that asks the process to end; its number on x86-64.
    pub stop_signal: u32,
    /// Seconds from the stop signal to SIGKILL.
    pub stop_timeout: u32,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvSpec {
    /// The variable's name: not empty, no `=` and no NUL.
    pub name: String,
    /// The variable's value.
    #[serde(default)]
    pub value: String,
    /// Takes the value from elsewhere when the pod is run; the host resolves it, a guest refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvFrom>,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EnvFrom {
    /// The name of a variable in the environment of the VM's process.
    pub pod_env: String,
}

/// A limit of setrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RlimitSpec {
    /// The resource, as in `RLIMIT_NOFILE`.
    pub name: String,
    /// Soft limit; `u64::MAX` is infinity.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is infinity.
    pub hard: u64,
}

/// When a container starts, and what follows its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LifecycleSpec {
    /// The step of the boot that waits for this container to end: `volumes`, or empty for a container that
    /// runs beside the others.
    #[serde(default)]
    pub before: String,
    /// Whether to start again after exit code 0.
    #[serde(default)]
    pub restart_on_success: bool,
    /// Whether to start again after another exit code.
    #[serde(default)]
    pub restart_on_failure: bool,
    /// Milliseconds between an end and the next start; 0 means 300.
    #[serde(default)]
    pub restart_delay: u64,
    /// How many starts at most, the first counted; 0 means no limit.
    #[serde(default)]
    pub max_restarts: u32,
    /// Whether the pod ends when this container has ended with no restart due.
    #[serde(default)]
    pub critical: bool,
}

/// A file system mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MountSpec {
    /// The absolute path inside the container; resolved inside its root, never out of it.
    pub guest_path: String,
    /// What is mounted.
    pub source: MountSource,
    /// Whether writes are refused.
    #[serde(default)]
    pub read_only: bool,
}

/// What is mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MountSource {
    /// A memory file system.
    #[serde(rename_all = "camelCase")]
    Tmpfs {
        /// Its size in bytes; `None`: half of the memory.
        size: Option<u64>,
        /// Mode of its root, as in 0o1777.
        mode: u32,
        /// Whether programs in it may be executed.
        exec: bool,
    },
    /// A directory on the scratch disk that outlives the container's process (an anonymous volume); empty
    /// at first, then filled with what the image has at the path, as Docker does.
    Anonymous {
        /// A name unique in the pod: letters, digits, `_`, `.`, `-`.
        name: String,
    },
    /// A named volume. While it is empty it is filled with what the image has at the path, as Docker does.
    #[serde(rename_all = "camelCase")]
    Volume {
        /// That of a [`DiskSpec::Volume`], or of a [`ShareSpec`].
        name: String,
        /// What of the volume is mounted: an existing path in it. Nothing is copied then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subpath: Option<String>,
        /// Whether it stays as it is also where it is empty.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        no_copy: bool,
    },
    /// A directory or file of the host, as it is.
    Share {
        /// That of a [`ShareSpec`].
        tag: String,
        /// Whether it is a single file, [`SHARE_FILE`] of what is shared.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        file: bool,
    },
}

/// Limits of a container's control group (cgroup v2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LimitsSpec {
    /// `memory.max` in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// `pids.max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// `cpu.max` as thousandths of one CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_of_all_containers_differ() {
        let spec = LaunchSpec {
            version: VERSION,
            id: "5e".repeat(32),
            resources: Resources { cpu: 1, mem: 128 },
            disks: Vec::new(),
            shares: Vec::new(),
            containers: Vec::new(),
            network: NetworkSpec::default(),
            hold: false,
            quiet: false,
        };
        assert_eq!(spec.container_id(0), spec.id);
        let ids: Vec<_> = (0..MAX_CONTAINERS).map(|index| spec.container_id(index)).collect();
        assert!(ids.iter().all(|id| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        let short: std::collections::BTreeSet<_> = ids.iter().map(|id| &id[..12]).collect();
        assert_eq!(short.len(), MAX_CONTAINERS);
        let other = LaunchSpec { id: "5f".repeat(32), ..spec };
        assert_ne!(other.container_id(1), ids[1]);
    }

    #[test]
    fn disks_and_shares_have_this_form() {
        let verity = VeritySpec { root: "ab".repeat(32), data_blocks: 512 };
        assert!(verity.is_sound());
        assert!(!VeritySpec { root: "AB".repeat(32), ..verity.clone() }.is_sound());
        assert!(!VeritySpec { root: "ab".repeat(31), ..verity.clone() }.is_sound());
        assert!(!VeritySpec { data_blocks: 0, ..verity.clone() }.is_sound());
        assert!(!VeritySpec { data_blocks: 1 << 32, ..verity.clone() }.is_sound());
        let disks = vec![
            DiskSpec::Image { verity: None },
            DiskSpec::Image { verity: Some(verity) },
            DiskSpec::Scratch,
        ];
        let root = "ab".repeat(32);
        let golden = format!(
            r#"[{{"kind":"image"}},{{"kind":"image","verity":{{"root":"{root}","dataBlocks":512}}}},{{"kind":"scratch"}}]"#
        );
        assert_eq!(serde_json::to_string(&disks).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Vec<DiskSpec>>(&golden).unwrap(), disks);
        for wrong in [golden.replace("dataBlocks", "blocks"), golden.replace(":512", ":512,\"salt\":\"\"")] {
            serde_json::from_str::<Vec<DiskSpec>>(&wrong).unwrap_err();
        }
        let share = ShareSpec { tag: "share0".into(), read_only: false, volume: None, untrusted: true };
        assert_eq!(serde_json::to_string(&share).unwrap(), r#"{"tag":"share0","untrusted":true}"#);
    }

    #[test]
    fn what_is_not_asked_for_is_not_written() {
        let mut spec = LaunchSpec {
            version: VERSION,
            id: "0".to_owned(),
            resources: Resources { cpu: 1, mem: 128 },
            disks: Vec::new(),
            shares: Vec::new(),
            containers: Vec::new(),
            network: NetworkSpec::default(),
            hold: false,
            quiet: false,
        };
        let plain = r#"{"version":1,"id":"0","resources":{"cpu":1,"mem":128},"disks":[],"containers":[]"#;
        assert_eq!(serde_json::to_string(&spec).unwrap(), format!("{plain}}}"));
        assert_eq!(serde_json::from_str::<LaunchSpec>(&format!("{plain}}}")).unwrap(), spec);
        (spec.hold, spec.quiet) = (true, true);
        let golden = format!(r#"{plain},"hold":true,"quiet":true}}"#);
        assert_eq!(serde_json::to_string(&spec).unwrap(), golden);
        assert_eq!(serde_json::from_str::<LaunchSpec>(&golden).unwrap(), spec);
    }
}
