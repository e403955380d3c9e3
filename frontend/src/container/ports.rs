//! Ports of a container: those that it exposes, those that the host is to publish, and those that it does.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bollard_stubs::models::{self, ContainerConfig, HostConfig, PortBinding, PortMap, PortTypeEnum};
use net::{PortWish, Protocol};
use vdocker::EngineError;

use super::Container;
use super::record::Record;

/// Ports of a container that the host publishes at most: each has sockets of its own.
const MAX_PUBLISHED: usize = 1024;

fn bad(text: impl Into<String>) -> EngineError {
    EngineError::BadRequest(text.into())
}

/// Checks what a container exposes and publishes.
///
/// # Errors
/// [`EngineError::BadRequest`] in Docker's words.
pub(super) fn check(config: &ContainerConfig, host: &HostConfig) -> Result<(), EngineError> {
    for port in config.exposed_ports.iter().flatten().map(|(port, _)| port) {
        read(port).ok_or_else(|| bad(format!("invalid port specification: {port:?}")))?;
    }
    let mut published = 0_usize;
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let (_, protocol) = read(port).ok_or_else(|| bad(format!("invalid port specification: {port:?}")))?;
        if protocol.is_none() {
            return Err(bad(format!(
                "invalid port specification: {port:?}: only tcp and udp can be published"
            )));
        }
        for binding in bindings.iter().flatten() {
            host_ports(binding)?;
            host_ip(binding)?;
            published += 1;
        }
    }
    if published > MAX_PUBLISHED {
        return Err(bad(format!("a container publishes at most {MAX_PUBLISHED} ports")));
    }
    Ok(())
}

/// Whether a container asks for ports of the host.
pub(super) fn publishes(host: &HostConfig) -> bool {
    let all = host.publish_all_ports.unwrap_or_default();
    all || host.port_bindings.iter().flatten().any(|(_, bindings)| bindings.iter().flatten().next().is_some())
}

/// `80/tcp`, or `80` for the same: the number and what carries it, `None` for what the host cannot publish.
fn read(port: &str) -> Option<(u16, Option<Protocol>)> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let number = number.parse().ok().filter(|number| *number > 0)?;
    match protocol.to_ascii_lowercase().as_str() {
        "sctp" => Some((number, None)),
        protocol => Some((number, Some(protocol.parse().ok()?))),
    }
}

/// The first and the last port of the host of which the first free one is taken; zeros: the kernel chooses.
fn host_ports(binding: &PortBinding) -> Result<(u16, u16), EngineError> {
    let text = binding.host_port.as_deref().unwrap_or_default();
    if text.is_empty() {
        return Ok((0, 0));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok().zip(last.parse().ok());
    range
        .filter(|(first, last): &(u16, u16)| first <= last && (*first > 0 || *last == 0))
        .ok_or_else(|| bad(format!("invalid port specification: {text:?}")))
}

fn host_ip(binding: &PortBinding) -> Result<Option<IpAddr>, EngineError> {
    let text = binding.host_ip.as_deref().filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| bad(format!("invalid IP address: {text}")))).transpose()
}

/// What a container asks of the host; where it names no address, `default_ip`.
pub(super) fn wishes(record: &Record, default_ip: Option<IpAddr>) -> Result<Vec<PortWish>, EngineError> {
    let host = &record.host_config;
    let mut wishes = Vec::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let Some((guest_port, Some(protocol))) = read(port) else { continue };
        for binding in bindings.iter().flatten() {
            wishes.push(PortWish {
                host_ip: host_ip(binding)?.or(default_ip),
                host_ports: host_ports(binding)?,
                guest_port,
                protocol,
            });
        }
    }
    if host.publish_all_ports.unwrap_or_default() {
        for port in record.config.exposed_ports.iter().flatten().map(|(port, _)| port) {
            let Some((guest_port, Some(protocol))) = read(port) else { continue };
            let is_bound = |wish: &PortWish| wish.guest_port == guest_port && wish.protocol == protocol;
            if !wishes.iter().any(is_bound) {
                wishes.push(PortWish { host_ip: default_ip, host_ports: (0, 0), guest_port, protocol });
            }
        }
    }
    // Fixed ones first: what the kernel chooses must not be what another wants.
    wishes.sort_by_key(|wish| {
        (wish.host_ports == (0, 0), wish.host_ports, wish.guest_port, wish.protocol.to_string())
    });
    Ok(wishes)
}

