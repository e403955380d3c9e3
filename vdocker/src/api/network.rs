//! `NetworkSettings` of a container: all containers of a pod are on the network of the guest, as on Docker's `host`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{NoEntries, Null};

/// The network mode of every container, and the name of its one network.
pub const MODE: &str = "host";

/// The one network as a client that asks for it gets it.
pub const NETWORK: &str = r#"{"Name":"host","Id":"host","Created":"0001-01-01T00:00:00Z","Scope":"local","Driver":"host","EnableIPv4":true,"EnableIPv6":false,"IPAM":{"Driver":"default","Options":null,"Config":null},"Internal":false,"Attachable":false,"Ingress":false,"ConfigFrom":{"Network":""},"ConfigOnly":false,"Containers":{},"Options":{},"Labels":{}}"#;

/// `NetworkSettings` of an inspected container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct NetworkSettings {
    pub bridge: &'static str,
    #[serde(rename = "SandboxID")]
    pub sandbox_id: &'static str,
    pub sandbox_key: &'static str,
    pub ports: NoEntries,
    pub hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: &'static str,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Null,
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Null,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: &'static str,
    pub gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    #[serde(rename = "IPAddress")]
    pub ip_address: &'static str,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: &'static str,
    pub mac_address: &'static str,
    pub networks: BTreeMap<&'static str, Endpoint>,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            bridge: "",
            sandbox_id: "",
            sandbox_key: "",
            ports: NoEntries {},
            hairpin_mode: false,
            link_local_ipv6_address: "",
            link_local_ipv6_prefix_len: 0,
            secondary_ip_addresses: (),
            secondary_ipv6_addresses: (),
            endpoint_id: "",
            gateway: "",
            global_ipv6_address: "",
            global_ipv6_prefix_len: 0,
            ip_address: "",
            ip_prefix_len: 0,
            ipv6_gateway: "",
            mac_address: "",
            networks: networks(),
        }
    }
}

/// `NetworkSettings` of a listed container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSummary {
    /// Networks by name.
    pub networks: BTreeMap<&'static str, Endpoint>,
}

impl Default for NetworkSummary {
    fn default() -> Self {
        Self { networks: networks() }
    }
}

fn networks() -> BTreeMap<&'static str, Endpoint> {
    let mut networks = BTreeMap::new();
    networks.insert(MODE, Endpoint { network_id: MODE, ..Endpoint::default() });
    networks
}

/// A container's place on a network.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the Docker Engine API")]
pub struct Endpoint {
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Null,
    pub links: Null,
    pub aliases: Null,
    pub mac_address: &'static str,
    pub driver_opts: Null,
    pub gw_priority: i32,
    #[serde(rename = "NetworkID")]
    pub network_id: &'static str,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: &'static str,
    pub gateway: &'static str,
    #[serde(rename = "IPAddress")]
    pub ip_address: &'static str,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: &'static str,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: &'static str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    pub dns_names: Null,
}
