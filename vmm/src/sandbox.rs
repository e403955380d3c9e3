//! Privileges that the VMM gives up before its guest runs. System call filters are in `seccomp`.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::seccomp::SeccompError;

/// A privilege cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// capset(2).
    #[error("cannot drop all capabilities")]
    DropCapabilities(#[source] io::Error),
    /// PR_SET_NO_NEW_PRIVS.
    #[error("cannot forbid new privileges")]
    NoNewPrivileges(#[source] io::Error),
    /// PR_SET_DUMPABLE.
    #[error("cannot forbid memory dumps")]
    Dumpable(#[source] io::Error),
    /// The system call filter.
    #[error("cannot filter system calls")]
    Filter(#[from] SeccompError),
}

/// Makes all threads that are started later share one arena of the C library's allocator. glibc asks for
/// `/proc/sys/vm/overcommit_memory` when it trims any further arena, which a filtered thread would die of; and what one
/// thread has freed in an arena of its own no other one uses again.
#[expect(unsafe_code, reason = "mallopt(3) has no safe interface")]
pub fn share_one_arena() {
    // SAFETY: mallopt(3) takes two numbers and is safe to call from any thread (MT-Unsafe only at the first
    // allocation, which is long past).
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Drops all capabilities of the calling thread and of the threads it starts later, forbids their return by
/// execve(2), and forbids core dumps and tracing of the process by others of its user.
///
/// Threads that exist already keep theirs, and their arenas: call it before others are started, or in each.
///
/// # Errors
/// See [`SandboxError`]; what was given up stays so.
pub fn drop_privileges() -> Result<(), SandboxError> {
    share_one_arena();
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_no_new_privs(true).map_err(|error| SandboxError::NoNewPrivileges(error.into()))?;
    set_capabilities(None, sets).map_err(|error| SandboxError::DropCapabilities(error.into()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| SandboxError::Dumpable(error.into()))
}

/// Keeps a program that this process executes from getting any descriptor but standard input, output and error: also those
/// that this process got from its parent and does not know of.
///
/// # Errors
/// close_range(2), which Linux has since 5.11 in this form.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
pub fn pass_on_standard_streams_only() -> io::Result<()> {
    // SAFETY: no descriptor is closed: the call sets a flag that has no effect before execve(2).
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes devices and set-user-id programs, and writing where that is wished, from the mount behind a descriptor of
/// open_tree(2) and from all that are below it, whatever their places are called.
///
/// # Errors
/// mount_setattr(2), which Linux has since 5.12.
#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]
pub fn restrict_mounts(tree: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let writing = if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 };
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | writing,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a NUL-terminated empty string and `attributes` has the size given; both outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_is_left_and_a_later_thread_has_nothing_either() {
        let status = std::thread::spawn(|| {
            drop_privileges().unwrap();
            std::thread::spawn(|| fs::read_to_string("/proc/thread-self/status").unwrap()).join().unwrap()
        });
        let status = status.join().unwrap();
        for line in [
            "CapInh:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(status.contains(line), "{line} not in {status}");
        }
    }
}
