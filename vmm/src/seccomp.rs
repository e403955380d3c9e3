//! System call filters, one a thread role (seccomp(2), filter mode).
//!
//! Compiled by `builder` before any thread starts; each thread applies its own as its first act, so that all the
//! kernel ever sees of it are the calls listed in `seccomp::rules`.

mod program;
mod rules;

use std::sync::Arc;

use seccompiler::{BpfProgram, SeccompAction};

/// What a thread does, and so which system calls it may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs a vCPU.
    Vcpu,
    /// Runs a vCPU of a guest with private memory, whose pages it makes private and shared.
    PrivateVcpu,
    /// Runs the devices' event loop.
    EventLoop,
    /// Reads and writes one disk.
    Disk,
    /// Reads and writes one tap.
    Net,
    /// Waits for the end of the virtual machine, then writes down how it ended.
    Main,
    /// Moves bytes between the host's descriptors and the guest's sockets, answers the control socket.
    Stdio,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 7] =
        [Self::Vcpu, Self::PrivateVcpu, Self::EventLoop, Self::Disk, Self::Net, Self::Main, Self::Stdio];
}

/// What happens at a system call that the filter does not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The process is killed by `SIGSYS`.
    #[default]
    Enforce,
    /// The kernel's log names it and it goes through: for development.
    Log,
    /// There are no filters.
    Off,
}

/// A compiled filter that a thread puts on itself; empty where filters are switched off.
#[derive(Clone, Default)]
pub struct Filter(Option<Arc<BpfProgram>>);

/// A filter cannot be made or applied.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// A role has more rules than a program's jumps can reach over.
    #[error("the system call filter of {role:?} is too long")]
    TooLong {
        /// The role.
        role: Role,
    },
    /// The kernel refuses the filter.
    #[error("cannot apply the system call filter")]
    Apply(#[source] seccompiler::Error),
}

impl Filter {
    /// Compiles the filter of one role.
    ///
    /// # Errors
    /// [`SeccompError::TooLong`].
    pub fn compile(role: Role, mode: Mode) -> Result<Self, SeccompError> {
        let refuse = match mode {
            Mode::Off => return Ok(Self(None)),
            Mode::Enforce => SeccompAction::KillProcess,
            Mode::Log => SeccompAction::Log,
        };
        let program = program::compile(&rules::of(role), SeccompAction::Allow.into(), refuse.into())
            .ok_or(SeccompError::TooLong { role })?;
        Ok(Self(Some(Arc::new(program))))
    }

    /// Puts the filter on the calling thread, for good. Threads that it starts later inherit it.
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

/// The filters of the threads of a virtual machine.
pub(crate) struct Filters(Vec<(Role, Filter)>);

impl Filters {
    /// Compiles the filters of all roles but those that no thread will have.
    pub(crate) fn compile(mode: Mode, unused: &[Role]) -> Result<Self, SeccompError> {
        let roles = Role::ALL.into_iter().filter(|role| !unused.contains(role));
        roles.map(|role| Ok((role, Filter::compile(role, mode)?))).collect::<Result<_, _>>().map(Self)
    }

    /// The filter of a role.
    pub(crate) fn of(&self, role: Role) -> Filter {
        self.0.iter().find(|(known, _)| *known == role).map(|(_, filter)| filter.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Set in the environment of the children that [`refused_calls_kill_the_process`] starts.
    const CHILD: &str = "VMM_SECCOMP_CHILD";

    /// Calls with their first arguments, and whether the main thread may make them. Those that it may do nothing.
    fn calls() -> Vec<(i64, [u64; 3], bool)> {
        let [readable, executable] =
            [libc::PROT_READ, libc::PROT_EXEC].map(|bits| u64::from(bits.unsigned_abs()));
        let own = u64::from(std::process::id());
        let (copy, flags) = (libc::F_DUPFD_CLOEXEC.unsigned_abs(), libc::F_SETFL.unsigned_abs());
        vec![
            (libc::SYS_getpid, [0; 3], true),
            (libc::SYS_mmap, [0, 4096, readable], true),
            (libc::SYS_mprotect, [0, 0, readable], true),
            (libc::SYS_tgkill, [own, 0, 0], true),
            (libc::SYS_fcntl, [u64::MAX, copy.into(), 0], true),
            // What a hijacked thread would do first.
            (libc::SYS_openat, [0; 3], false),
            (libc::SYS_socket, [1, 1, 0], false),
            (libc::SYS_execve, [0; 3], false),
            (libc::SYS_clone, [0; 3], false),
            (libc::SYS_mmap, [0, 4096, executable], false),
            (libc::SYS_mmap, [0, 4096, executable | 1 << 32], false),
            (libc::SYS_mprotect, [0, 0, executable], false),
            (libc::SYS_tgkill, [own + 1, 0, 0], false),
            (libc::SYS_fcntl, [u64::MAX, flags.into(), 0], false),
            (libc::SYS_ioctl, [u64::MAX, libc::TIOCSTI, 0], false),
            // getpid(2) of the x32 ABI.
            (libc::SYS_getpid | 0x4000_0000, [0; 3], false),
        ]
    }

    #[test]
    fn every_role_compiles_to_a_program_the_kernel_takes() {
        for role in Role::ALL {
            let filter = Filter::compile(role, Mode::Log).unwrap();
            std::thread::spawn(move || filter.apply().unwrap()).join().unwrap();
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "calls that no library makes")]
    fn refused_calls_kill_the_process() {
        if let Some(index) = std::env::var_os(CHILD) {
            let (call, arguments, _) = calls()[index.to_str().unwrap().parse::<usize>().unwrap()];
            Filter::compile(Role::Main, Mode::Enforce).unwrap().apply().unwrap();
            for (call, [first, second, third]) in [(call, arguments), (libc::SYS_exit_group, [0; 3])] {
                // SAFETY: each call of the list fails or changes nothing that this process looks at.
                unsafe { libc::syscall(call, first, second, third, 0, 0, 0) };
            }
        }
        for (index, (call, arguments, allowed)) in calls().into_iter().enumerate() {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "seccomp::tests::refused_calls_kill_the_process"])
                .env(CHILD, index.to_string())
                .output()
                .unwrap()
                .status;
            let expected = if allowed { (Some(0), None) } else { (None, Some(libc::SIGSYS)) };
            assert_eq!((status.code(), status.signal()), expected, "{call} {arguments:x?}");
        }
    }
}
