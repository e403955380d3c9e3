//! How a pod ended: the guest's last word, also kept by the host in the pod directory.

use serde::{Deserialize, Serialize};

/// The last frame of the stdio stream: how every container of the pod ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExitRecord {
    /// The pod's exit code: the critical container's that ended the pod, else the first container's.
    pub code: u8,
    /// Why the pod ended when it was not simply that its containers had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether a user asked for the end, of the pod or of the container that it ended with: it is not to be started again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// One entry a container, in the order of the launch specification.
    pub containers: Vec<ContainerExit>,
}

/// The state a container's process ended in. Also sent on its own each time a process ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ContainerExit {
    /// The container's name.
    pub name: String,
    /// The process's exit code; 128 + signal number where a signal ended it; 125, 126 or 127 where it
    /// could not be started, as Docker counts.
    pub code: u8,
    /// The number of the signal that ended the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    /// Whether the kernel killed a process of the container because its memory limit was reached.
    #[serde(default)]
    pub oom_killed: bool,
    /// Why the process could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often the process was started again.
    #[serde(default)]
    pub restarts: u32,
}
