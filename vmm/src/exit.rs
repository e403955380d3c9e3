//! How a virtual machine ended. The first thread that knows says it; `vm` waits for it and stops the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::vcpu::VcpuError;

/// Why the guest is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmExit {
    /// Orderly: guest-init wrote [`spec::Stage::PowerOff`].
    PowerOff,
    /// guest-init could not go on: it wrote [`spec::Stage::InitFailed`].
    InitFailed,
    /// The guest asked for a reset by the keyboard controller, as the kernel does after a panic.
    GuestPanic,
    /// A vCPU shut down: a fault while handling a double fault.
    TripleFault,
    /// [`crate::VmHandle::kill`] was called.
    Killed,
}

impl VmExit {
    /// The reason as people read it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::PowerOff => "powered off",
            Self::InitFailed => "init failed",
            Self::GuestPanic => "guest kernel panicked",
            Self::TripleFault => "triple fault in the guest",
            Self::Killed => "killed",
        }
    }
}

/// A virtual machine that did not end by itself, or could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A vCPU cannot run on.
    #[error("vCPU {vcpu} failed")]
    Vcpu {
        /// The local APIC id.
        vcpu: u8,
        /// What happened.
        #[source]
        source: VcpuError,
    },
    /// A thread of the VMM ended by a panic of its own: a bug.
    #[error("thread {thread} of the virtual machine monitor panicked")]
    Panicked {
        /// The thread's name.
        thread: String,
    },
    /// The devices' loop failed.
    #[error("event loop {thread} failed")]
    EventLoop {
        /// The thread's name.
        thread: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start thread {thread}")]
    Spawn {
        /// The thread's name.
        thread: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A thread cannot be put in its sandbox.
    #[error("cannot confine thread {thread}")]
    Sandbox {
        /// The thread's name.
        thread: String,
        /// What failed.
        #[source]
        source: crate::sandbox::SandboxError,
    },
    /// The handler of the signal that stops vCPUs cannot be installed.
    #[error("cannot install the signal handler that stops vCPUs")]
    SignalHandler(#[source] vmm_sys_util::errno::Error),
}

/// The end of the virtual machine, shared by all of its threads.
#[derive(Default)]
pub(crate) struct End {
    reached: AtomicBool,
    outcome: Mutex<Option<Result<VmExit, RunError>>>,
    changed: Condvar,
}

impl End {
    /// Says how the virtual machine ended; the first word counts.
    pub(crate) fn reach(&self, outcome: Result<VmExit, RunError>) {
        let mut slot = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.reached.swap(true, Ordering::SeqCst) {
            *slot = Some(outcome);
            self.changed.notify_all();
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::SeqCst)
    }

    /// Waits for the end, for so long; then it may be waited for again.
    pub(crate) fn wait_at_most(&self, limit: Duration) -> Option<Result<VmExit, RunError>> {
        let slot = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(slot, limit, |slot| slot.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// Waits for the end. To be called once.
    pub(crate) fn wait(&self) -> Result<VmExit, RunError> {
        let mut slot = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = slot.take() {
                return outcome;
            }
            slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_first_word_counts() {
        let end = Arc::new(End::default());
        assert!(!end.is_reached());
        let other = Arc::clone(&end);
        let waiter = std::thread::spawn(move || other.wait());
        end.reach(Ok(VmExit::GuestPanic));
        end.reach(Ok(VmExit::Killed));
        assert!(end.is_reached());
        assert_eq!(waiter.join().unwrap().unwrap(), VmExit::GuestPanic);
    }

    #[test]
    fn a_wait_that_is_over_leaves_the_end_to_the_next() {
        let end = End::default();
        assert!(end.wait_at_most(Duration::from_millis(1)).is_none());
        end.reach(Ok(VmExit::PowerOff));
        assert!(matches!(end.wait_at_most(Duration::MAX), Some(Ok(VmExit::PowerOff))));
    }
}
