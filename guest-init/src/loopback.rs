//! The loopback interface: 127.0.0.1 and ::1. Called once by the boot recipe.
#![expect(unsafe_code, reason = "interface ioctls have no safe wrapper")]

use rustix::fd::AsRawFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io;

/// Brings `lo` up; the kernel gives it its addresses.
///
/// # Errors
/// What socket(2) and SIOCSIFFLAGS say (netdevice(7)).
pub(crate) fn bring_up() -> io::Result<()> {
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is integers and a union of plain data, for which zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
