//! `state.json`: how a pod's last run stands. Written by the VM's process, read by everything else.
//!
//! Whether the pod runs is told by its lock, never by this file: a killed process leaves it behind. The file is
//! put in place by a rename before the boot; its descriptor is kept, since the process opens and renames nothing
//! once the guest runs, and the end is written over the beginning. Readers that meet half of that go by the lock.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use serde::{Deserialize, Serialize};
use spec::ExitRecord;

use crate::atomic_file;

use super::PodDir;

/// The version of [`PodState`].
pub(crate) const VERSION: u32 = 1;

/// The content of `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct PodState {
    /// [`VERSION`].
    pub(crate) version: u32,
    /// What the VM's process last said.
    pub(crate) status: Status,
    /// The pid of that process.
    pub(crate) pid: u32,
    /// Seconds since 1970 at which the run began.
    pub(crate) started: u64,
    /// How often this run started the virtual machine again.
    #[serde(default)]
    pub(crate) restarts: u32,
    /// Whether the pod was told to stop.
    #[serde(default)]
    pub(crate) stopped: bool,
}

/// What the VM's process last said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "name")]
pub(crate) enum Status {
    /// The virtual machine runs.
    Running,
    /// The virtual machine has ended and will be started again.
    Restarting {
        /// The exit code of its last run.
        code: u8,
    },
    /// The pod has ended.
    Exited {
        /// Seconds since 1970 at which it ended.
        finished: u64,
        /// The exit code of `kcradle run`.
        code: u8,
        /// The guest's own record, if it came to write one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<ExitRecord>,
        /// Why the pod ended without a record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}

/// `state.json` of a pod whose lock is held, open.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: File,
    state: PodState,
}

impl StateFile {
    /// Says that the pod runs.
    pub(crate) fn begin(dir: &PodDir, state: PodState) -> io::Result<Self> {
        atomic_file::write(&dir.state(), &serde_json::to_vec(&state)?, 0o600)?;
        let file = File::options().write(true).open(dir.state())?;
        Ok(Self { file, state })
    }

    /// Says how the pod ended, on the disk when this returns.
    pub(crate) fn end(&mut self, status: Status, stopped: bool) -> io::Result<()> {
        self.state.status = status;
        self.state.stopped = stopped;
        let bytes = serde_json::to_vec(&self.state)?;
        // By the calls that a confined thread has.
        self.file.rewind()?;
        self.file.write_all(&bytes)?;
        self.file.set_len(bytes.len() as u64)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_written_over_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let pod = PodDir::new(dir.path()).unwrap();
        let state = PodState {
            version: VERSION,
            status: Status::Running,
            pid: 7,
            started: 1,
            restarts: 0,
            stopped: false,
        };
        let mut file = StateFile::begin(&pod, state.clone()).unwrap();
        assert_eq!(pod.read_state().unwrap(), Some(state));
        let long = Status::Exited { finished: 2, code: 125, record: None, error: Some("x".repeat(500)) };
        file.end(long, false).unwrap();
        let short = Status::Exited { finished: 2, code: 0, record: None, error: None };
        file.end(short.clone(), true).unwrap();
        let read = pod.read_state().unwrap().unwrap();
        assert_eq!((read.status, read.stopped), (short, true));
    }

    #[test]
    fn the_state_has_this_form() {
        let mut state = PodState {
            version: VERSION,
            status: Status::Running,
            pid: 7,
            started: 1,
            restarts: 0,
            stopped: false,
        };
        let golden =
            r#"{"version":1,"status":{"name":"running"},"pid":7,"started":1,"restarts":0,"stopped":false}"#;
        assert_eq!(serde_json::to_string(&state).unwrap(), golden);
        state.status = Status::Exited {
            finished: 9,
            code: 3,
            record: Some(ExitRecord { code: 3, reason: None, stopped: false, containers: Vec::new() }),
            error: None,
        };
        let json = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<PodState>(&json).unwrap(), state);
    }
}
