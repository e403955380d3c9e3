//! `state.json`: how a pod's last run stands. Written by the VM's process, read by everything else.
//!
//! Whether the pod runs is told by its lock, never by this file: a killed process leaves it behind. The file is
//! put in place by a rename before the boot; its descriptor is kept, since the process opens and renames nothing
//! once the guest runs, and the end is written over the beginning. Readers that meet half of that go by the lock.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use spec::ExitRecord;

use crate::atomic_file;
use crate::dir::PodDir;

/// The version of [`PodState`].
pub const VERSION: u32 = 2;

/// The version before it, which has whole seconds where this one has nanoseconds.
const VERSION_IN_SECONDS: u64 = 1;

/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Makes a document of the version before one of this version; any other is left as it is.
pub(crate) fn upgrade(document: &mut Value) {
    if document.get("version").and_then(Value::as_u64) != Some(VERSION_IN_SECONDS) {
        return;
    }
    for path in ["/started", "/status/finished"] {
        if let Some(time) = document.pointer_mut(path)
            && let Some(seconds) = time.as_u64()
        {
            *time = seconds.saturating_mul(SECOND).into();
        }
    }
    document["version"] = VERSION.into();
}

/// The content of `state.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodState {
    /// [`VERSION`].
    pub version: u32,
    /// What the VM's process last said.
    pub status: Status,
    /// The pid of that process.
    pub pid: u32,
    /// Nanoseconds since 1970 at which the run began.
    pub started: u64,
    /// How often this run started the virtual machine again.
    #[serde(default)]
    pub restarts: u32,
    /// Whether the pod was told to stop.
    #[serde(default)]
    pub stopped: bool,
}

/// What the VM's process last said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", tag = "name")]
pub enum Status {
    /// The virtual machine runs.
    Running,
    /// The virtual machine has ended and will be started again.
    Restarting {
        /// The exit code of its last run.
        code: u8,
    },
    /// The pod has ended.
    Exited {
        /// Nanoseconds since 1970 at which it ended.
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
pub struct StateFile {
    file: File,
    state: PodState,
}

impl StateFile {
    /// Says that the pod runs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(dir: &PodDir, state: PodState) -> io::Result<Self> {
        atomic_file::write(&dir.state(), &serde_json::to_vec(&state)?, 0o600)?;
        let file = File::options().write(true).open(dir.state())?;
        Ok(Self { file, state })
    }

    /// Says how the pod ended, on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(&mut self, status: Status, stopped: bool) -> io::Result<()> {
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
            r#"{"version":2,"status":{"name":"running"},"pid":7,"started":1,"restarts":0,"stopped":false}"#;
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

    #[test]
    fn whole_seconds_of_the_version_before_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let pod = PodDir::new(dir.path()).unwrap();
        let old = r#"{"version":1,"status":{"name":"exited","finished":9,"code":3},"pid":7,"started":5}"#;
        std::fs::write(pod.state(), old).unwrap();
        let state = pod.read_state().unwrap().unwrap();
        let status = Status::Exited { finished: 9 * SECOND, code: 3, record: None, error: None };
        assert_eq!((state.version, state.started, state.status), (VERSION, 5 * SECOND, status));
        std::fs::write(pod.state(), r#"{"version":3}"#).unwrap();
        assert!(pod.read_state().is_err());
    }
}
