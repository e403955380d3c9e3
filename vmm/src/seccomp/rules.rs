//! The system calls of each role. Measured with [`super::Mode::Log`] and strace, then cut to what is needed.

use super::Role;
use libc::{
    SYS_accept4, SYS_brk, SYS_clock_gettime, SYS_clock_nanosleep, SYS_close, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_wait, SYS_exit, SYS_exit_group, SYS_fallocate, SYS_fcntl, SYS_fdatasync, SYS_fstat, SYS_fsync,
    SYS_ftruncate, SYS_futex, SYS_getpid, SYS_getrandom, SYS_gettid, SYS_ioctl, SYS_lseek, SYS_madvise,
    SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap, SYS_poll, SYS_ppoll, SYS_pread64, SYS_preadv,
    SYS_pwrite64, SYS_pwritev, SYS_read, SYS_readv, SYS_recvfrom, SYS_recvmsg, SYS_restart_syscall,
    SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sched_getaffinity, SYS_sched_yield, SYS_sendmsg, SYS_sendto,
    SYS_shutdown, SYS_sigaltstack, SYS_tgkill, SYS_timerfd_settime, SYS_write, SYS_writev,
};

/// Calls of every thread: memory of the allocator (never executable, see [`of`]), locks, time, signals, its own
/// end, and descriptors it has.
const ALL: [i64; 21] = [
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_futex,
    SYS_sched_yield,
    // The C library's allocator, when it decides whether a thread gets an arena of its own.
    SYS_sched_getaffinity,
    SYS_clock_gettime,
    SYS_getrandom,
    // abort(3), and the signal that stops vCPUs.
    SYS_getpid,
    SYS_gettid,
    SYS_restart_syscall,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_exit,
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_close,
];

/// The early console, which is started over at its limit.
const VCPU: [i64; 2] = [SYS_lseek, SYS_ftruncate];

/// Requests, and only on descriptors that the device was given; the timer of the disk's limits.
const DISK: [i64; 11] = [
    SYS_epoll_wait,
    SYS_epoll_pwait,
    SYS_epoll_ctl,
    SYS_timerfd_settime,
    SYS_preadv,
    SYS_pwritev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_fdatasync,
    SYS_fallocate,
    // How long its file has become.
    SYS_lseek,
];

/// Waiting for a tap, which is read and written as any file.
const NET: [i64; 3] = [SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl];

/// Sockets of the vsock and its timer.
const EVENT_LOOP: [i64; 10] = [
    SYS_epoll_wait,
    SYS_epoll_pwait,
    SYS_epoll_ctl,
    SYS_accept4,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendto,
    SYS_sendmsg,
    SYS_shutdown,
    SYS_timerfd_settime,
];

/// Writing down the end, on files that are open, passing on the machine to be destroyed, and ending the process.
const MAIN: [i64; 10] = [
    SYS_lseek,
    SYS_ftruncate,
    SYS_pwrite64,
    SYS_fsync,
    SYS_fdatasync,
    SYS_fstat,
    SYS_shutdown,
    SYS_sendmsg,
    SYS_clock_nanosleep,
    SYS_exit_group,
];

/// Descriptors of terminals, pipes and sockets, and files that are open.
const STDIO: [i64; 19] = [
    SYS_epoll_wait,
    SYS_epoll_pwait,
    SYS_epoll_ctl,
    SYS_poll,
    SYS_ppoll,
    SYS_accept4,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_sendto,
    SYS_sendmsg,
    SYS_shutdown,
    SYS_lseek,
    SYS_ftruncate,
    SYS_pwrite64,
    SYS_fsync,
    SYS_fdatasync,
    SYS_fstat,
    SYS_clock_nanosleep,
    SYS_exit_group,
];

/// ioctl(2) requests. KVM_GET_REGS names the instruction of an internal error.
const KVM_RUN: u64 = 0xae80;
const KVM_GET_REGS: u64 = 0x8090_ae81;
const VCPU_IOCTLS: [u64; 2] = [KVM_RUN, KVM_GET_REGS];
const KVM_SET_MEMORY_ATTRIBUTES: u64 = 0x4020_aed2;
const PRIVATE_VCPU_IOCTLS: [u64; 3] = [KVM_RUN, KVM_GET_REGS, KVM_SET_MEMORY_ATTRIBUTES];
/// What the driver takes of a tap's offloads: the kernel is told when the driver is ready. The others check a tap that comes
/// while the machine runs.
const NET_IOCTLS: [u64; 3] = [libc::TUNSETOFFLOAD, libc::TUNGETIFF, libc::TUNSETVNETHDRSZ];
const STDIO_IOCTLS: [u64; 10] = [
    libc::FIONBIO,
    libc::TCGETS,
    libc::TCSETS,
    libc::TCSETSW,
    libc::TCSETSF,
    libc::TCGETS2,
    libc::TCSETS2,
    libc::TCSETSW2,
    libc::TCSETSF2,
    libc::TIOCGWINSZ,
];

/// What a thread may call; nothing else.
pub(super) struct Rules {
    /// Calls with any arguments.
    pub(super) always: Vec<u32>,
    /// Calls that depend on the low half of one argument (from 0): the kernel takes no more of it, or no bit that is
    /// named here lies elsewhere.
    pub(super) when: Vec<(u32, u8, When)>,
}

/// A condition on an argument.
pub(super) enum When {
    /// It is one of these.
    OneOf(Vec<u32>),
    /// It has none of these bits.
    Without(u32),
}

/// The rules of a role.
pub(super) fn of(role: Role) -> Rules {
    let (calls, ioctls): (&[i64], &[u64]) = match role {
        Role::Vcpu => (&VCPU, &VCPU_IOCTLS),
        Role::PrivateVcpu => (&VCPU, &PRIVATE_VCPU_IOCTLS),
        Role::EventLoop => (&EVENT_LOOP, &[]),
        Role::Disk => (&DISK, &[]),
        Role::Net => (&NET, &NET_IOCTLS),
        Role::Main => (&MAIN, &[]),
        Role::Stdio => (&STDIO, &STDIO_IOCTLS),
    };
    let not_executable = || When::Without(libc::PROT_EXEC.unsigned_abs());
    // Copies of descriptors; the check of debug builds that a descriptor to be closed is open.
    let mut commands = vec![libc::F_DUPFD_CLOEXEC, libc::F_GETFD];
    if role == Role::Net {
        // A tap that comes while the machine runs must not block.
        commands.push(libc::F_GETFL);
    }
    let commands = commands.into_iter().map(i32::unsigned_abs).collect();
    let mut when = vec![
        (number(SYS_mmap), 2, not_executable()),
        (number(SYS_mprotect), 2, not_executable()),
        // The main thread's signal to vCPUs, and abort(3): to no other process.
        (number(SYS_tgkill), 0, When::OneOf(vec![std::process::id()])),
        (number(SYS_fcntl), 1, When::OneOf(commands)),
    ];
    if role == Role::PrivateVcpu {
        // Private pages that have become shared.
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        when.push((number(SYS_fallocate), 1, When::OneOf(vec![punch.unsigned_abs()])));
    }
    if !ioctls.is_empty() {
        when.push((number(SYS_ioctl), 1, When::OneOf(ioctls.iter().map(|request| low(*request)).collect())));
    }
    Rules { always: ALL.iter().chain(calls).map(|call| number(*call)).collect(), when }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "system calls have small numbers"
)]
const fn number(call: i64) -> u32 {
    call as u32
}

#[expect(clippy::cast_possible_truncation, reason = "requests of ioctl(2) have 32 bits")]
const fn low(request: u64) -> u32 {
    request as u32
}
