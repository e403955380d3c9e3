//! The guest's connections with the host (virtio 1.3, section 5.10): the stdio stream, and the listener of the pod's API.
#![expect(unsafe_code, reason = "vsock addresses have no safe wrapper")]

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use spec::vsock::{HOST_CID, STDIO_PORT};
use std::io;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// The size of an address as system calls take it.
#[expect(clippy::cast_possible_truncation, reason = "sixteen bytes")]
const ADDRESS_LEN: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

/// Connects to the host's end of the stdio stream and makes the socket non-blocking.
///
/// # Errors
/// What socket(2) and connect(2) say.
pub(crate) fn connect_stdio() -> io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let address = address(u32::try_from(HOST_CID).unwrap_or(libc::VMADDR_CID_HOST), STDIO_PORT);
    // SAFETY: `address` is a sockaddr_vm of that length and outlives the call.
    let done = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LEN) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// A non-blocking socket that listens on the port.
///
/// # Errors
/// What socket(2), bind(2) and listen(2) say.
pub(crate) fn listen(port: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)?;
    let address = address(libc::VMADDR_CID_ANY, port);
    // SAFETY: `address` is a sockaddr_vm of that length and outlives the call.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), ADDRESS_LEN) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Accepts a connection of the host and makes it non-blocking; `None` where the guest itself has connected, which
/// containers can: they have no business with the pod's API.
///
/// # Errors
/// What accept4(2) says, `WouldBlock` where nobody has connected.
pub(crate) fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let mut peer = address(libc::VMADDR_CID_ANY, libc::VMADDR_PORT_ANY);
    let mut length = ADDRESS_LEN;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `peer` has room for `length` bytes of address; both outlive the call.
    let socket =
        unsafe { libc::accept4(listener.as_raw_fd(), (&raw mut peer).cast(), &raw mut length, flags) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    Ok(is_host(&peer, length).then_some(socket))
}

/// Whether a peer's address of that length is the host's. A container's is the guest's own CID, or the loopback's.
fn is_host(peer: &libc::sockaddr_vm, length: libc::socklen_t) -> bool {
    length == ADDRESS_LEN
        && i32::from(peer.svm_family) == libc::AF_VSOCK
        && u64::from(peer.svm_cid) == HOST_CID
}

fn address(cid: u32, port: u32) -> libc::sockaddr_vm {
    // SAFETY: sockaddr_vm is plain integers, for which zero is a valid value.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = AddressFamily::VSOCK.as_raw();
    address.svm_cid = cid;
    address.svm_port = port;
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_may_connect() {
        assert!(is_host(&address(libc::VMADDR_CID_HOST, 1024), ADDRESS_LEN));
        // The hypervisor's, the loopback's, guests' own and what the kernel leaves in place where it says nothing.
        for cid in [libc::VMADDR_CID_HYPERVISOR, libc::VMADDR_CID_LOCAL, 3, 4, libc::VMADDR_CID_ANY] {
            assert!(!is_host(&address(cid, 1024), ADDRESS_LEN), "{cid}");
        }
        assert!(!is_host(&address(libc::VMADDR_CID_HOST, 1024), 0));
        let mut foreign = address(libc::VMADDR_CID_HOST, 1024);
        foreign.svm_family = AddressFamily::UNIX.as_raw();
        assert!(!is_host(&foreign, ADDRESS_LEN));
    }
}
