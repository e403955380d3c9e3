//! The bridge of a network and the taps on it. Names follow from the network's id, so that what a killed process left is
//! found and removed.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use spec::MacAddress;

use super::place::Place;
use super::rtnetlink::{BridgePort, Rtnetlink};
use crate::definition::Definition;

/// Opens so many queues of a new tap in the caller's network namespace: `IFF_TAP`, `IFF_NO_PI`, `IFF_VNET_HDR`, not
/// blocking, with `IFF_MULTI_QUEUE` where they are more than one. The name has `%d` where the kernel puts a free number;
/// the whole name is answered.
pub type OpenTap = fn(name: &str, queues: u8) -> io::Result<(String, Vec<OwnedFd>)>;

/// What a failed step was to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct BridgeError {
    what: String,
    #[source]
    source: io::Error,
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> BridgeError {
    |source| BridgeError { what: what.into(), source }
}

/// The name of a network's bridge and of its rules: 15 bytes, the longest that Linux takes.
pub(crate) fn bridge_name(definition: &Definition) -> String {
    format!("cradle-{}", definition.short_id())
}

/// What all names of a network's taps begin with.
fn tap_prefix(definition: &Definition) -> String {
    format!("cr{}.", definition.short_id())
}

/// The bridge's own address: local, and the same at each start.
pub(super) fn bridge_mac(definition: &Definition) -> MacAddress {
    let digits = u32::from_str_radix(definition.short_id(), 16).unwrap_or_default();
    let [a, b, c, d] = digits.to_be_bytes();
    MacAddress::new([0x02, 0x43, a, b, c, d]).unwrap_or_else(|_| unreachable!("its first byte is 2"))
}

/// Makes the bridge of a network, with the addresses of its gateways.
pub(super) fn make(place: &Place, definition: &Definition) -> Result<(), BridgeError> {
    let (name, mac, mtu) = (bridge_name(definition), bridge_mac(definition), definition.mtu);
    let pools = definition.pools.clone();
    let has6 = definition.ipv6().is_some();
    let make = move || -> Result<(), BridgeError> {
        let kernel = Rtnetlink::open().map_err(failed("talk to the kernel's network"))?;
        kernel.add_bridge(&name, mac, mtu).map_err(failed(format!("make bridge {name}")))?;
        let index = kernel.index(&name).map_err(failed(format!("find bridge {name}")))?;
        for (file, value) in [("accept_ra", "0"), ("disable_ipv6", if has6 { "0" } else { "1" })] {
            let path = format!("/proc/sys/net/ipv6/conf/{name}/{file}");
            match std::fs::write(&path, value) {
                // A host without IPv6 has nothing to forbid.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !has6 => {}
                written => written.map_err(failed(format!("write {path}")))?,
            }
        }
        for pool in pools {
            let (address, length) = (pool.gateway, pool.subnet.length());
            let added = kernel.add_address(index, address, length, pool.subnet.broadcast());
            added.map_err(failed(format!("give bridge {name} the address {address}/{length}")))?;
        }
        Ok(())
    };
    place.run(make).map_err(failed("reach the network's namespace"))?
}

/// Lets the namespace forward between its interfaces. In the host's this may have been on before, and stays on.
pub(super) fn forward(place: &Place, definition: &Definition) -> Result<(), BridgeError> {
    let ipv6 = definition.ipv6().is_some();
    let forward = move || -> Result<(), BridgeError> {
        let mut switches = vec!["/proc/sys/net/ipv4/ip_forward"];
        switches.extend(ipv6.then_some("/proc/sys/net/ipv6/conf/all/forwarding"));
        for path in switches {
            let on = std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0");
            if !on {
                std::fs::write(path, "1").map_err(failed(format!("write {path}")))?;
                eprintln!("forwarding was off: {path} is 1 now");
            }
        }
        Ok(())
    };
    place.run(forward).map_err(failed("reach the network's namespace"))?
}

/// Sets the loopback interface of a namespace of its own up.
pub(super) fn loopback(place: &Place) -> Result<(), BridgeError> {
    let up = || Rtnetlink::open().and_then(|kernel| kernel.set_up(1));
    place.run(up).and_then(|done| done).map_err(failed("set the loopback interface up"))
}

/// Makes a tap with so many queues that is a port of the bridge, for the pod with that MAC address. It is gone when the
/// last descriptor of its queues is closed.
pub(super) fn add_tap(
    place: &Place,
    definition: &Definition,
    open: OpenTap,
    queues: u8,
    mac: MacAddress,
) -> Result<Vec<OwnedFd>, BridgeError> {
    let (bridge, prefix) = (bridge_name(definition), tap_prefix(definition));
    let (mtu, port) = (definition.mtu, BridgePort { isolated: definition.isolated });
    let add = move || -> Result<Vec<OwnedFd>, BridgeError> {
        let (name, queues) =
            open(&format!("{prefix}%d"), queues).map_err(failed("make a tap (/dev/net/tun)"))?;
        let attach = || {
            let kernel = Rtnetlink::open()?;
            // The host's own IPv6 has no business on it.
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
            kernel.add_port(kernel.index(&bridge)?, kernel.index(&name)?, mtu, mac, port)
        };
        attach().map_err(failed(format!("connect {name} to {bridge}")))?;
        Ok(queues)
    };
    place.run(add).map_err(failed("reach the network's namespace"))?
}

/// Removes the bridge and the taps of a network from the caller's namespace; what is not there is passed over.
pub(super) fn remove(definition: &Definition) -> Result<(), BridgeError> {
    let kernel = Rtnetlink::open().map_err(failed("talk to the kernel's network"))?;
    let prefix = tap_prefix(definition);
    let links = std::fs::read_to_string("/proc/thread-self/net/dev").map_err(failed("list interfaces"))?;
    let names = links.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    for name in names.filter(|name| name.starts_with(&prefix)).chain([bridge_name(definition).as_str()]) {
        kernel.delete(name).map_err(failed(format!("remove {name}")))?;
    }
    Ok(())
}

/// Whether the bridge is there, in the caller's namespace.
pub(super) fn exists(definition: &Definition) -> bool {
    Rtnetlink::open().and_then(|kernel| kernel.index(&bridge_name(definition))).is_ok()
}

/// The MAC address of a pod that wished none: local, made of its address as Docker once did.
pub(super) fn pod_mac(address: IpAddr) -> Option<MacAddress> {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            [a, b, c, d]
        }
    };
    MacAddress::new([0x02, 0x42, a, b, c, d]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::sound;

    #[test]
    fn names_fit_and_follow_the_id() {
        let definition = sound();
        assert_eq!(bridge_name(&definition), "cradle-abababab");
        assert_eq!(bridge_name(&definition).len(), 15);
        assert!(tap_prefix(&definition).len() + 4 <= 15);
        assert_eq!(bridge_mac(&definition).to_string(), "02:43:ab:ab:ab:ab");
        assert_eq!(pod_mac("172.17.0.2".parse().unwrap()).unwrap().to_string(), "02:42:ac:11:00:02");
    }
}
