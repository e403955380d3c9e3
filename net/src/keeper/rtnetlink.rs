//! The few requests of rtnetlink(7) that a bridge and its ports take. Sent from the thread that calls, in whose network
//! namespace they count.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use spec::MacAddress;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const NEW_NEIGHBOUR: u16 = 28;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const REPLACE: u16 = 0x100;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

const NLMSG_ERROR: u16 = 2;
const NESTED: u16 = 0x8000;
const UP: u32 = 1;
pub(super) const FAMILY_IPV4: u8 = 2;
pub(super) const FAMILY_IPV6: u8 = 10;
const FAMILY_BRIDGE: u8 = 7;

/// How a port of a bridge behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct BridgePort {
    /// Whether it reaches the bridge itself alone, not the other ports like it.
    pub(super) isolated: bool,
}

/// A connection to the kernel.
#[derive(Debug)]
pub(super) struct Rtnetlink {
    socket: OwnedFd,
}

/// A request that is being written.
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((REQUEST | ACK | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(header);
        Self { bytes }
    }

    fn link(kind: u16, flags: u16, family: u8, index: u32, up: bool) -> Self {
        let mut header = vec![family, 0, 0, 0];
        header.extend(index.to_ne_bytes());
        let up = if up { UP } else { 0 };
        header.extend(up.to_ne_bytes());
        header.extend(up.to_ne_bytes());
        Self::new(kind, flags, &header)
    }

    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    fn name(self, name: &str) -> Self {
        let mut value = name.as_bytes().to_vec();
        value.push(0);
        self.attribute(3, &value)
    }

    /// An attribute made of attributes.
    pub(super) fn nest(self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let inner = inner(Self { bytes: Vec::new() });
        self.attribute(kind | NESTED, &inner.bytes)
    }
}

impl Rtnetlink {
    /// Connects to the kernel of the caller's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        Self::open_to(None)
    }

    /// The same, to another part of it.
    pub(super) fn open_to(part: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, part)?;
        rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, 0))?;
        Ok(Self { socket })
    }

    /// The number of an interface.
    pub(super) fn index(&self, name: &str) -> io::Result<u32> {
        Ok(rustix::net::netdevice::name_to_index(&self.socket, name)?)
    }

    /// Makes a bridge that is up.
    pub(super) fn add_bridge(&self, name: &str, mac: MacAddress, mtu: u16) -> io::Result<()> {
        let message = Message::link(NEW_LINK, CREATE | EXCLUSIVE, 0, 0, true)
            .name(name)
            .attribute(4, &u32::from(mtu).to_ne_bytes())
            .attribute(1, &mac.octets())
            .nest(18, |info| {
                // Without a querier of its own, a bridge that snoops would lose IPv6's neighbour discovery.
                info.attribute(1, b"bridge\0").nest(2, |data| data.attribute(23, &[0]))
            });
        self.send(message)
    }

    /// Removes an interface; false where there is none.
    pub(super) fn delete(&self, name: &str) -> io::Result<bool> {
        match self.send(Message::link(DELETE_LINK, 0, 0, 0, false).name(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets an interface up.
    pub(super) fn set_up(&self, index: u32) -> io::Result<()> {
        self.send(Message::link(NEW_LINK, 0, 0, index, true))
    }

    /// Makes an interface a port of a bridge: it learns no addresses, is flooded with nothing that is for one station, and
    /// `mac` is behind it. Sets it up last.
    pub(super) fn add_port(
        &self,
        bridge: u32,
        index: u32,
        mtu: u16,
        mac: MacAddress,
        port: BridgePort,
    ) -> io::Result<()> {
        let message = Message::link(NEW_LINK, 0, 0, index, false)
            .attribute(4, &u32::from(mtu).to_ne_bytes())
            .attribute(10, &bridge.to_ne_bytes());
        self.send(message)?;
        let message = Message::link(SET_LINK, 0, FAMILY_BRIDGE, index, false).nest(12, |info| {
            let info = info.attribute(5, &[1]).attribute(8, &[0]).attribute(9, &[0]);
            info.attribute(33, &[u8::from(port.isolated)])
        });
        self.send(message)?;
        let mut header = vec![FAMILY_BRIDGE, 0, 0, 0];
        header.extend(index.to_ne_bytes());
        // NUD_NOARP and NUD_REACHABLE: a static entry; NTF_MASTER: of the bridge.
        header.extend(0x42_u16.to_ne_bytes());
        header.extend([0x04, 0]);
        self.send(Message::new(NEW_NEIGHBOUR, CREATE | REPLACE, &header).attribute(2, &mac.octets()))?;
        self.set_up(index)
    }

    /// Gives an interface an address; IPv6's is usable at once (no duplicate address detection).
    pub(super) fn add_address(
        &self,
        index: u32,
        address: IpAddr,
        length: u8,
        broadcast: Option<IpAddr>,
    ) -> io::Result<()> {
        let family = if address.is_ipv4() { FAMILY_IPV4 } else { FAMILY_IPV6 };
        let mut header = vec![family, length, 0, 0];
        header.extend(index.to_ne_bytes());
        let mut message = Message::new(NEW_ADDRESS, CREATE | EXCLUSIVE, &header)
            .attribute(1, &octets(address))
            .attribute(2, &octets(address));
        if let Some(broadcast) = broadcast {
            message = message.attribute(4, &octets(broadcast));
        }
        if address.is_ipv6() {
            // IFA_F_NODAD.
            message = message.attribute(8, &2_u32.to_ne_bytes());
        }
        self.send(message)
    }

    /// Sends a request and waits for the kernel's word on it.
    pub(super) fn send(&self, message: Message) -> io::Result<()> {
        let mut bytes = message.bytes;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        rustix::net::send(&self.socket, &bytes, SendFlags::empty())?;
        let mut answer = [0; 4096];
        loop {
            let (length, _) = rustix::net::recv(&self.socket, &mut answer[..], RecvFlags::empty())?;
            let Some(header) = answer[..length].first_chunk::<20>() else {
                return Err(io::Error::other("the kernel's answer is too short"));
            };
            if u16::from_ne_bytes([header[4], header[5]]) != NLMSG_ERROR {
                continue;
            }
            let [.., a, b, c, d] = *header;
            return match i32::from_ne_bytes([a, b, c, d]) {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(-error)),
            };
        }
    }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let message = Message { bytes: Vec::new() }.nest(18, |info| info.attribute(1, b"abc"));
        let mut wanted = Vec::new();
        for half in [12_u16, 18 | NESTED, 7, 1] {
            wanted.extend(half.to_ne_bytes());
        }
        wanted.extend(b"abc\0");
        assert_eq!(message.bytes, wanted);
    }

    #[test]
    fn the_kernel_answers() {
        let kernel = Rtnetlink::open().unwrap();
        assert_eq!(kernel.index("lo").unwrap(), 1);
        assert!(kernel.index("no-such-link").is_err());
        // Refused for want of rights, or since there is none: in either case an answer.
        assert!(!kernel.delete("no-such-link").unwrap_or(false));
    }
}
