//! Where the headers of a frame are. Told by the filter, used to check what the guest asks to be done with the frame.

/// Bytes of an Ethernet header.
pub(super) const ETHERNET_LEN: usize = 14;

/// Numbers of the protocols above IP.
pub(super) mod protocol {
    pub(in super::super) const TCP: u8 = 6;
    pub(in super::super) const UDP: u8 = 17;
    pub(in super::super) const FRAGMENT: u8 = 44;
    pub(in super::super) const ICMPV6: u8 = 58;
    pub(in super::super) const NONE: u8 = 59;
}

/// What an Ethernet frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
    Ipv4,
    Ipv6,
    Arp,
}

/// Where the headers of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    /// What the frame carries.
    pub(super) network: Network,
    /// Where the network's headers, extensions among them, end: bytes from the start of the frame.
    pub(super) transport: usize,
    /// The protocol that starts there. Of a later fragment: what the first fragment said of IPv4, else
    /// [`protocol::FRAGMENT`].
    pub(super) protocol: u8,
    /// Whether it is a part of a packet.
    pub(super) fragment: bool,
    /// Whether it is a message of neighbour discovery, which was looked at to its end.
    pub(super) discovery: bool,
}
