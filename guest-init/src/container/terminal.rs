//! A container's pseudo-terminals: an own devpts instance, and the first terminal of it where one is wanted.

use crate::mountfd::MountFd;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::io;
use vdocker::engine::TerminalSize;

/// The terminal of a container's first process.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// PID 1's side.
    pub(crate) master: OwnedFd,
    /// The container's side: standard input, output and error.
    pub(crate) peer: OwnedFd,
}

/// A new instance of devpts, not attached yet.
///
/// # Errors
/// What the kernel says.
pub(crate) fn devpts() -> io::Result<MountFd> {
    let options = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    MountFd::filesystem(
        "devpts",
        &options,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
}

impl Terminal {
    /// The first terminal of a new devpts, which therefore is `/dev/pts/0` in the container.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn open(devpts: &MountFd, size: Winsize) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let master = rustix::fs::openat(devpts.as_fd(), "ptmx", flags, Mode::empty())?;
        rustix::pty::unlockpt(&master)?;
        rustix::termios::tcsetwinsize(&master, size)?;
        let peer = rustix::pty::ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )?;
        Ok(Self { master, peer })
    }
}

/// Terminal size of a [`spec::frame::Kind::Resize`] payload: rows and columns, u16 little-endian each.
pub(crate) fn size_of_payload(payload: &[u8]) -> Option<Winsize> {
    let [r0, r1, c0, c1] = payload.try_into().ok()?;
    let (ws_row, ws_col) = (u16::from_le_bytes([r0, r1]), u16::from_le_bytes([c0, c1]));
    Some(Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })
}

/// The size as the kernel takes it.
pub(crate) const fn size_of(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rows_then_columns() {
        let size = size_of_payload(&[24, 0, 44, 1]).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (24, 300));
        assert!(size_of_payload(&[24, 0, 80]).is_none());
        assert!(size_of_payload(&[]).is_none());
    }
}
