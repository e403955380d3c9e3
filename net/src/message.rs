//! What a pod asks of a network's process and what it gets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spec::MacAddress;
use spec::launch::InterfaceAddress;

use crate::port::{Port, PortWish};

/// A pod that wants to be on the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Request {
    /// The pod's id.
    pub pod: String,
    /// Its name, as errors call it.
    pub name: String,
    /// What others on the network find it by: container name, aliases, host name. None: by nothing.
    pub names: Vec<String>,
    /// The IPv4 address that it wants.
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address that it wants.
    pub ip6: Option<Ipv6Addr>,
    /// The MAC address that it wants.
    pub mac: Option<MacAddress>,
    /// The ports that the host is to publish.
    pub ports: Vec<PortWish>,
    /// Queues of its tap, at least 1.
    pub queues: u8,
    /// Whether it may reach the host at the gateway's address.
    pub host_gateway: bool,
    /// Resolvers for its queries in place of the host's.
    pub dns: Vec<IpAddr>,
    /// Directories of the other networks that it is on: their names are its, too.
    pub siblings: Vec<PathBuf>,
}

/// What changes for a pod that is on the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// What others find it by.
    Names(Vec<String>),
    /// Directories of the other networks that it is on.
    Siblings(Vec<PathBuf>),
    /// This network is the pod's way out from now on.
    #[serde(rename_all = "camelCase")]
    Ports {
        /// The pod's name, as errors call it.
        name: String,
        /// The ports that the host is to publish, in place of those that it did.
        ports: Vec<PortWish>,
        /// Whether the pod may reach the host at the gateway's address.
        host_gateway: bool,
    },
}

/// What a pod got, as others may know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Answer {
    /// The network's id.
    pub network: String,
    /// The network's name.
    pub name: String,
    /// The pod's MAC address.
    pub mac: MacAddress,
    /// Bytes of the longest packet.
    pub mtu: u16,
    /// The pod's addresses, one a family.
    pub addresses: Vec<InterfaceAddress>,
    /// Where IPv4's default route leads; `None` on a network without a way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// Where IPv6's default route leads; `None` on a network without a way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
    /// The resolver, at each of the bridge's addresses.
    pub nameservers: Vec<IpAddr>,
    /// The ports that the host publishes, with the addresses and numbers that were bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// A place on a network.
#[derive(Debug)]
pub struct Endpoint {
    /// What the pod got.
    pub answer: Answer,
    /// The queues of its tap.
    pub queues: Vec<OwnedFd>,
    /// The place is the pod's for as long as this is open, in whatever process; it needs no system call.
    pub lease: UnixStream,
}
