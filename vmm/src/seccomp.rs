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
    /// Runs the devices' event loop.
    EventLoop,
    /// Reads and writes one disk.
    Disk,
    /// Waits for the end of the virtual machine, then writes down how it ended.
    Main,
    /// Moves bytes between the host's descriptors and the guest's sockets, answers the control socket.
    Stdio,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Vcpu, Self::EventLoop, Self::Disk, Self::Main, Self::Stdio];
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
    /// Compiles the filters of all roles but [`Role::Stdio`], whose thread is the caller's.
    pub(crate) fn compile(mode: Mode) -> Result<Self, SeccompError> {
        let roles = Role::ALL.into_iter().filter(|role| *role != Role::Stdio);
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

    /// Set in the environment of the child that [`refused_calls_kill_the_process`] starts.
    const CHILD: &str = "VMM_SECCOMP_CHILD";

    #[test]
    fn every_role_compiles_to_a_program_the_kernel_takes() {
        for role in Role::ALL {
            let filter = Filter::compile(role, Mode::Log).unwrap();
            std::thread::spawn(move || filter.apply().unwrap()).join().unwrap();
        }
    }

    #[test]
    fn refused_calls_kill_the_process() {
        if std::env::var_os(CHILD).is_some() {
            Filter::compile(Role::Vcpu, Mode::Enforce).unwrap().apply().unwrap();
            // What a hijacked thread would do first.
            let _ = std::fs::File::open("/etc/passwd");
            std::process::exit(0);
        }
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "seccomp::tests::refused_calls_kill_the_process"])
            .env(CHILD, "1")
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), Some(libc::SIGSYS));
    }
}
