//! The process of a pod as the API frontend sees it: [`crate::start`] makes one, [`adopt`] finds it again after a restart
//! of the frontend. The descriptor in it is a pidfd: it is readable when the process has ended (poll(2)), and no signal
//! through it reaches another process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use spec::control::{Reply, Verb};
use thiserror::Error;

use crate::control;
use crate::dir::{PodDir, PodError};
use crate::socket::{self, SocketDir};
use crate::state::Status;

/// The longest that a process may take from its start to its socket.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time between two looks at it meanwhile.
const INTERVAL: Duration = Duration::from_millis(5);

/// Why a pod's process was not found or ended.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// Whether the pod runs cannot be seen.
    #[error("cannot see whether {} runs", .dir.display())]
    Look {
        /// The pod directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The pod's lock is held, and nobody listens.
    #[error("the process that holds {} does not answer", .0.display())]
    Silent(PathBuf),
    /// The process cannot be told to end.
    #[error("cannot end the pod's process")]
    Signal(#[source] io::Error),
    /// The process refuses.
    #[error("the pod refuses: {0}")]
    Refused(String),
    /// How the pod stands cannot be read.
    #[error(transparent)]
    State(#[from] PodError),
}

/// A pod's process.
#[derive(Debug)]
pub struct PodProcess {
    pub(crate) pidfd: OwnedFd,
    pub(crate) pid: u32,
    pub(crate) held: bool,
}

/// Finds the process that runs a pod; `None` where none does. One that has only just been started is waited for until it
/// has its socket.
///
/// # Errors
/// The lock or the process cannot be looked at, or it gets no socket for seconds.
pub fn adopt(dir: &PodDir) -> Result<Option<PodProcess>, ProcessError> {
    let look = |source| ProcessError::Look { dir: dir.path().to_owned(), source };
    let deadline = Instant::now() + PATIENCE;
    while dir.is_running().map_err(look)? {
        if let Some((pid, pidfd)) = listener(dir).map_err(look)? {
            match dir.read_state() {
                // The end is being written over the beginning; what stays so is damaged.
                Err(PodError::Parse { .. }) if Instant::now() < deadline => {}
                state => {
                    // The process of a pod that is held leaves the end of the last run as it is.
                    let held = state?.is_none_or(|state| matches!(state.status, Status::Exited { .. }));
                    return Ok(Some(PodProcess { pidfd, pid, held }));
                }
            }
        } else if Instant::now() >= deadline {
            return Err(ProcessError::Silent(dir.lock()));
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(None)
}

/// The process that listens at `control.sock`, if there is one.
fn listener(dir: &PodDir) -> io::Result<Option<(u32, OwnedFd)>> {
    let Ok(stream) = SocketDir::open(dir)?.connect(socket::CONTROL) else { return Ok(None) };
    let pid = socket_peercred(&stream)?.pid;
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The connection lives as long as its listener: it is still that process which the number means.
    let mut descriptors = [PollFd::new(&stream, PollFlags::RDHUP)];
    let broken = poll(&mut descriptors, Some(&Timespec::default()))? > 0;
    let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
    Ok((!broken).then_some((pid, pidfd)))
}

impl PodProcess {
    /// The process's number, for people.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the pod is held: no container's process runs in it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// The wait was interrupted for good.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], None) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the end of a process that this one has started off the kernel's hands, once it has ended; `None` before, and
    /// for a process that another has started.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn reap(&self) -> io::Result<Option<ExitStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) | Err(Errno::CHILD) => Ok(None),
            Ok(Some(status)) => Ok(status
                .exit_status()
                .map(|code| ExitStatus::from_raw((code & 0xff) << 8))
                .or_else(|| status.terminating_signal().map(ExitStatus::from_raw))),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the process at once, as if the power of its machine were cut. One that has ended is passed over.
    ///
    /// # Errors
    /// This user may not.
    pub fn kill(&self) -> Result<(), ProcessError> {
        self.signal(Signal::KILL)
    }

    /// Asks the pod to end: its containers are stopped in order, with so many seconds from the stop signal to the kill
    /// (`None`: each its own), and its disks are flushed. A pod that has not come to boot ends at once, one that has ended
    /// is passed over. May wait some seconds for the process's answer.
    ///
    /// # Errors
    /// The process refuses, or this user may not reach it.
    pub fn stop(&self, dir: &PodDir, grace: Option<u32>) -> Result<(), ProcessError> {
        match control::ask(dir, Verb::Stop { grace_seconds: grace }) {
            Ok(Reply::Error(why)) => Err(ProcessError::Refused(why)),
            Ok(_) => Ok(()),
            // It has no socket yet, or any more.
            Err(_) => self.signal(Signal::TERM),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(ProcessError::Signal(error.into())),
        }
    }
}

impl AsFd for PodProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

#[cfg(test)]
mod tests;
