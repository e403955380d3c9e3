//! The guest's one connection to the host (virtio 1.3, section 5.10). Called by the boot recipe.
#![expect(unsafe_code, reason = "vsock addresses have no safe wrapper")]

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use spec::vsock::{HOST_CID, STDIO_PORT};
use std::io;

/// Connects to the host's end of the stdio stream and makes the socket non-blocking.
///
/// # Errors
/// What socket(2) and connect(2) say.
pub(crate) fn connect_stdio() -> io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: sockaddr_vm is plain integers, for which zero is a valid value.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = AddressFamily::VSOCK.as_raw();
    address.svm_cid = u32::try_from(HOST_CID).unwrap_or(libc::VMADDR_CID_HOST);
    address.svm_port = STDIO_PORT;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_vm>()).unwrap_or(0);
    // SAFETY: `address` is a sockaddr_vm of `length` bytes that outlives the call.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
