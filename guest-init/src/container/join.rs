//! A new process's way from PID 1's clone into a container that runs (`docker exec`): one recipe, top to bottom.
//!
//! Runs in the child that [`super::spawn::clone`] made, which is in the container's PID namespace and control group
//! from its first instruction on. From the moment it is in the container's mount namespace every path is the container's
//! and hostile; what PID 1 has open must not be reached from there.

use crate::container::environment::Environment;
use crate::container::failure::{Failure, plain};
use crate::container::root::Root;
use crate::container::stdio::Stdio;
use crate::container::user::User;
use crate::container::{privileges, program, spawn};
use crate::signals;
use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use rustix::thread::CapabilitySet;
use spec::ContainerSpec;
use std::convert::Infallible;
use vdocker::exec::ExecSpec;

/// What the new process needs of PID 1, prepared before the clone.
#[derive(Debug)]
pub(crate) struct Join<'a> {
    /// The container.
    pub(crate) spec: &'a ContainerSpec,
    /// What to run in it.
    pub(crate) exec: &'a ExecSpec,
    /// A pidfd of its first process.
    pub(crate) first: BorrowedFd<'a>,
    /// Standard input, output and error.
    pub(crate) stdio: Stdio<'a>,
}

impl Join<'_> {
    /// Becomes the program.
    ///
    /// # Errors
    /// The step that failed.
    pub(crate) fn run(&self) -> Result<Infallible, Failure> {
        let (process, exec) = (&self.spec.process, self.exec);
        let step = |what: &'static str| move |error: rustix::io::Errno| Failure::new(what, &error.into());
        // The container sees this process, whose memory is still PID 1's: nobody may look into it.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(step("cannot shield the new process"))?;
        signals::reset();
        rustix::process::umask(Mode::from_raw_mode(0o022));
        std::fs::write("/proc/self/oom_score_adj", "0")
            .map_err(|error| Failure::new("cannot reset oom_score_adj", &error))?;
        spawn::join_namespaces(self.first).map_err(|error| Failure::new("cannot join namespaces", &error))?;
        rustix::process::setsid().map_err(step("cannot make session"))?;
        self.stdio.take()?;

        let root = Root::open("/").map_err(|error| Failure::new("cannot open the root", &error))?;
        let wanted = if exec.workdir.is_empty() { &process.workdir } else { &exec.workdir };
        let workdir = if wanted.is_empty() { "/" } else { wanted };
        let user = if exec.user.is_empty() { &process.user } else { &exec.user };
        let user = User::in_root(user, &process.groups, &root)?;
        self.stdio.hand_over(&user)?;
        privileges::set_rlimits(&process.rlimits)?;
        let chdir = |error: std::io::Error| {
            let failure = Failure::new("chdir", &error);
            let message = format!("chdir to cwd ({workdir:?}) set in config.json failed: {}", plain(&error));
            Failure { message, ..failure }
        };
        // Without magic links: one into /proc would lead out through a descriptor of PID 1.
        let dir = root.existing(workdir, OFlags::PATH | OFlags::DIRECTORY).map_err(chdir)?;
        rustix::process::fchdir(dir).map_err(|error| chdir(error.into()))?;
        let environment = Environment::new(self.spec, exec.tty, &exec.env, &user.home);
        let kept = match exec.privileged {
            true => CapabilitySet::all(),
            false => privileges::of_container(process),
        };
        privileges::drop_to(&user, kept, process.no_new_privileges)?;
        program::execute(&exec.cmd, Some(&environment), None)
    }
}
