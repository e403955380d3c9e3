//! The driver options of a network: those of Docker's bridge driver that mean something here.

use std::net::IpAddr;

use vdocker::EngineError;

use super::Network;

/// The longest name of an interface in bytes (linux/if.h, `IFNAMSIZ` without the zero).
const MAX_INTERFACE: usize = 15;

pub(crate) const BRIDGE: &str = "com.docker.network.bridge.name";
pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
pub(crate) const BETWEEN: &str = "com.docker.network.bridge.enable_icc";
pub(crate) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";

/// What the options of a network say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The name of the bridge; `None`: one is made up.
    pub(crate) bridge: Option<String>,
    /// Bytes of the longest packet.
    pub(crate) mtu: Option<u16>,
    /// Whether its containers reach each other.
    pub(crate) between: bool,
    /// The host's address that ports are published on where a container names none.
    pub(crate) host_binding: Option<IpAddr>,
}

/// Options that change nothing where they have that value, and cannot be had where they have another one.
const FIXED: [(&str, &[&str]); 5] = [
    ("com.docker.network.bridge.enable_ip_masquerade", &["true", "1"]),
    ("com.docker.network.bridge.gateway_mode_ipv4", &["", "nat"]),
    ("com.docker.network.bridge.gateway_mode_ipv6", &["", "nat"]),
    ("com.docker.network.bridge.inhibit_ipv4", &["false", "0"]),
    ("com.docker.network.container_iface_prefix", &["eth"]),
];

impl Options {
    /// Reads the options of a network. Unknown ones are not for this driver.
    ///
    /// # Errors
    /// [`EngineError::BadRequest`] for values that make no sense or cannot be had.
    pub(crate) fn of(network: &Network) -> Result<Self, EngineError> {
        let bad = |name: &str, value: &str, why: &str| {
            EngineError::BadRequest(format!("failed to parse {name} value: \"{value}\" ({why})"))
        };
        let option = |name: &str| network.options.get(name).map(String::as_str);
        for (name, values) in FIXED {
            if let Some(value) = option(name).filter(|value| !values.contains(value)) {
                return Err(bad(name, value, "not supported"));
            }
        }
        let bridge = option(BRIDGE).filter(|name| !name.is_empty());
        if let Some(name) = bridge.filter(|name| !is_interface(name)) {
            return Err(bad(BRIDGE, name, "not the name of an interface"));
        }
        let mtu = option(MTU).map(|text| {
            let least = if network.ipv6 { 1280 } else { 576 };
            let mtu = text.parse().ok().filter(|mtu| (least..=65521).contains(mtu));
            mtu.ok_or_else(|| bad(MTU, text, "not a number of bytes that packets can have"))
        });
        let between = option(BETWEEN).map(|text| match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            text => Err(bad(BETWEEN, text, "neither true nor false")),
        });
        let binding = option(HOST_BINDING).filter(|text| !text.is_empty());
        let binding = binding.map(|text| text.parse().map_err(|_| bad(HOST_BINDING, text, "not an address")));
        Ok(Self {
            bridge: bridge.map(str::to_owned),
            mtu: mtu.transpose()?,
            between: between.unwrap_or(Ok(true))?,
            host_binding: binding.transpose()?,
        })
    }
}

fn is_interface(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    name.len() <= MAX_INTERFACE && name.bytes().all(is_plain) && !matches!(name, "." | ".." | "lo")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Options, EngineError> {
        let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Options::of(&Network {
            id: "ab".repeat(32),
            name: "back".into(),
            created: SystemTime::UNIX_EPOCH,
            driver: "bridge".into(),
            internal: false,
            attachable: false,
            ipv4: true,
            ipv6: true,
            subnets: Vec::new(),
            options,
            labels: BTreeMap::new(),
        })
    }

    #[test]
    fn dockers_options_are_read() {
        let read_all =
            read(&[(BRIDGE, "br-back"), (MTU, "1400"), (BETWEEN, "false"), (HOST_BINDING, "127.0.0.1")]);
        let expected = Options {
            bridge: Some("br-back".into()),
            mtu: Some(1400),
            between: false,
            host_binding: "127.0.0.1".parse().ok(),
        };
        assert_eq!(read_all, Ok(expected));
        assert!(read(&[("com.example", "x")]).unwrap().between);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (name, value) in [
            (BRIDGE, "../x"),
            (BRIDGE, "sixteen-bytes-xx"),
            (MTU, "576"),
            (MTU, "x"),
            (BETWEEN, "maybe"),
            (HOST_BINDING, "localhost"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "routed"),
            ("com.docker.network.bridge.enable_ip_masquerade", "false"),
        ] {
            let said = read(&[(name, value)]).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains(value), "{said}");
        }
    }
}
