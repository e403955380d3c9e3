//! System call filters, one a thread role.
//!
//! Compiled by `builder` before any thread starts; each thread applies its own as its first act.

use std::sync::Arc;

use seccompiler::BpfProgram;

/// What a thread does, and so which system calls it may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs a vCPU.
    Vcpu,
    /// Runs the devices' event loop.
    EventLoop,
    /// Reads and writes one disk.
    Disk,
    /// Waits for the end of the virtual machine.
    Main,
    /// Moves the stdio stream's bytes between host descriptors and sockets.
    Stdio,
}

/// A compiled filter that a thread puts on itself; empty where filters are switched off.
#[derive(Clone, Default)]
pub struct Filter(Option<Arc<BpfProgram>>);

/// A filter cannot be made or applied.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The kernel refuses the filter.
    #[error("cannot apply the system call filter")]
    Apply(#[source] seccompiler::Error),
}

impl Filter {
    /// A filter that allows everything.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Puts the filter on the calling thread, for good.
    ///
    /// # Errors
    /// [`SeccompError::Apply`] where the kernel refuses it.
    pub fn apply(&self) -> Result<(), SeccompError> {
        match &self.0 {
            Some(program) => seccompiler::apply_filter(program).map_err(SeccompError::Apply),
            None => Ok(()),
        }
    }
}
