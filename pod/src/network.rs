//! The networks of a pod: what it asks for ([`Networking`], in pod.json), and `network.json`: what it got of them while it
//! runs. The latter is written by the VM's process before the boot, and left behind; what it tells is true while the pod's
//! lock is held.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use net::{Answer, PortWish, Request};
use serde::{Deserialize, Serialize};
use spec::launch::MAX_QUEUES;
use spec::{LaunchSpec, MacAddress};

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
    /// Whether networks may come and go while it runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub changes: bool,
    /// Resolvers for the pod's queries in place of the host's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
}

impl Networking {
    /// Whether the pod has no network and gets none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.networks.is_empty() && !self.changes
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

/// What a network is to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one whose ports are published and which is the way to the host.
    First,
    /// Any other.
    Further,
}

/// What the pod asks of one of its networks.
#[must_use]
pub fn request(networking: &Networking, index: usize, role: Role, launch: &LaunchSpec) -> Request {
    let wanted = &networking.networks[index];
    let first = role == Role::First;
    let others = networking.networks.iter().enumerate().filter(|(other, _)| *other != index);
    // Resolvers that a pod file names are asked by the network's.
    let named = launch.network.nameservers.iter().filter_map(|text| text.parse().ok());
    Request {
        pod: launch.id.clone(),
        name: match networking.name.as_str() {
            "" => launch.containers.first().map(|container| container.name.clone()).unwrap_or_default(),
            name => name.to_owned(),
        },
        names: wanted.names.clone(),
        ip: wanted.ip,
        ip6: wanted.ip6,
        mac: wanted.mac,
        ports: if first { networking.ports.clone() } else { Vec::new() },
        queues: queues(launch),
        host_gateway: first && networking.host_gateway,
        dns: if networking.dns.is_empty() { named.collect() } else { networking.dns.clone() },
        siblings: others.map(|(_, other)| other.dir.clone()).collect(),
    }
}

/// Queues of each of the pod's taps: one a vCPU, as far as there are.
#[must_use]
pub fn queues(launch: &LaunchSpec) -> u8 {
    u8::try_from(launch.resources.cpu).unwrap_or(MAX_QUEUES).clamp(1, MAX_QUEUES)
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
