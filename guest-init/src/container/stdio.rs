//! Standard input, output and error of a new process, as it takes them over in a container.

use crate::container::failure::Failure;
use crate::container::terminal::Terminal;
use crate::container::user::User;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, Uid};

/// A process's side of its standard streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stdio<'a> {
    /// Standard input, output and error.
    pub(crate) fds: [BorrowedFd<'a>; 3],
    /// The terminal, where they are one.
    pub(crate) terminal: Option<&'a Terminal>,
}

impl<'a> Stdio<'a> {
    /// All of them.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'a>> + use<'a> {
        self.fds.into_iter().chain(self.terminal.map(|terminal| terminal.peer.as_fd()))
    }

    /// Makes them the caller's, and the terminal that of its session.
    ///
    /// # Errors
    /// The step that failed.
    pub(crate) fn take(&self) -> Result<(), Failure> {
        let step = |error: rustix::io::Errno| Failure::new("cannot set up standard streams", &error.into());
        rustix::stdio::dup2_stdin(self.fds[0]).map_err(step)?;
        rustix::stdio::dup2_stdout(self.fds[1]).map_err(step)?;
        rustix::stdio::dup2_stderr(self.fds[2]).map_err(step)?;
        if let Some(terminal) = self.terminal {
            rustix::process::ioctl_tiocsctty(&terminal.peer).map_err(step)?;
        }
        Ok(())
    }

    /// Gives the user what it writes to, so that it can be opened again through /dev/stdout.
    ///
    /// # Errors
    /// The step that failed.
    pub(crate) fn hand_over(&self, user: &User) -> Result<(), Failure> {
        let step = |error: rustix::io::Errno| Failure::new("cannot set up streams", &error.into());
        for fd in self.fds {
            let stat = rustix::fs::fstat(fd).map_err(step)?;
            let null = rustix::fs::makedev(1, 3);
            let is_null =
                FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == null;
            if !is_null && stat.st_uid != user.uid {
                rustix::fs::fchown(fd, Some(Uid::from_raw(user.uid)), None).map_err(step)?;
            }
        }
        Ok(())
    }
}
