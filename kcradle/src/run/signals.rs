//! Signals of the VM's process: blocked in every thread and read from a descriptor by one.
//!
//! They are forwarded to the container, as `docker run` does; a change of the terminal's size is told apart.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a container gets. Not here: what job control, a child's end or a fault of this process sends.
const FORWARDED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTERM];

/// A signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The terminal has another size.
    Resized,
    /// A signal for the container, by number.
    Forward {
        /// The signal.
        number: u32,
        /// Whether a process sent it, and not the terminal to the whole foreground group.
        sent: bool,
    },
}

/// The descriptor that signals arrive on.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Blocks the signals in this thread and all that it starts, and makes the descriptor.
    pub(crate) fn block() -> io::Result<Self> {
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.add(Signal::SIGWINCH);
        set.thread_block()?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { descriptor })
    }

    /// Waits for the next signal.
    pub(crate) fn next(&self) -> io::Result<Arrival> {
        loop {
            let Some(info) = self.descriptor.read_signal()? else { continue };
            if info.ssi_signo == Signal::SIGWINCH as u32 {
                return Ok(Arrival::Resized);
            }
            // SI_USER is 0, SI_QUEUE and SI_TKILL are negative; the terminal's are SI_KERNEL.
            return Ok(Arrival::Forward { number: info.ssi_signo, sent: info.ssi_code <= 0 });
        }
    }
}

/// Whether a signal asks a process to end.
pub(crate) fn is_termination(number: u32) -> bool {
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM]
        .iter()
        .any(|signal| *signal as u32 == number)
}
