//! The start of a pod's process by the API frontend, in three steps: [`Starting::begin`] takes the pod's lock and listens at
//! its `docker.sock`, the frontend connects to that and sends its first requests, which wait there, and
//! [`Starting::spawn`] starts `kcradle run --served`.
//!
//! The process gets the lock as its standard output and the listening socket as its standard input: the pod is locked
//! without a gap from before the start to the process's end, and it inherits nothing else.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;

use crate::dir::{PodDir, PodError};
use crate::end::CODE_KILLED;
use crate::lock::{LockError, PodLock};
use crate::process::PodProcess;
use crate::socket::{self, SocketDir};
use crate::state::{self, StateFile, Status};

/// Why a pod's process was not started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The pod runs, or its lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// How the pod stands cannot be read.
    #[error(transparent)]
    State(#[from] PodError),
    /// What an earlier run left cannot be put in order, or the socket or the log cannot be made.
    #[error("cannot prepare {}", .path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("cannot start {}", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process cannot be held on to.
    #[error("cannot open the process {pid}")]
    Open {
        /// Its number.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A pod that is locked, and at whose `docker.sock` clients may connect. Dropped, their connections break and the pod is
/// free.
#[derive(Debug)]
pub struct Starting {
    dir: PodDir,
    hold: bool,
    listener: UnixListener,
    lock: PodLock,
}

impl Starting {
    /// Locks a pod that does not run. With `hold` no container's process will be started: the pod is only read, and the end
    /// of its last run is kept.
    ///
    /// # Errors
    /// The pod runs, or its files cannot be written.
    pub fn begin(dir: &PodDir, hold: bool) -> Result<Self, StartError> {
        let lock = PodLock::take(&dir.lock())?;
        if hold {
            settle(dir)?;
        } else {
            // How an earlier run ended must not be taken for the end of this one.
            remove(&dir.state())?;
            remove(&dir.run_log())?;
        }
        let listener = SocketDir::open(dir)
            .and_then(|sockets| sockets.bind(socket::DOCKER))
            .map_err(|source| StartError::Prepare { path: dir.path().join(socket::DOCKER), source })?;
        Ok(Self { dir: dir.clone(), hold, listener, lock })
    }

    /// Starts the process: `program` is `kcradle`. It has a session of its own and outlives this one; what it has to say of
    /// itself goes to `run.log`. That it was started does not mean that it runs the pod: see [`crate::end`].
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(self, program: &Path) -> Result<PodProcess, StartError> {
        let path = self.dir.run_log();
        let log = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let log = log.map_err(|source| StartError::Prepare { path, source })?;
        let mut command = Command::new(program);
        command.args(["run", "--served"]).args(self.hold.then_some("--hold")).arg("--").arg(self.dir.path());
        command.stdin(OwnedFd::from(self.listener)).stdout(self.lock.into_file()).stderr(log);
        command.env_clear().current_dir("/");
        let child =
            command.spawn().map_err(|source| StartError::Spawn { program: program.to_owned(), source })?;
        // Until it is waited for, its number is its own.
        let pid = child.id();
        let pidfd = open(pid).map_err(|source| StartError::Open { pid, source })?;
        Ok(PodProcess { pidfd, pid, held: self.hold })
    }
}

/// Writes down the end of a run whose process was killed and could not.
fn settle(dir: &PodDir) -> Result<(), StartError> {
    let Some(mut state) = dir.read_state()? else { return Ok(()) };
    if matches!(state.status, Status::Exited { .. }) {
        return Ok(());
    }
    state.status = Status::Exited { finished: state::now(), code: CODE_KILLED, record: None, error: None };
    match StateFile::begin(dir, state) {
        Ok(_) => Ok(()),
        Err(source) => Err(StartError::Prepare { path: dir.state(), source }),
    }
}

fn remove(path: &Path) -> Result<(), StartError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StartError::Prepare { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}
