//! The sockets of a pod directory, through a descriptor of the directory: a socket's path has 108 bytes, a
//! directory's may have thousands. Bound by `run`, reached by the other commands.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::dir::PodDir;

/// Where the VM's process is asked to stop.
pub const CONTROL: &str = "control.sock";
/// Where the Docker API of the guest is reached.
pub const DOCKER: &str = "docker.sock";

/// Connections that may wait to be accepted: hundreds of clients may come before the guest's first moment.
const WAITING: i32 = 1024;

/// A pod directory in which sockets are.
#[derive(Debug)]
pub struct SocketDir {
    folder: OwnedFd,
}

impl SocketDir {
    /// Opens the directory.
    ///
    /// # Errors
    /// It is not there, or is no directory.
    pub fn open(dir: &PodDir) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: rustix::fs::open(dir.path(), flags, Mode::empty())? })
    }

    /// Listens at a name, in place of a socket that an earlier run left. Only this user may connect. The pod's lock
    /// must be held.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind(&self, name: &str) -> io::Result<UnixListener> {
        self.remove(name)?;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // The file takes the socket's mode when it is bound: there is no moment at which others can connect.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(self.path(name))?)?;
        rustix::net::listen(&socket, WAITING)?;
        Ok(UnixListener::from(socket))
    }

    /// Removes the socket that an earlier run left, if there is one. The pod's lock must be held.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Connects to whoever listens at a name.
    ///
    /// # Errors
    /// Nobody listens, or this user may not connect.
    pub fn connect(&self, name: &str) -> io::Result<UnixStream> {
        UnixStream::connect(self.path(name))
    }

    /// A path that fits a socket address, good as long as the descriptor is open.
    fn path(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.folder.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_socket_is_reached_in_a_directory_of_200_bytes_and_replaces_what_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("d".repeat(200));
        std::fs::create_dir(&long).unwrap();
        std::fs::write(long.join("a.sock"), "left behind").unwrap();
        let sockets = SocketDir::open(&PodDir::new(&long).unwrap()).unwrap();
        let first = sockets.bind("a.sock").unwrap();
        drop(first);
        assert_eq!(sockets.connect("a.sock").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let second = sockets.bind("a.sock").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&long.join("a.sock")), 0o600);
        let _client = sockets.connect("a.sock").unwrap();
        second.accept().unwrap();
        assert_eq!(sockets.connect("b.sock").unwrap_err().kind(), io::ErrorKind::NotFound);
        sockets.remove("a.sock").unwrap();
        assert_eq!(sockets.connect("a.sock").unwrap_err().kind(), io::ErrorKind::NotFound);
        sockets.remove("a.sock").unwrap();
    }
}
