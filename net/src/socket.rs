//! `net.sock` in a network's directory, whose path may be longer than an address has room for: it is reached through the
//! directory's descriptor.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::dir::NetworkDir;

const NAME: &str = "net.sock";

/// The directory's descriptor, and the socket's path through it for as long as that is open.
pub(crate) fn through(dir: &NetworkDir) -> io::Result<(File, PathBuf)> {
    let flags = i32::try_from((OFlags::PATH | OFlags::DIRECTORY).bits()).map_err(io::Error::other)?;
    let handle = File::options().read(true).custom_flags(flags).open(dir.path())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", handle.as_raw_fd()));
    Ok((handle, path))
}

/// Connects to the network's process.
pub(crate) fn connect(dir: &NetworkDir) -> io::Result<UnixStream> {
    let (_handle, path) = through(dir)?;
    UnixStream::connect(path)
}

/// Listens as the network's process, in place of one that has ended. Only this user may connect.
pub(crate) fn listen(dir: &NetworkDir) -> io::Result<UnixListener> {
    let (_handle, path) = through(dir)?;
    remove(dir)?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

/// Removes the socket; passed over where there is none.
pub(crate) fn remove(dir: &NetworkDir) -> io::Result<()> {
    match std::fs::remove_file(dir.path().join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
