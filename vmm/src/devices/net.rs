//! The network device (virtio 1.3, section 5.1) between the guest and the queues of a tap.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use spec::MacAddress;

/// What a network device is connected to.
#[derive(Debug)]
pub struct NetConfig {
    /// The queues of a tap, each opened with `IFF_TAP`, `IFF_NO_PI`, `IFF_VNET_HDR` and in non-blocking mode, with
    /// `IFF_MULTI_QUEUE` where they are more than one. More than the guest has vCPUs are of no use.
    pub queues: Vec<OwnedFd>,
    /// The guest's address on the link: it sends from no other.
    pub mac: MacAddress,
    /// Bytes of the longest packet.
    pub mtu: u16,
    /// The guest's addresses: it sends from no others but link-local ones.
    pub addresses: Vec<IpAddr>,
}
