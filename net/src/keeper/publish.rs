//! Published ports: sockets of the host and the proxies behind them. What arrives from other hosts the rules of the host's
//! network lead to the pod before it comes to the proxy ([`super::rules::publish`]); the socket holds the port all the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::task::AbortHandle;

use super::place::Place;
use super::proxy;
use crate::port::{Port, PortWish, Protocol};

/// How often the kernel is asked for a number that is free in both families.
const TRIES: usize = 16;
/// The most ports of a pod.
const MOST_PORTS: usize = 1024;

/// Why a port is not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    /// Somebody has it. The words are Docker's.
    #[error("Bind for {0} failed: port is already allocated")]
    Taken(SocketAddr),
    /// This user may not have it.
    #[error(
        "cannot expose privileged port {0}, you can add 'net.ipv4.ip_unprivileged_port_start={0}' to /etc/sysctl.conf \
         (currently {1}), or choose a larger port number (>= {1})"
    )]
    Privileged(u16, String),
    /// Anything else.
    #[error("Bind for {at} failed: {source}")]
    Bind {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// More than any pod needs.
    #[error("more than {MOST_PORTS} ports")]
    TooMany,
}

/// What publishes ports of the pods of one network.
#[derive(Debug)]
pub(super) struct Publisher {
    place: Place,
}

/// The published ports of a pod; dropped, they are free and their connections broken.
#[derive(Debug, Default)]
pub(super) struct Published {
    ports: Vec<(Port, IpAddr)>,
    proxies: Vec<AbortHandle>,
}

/// A socket that holds a port.
enum Held {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Publisher {
    /// For a network in that place.
    pub(super) fn new(place: Place) -> Self {
        Self { place }
    }

    /// Publishes ports of the pod with these addresses: all or none.
    pub(super) fn publish(&self, wishes: &[PortWish], pod: &[IpAddr]) -> Result<Published, PublishError> {
        if wishes.len() > MOST_PORTS {
            return Err(PublishError::TooMany);
        }
        let mut published = Published::default();
        for wish in wishes {
            for (port, held) in hold(wish)? {
                // The pod's address of the same family, else its other one.
                let same = pod.iter().find(|address| address.is_ipv4() == port.host_ip.is_ipv4());
                let Some(address) = same.or(pod.first()) else { continue };
                let (place, to) = (self.place.clone(), SocketAddr::new(*address, port.guest_port));
                let failed = |source| PublishError::Bind { at: at(&port), source };
                published.proxies.push(match held {
                    Held::Tcp(listener) => proxy::tcp::start(listener, place, to).map_err(failed)?,
                    Held::Udp(socket) => proxy::udp::start(socket, place, to).map_err(failed)?,
                });
                published.ports.push((port, *address));
            }
        }
        Ok(published)
    }
}

impl Published {
    /// What was bound.
    pub(super) fn ports(&self) -> Vec<Port> {
        self.ports.iter().map(|(port, _)| port.clone()).collect()
    }

    /// What was bound, and which address of the pod it leads to.
    pub(super) fn redirected(&self) -> Vec<(Port, IpAddr)> {
        self.ports.clone()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.proxies.iter().for_each(AbortHandle::abort);
    }
}

fn at(port: &Port) -> SocketAddr {
    SocketAddr::new(port.host_ip, port.host_port)
}

/// Holds the first free port of a wish, at all addresses that are meant.
fn hold(wish: &PortWish) -> Result<Vec<(Port, Held)>, PublishError> {
    let (first, last) = wish.host_ports;
    let tries = if first == 0 { TRIES } else { 1 };
    let mut refused = None;
    for number in (first..=last).flat_map(|number| std::iter::repeat_n(number, tries)) {
        match hold_at(wish, number) {
            Err(error @ PublishError::Taken(_)) => refused = refused.or(Some(error)),
            done => return done,
        }
    }
    Err(refused.unwrap_or(PublishError::TooMany))
}

fn hold_at(wish: &PortWish, number: u16) -> Result<Vec<(Port, Held)>, PublishError> {
    let mut number = number;
    let both = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = wish.host_ip.map_or(both.to_vec(), |address| vec![address]);
    let mut held = Vec::new();
    for host_ip in addresses {
        let wanted = SocketAddr::new(host_ip, number);
        let (bound, socket) = match bind(wish.protocol, wanted) {
            Ok(bound) => bound,
            // A host without IPv6: the other family is all.
            Err(error) if !held.is_empty() && is_missing(&error) => continue,
            Err(error) => return Err(refusal(wanted, error)),
        };
        number = bound;
        let port = Port { host_ip, host_port: bound, guest_port: wish.guest_port, protocol: wish.protocol };
        held.push((port, socket));
    }
    Ok(held)
}

fn is_missing(error: &io::Error) -> bool {
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn refusal(at: SocketAddr, source: io::Error) -> PublishError {
    match source.kind() {
        io::ErrorKind::AddrInUse => PublishError::Taken(at),
        io::ErrorKind::PermissionDenied => {
            let path = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
            let start = std::fs::read_to_string(path).unwrap_or_else(|_| "1024".into());
            PublishError::Privileged(at.port(), start.trim().to_owned())
        }
        _ => PublishError::Bind { at, source },
    }
}

/// Binds a socket in the host's network, and answers the port's number.
fn bind(protocol: Protocol, at: SocketAddr) -> io::Result<(u16, Held)> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = rustix::net::socket_with(family, kind, flags, None)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections of an earlier pod that are still closing hold no port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &at)?;
    let held = match protocol {
        Protocol::Tcp => {
            rustix::net::listen(&socket, 1024)?;
            Held::Tcp(TcpListener::from(socket))
        }
        Protocol::Udp => Held::Udp(UdpSocket::from(socket)),
    };
    let bound = match &held {
        Held::Tcp(listener) => listener.local_addr()?,
        Held::Udp(socket) => socket.local_addr()?,
    };
    Ok((bound.port(), held))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(host_ports: (u16, u16), protocol: Protocol) -> PortWish {
        PortWish { host_ip: Some(Ipv4Addr::LOCALHOST.into()), host_ports, guest_port: 80, protocol }
    }

    #[test]
    fn a_taken_port_is_told_in_dockers_words_and_a_range_goes_past_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = hold(&wish((port, port), Protocol::Tcp)).err().unwrap().to_string();
        assert_eq!(error, format!("Bind for 127.0.0.1:{port} failed: port is already allocated"));
        let held = hold(&wish((port, port.saturating_add(20)), Protocol::Tcp)).unwrap();
        assert!(held[0].0.host_port > port);
    }

    #[test]
    fn the_kernel_chooses_one_number_for_both_families() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let held = hold(&PortWish { host_ip: None, ..wish((0, 0), protocol) }).unwrap();
            assert!(held.iter().all(|(port, _)| port.host_port == held[0].0.host_port && port.host_port > 0));
        }
    }
}
