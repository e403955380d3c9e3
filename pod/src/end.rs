//! How a pod's last run came to its end, for whoever did not wait for it or lost sight of it.

use spec::ExitRecord;

use crate::dir::{PodDir, PodError, read_bounded};
use crate::state::Status;

/// The exit code of what SIGKILL ended, as shells count.
pub(crate) const CODE_KILLED: u8 = 128 + 9;

/// The longest `run.log` that is read, in bytes.
const MAX_LOG: u64 = 64 << 10;

/// How a pod that does not run any more came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It never booted, for this reason.
    NotStarted(String),
    /// It ran.
    Ended(Ended),
}

/// How a pod that has run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Nanoseconds since 1970 at which the run began.
    pub started: u64,
    /// Nanoseconds since 1970 at which it ended; `None` where its process was killed and could not say so.
    pub finished: Option<u64>,
    /// The pod's exit code: the container's own, 125 where the machine failed, 137 where its process was killed.
    pub code: u8,
    /// The guest's own record, if it came to write one.
    pub record: Option<ExitRecord>,
    /// Why there is no record.
    pub error: Option<String>,
    /// Whether the pod was told to stop.
    pub stopped: bool,
}

/// How the last run of a pod ended, which does not run now. Of a pod that was held this says nothing.
///
/// # Errors
/// `state.json` cannot be read.
pub fn of(dir: &PodDir) -> Result<End, PodError> {
    let Some(state) = dir.read_state()? else { return Ok(End::NotStarted(last_words(dir))) };
    let mut ended = Ended {
        started: state.started,
        finished: None,
        code: CODE_KILLED,
        record: None,
        error: None,
        stopped: state.stopped,
    };
    if let Status::Exited { finished, code, record, error } = state.status {
        ended = Ended { finished: Some(finished), code, record, error, ..ended };
    }
    Ok(End::Ended(ended))
}

/// What the process said on its standard error.
fn last_words(dir: &PodDir) -> String {
    let bytes = read_bounded(&dir.run_log(), MAX_LOG).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim().trim_start_matches("kcradle: ");
    if text.is_empty() { "the pod's process ended before it ran".to_owned() } else { text.to_owned() }
}
