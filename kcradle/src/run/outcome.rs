//! What a run came to: its exit code, and what the user is told.

use spec::{ContainerExit, ExitRecord};
use vmm::VmExit;

use crate::failure::{CODE_RUN_FAILED, Failure, push_visible};

/// The exit code of what SIGKILL ended, as shells count.
const CODE_KILLED: u8 = 128 + 9;

/// How a run ended, with all that is known of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The guest's last word.
    pub(crate) record: Option<ExitRecord>,
    /// How the virtual machine ended, or the cause of its failure.
    pub(crate) machine: Result<VmExit, String>,
    /// The signal that ended the pod before a container was started.
    pub(crate) signal: Option<u32>,
    /// Whether the user had it ended.
    pub(crate) stopped: bool,
    /// Why the guest's stream was not read on.
    pub(crate) breach: Option<String>,
    /// The last lines of `console.log`.
    pub(crate) last_lines: Vec<String>,
}

impl Outcome {
    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match (&self.record, self.signal) {
            (Some(record), _) => record.code,
            (None, Some(number)) => u8::try_from(128 + number).unwrap_or(u8::MAX),
            (None, None) if self.stopped && self.machine == Ok(VmExit::Killed) => CODE_KILLED,
            (None, None) => CODE_RUN_FAILED,
        }
    }

    /// Why there is no record, if there should be one.
    pub(crate) fn error(&self) -> Option<String> {
        if self.record.is_some() || self.code() != CODE_RUN_FAILED {
            return None;
        }
        Some(match (&self.breach, &self.machine) {
            (Some(breach), _) => breach.clone(),
            (None, Ok(VmExit::PowerOff)) => {
                "the guest powered off and did not say how its containers ended".to_owned()
            }
            (None, Ok(VmExit::InitFailed)) => "the guest could not set up the pod".to_owned(),
            (None, Ok(exit)) => format!("the virtual machine ended: {}", exit.reason()),
            (None, Err(cause)) => format!("the virtual machine failed: {cause}"),
        })
    }

    /// What goes to standard error besides the containers' own output, a line each.
    pub(crate) fn messages(&self) -> Vec<String> {
        match &self.record {
            Some(record) => {
                let mut lines: Vec<_> = record.containers.iter().filter_map(message).collect();
                // Of an end that the user asked for, or that went well, there is nothing to say.
                if let Some(reason) = record.reason.as_ref().filter(|_| lines.is_empty()) {
                    let wanted = self.stopped || record.code == 0;
                    lines.extend((!wanted).then(|| visible(reason)));
                }
                lines
            }
            None => Vec::new(),
        }
    }

    /// The failure that ended the run, if it was not the containers' own.
    pub(crate) fn failure(&self, dir: &std::path::Path) -> Option<Failure> {
        let error = self.error()?;
        let hint = match &self.machine {
            Ok(VmExit::GuestPanic | VmExit::TripleFault) => {
                format!(
                    "`kcradle run --console {0}` shows the kernel's messages; more memory may help",
                    dir.display()
                )
            }
            _ => format!(
                "`kcradle run --console {0}` shows what the guest said; it is kept in {0}/console.log",
                dir.display()
            ),
        };
        Some(Failure::new(error).details(&self.last_lines).hint(hint).code(CODE_RUN_FAILED))
    }
}

/// What is to be said of a container: that it could not be started, or had too little memory.
fn message(container: &ContainerExit) -> Option<String> {
    let name = visible(&container.name);
    if let Some(error) = &container.error {
        return Some(format!("cannot start container {name}: {}", visible(error)));
    }
    container.oom_killed.then(|| format!("container {name} ran out of memory"))
}

/// Texts of the guest may hold anything.
fn visible(text: &str) -> String {
    let mut visible = String::new();
    push_visible(&mut visible, text);
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(record: Option<ExitRecord>, machine: Result<VmExit, String>) -> Outcome {
        Outcome {
            record,
            machine,
            signal: None,
            stopped: false,
            breach: None,
            last_lines: vec!["Kernel panic".into()],
        }
    }

    #[test]
    fn the_record_is_the_last_word() {
        let container = ContainerExit {
            name: "web".into(),
            code: 127,
            error: Some("exec: \"nope\x1b\": executable file not found in $PATH".into()),
            ..ContainerExit::default()
        };
        let record = ExitRecord { code: 127, reason: None, stopped: false, containers: vec![container] };
        let outcome = outcome(Some(record), Ok(VmExit::Killed));
        assert_eq!(outcome.code(), 127);
        assert!(outcome.failure("/p".as_ref()).is_none());
        let message = "cannot start container web: exec: \"nope\\u{1b}\": executable file not found in $PATH";
        assert_eq!(outcome.messages(), [message]);
    }

    #[test]
    fn a_lost_guest_is_125_with_its_last_words() {
        let outcome = outcome(None, Ok(VmExit::GuestPanic));
        assert_eq!(outcome.code(), CODE_RUN_FAILED);
        let error = outcome.error().unwrap();
        assert!(error.contains("panic"), "{error}");
        assert!(outcome.failure("/p".as_ref()).is_some());
    }

    #[test]
    fn the_reason_of_an_unwanted_end_is_told() {
        let record = ExitRecord {
            code: 9,
            reason: Some("critical container a ended".into()),
            stopped: false,
            containers: vec![],
        };
        let mut outcome = outcome(Some(record), Ok(VmExit::PowerOff));
        assert_eq!(outcome.messages(), ["critical container a ended"]);
        outcome.stopped = true;
        assert!(outcome.messages().is_empty());
    }

    #[test]
    fn a_wanted_end_is_no_failure() {
        let mut outcome = outcome(None, Ok(VmExit::Killed));
        outcome.stopped = true;
        assert_eq!((outcome.code(), outcome.error()), (CODE_KILLED, None));
        outcome.signal = Some(15);
        assert_eq!(outcome.code(), 143);
    }
}
