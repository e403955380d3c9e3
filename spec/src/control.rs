//! Messages on `control.sock` in the pod directory, between `kcradle` commands and the VM's process.
//!
//! One JSON object a line each way: the client sends one [`Request`], the VM's process sends one [`Reply`]
//! and closes. The socket has mode 0600.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::launch::InterfaceSpec;
use crate::{DiskLimits, LimitChanges};

/// The version of these messages; another is refused.
pub const VERSION: u32 = 1;

/// The longest line in bytes that either side reads.
pub const MAX_LINE: usize = 64 * 1024;

/// A request to the VM's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What to do.
    pub verb: Verb,
}

/// What the VM's process can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "name")]
pub enum Verb {
    /// Stop the containers in order, then end the VM; answered when the guest was told.
    #[serde(rename_all = "camelCase")]
    Stop {
        /// Seconds between the stop signal and the kill, for all containers; `None`: each its own.
        grace_seconds: Option<u32>,
    },
    /// End the VM at once, as if its power were cut.
    Kill,
    /// Send a signal to the first container's first process.
    Signal {
        /// The signal's number, 1 to 64.
        number: u32,
    },
    /// The disk of a volume has become larger: its file system is to follow. Answered by [`Reply::Pending`] until that is
    /// done, and may be asked again and again.
    Grow {
        /// The volume's name in launch.json.
        volume: String,
    },
    /// Other limits for a disk, at once and as long as it runs.
    Throttle {
        /// `/` for the pod's own disks, or a volume's name in launch.json.
        disk: String,
        /// The limits that change. Others stay, also those that only this run of the pod has.
        changes: LimitChanges,
    },
    /// Connect the pod to another network. With it come, by SCM_RIGHTS, the queues of the tap and last the connection that
    /// the place on the network lasts as long as. Answered by [`Reply::Pending`], see [`Verb::Settle`].
    Connect {
        /// The new interface.
        interface: InterfaceSpec,
        /// The network's resolvers.
        nameservers: Vec<String>,
    },
    /// Take an interface away and let go of its place. Answered by [`Reply::Pending`], see [`Verb::Settle`].
    Disconnect {
        /// The interface's name.
        interface: String,
    },
    /// Whether the guest has followed the last change of an interface: [`Reply::Pending`] until then. Its outcome is told
    /// once.
    Settle {
        /// The interface's name.
        interface: String,
        /// Wait no more for a guest that does not follow: an interface that was to come has not come, and one that was to go
        /// has gone.
        give_up: bool,
    },
    /// The limits that the disks have now: those of pod.json, or those that this run alone has.
    Limits,
    /// Describe the running pod.
    State,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Reply {
    /// Done.
    Ok,
    /// Begun, and not done yet.
    Pending,
    /// Refused or failed, with the reason.
    Error(String),
    /// Answer to [`Verb::Limits`]: by `/` or a volume's name, where there are any.
    Limits(BTreeMap<String, DiskLimits>),
    /// Answer to [`Verb::State`].
    #[serde(rename_all = "camelCase")]
    State {
        /// The pid of the VM's process.
        pid: u32,
        /// One entry a container: its pid in the guest while it runs.
        containers: Vec<Option<u32>>,
    },
}
