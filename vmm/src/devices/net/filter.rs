//! Which frames a guest may send: those that come from it. A pure function of a frame's first bytes.
//!
//! Sources of Ethernet, ARP (RFC 826), IPv4 and IPv6 have to be the pod's own, and neighbour discovery (RFC 4861)
//! must speak of no other's addresses. Frames of other protocols, VLAN tags among them, are not for a pod to send, nor are
//! answers of DHCP.
//! Nobody looks at a frame again on its way: a frame whose headers are not all among the bytes given is refused.

mod ipv6;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::NetConfig;
use super::layout::{ETHERNET_LEN, Layout, Network, protocol};

/// Bytes of a frame that are looked at: more than any header that is let through takes.
pub(super) const INSPECTED: usize = 256;

/// EtherTypes.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// Why a frame is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Refusal {
    /// It is cut off within its headers, or they contradict each other or are too long.
    Malformed,
    /// Its Ethernet source is not the pod's.
    HardwareSource,
    /// Neither IPv4, IPv6 nor ARP.
    Protocol,
    /// Its ARP sender or IP source is not the pod's.
    Source,
    /// Neighbour discovery that speaks for another, or for a router.
    Discovery,
    /// It comes from the port of a server of DHCP, which tells its hearers what addresses and routers they have.
    Lease,
}

/// What a pod is called on its link.
#[derive(Debug)]
pub(super) struct Identity {
    mac: [u8; 6],
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

impl Identity {
    /// The identity of a pod: its addresses and, where one of them is of IPv6, the link-local one that Linux makes of
    /// the MAC address (RFC 4291, appendix A).
    pub(super) fn of(config: &NetConfig) -> Self {
        let mac = config.mac.octets();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in &config.addresses {
            match address {
                IpAddr::V4(address) => v4.push(*address),
                IpAddr::V6(address) => v6.push(*address),
            }
        }
        if !v6.is_empty() {
            let [a, b, c, d, e, f] = mac;
            v6.push(Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]));
        }
        Self { mac, v4, v6 }
    }

    /// Whether the pod may send a frame of `len` bytes that starts with `head`, which is all of it or at least
    /// [`INSPECTED`] bytes; answers where its headers are.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn check(&self, head: &[u8], len: usize) -> Result<Layout, Refusal> {
        let frame = Frame { head, len };
        if frame.bytes(6)? != self.mac {
            return Err(Refusal::HardwareSource);
        }
        match u16::from_be_bytes(frame.bytes(12)?) {
            IPV4 => self.check_ipv4(frame),
            IPV6 => self.check_ipv6(frame),
            ARP => self.check_arp(frame),
            _ => Err(Refusal::Protocol),
        }
    }

    fn check_ipv4(&self, frame: Frame<'_>) -> Result<Layout, Refusal> {
        let [version_and_len] = frame.bytes(ETHERNET_LEN)?;
        let header = usize::from(version_and_len & 15) * 4;
        if version_and_len >> 4 != 4 || header < 20 {
            return Err(Refusal::Malformed);
        }
        let transport = ETHERNET_LEN + header;
        frame.has(transport)?;
        if !self.v4.contains(&Ipv4Addr::from(frame.bytes::<4>(ETHERNET_LEN + 12)?)) {
            return Err(Refusal::Source);
        }
        let place = u16::from_be_bytes(frame.bytes(ETHERNET_LEN + 6)?);
        // More fragments, or an offset.
        let fragment = place & 0x3fff != 0;
        let [protocol] = frame.bytes(ETHERNET_LEN + 9)?;
        if protocol == protocol::UDP && place & 0x1fff == 0 {
            frame.is_no_lease(transport)?;
        }
        Ok(Layout { network: Network::Ipv4, transport, protocol, fragment, discovery: false })
    }

    /// ARP for IPv4 on Ethernet. A probe (RFC 5227, section 2.1.1) has no sender and teaches nobody anything.
    fn check_arp(&self, frame: Frame<'_>) -> Result<Layout, Refusal> {
        const REQUEST: u16 = 1;
        const REPLY: u16 = 2;
        let kind = u16::from_be_bytes(frame.bytes(ETHERNET_LEN + 6)?);
        let formats: [u8; 6] = frame.bytes(ETHERNET_LEN)?;
        frame.has(ETHERNET_LEN + 28)?;
        if formats != [0, 1, 8, 0, 6, 4] || !matches!(kind, REQUEST | REPLY) {
            return Err(Refusal::Malformed);
        }
        let hardware: [u8; 6] = frame.bytes(ETHERNET_LEN + 8)?;
        let sender = Ipv4Addr::from(frame.bytes::<4>(ETHERNET_LEN + 14)?);
        let probe = kind == REQUEST && sender.is_unspecified() && !self.v4.is_empty();
        if hardware != self.mac || !(probe || self.v4.contains(&sender)) {
            return Err(Refusal::Source);
        }
        let transport = ETHERNET_LEN + 28;
        let protocol = protocol::NONE;
        Ok(Layout { network: Network::Arp, transport, protocol, fragment: false, discovery: false })
    }
}

/// A frame of which the first bytes are there.
#[derive(Clone, Copy)]
struct Frame<'a> {
    head: &'a [u8],
    len: usize,
}

impl Frame<'_> {
    /// The bytes at an offset.
    fn bytes<const N: usize>(&self, offset: usize) -> Result<[u8; N], Refusal> {
        self.has(offset + N)?;
        let bytes = self.head.get(offset..offset + N).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or(Refusal::Malformed)
    }

    /// Whether what UDP has at the offset comes from another port than those of servers of DHCP (RFC 2131, RFC 8415):
    /// a client of the host listens on all its interfaces, some before any rule.
    fn is_no_lease(&self, transport: usize) -> Result<(), Refusal> {
        // What has no ports is for nobody.
        if self.has(transport + 2).is_ok() && matches!(u16::from_be_bytes(self.bytes(transport)?), 67 | 547) {
            return Err(Refusal::Lease);
        }
        Ok(())
    }

    /// Whether the frame reaches to there.
    fn has(&self, end: usize) -> Result<(), Refusal> {
        if end <= self.len { Ok(()) } else { Err(Refusal::Malformed) }
    }
}

#[cfg(test)]
mod tests;
