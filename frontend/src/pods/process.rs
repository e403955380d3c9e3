//! The process of a pod, waited for without a thread.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};

use pod::{PodDir, PodProcess};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::client::PodError;

/// A process that runs a pod. It outlives the daemon.
#[derive(Debug)]
pub(crate) struct Process(AsyncFd<Pidfd>);

#[derive(Debug)]
struct Pidfd(PodProcess);

impl AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Process {
    /// A process that was started, or found.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub(crate) fn new(process: PodProcess) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "what it is replaced by is unsafe; the descriptor is this object's own"
        )]
        let process = AsyncFd::with_interest(Pidfd(process), Interest::READABLE)?;
        Ok(Self(process))
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.0.get_ref().0.pid()
    }

    /// Returns when the process has ended.
    pub(crate) async fn ended(&self) {
        // An error of the descriptor would be for ever.
        let _readable = self.0.readable().await;
        // How it ended is in the pod's directory.
        let _reaped = self.0.get_ref().0.reap();
    }

    /// Ends the process at once: the power of the pod is cut.
    pub(crate) fn kill(&self) {
        // One that has ended is as good.
        let _killed = self.0.get_ref().0.kill();
    }
}

/// Asks a pod's guest to end, the containers first.
///
/// # Errors
/// The pod cannot be reached, or refuses.
pub(crate) async fn shutdown(dir: &PodDir) -> Result<(), PodError> {
    super::client::ask(dir, hyper::Method::POST, "/cradle/shutdown").await.map(drop)
}
