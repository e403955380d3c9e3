//! A container as engine and API share it: what it is for ever, and its state, which the engine keeps current.

use std::time::SystemTime;

use spec::ContainerSpec;
use tokio::sync::watch;

use crate::log::Log;

/// A container of the pod. Engines hand it out in an `Rc`.
#[derive(Debug)]
pub struct Container {
    /// 64 lower-case hexadecimal digits.
    pub id: String,
    /// Its index in the launch specification; the guest itself has the number of containers.
    pub index: usize,
    /// What it was made of.
    pub spec: ContainerSpec,
    /// When it was made.
    pub created: SystemTime,
    /// Its state. The engine sends, requests subscribe.
    pub state: watch::Sender<ContainerState>,
    /// What it has written.
    pub log: Log,
}

/// What changes in a container's life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Where it stands.
    pub status: Status,
    /// The first process's pid in the guest while it runs, else 0.
    pub pid: u32,
    /// The last exit code.
    pub exit_code: u8,
    /// Why the last start failed.
    pub error: String,
    /// Whether the kernel killed for the memory limit in the last run.
    pub oom_killed: bool,
    /// The last start.
    pub started: Option<SystemTime>,
    /// The last end.
    pub finished: Option<SystemTime>,
    /// Restarts by the container's own rules.
    pub restarts: u32,
    /// How often it has ended: what `wait` for the next exit waits for.
    pub exits: u64,
    /// Whether it will never run again: the machine is about to end.
    pub removed: bool,
    /// The limits that hold now.
    pub limits: spec::launch::LimitsSpec,
    /// What its health check found; `None` without one.
    pub health: Option<Health>,
}

/// Where a container stands; the words of the Docker Engine API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Not started yet.
    #[default]
    Created,
    /// Its process runs.
    Running,
    /// Frozen.
    Paused,
    /// Waits for its next start by its rules.
    Restarting,
    /// Ended.
    Exited,
}

/// What a container's health check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five checks, oldest first.
    pub log: Vec<HealthCheck>,
}

/// The verdict of health checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthStatus {
    /// No verdict yet.
    #[default]
    Starting,
    /// The last check passed.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
}

/// One run of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// Its exit code; -1 where it was killed.
    pub exit_code: i32,
    /// What it wrote, at most 4096 bytes of it.
    pub output: String,
}

impl ContainerState {
    /// Whether its process exists: Docker's `State.Running`, true also while it is paused.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// The status of a container whose process does not run and is not about to. As Docker has it, one that has never
    /// run has not ended either, also where its program could not be executed.
    #[must_use]
    pub const fn at_rest(&self) -> Status {
        if self.started.is_some() { Status::Exited } else { Status::Created }
    }
}
