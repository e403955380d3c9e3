//! Making and replacing a process: clone3 into new namespaces and a control group, execve, _exit.
#![expect(unsafe_code, reason = "clone3, execve, close_range and _exit have no safe wrapper")]

use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::process::Pid;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// The flag of clone3(2) that does not fit the C library's type for flags.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

unsafe extern "C" {
    /// The process's own variables, as the C library keeps them.
    static environ: *const *const libc::c_char;
}

/// Whether this process is a clone of PID 1 that has not executed its program yet: its panics are not PID 1's.
static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// Whether the caller runs in a process that [`clone_into`] made.
pub(crate) fn in_child() -> bool {
    IN_CHILD.load(Ordering::Relaxed)
}

/// The namespaces that a container's first process gets with its clone.
pub(crate) const NEW_NAMESPACES: libc::c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;

/// Makes a child in new namespaces, and in a control group from its first instruction on. The child runs `body`
/// and ends; the parent gets its pid.
///
/// # Errors
/// What clone3(2) says.
pub(crate) fn clone(
    cgroup: Option<BorrowedFd<'_>>,
    namespaces: libc::c_int,
    body: impl FnOnce(),
) -> io::Result<Pid> {
    // SAFETY: clone_args is plain integers, for which zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(namespaces.unsigned_abs());
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM the child has its own copy of all memory and goes on at this point, as after
    // fork. It lacks PID 1's other threads. What those may have locked, the child does not use: the C library's
    // allocator, in whose place it has one of its own (heap.rs), and what is shared with threads that work on
    // files. All else (std, system calls) takes no lock that such a thread could hold.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match i32::try_from(pid) {
        Ok(0) => {
            IN_CHILD.store(true, Ordering::Relaxed);
            body();
            // SAFETY: ends the child without running the parent's destructors and exit handlers.
            unsafe { libc::_exit(255) }
        }
        Ok(pid) => Pid::from_raw(pid).ok_or_else(io::Error::last_os_error),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EOVERFLOW)),
    }
}

/// Has `make` make children in the PID namespace of the process that `first` stands for; `own` is the caller's pidfd.
///
/// # Errors
/// What setns(2) says, ESRCH where the process has ended; those of `make`. Where the caller's own namespace cannot be
/// taken again the machine ends: all later children would be in the wrong one.
pub(crate) fn in_pid_namespace<T>(
    first: BorrowedFd<'_>,
    own: BorrowedFd<'_>,
    make: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    set_namespaces(first, libc::CLONE_NEWPID)?;
    let made = make();
    if let Err(error) = set_namespaces(own, libc::CLONE_NEWPID) {
        crate::fail(&format!("cannot return to the own PID namespace: {error}"));
    }
    made
}

/// Takes the caller into all other namespaces of a container. Root and working directory are then those of the mount
/// namespace, whatever the process has made its own.
///
/// # Errors
/// What setns(2) says, ESRCH where the process has ended.
pub(crate) fn join_namespaces(first: BorrowedFd<'_>) -> io::Result<()> {
    let all = libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP;
    set_namespaces(first, all)
}

