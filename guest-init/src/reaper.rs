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

    /// Reaps every child that has ended.
    pub(crate) fn reap(&self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let ended = self.children.borrow_mut().remove(&pid.as_raw_nonzero().get());
            // Orphans end unseen, and a child may outlive whoever asked for it.
            let _nobody = ended.map(|ended| ended.send(status));
        }
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
            self.reap();
        }
    }
}
