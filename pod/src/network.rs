//! The networks of a pod: what it asks for ([`Networking`], in pod.json), and `network.json`: what it got of them while it
//! runs. The latter is written by the VM's process before the boot, and left behind; what it tells is true while the pod's
//! lock is held.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use net::{Answer, PortWish};
use serde::{Deserialize, Serialize};
use spec::MacAddress;

/// The version of [`PodNetworks`].
pub const VERSION: u32 = 1;

/// What a pod asks of its networks; by default it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Networking {
    /// What errors call the pod; by its first container where it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The networks, in the order of the pod's interfaces. The first publishes the ports.
    pub networks: Vec<Attachment>,
    /// Ports that the host publishes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortWish>,
    /// Whether the pod may reach the host at the first network's gateway.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub host_gateway: bool,
    /// Resolvers for the pod's queries in place of the host's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
}

impl Networking {
    /// Whether the pod has no network.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.networks.is_empty()
    }
}

/// A network that a pod is on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Attachment {
    /// The network's directory ([`net::NetworkDir`]).
    pub dir: PathBuf,
    /// What others find the pod by there; none: by nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The IPv4 address that it wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address that it wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip6: Option<Ipv6Addr>,
    /// The MAC address that it wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
}

/// The content of `network.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodNetworks {
    /// [`VERSION`].
    pub version: u32,
    /// One entry an [`Attachment`], in their order.
    pub networks: Vec<Attached>,
}

/// What a pod got of one of its networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Attached {
    /// The interface's name in the guest.
    pub interface: String,
    /// Addresses, gateways and ports.
    pub endpoint: Answer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_have_this_form() {
        let golden = r#"{"networks":[{"dir":"/n","names":["web"],"ip":"172.18.0.2"}],"ports":[{"hostPorts":[8080,8080],"guestPort":80,"protocol":"tcp"}],"hostGateway":true,"dns":["9.9.9.9"]}"#;
        let networking: Networking = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&networking).unwrap(), golden);
        assert!(Networking::default().is_none() && !networking.is_none());

        let golden = r#"{"version":1,"networks":[{"interface":"eth0","endpoint":{"network":"ab","name":"web","mac":"02:42:ac:12:00:02","mtu":1500,"addresses":[{"address":"172.18.0.2","prefixLength":16}],"gateway":"172.18.0.1","nameservers":["172.18.0.1"],"ports":[{"hostIp":"0.0.0.0","hostPort":8080,"guestPort":80,"protocol":"tcp"}]}}]}"#;
        let networks: PodNetworks = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&networks).unwrap(), golden);
    }
}
