//! The one place where ended children are seen: PID 1 is the parent of what it makes and of every orphan.

use crate::signals::{self, ChildSignal};
use crate::watch::watch;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use tokio::io::Interest;
use tokio::sync::oneshot;

/// Children that are reaped before anything else has its turn: a container's processes can make PID 1 siblings without
/// end (`CLONE_PARENT`).
const AT_ONCE: u32 = 256;

/// Who waits for which child.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    children: RefCell<BTreeMap<i32, oneshot::Sender<WaitStatus>>>,
}

impl Reaper {
    /// How a child that was just made will have ended.
    pub(crate) fn expect(&self, pid: Pid) -> oneshot::Receiver<WaitStatus> {
        let (ended, status) = oneshot::channel();
        self.children.borrow_mut().insert(pid.as_raw_nonzero().get(), ended);
        status
    }

    /// Whether it is a child that has not ended.
    pub(crate) fn has(&self, pid: Pid) -> bool {
        self.children.borrow().contains_key(&pid.as_raw_nonzero().get())
    }

    /// Sends a signal to a child. One that has ended is passed over: its number may be another's by now.
    pub(crate) fn signal(&self, pid: Pid, number: u32) {
        if self.has(pid) {
            signals::send(pid, number);
        }
    }

    /// Reaps children that have ended; whether there may be more.
    pub(crate) fn reap(&self) -> bool {
        for _ in 0..AT_ONCE {
            let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) else { return false };
            let ended = self.children.borrow_mut().remove(&pid.as_raw_nonzero().get());
            // Orphans end unseen, and a child may outlive whoever asked for it.
            let _nobody = ended.map(|ended| ended.send(status));
        }
        true
    }

    /// Reaps for as long as the pod lives.
    ///
    /// # Errors
    /// A signal descriptor that cannot be waited for.
    pub(crate) async fn run(&self, signal: ChildSignal) -> io::Result<()> {
        let signal = watch(OwnedFd::from(signal), Interest::READABLE)?;
        loop {
            let mut ready = signal.readable().await?;
            signals::clear(signal.get_ref());
            ready.clear_ready();
            while self.reap() {
                tokio::task::yield_now().await;
            }
        }
    }
}
