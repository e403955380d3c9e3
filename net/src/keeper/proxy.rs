//! Proxies of published ports: from a socket of the host to one in the pod's network.

pub(super) mod tcp;
pub(super) mod udp;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType};

use super::place::Place;

/// A socket in the pod's network that is being connected to the pod.
fn connect(place: &Place, kind: SocketType, to: SocketAddr) -> io::Result<OwnedFd> {
    let connect = move || {
        let family =
            if to.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, kind, flags, None)?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error.into()),
        }
    };
    place.run(connect)?
}
