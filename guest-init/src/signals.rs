//! Signals of PID 1: SIGCHLD as a file descriptor, sending by number, and the clean slate of a new process.
#![expect(unsafe_code, reason = "signalfd, sigaction and real-time signal numbers have no safe wrapper")]

use rustix::fd::{AsFd, FromRawFd, OwnedFd};
use rustix::process::Pid;
use std::io;
use std::mem::MaybeUninit;

/// A descriptor that is readable while a child's end has not been seen.
#[derive(Debug)]
pub(crate) struct ChildSignal(OwnedFd);

impl ChildSignal {
    /// Blocks SIGCHLD for this process and opens the descriptor.
    ///
    /// # Errors
    /// What signalfd(2) says.
    pub(crate) fn open() -> io::Result<Self> {
        let set = only_sigchld();
        // SAFETY: `set` is initialised; no old mask is asked for.
        if unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `set` is initialised and outlives the call.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just returned this descriptor and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl From<ChildSignal> for OwnedFd {
    fn from(signal: ChildSignal) -> Self {
        signal.0
    }
}

/// Takes the pending signals of a [`ChildSignal`]; call it before reaping, so that none is missed.
pub(crate) fn clear(signal: impl AsFd) {
    // A signalfd_siginfo has 128 bytes; SIGCHLD is not queued more than once.
    let mut info = [0u8; 128];
    while rustix::io::read(&signal, &mut info).is_ok_and(|n| n > 0) {}
}

fn only_sigchld() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised in the line above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD) };
    // SAFETY: as above.
    unsafe { set.assume_init() }
}

/// Sends a signal by number, real-time ones included. A process that has ended is no error.
pub(crate) fn send(pid: Pid, signal: u32) {
    let Ok(signal) = libc::c_int::try_from(signal) else { return };
    // SAFETY: kill touches no memory. The pid is that of an unreaped child, so it cannot have been reused.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// All signals there are, as the kernel counts them: bit 0 is signal 1.
static ALL: u64 = u64::MAX;

/// Blocks all signals, those too that the C library keeps for itself.
pub(crate) fn block_all() {
    let (how, old) = (libc::SIG_SETMASK, std::ptr::null_mut::<u64>());
    // SAFETY: the set has the size given; no old one is asked for.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const ALL, old, size_of_val(&ALL)) };
}

/// Waits for a signal of those that are blocked, and takes it.
pub(crate) fn next() -> u32 {
    let (info, time) = (std::ptr::null_mut::<libc::siginfo_t>(), std::ptr::null::<libc::timespec>());
    loop {
        // SAFETY: the set has the size given; neither details nor a time limit are asked for.
        let number = unsafe {
            libc::syscall(libc::SYS_rt_sigtimedwait, &raw const ALL, info, time, size_of_val(&ALL))
        };
        // Else interrupted: by a debugger, or stopped and continued.
        if let Ok(number) = u32::try_from(number) {
            return number;
        }
    }
}

/// Sets all signals to their default actions and blocks none: the state a container's process starts in.
pub(crate) fn reset() {
    for signal in 1..=64 {
        // SAFETY: setting a default action refers to no handler; SIGKILL, SIGSTOP and the C library's own
        // signals are refused by the call and have their defaults.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was initialised in the line above; no old mask is asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}