/// The ports of a container that runs, each with where the host publishes it.
fn ports(container: &Container) -> BTreeMap<(u16, String), Vec<(IpAddr, u16)>> {
    let mut ports = BTreeMap::new();
    if !container.is_running() {
        return ports;
    }
    let record = container.record.borrow();
    let exposed = record.config.exposed_ports.iter().flatten().map(|(port, _)| port);
    for port in exposed.chain(record.host_config.port_bindings.iter().flatten().map(|(port, _)| port)) {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        if let Ok(number) = number.parse() {
            ports.entry((number, protocol.to_ascii_lowercase())).or_default();
        }
    }
    for port in container.places.borrow().iter().flat_map(|place| &place.ports) {
        let bound: &mut Vec<_> = ports.entry((port.guest_port, port.protocol.to_string())).or_default();
        bound.push((port.host_ip, port.host_port));
    }
    ports
}

/// `NetworkSettings.Ports`: exposed ports are there with nothing behind them.
pub(super) fn map(container: &Container) -> PortMap {
    let binding = |(ip, port): (IpAddr, u16)| PortBinding {
        host_ip: Some(ip.to_string()),
        host_port: Some(port.to_string()),
    };
    let shown = ports(container).into_iter().map(|((number, protocol), bound)| {
        let bindings = (!bound.is_empty()).then(|| bound.into_iter().map(binding).collect());
        (format!("{number}/{protocol}"), bindings)
    });
    shown.collect()
}

/// The same as a list of containers has it.
pub(super) fn list(container: &Container) -> Vec<models::Port> {
    let mut list = Vec::new();
    for ((number, protocol), bound) in ports(container) {
        let port = |ip: Option<String>, public_port| models::Port {
            ip,
            private_port: number,
            public_port,
            typ: match protocol.as_str() {
                "udp" => Some(PortTypeEnum::UDP),
                "sctp" => Some(PortTypeEnum::SCTP),
                _ => Some(PortTypeEnum::TCP),
            },
        };
        if bound.is_empty() {
            list.push(port(None, None));
        }
        list.extend(bound.iter().map(|(ip, public)| port(Some(ip.to_string()), Some(*public))));
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(config: &str, host: &str) -> Result<(), String> {
        let (config, host) = (serde_json::from_str(config).unwrap(), serde_json::from_str(host).unwrap());
        check(&config, &host).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_port_is_refused() {
        let good = r#"{"PortBindings":{"80/tcp":[{"HostPort":"8080"},{"HostIp":"::1","HostPort":"9000-9010"}],"53/udp":[{}]}}"#;
        assert_eq!(checked(r#"{"ExposedPorts":{"80/tcp":{},"81":{},"5/sctp":{}}}"#, good), Ok(()));
        for (config, host, words) in [
            (r#"{"ExposedPorts":{"x/tcp":{}}}"#, "{}", "invalid port specification: \"x/tcp\""),
            (r#"{"ExposedPorts":{"0/tcp":{}}}"#, "{}", "invalid port specification: \"0/tcp\""),
            (r#"{"ExposedPorts":{"80/icmp":{}}}"#, "{}", "invalid port specification: \"80/icmp\""),
            ("{}", r#"{"PortBindings":{"70000/tcp":null}}"#, "invalid port specification: \"70000/tcp\""),
            ("{}", r#"{"PortBindings":{"80/sctp":[{}]}}"#, "only tcp and udp"),
            ("{}", r#"{"PortBindings":{"80/tcp":[{"HostPort":"x"}]}}"#, "invalid port specification: \"x\""),
            (
                "{}",
                r#"{"PortBindings":{"80/tcp":[{"HostPort":"90-80"}]}}"#,
                "invalid port specification: \"90-80\"",
            ),
            (
                "{}",
                r#"{"PortBindings":{"80/tcp":[{"HostPort":"0-80"}]}}"#,
                "invalid port specification: \"0-80\"",
            ),
            (
                "{}",
                r#"{"PortBindings":{"80/tcp":[{"HostIp":"localhost"}]}}"#,
                "invalid IP address: localhost",
            ),
        ] {
            let said = checked(config, host).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
