//! The pod's network interfaces: names, addresses and default routes, as the launch specification has them. Called once
//! by the boot recipe, and when one comes or goes.

mod netlink;

use self::netlink::{CREATE, Message, Netlink, attributes};
use spec::MacAddress;
use spec::launch::{InterfaceAddress, InterfaceSpec, NetworkSpec};
use std::io;
use std::net::IpAddr;

/// Types of messages (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;

/// Address families.
const INET: u8 = 2;
const INET6: u8 = 10;

/// An interface cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterfaceError {
    /// There is no netlink socket.
    #[error("cannot reach the kernel's network configuration")]
    Open(#[source] io::Error),
    /// The kernel does not tell its interfaces.
    #[error("cannot list the network interfaces")]
    List(#[source] io::Error),
    /// The virtual machine has no device of that address.
    #[error("there is no network device {mac} for interface {name}")]
    Missing {
        /// The interface's name.
        name: String,
        /// Its MAC address.
        mac: MacAddress,
    },
    /// The kernel refuses a step.
    #[error("cannot {step} of network interface {name}")]
    Step {
        /// What.
        step: &'static str,
        /// The interface's name.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// An interface that the kernel has.
#[derive(Debug)]
struct Device {
    index: u32,
    name: String,
    mac: Vec<u8>,
}

/// Sets all interfaces up. Addresses can be used at once: nobody else on the link has them, the host sees to that.
///
/// # Errors
/// The first step that failed.
pub(crate) fn set_up(interfaces: &[InterfaceSpec]) -> Result<(), InterfaceError> {
    if interfaces.is_empty() {
        return Ok(());
    }
    let kernel = Netlink::open().map_err(InterfaceError::Open)?;
    let devices = devices(&kernel).map_err(InterfaceError::List)?;
    let pair = |spec| Ok((spec, find(&devices, spec)?));
    let pairs = interfaces.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
    rename(&kernel, &pairs)?;
    for (spec, device) in &pairs {
        set_up_one(&kernel, spec, device.index)?;
    }
    set_routes(&kernel, interfaces, &devices)
}

/// Sets an interface up that has come to those of a pod that runs.
///
/// # Errors
/// The first step that failed.
pub(crate) fn add(network: &NetworkSpec, interface: &InterfaceSpec) -> Result<(), InterfaceError> {
    let kernel = Netlink::open().map_err(InterfaceError::Open)?;
    let devices = devices(&kernel).map_err(InterfaceError::List)?;
    let device = find(&devices, interface)?;
    rename(&kernel, &[(interface, device)])?;
    set_up_one(&kernel, interface, device.index)?;
    set_routes(&kernel, &network.interfaces, &devices)
}

/// Sets the default routes of a pod one of whose interfaces has gone, and its routes with it.
///
/// # Errors
/// The first step that failed.
pub(crate) fn route(network: &NetworkSpec) -> Result<(), InterfaceError> {
    let kernel = Netlink::open().map_err(InterfaceError::Open)?;
    let devices = devices(&kernel).map_err(InterfaceError::List)?;
    set_routes(&kernel, &network.interfaces, &devices)
}

fn find<'d>(devices: &'d [Device], spec: &InterfaceSpec) -> Result<&'d Device, InterfaceError> {
    let found = devices.iter().find(|device| device.mac == spec.mac.octets());
    found.ok_or_else(|| InterfaceError::Missing { name: spec.name.clone(), mac: spec.mac })
}

fn rename(kernel: &Netlink, pairs: &[(&InterfaceSpec, &Device)]) -> Result<(), InterfaceError> {
    // All names are free before the first is given: they may be those that the kernel gave to others.
    for rename in [|index, _: &str| format!("pod{index}"), |_, name: &str| name.to_owned()] {
        for (spec, device) in pairs.iter().filter(|(spec, device)| spec.name != device.name) {
            let name = rename(device.index, &spec.name);
            let link = link(device.index, 0).attribute(attribute::LINK_NAME, &terminated(&name));
            kernel.ask(link).map_err(|source| failed("change the name", spec, source))?;
        }
    }
    Ok(())
}

/// Sets the default route of each family, through the first interface that names a gateway. Where there is one it stays.
fn set_routes(
    kernel: &Netlink,
    interfaces: &[InterfaceSpec],
    devices: &[Device],
) -> Result<(), InterfaceError> {
    for is6 in [false, true] {
        let gateway = |spec: &InterfaceSpec| match is6 {
            true => spec.gateway6.map(IpAddr::V6),
            false => spec.gateway.map(IpAddr::V4),
        };
        let Some((spec, gateway)) = interfaces.iter().find_map(|spec| Some((spec, gateway(spec)?))) else {
            continue;
        };
        match kernel.ask(route_through(find(devices, spec)?.index, gateway)) {
            Err(source) if source.raw_os_error() != Some(libc::EEXIST) => {
                return Err(failed("set the default route", spec, source));
            }
            _ => {}
        }
    }
    Ok(())
}

fn set_up_one(kernel: &Netlink, spec: &InterfaceSpec, index: u32) -> Result<(), InterfaceError> {
    set_ipv6(spec);
    let up = link(index, libc::IFF_UP.unsigned_abs());
    let up = up.attribute(attribute::LINK_MTU, &u32::from(spec.mtu).to_ne_bytes());
    kernel.ask(up).map_err(|source| failed("set the state and the MTU", spec, source))?;
    for own in &spec.addresses {
        kernel.ask(address(index, *own)).map_err(|source| failed("set an address", spec, source))?;
    }
    Ok(())
}

fn failed(step: &'static str, spec: &InterfaceSpec, source: io::Error) -> InterfaceError {
    InterfaceError::Step { step, name: spec.name.clone(), source }
}

/// Before the interface is up: no addresses but those of the pod, as under Docker, and none that is waited for.
fn set_ipv6(spec: &InterfaceSpec) {
    let settings: &[_] = if spec.addresses.iter().any(|own| own.address.is_ipv6()) {
        &[("accept_ra", "0"), ("accept_dad", "0")]
    } else {
        &[("disable_ipv6", "1")]
    };
    for (setting, value) in settings {
        // A kernel without IPv6 has nothing to switch off.
        let _absent = std::fs::write(format!("/proc/sys/net/ipv6/conf/{}/{setting}", spec.name), value);
    }
}

/// Types of attributes (linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h).
mod attribute {
    pub(super) const LINK_MAC: u16 = 1;
    pub(super) const LINK_NAME: u16 = 3;
    pub(super) const LINK_MTU: u16 = 4;
    pub(super) const LINK_EXTRA: u16 = 29;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const ADDRESS_LOCAL: u16 = 2;
    pub(super) const ADDRESS_BROADCAST: u16 = 4;
    pub(super) const ROUTE_INTERFACE: u16 = 4;
    pub(super) const ROUTE_GATEWAY: u16 = 5;
}

/// All interfaces of the kernel.
fn devices(kernel: &Netlink) -> io::Result<Vec<Device>> {
    const SKIP_STATISTICS: u32 = 8;
    let request = Message::new(GET_LINK, 0, &[0; 16]);
    let mut devices = Vec::new();
    kernel.dump(request.attribute(attribute::LINK_EXTRA, &SKIP_STATISTICS.to_ne_bytes()), |kind, body| {
        let (Some((structure, rest)), NEW_LINK) = (body.split_first_chunk::<16>(), kind) else { return };
        let [.., a, b, c, d, _, _, _, _, _, _, _, _] = *structure;
        let mut device =
            Device { index: u32::from_ne_bytes([a, b, c, d]), name: String::new(), mac: Vec::new() };
        for (kind, value) in attributes(rest) {
            match kind {
                attribute::LINK_NAME => {
                    device.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
                }
                attribute::LINK_MAC => device.mac = value.to_owned(),
                _ => {}
            }
        }
        devices.push(device);
    })?;
    Ok(devices)
}

/// A change of an interface (`struct ifinfomsg`): these flags are set.
fn link(index: u32, flags: u32) -> Message {
    let mut structure = [0; 16];
    structure[4..8].copy_from_slice(&index.to_ne_bytes());
    structure[8..12].copy_from_slice(&flags.to_ne_bytes());
    structure[12..].copy_from_slice(&flags.to_ne_bytes());
    Message::new(NEW_LINK, 0, &structure)
}

/// A new address (`struct ifaddrmsg`).
fn address(index: u32, own: InterfaceAddress) -> Message {
    /// `IFA_F_NODAD`: no search for who else may have it.
    const NO_DETECTION: u8 = 2;
    let InterfaceAddress { address, prefix_length } = own;
    let structure = |family, flags| {
        let [a, b, c, d] = index.to_ne_bytes();
        [family, prefix_length, flags, 0, a, b, c, d]
    };
    match address {
        IpAddr::V4(address) => {
            let message = Message::new(NEW_ADDRESS, CREATE, &structure(INET, 0))
                .attribute(attribute::ADDRESS_LOCAL, &address.octets())
                .attribute(attribute::ADDRESS, &address.octets());
            // Smaller subnets have no address to spare (RFC 3021).
            if prefix_length > 30 {
                return message;
            }
            let broadcast = address.to_bits() | u32::MAX >> prefix_length;
            message.attribute(attribute::ADDRESS_BROADCAST, &broadcast.to_be_bytes())
        }
        IpAddr::V6(address) => Message::new(NEW_ADDRESS, CREATE, &structure(INET6, NO_DETECTION))
            .attribute(attribute::ADDRESS, &address.octets()),
    }
}

/// A default route (`struct rtmsg`).
fn route_through(index: u32, gateway: IpAddr) -> Message {
    const TABLE_MAIN: u8 = 254;
    const PROTOCOL_BOOT: u8 = 3;
    const SCOPE_UNIVERSE: u8 = 0;
    const UNICAST: u8 = 1;
    let message = |family, gateway: &[u8]| {
        let structure = [family, 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, SCOPE_UNIVERSE, UNICAST, 0, 0, 0, 0];
        Message::new(NEW_ROUTE, CREATE, &structure)
            .attribute(attribute::ROUTE_GATEWAY, gateway)
            .attribute(attribute::ROUTE_INTERFACE, &index.to_ne_bytes())
    };
    match gateway {
        IpAddr::V4(gateway) => message(INET, &gateway.octets()),
        IpAddr::V6(gateway) => message(INET6, &gateway.octets()),
    }
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}
