//! What is kept of a container on the disk.

use std::time::SystemTime;

use bollard_stubs::models;
use serde::{Deserialize, Serialize};

/// The version of [`Stored`].
pub(crate) const VERSION: u32 = 1;

/// A container on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    pub(crate) state: State,
}

/// What a container was created with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// 64 lower-case hexadecimal digits.
    pub(crate) id: String,
    /// Without a slash.
    pub(crate) name: String,
    pub(crate) created: SystemTime,
    /// The image's name as the client wrote it.
    pub(crate) image: String,
    /// The image's id, `sha256:…`.
    pub(crate) image_id: String,
    /// The image's manifest, `sha256:…`; empty where it has none.
    pub(crate) manifest: String,
    /// The program and its arguments: entry point and command.
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    /// The client's wishes merged with the image's configuration, as inspect shows them.
    pub(crate) config: models::ContainerConfig,
    pub(crate) host_config: models::HostConfig,
    /// The networks that it was created with.
    pub(crate) networks: models::NetworkingConfig,
    pub(crate) mounts: Vec<models::MountPoint>,
}

/// How a container stood last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) status: Status,
    /// The last exit code.
    pub(crate) exit_code: i64,
    /// Why the last start failed.
    pub(crate) error: String,
    pub(crate) oom_killed: bool,
    /// The pid of the process that is its virtual machine, 0 where it does not run.
    pub(crate) pid: u32,
    /// The last start.
    pub(crate) started: Option<SystemTime>,
    /// The last end.
    pub(crate) finished: Option<SystemTime>,
    /// Restarts by its policy since it was last started by hand.
    pub(crate) restarts: u32,
    /// Stopped by hand since its last start: its policy does not start it again.
    pub(crate) stopped: bool,
}

/// Where a container stands; the words of the Docker Engine API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Not started yet.
    #[default]
    Created,
    /// Its pod runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It waits for its next start by its policy.
    Restarting,
    /// It is being removed; a daemon that finds it so after its start goes on with that.
    Removing,
    /// It has ended.
    Exited,
    /// Its removal failed.
    Dead,
}

impl Status {
    /// Docker's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}
