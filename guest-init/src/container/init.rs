//! A container's init (`docker run --init`): this program once more, executed as the container's PID 1 in the place of
//! its program, with the program's user, rights and environment. The program is its child: signals are passed on to it,
//! orphans are reaped, and its exit code is the init's.
//!
//! It is executed, not a clone that stays: so it has none of PID 1's memory, and a container may look into it.
#![expect(unsafe_code, reason = "takes over a descriptor by its number")]

use crate::container::environment::Environment;
use crate::container::failure::Failure;
use crate::container::program::{self, Init};
use crate::container::spawn;
use crate::mountfd::MountFd;
use crate::pod::exit_of;
use crate::signals;
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::CWD;
use rustix::mount::MountAttrFlags as Attr;
use rustix::process::{Pid, WaitOptions};
use std::convert::Infallible;
use std::io;

/// What it is called, by which it knows itself.
const NAME: &str = "/sbin/docker-init";

/// This program as a container may see it: through `/proc/1/exe` it is not written to.
///
/// # Errors
/// What open_tree(2) and mount_setattr(2) say.
pub(crate) fn file() -> io::Result<MountFd> {
    let file = MountFd::bind(CWD, "/proc/self/exe")?;
    file.set(Attr::MOUNT_ATTR_RDONLY | Attr::MOUNT_ATTR_NOSUID | Attr::MOUNT_ATTR_NODEV)?;
    Ok(file)
}

/// Becomes the init of a command, which tells `report` where the command's program cannot be executed.
///
/// # Errors
/// That the init itself cannot be executed.
pub(crate) fn execute(
    file: &MountFd,
    report: BorrowedFd<'_>,
    command: &[String],
    environment: &Environment,
) -> Result<Infallible, Failure> {
    let words = [&[NAME.to_owned(), "--".to_owned()], command].concat();
    program::execute(&words, Some(environment), Some(Init { file: file.as_fd(), report }))
}

/// Lives the life of a container's init, if this process is to be one and not that of a pod.
pub(crate) fn run_if_asked() {
    let words = spawn::own_arguments();
    let Some(command) = words.get(2..).filter(|_| words[0] == NAME) else { return };
    // SAFETY: whoever executes an init has left it the descriptor, and nothing else here knows of it.
    let report = unsafe { OwnedFd::from_raw_fd(spawn::REPORT) };
    let _longer = rustix::thread::set_name(c"docker-init");
    signals::block_all();
    let child = spawn::clone(None, 0, || {
        let Err(failure) = start(command);
        failure.report(&report);
    });
    if let Err(error) = &child {
        Failure::new("cannot make a process", error).report(&report);
    }
    drop(report);
    std::process::exit(child.map_or(125, attend).into())
}

/// Becomes the program, in a process group of its own that a terminal speaks to.
fn start(command: &[String]) -> Result<Infallible, Failure> {
    // Signals are still blocked: changing the terminal's group from outside of it would stop this process.
    let _leads = rustix::process::setpgid(None, None);
    let _no_terminal = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
    signals::reset();
    program::execute(command, None, None)
}

/// Passes signals on to the child and reaps what ends, until it is the child. Its exit code.
fn attend(child: Pid) -> u8 {
    loop {
        let signal = signals::next();
        if signal != libc::SIGCHLD.unsigned_abs() {
            signals::send(child, signal);
            continue;
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == child {
                return exit_of(status).code;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::pipe;

    /// Runs a shell's line below an init, to which `signal` is sent when the line has written a byte. The exit code.
    fn init_of(line: &str, signal: Option<libc::c_int>) -> i32 {
        let (ready, tell) = pipe().unwrap();
        let command = ["sh", "-c", line].map(str::to_owned);
        let init = spawn::clone(None, 0, || {
            // SAFETY: ends an init that hangs.
            unsafe { libc::alarm(60) };
            // As PID 1 of a namespace: orphans become its children.
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
            signals::block_all();
            let child = spawn::clone(None, 0, || {
                rustix::stdio::dup2_stdout(&tell).unwrap();
                let _failed = start(&command);
            });
            let code = attend(child.unwrap());
            // SAFETY: ends the clone.
            unsafe { libc::_exit(i32::from(code)) };
        });
        let init = init.unwrap();
        drop(tell);
        if let Some(signal) = signal {
            assert_eq!(rustix::io::read(&ready, &mut [0]), Ok(1));
            signals::send(init, signal.unsigned_abs());
        }
        let (_, status) = rustix::process::waitpid(Some(init), WaitOptions::empty()).unwrap().unwrap();
        status.exit_status().unwrap_or_else(|| panic!("{status:?}"))
    }

    #[test]
    fn the_exit_code_is_the_programs() {
        assert_eq!(init_of("exit 7", None), 7);
        assert_eq!(init_of("kill -KILL $$", None), 137);
    }

    #[test]
    fn signals_reach_the_program() {
        assert_eq!(init_of("echo; exec sleep 50", Some(libc::SIGTERM)), 143);
        // One that musl's signal(2) does not know, and one that would end the init.
        assert_eq!(init_of("trap 'exit 5' 34; echo; while :; do sleep 0.1; done", Some(34)), 5);
        assert_eq!(init_of("trap 'exit 6' HUP; echo; while :; do sleep 0.1; done", Some(libc::SIGHUP)), 6);
    }

    #[test]
    fn orphans_are_reaped() {
        // The orphan's parent ends first; once it has been reaped there is no such process, not even a zombie.
        let line = "pid=$( (sh -c 'exit 3' >/dev/null & echo $!) ); \
                    while [ -e /proc/$pid ]; do sleep 0.1; done; exit 9";
        assert_eq!(init_of(line, None), 9);
    }

    #[test]
    fn the_program_leads_a_group() {
        assert_eq!(init_of("[ \"$(cut -d' ' -f5 /proc/$$/stat)\" = $$ ] || exit 1", None), 0);
    }
}
