//! The network of a pod: its interfaces, and what its containers find in `/etc/resolv.conf` and `/etc/hosts`.
//!
//! Interfaces are filled in by the virtual machine's process when the pod has been attached to its networks;
//! launch.json on disk has none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::mac::MacAddress;

/// The most interfaces of a pod.
pub const MAX_INTERFACES: usize = 8;
/// The most queues of an interface: one a vCPU is best.
pub const MAX_QUEUES: u8 = 4;
/// The most addresses of an interface.
pub const MAX_ADDRESSES: usize = 16;
/// The least MTU in bytes: what every IPv4 host takes (RFC 791, section 3.2).
pub const MIN_MTU: u16 = 576;
/// The least MTU in bytes of an interface with IPv6 addresses (RFC 8200, section 5).
pub const MIN_MTU6: u16 = 1280;
/// The greatest MTU in bytes: with its Ethernet header such a frame is as long as Linux lets a tap's be.
pub const MAX_MTU: u16 = 65521;

/// Names and addresses of the pod; field names are the original's where it has them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NetworkSpec {
    /// The interfaces besides loopback, in the order of the virtual machine's network devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<InterfaceSpec>,
    /// The domain of the containers' host names in `/etc/hosts`, as in `example.org`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// `nameserver` lines of `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The `search` line of `/etc/resolv.conf`: domains with blanks between them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub search_domain: String,
    /// The words of the `options` line of `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Extra lines of `/etc/hosts`: name and address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostEntry>,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HostEntry {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// A network interface of the pod, a virtio network device with that MAC address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InterfaceSpec {
    /// Its name, unique in the pod: 1 to 15 bytes (`eth0`).
    pub name: String,
    /// By which the guest finds it; unique in the pod.
    pub mac: MacAddress,
    /// Bytes of the longest packet, [`MIN_MTU`] to [`MAX_MTU`].
    pub mtu: u16,
    /// Its addresses, at most [`MAX_ADDRESSES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<InterfaceAddress>,
    /// Where IPv4's default route leads. The first interface that names one has the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// Where IPv6's default route leads. The first interface that names one has the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
}

/// An address of an interface, with the length of its subnet's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits of the subnet's prefix: 1 to 32, or 128 for IPv6.
    pub prefix_length: u8,
}

/// What happens to a pod's interfaces while it runs: the payload of [`crate::frame::Kind::Link`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LinkChange {
    /// The number of the virtio-mmio device: its position on the kernel command line.
    pub slot: u32,
    /// The interface that is new, where `network` has one of its name, or goes.
    pub interface: InterfaceSpec,
    /// The pod's network afterwards.
    pub network: NetworkSpec,
}

impl NetworkSpec {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// What makes no sense, in words.
    pub fn check(&self) -> Result<(), String> {
        let words =
            self.nameservers.iter().chain([&self.search_domain, &self.domainname]).chain(&self.options);
        for word in words.chain(self.hosts.iter().flat_map(|entry| [&entry.name, &entry.address])) {
            require(!word.contains(|c: char| c.is_control()), || format!("network entry {word:?}"))?;
        }
        let count = self.interfaces.len();
        require(count <= MAX_INTERFACES, || format!("{count} network interfaces"))?;
        for (index, interface) in self.interfaces.iter().enumerate() {
            interface.check().map_err(|why| format!("network interface {:?}: {why}", interface.name))?;
            let twin = |other: &InterfaceSpec| other.name == interface.name || other.mac == interface.mac;
            let unique = !self.interfaces[..index].iter().any(twin);
            require(unique, || format!("two network interfaces {:?} or {}", interface.name, interface.mac))?;
        }
        Ok(())
    }
}

impl InterfaceSpec {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let sound = (1..=15).contains(&name.len()) && name.bytes().all(byte);
        require(sound && !matches!(name.as_str(), "." | ".." | "lo"), || "its name".to_owned())?;
        let has6 = self.gateway6.is_some() || self.addresses.iter().any(|own| own.address.is_ipv6());
        let least = if has6 { MIN_MTU6 } else { MIN_MTU };
        require((least..=MAX_MTU).contains(&self.mtu), || format!("MTU {}", self.mtu))?;
        let count = self.addresses.len();
        require(count <= MAX_ADDRESSES, || format!("{count} addresses"))?;
        for InterfaceAddress { address, prefix_length } in &self.addresses {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let sound = is_host(*address) && (1..=bits).contains(prefix_length);
            require(sound, || format!("address {address}/{prefix_length}"))?;
        }
        let gateways = self.gateway.map(IpAddr::V4).into_iter().chain(self.gateway6.map(IpAddr::V6));
        for gateway in gateways {
            require(is_host(gateway), || format!("gateway {gateway}"))?;
        }
        Ok(())
    }
}