fn set_namespaces(of: BorrowedFd<'_>, kinds: libc::c_int) -> io::Result<()> {
    // SAFETY: changes what names and numbers mean to the calling thread, and touches no memory and no descriptor.
    if unsafe { libc::setns(of.as_raw_fd(), kinds) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Makes the caller's control group the root of those it sees.
///
/// # Errors
/// What unshare(2) says.
pub(crate) fn unshare_cgroup() -> io::Result<()> {
    // SAFETY: a new control group namespace changes what paths are shown, no memory and no descriptor.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Closes, in a clone of PID 1, what it has of PID 1's descriptors above standard error, but for those that are kept.
///
/// A container can hold a clone up for as long as it likes, or lead it to `/proc/self/fd` before its exec: neither may
/// keep other containers' pipes and clients' connections open, nor reach them.
///
/// # Errors
/// What close_range(2) says.
pub(crate) fn close_others(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let kept = kept.iter().map(|fd| fd.as_raw_fd().unsigned_abs());
    let mut kept: Vec<u32> = kept.filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if first < fd {
            // SAFETY: this is the clone's own table. Owners of what is closed are on stacks and in tasks that never run
            // in a clone, which ends with exec or _exit.
            let done = unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0u32) };
            if done != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = first.max(fd.saturating_add(1));
    }
    Ok(())
}

/// Marks every descriptor above standard error to be closed by exec.
///
/// # Errors
/// What close_range(2) says.
pub(crate) fn close_all_on_exec() -> io::Result<()> {
    // SAFETY: marks descriptors only; none is closed under an owner.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Replaces the process by the program at the path from `dir`, or by `dir` itself where the path is empty; with those
/// variables, or the process's own.
///
/// # Errors
/// What execveat(2) says.
pub(crate) fn execute(
    dir: BorrowedFd<'_>,
    path: &CString,
    arguments: &[CString],
    environment: Option<&[CString]>,
) -> io::Result<Infallible> {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, envp) = (pointers(arguments), environment.map(pointers));
    // SAFETY: this program never changes its own variables, neither the list nor what it points to.
    let own = unsafe { environ };
    let envp = envp.as_ref().map_or(own, Vec::as_ptr);
    let (dir, argv) = (dir.as_raw_fd(), argv.as_ptr());
    // SAFETY: the path and every string are NUL-terminated, both arrays end in a null pointer, all outlive the call.
    unsafe { libc::syscall(libc::SYS_execveat, dir, path.as_ptr(), argv, envp, libc::AT_EMPTY_PATH) };
    Err(io::Error::last_os_error())
}

/// The words that this program was executed with.
pub(crate) fn own_arguments() -> Vec<String> {
    let mut words = Vec::new();
    // Their number, they, a null pointer, the variables: that is how a process finds its stack (System V ABI for
    // AMD64, 3.4.1). std's way to them has a kilobyte.
    // SAFETY: as the first use of the variables.
    let mut last = unsafe { environ.sub(2) };
    loop {
        // SAFETY: within the words or, below them, at their number.
        let word = unsafe { *last };
        if word.addr() == words.len() {
            break;
        }
        // SAFETY: not the number, so it is a word, which ends in NUL.
        let word = unsafe { CStr::from_ptr(word) };
        words.push(word.to_str().unwrap_or_default().to_owned());
        // SAFETY: below each word is another or their number.
        last = unsafe { last.sub(1) };
    }
    words.reverse();
    words
}

/// The descriptor that [`leave`] leaves.
pub(crate) const REPORT: RawFd = 3;

/// Leaves `report` to the program that is executed next, as [`REPORT`] beside the standard streams.
///
/// # Errors
/// What dup2(2) and fcntl(2) say.
pub(crate) fn leave(report: BorrowedFd<'_>) -> io::Result<()> {
    if report.as_raw_fd() == REPORT {
        // dup2 would do nothing, and exec close it.
        return Ok(rustix::io::fcntl_setfd(report, rustix::io::FdFlags::empty())?);
    }
    // SAFETY: this is the clone's own table, and whoever owned the number (the kernel's log) does not run in it.
    if unsafe { libc::dup2(report.as_raw_fd(), REPORT) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use rustix::process::WaitOptions;

    #[test]
    fn clones_keep_what_they_are_given_and_nothing_else() {
        let (kept, other) = rustix::pipe::pipe().unwrap();
        let (read, last) = rustix::pipe::pipe().unwrap();
        let [kept_fd, other_fd, last_fd] = [&kept, &other, &last].map(|fd| fd.as_raw_fd());
        let open = |fd: rustix::fd::RawFd| std::path::Path::new(&format!("/proc/self/fd/{fd}")).exists();
        // Twice the same and one that is standard: both are nothing special.
        let body = || {
            let closed = close_others(&[last.as_fd(), kept.as_fd(), last.as_fd(), rustix::stdio::stdout()]);
            let well = closed.is_ok() && open(1) && open(kept_fd) && open(last_fd);
            let gone = !open(other_fd) && !open(read.as_raw_fd());
            // SAFETY: ends the clone.
            unsafe { libc::_exit(if well && gone { 7 } else { 1 }) };
        };
        let pid = clone(None, 0, body).unwrap();
        let (_, status) = rustix::process::waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(7), "{status:?}");
        assert!(open(other_fd), "the parent has its own");
    }

    #[test]
    fn own_arguments_are_those_of_the_process() {
        assert_eq!(own_arguments(), std::env::args().collect::<Vec<_>>());
    }
}
