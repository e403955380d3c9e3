//! `--served`: a run that belongs to the API frontend, which has started this process and which it outlives.
//!
//! The frontend has locked the pod and listens at `docker.sock` before there is a process, so that its first requests wait
//! there. It hands the listening socket over as standard input and the lock as standard output ([`pod::start`]); neither
//! is used for anything else.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;

use pod::{LockError, PodDir, PodLock};
use rustix::io::Errno;
use rustix::net::sockopt::socket_acceptconn;

/// Takes the pod's lock away from standard output.
pub(super) fn take_lock(dir: &PodDir) -> Result<PodLock, LockError> {
    let failed = |source: io::Error| LockError::Lock { path: dir.lock(), source };
    let passed = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    let lock = PodLock::take_over(File::from(passed), &dir.lock())?;
    let null = File::options().write(true).open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdout(null).map_err(|error| failed(error.into()))?;
    Ok(lock)
}

/// Takes the listening socket away from standard input, and leaves the session of whoever started this process: what
/// ends that one is not meant for the pod.
pub(super) fn take_listener() -> io::Result<UnixListener> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    if !socket_acceptconn(&socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    match rustix::process::setsid() {
        // A process that a shell has started leads its group already, which is as good.
        Ok(_) | Err(Errno::PERM) => Ok(UnixListener::from(socket)),
        Err(error) => Err(error.into()),
    }
}