/// Whether one host on a network can have the address.
fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    let mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast || mapped)
}

fn require(sound: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if sound { Ok(()) } else { Err(what()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> NetworkSpec {
        serde_json::from_str(SOUND).unwrap()
    }

    const SOUND: &str = r#"{"interfaces":[{"name":"eth0","mac":"02:42:ac:11:00:02","mtu":1500,"addresses":[{"address":"172.17.0.2","prefixLength":16},{"address":"fd00::2","prefixLength":64}],"gateway":"172.17.0.1","gateway6":"fd00::1"},{"name":"eth1","mac":"02:42:ac:12:00:02","mtu":65521}],"nameservers":["172.17.0.1"],"searchDomain":"a.example b.example","options":["ndots:0"],"hosts":[{"name":"db","address":"172.17.0.3"}]}"#;

    #[test]
    fn a_network_is_read_and_written() {
        let network = sound();
        assert_eq!(network.check(), Ok(()));
        assert_eq!(serde_json::to_string(&network).unwrap(), SOUND);
        assert_eq!(serde_json::to_string(&NetworkSpec::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<NetworkSpec>(r#"{"interfaces":[{"name":"eth0"}]}"#).is_err());
        assert!(serde_json::from_str::<NetworkSpec>(&SOUND.replace("gateway6", "gateway7")).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refusal = |change: &dyn Fn(&mut NetworkSpec)| {
            let mut network = sound();
            change(&mut network);
            network.check().expect_err("taken")
        };
        let first =
            |change: &dyn Fn(&mut InterfaceSpec)| refusal(&|network| change(&mut network.interfaces[0]));
        for name in ["", "lo", ".", "..", "a/b", "eth 0", "eth0\n", "a-name-of-over-15"] {
            assert!(first(&|interface| interface.name = name.to_owned()).ends_with("its name"), "{name:?}");
        }
        for mtu in [0, 575, 1279, 65522] {
            assert!(first(&|interface| interface.mtu = mtu).ends_with(&format!("MTU {mtu}")));
        }
        for (address, prefix_length) in [
            ("0.0.0.0", 24),
            ("127.0.0.1", 8),
            ("224.0.0.1", 24),
            ("255.255.255.255", 32),
            ("10.0.0.2", 0),
            ("10.0.0.2", 33),
            ("::", 64),
            ("::1", 128),
            ("ff02::1", 64),
            ("::ffff:10.0.0.2", 96),
            ("fd00::2", 0),
            ("fd00::2", 129),
        ] {
            let own = InterfaceAddress { address: address.parse().unwrap(), prefix_length };
            let why = first(&|interface| interface.addresses.push(own));
            assert!(why.ends_with(&format!("address {address}/{prefix_length}")), "{why}");
        }
        assert!(first(&|interface| interface.gateway = Some(Ipv4Addr::UNSPECIFIED)).contains("gateway"));
        assert!(first(&|interface| interface.gateway6 = Some(Ipv6Addr::LOCALHOST)).contains("gateway"));
        let own = InterfaceAddress { address: Ipv4Addr::new(10, 0, 0, 2).into(), prefix_length: 8 };
        assert!(first(&|interface| interface.addresses = vec![own; 17]).contains("17 addresses"));
        assert!(refusal(&|network| network.interfaces[1].name = "eth0".to_owned()).starts_with("two"));
        assert!(refusal(&|network| network.interfaces[1].mac = network.interfaces[0].mac).starts_with("two"));
        assert!(
            refusal(&|network| network.interfaces = vec![network.interfaces[1].clone(); 9]).contains('9')
        );
        assert!(refusal(&|network| network.options.push("a\nb".to_owned())).contains("a\\nb"));
    }
}
