//! A container's places on networks: what it was created with, or connected to later, and what they came to in a run.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use bollard_stubs::models::{ContainerConfig, EndpointSettings, HostConfig, NetworkingConfig};
use spec::MacAddress;
use vdocker::EngineError;
use vdocker::version::ApiVersion;

use super::Container;
use crate::daemon::Daemon;
use crate::network::{Network, joined};

/// The first version of the API, 1.44, that creates containers on several networks, each with a MAC address of its own.
const SEVERAL: u32 = 44;

const OLD_MAC: &str = "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";

/// Options of an endpoint that would be missed.
const REFUSED: [&str; 2] = ["com.docker.network.endpoint.sysctls", "com.docker.network.endpoint.ifname"];

fn bad(text: impl Into<String>) -> EngineError {
    EngineError::BadRequest(text.into())
}

/// Finds the networks that a container is to be created on, and checks what it wants there. Answers what the client is
/// warned of.
///
/// # Errors
/// [`EngineError::NotFound`] for a network that is not there, [`EngineError::BadRequest`] for settings that make no sense.
pub(super) fn join(
    daemon: &Daemon,
    networks: &mut NetworkingConfig,
    config: &ContainerConfig,
    host: &HostConfig,
    version: ApiVersion,
) -> Result<Option<&'static str>, EngineError> {
    let wanted = networks.endpoints_config.take().unwrap_or_default();
    if !version.at_least(SEVERAL) && wanted.len() > 1 {
        let names = wanted.into_keys().collect::<Vec<_>>().join(", ");
        return Err(bad(format!("Container cannot be created with multiple network endpoints: {names}")));
    }
    let mut endpoints = HashMap::new();
    if config.network_disabled != Some(true) {
        for (wanted, settings) in wanted {
            add_named(
                daemon,
                &mut endpoints,
                if wanted == "default" { "bridge" } else { &wanted },
                settings,
            )?;
        }
        if endpoints.is_empty() {
            let mode = host.network_mode.as_deref().unwrap_or_default();
            add_named(daemon, &mut endpoints, mode, EndpointSettings::default())?;
        }
    }
    let warning = container_mac(daemon, &mut endpoints, config, host, version)?;
    networks.endpoints_config = Some(endpoints);
    Ok(warning)
}

/// A MAC address that is the container's belongs to its main network.
fn container_mac(
    daemon: &Daemon,
    endpoints: &mut HashMap<String, EndpointSettings>,
    config: &ContainerConfig,
    host: &HostConfig,
    version: ApiVersion,
) -> Result<Option<&'static str>, EngineError> {
    let Some(mac) = config.mac_address.clone().filter(|mac| !mac.is_empty()) else { return Ok(None) };
    let mode = host.network_mode.clone().unwrap_or_default();
    let name = daemon.networks.find(&mode).map_or(mode, |network| network.name);
    let Some(main) = endpoints.get_mut(&name).filter(|_| name != "none") else {
        return Err(bad("conflicting options: mac-address and the network mode"));
    };
    let own = main.mac_address.get_or_insert_default();
    if own.is_empty() {
        let Ok(mac) = mac.parse::<MacAddress>() else {
            return Err(bad(format!("invalid MAC address: {mac}")));
        };
        *own = mac.to_string();
    } else if !own.eq_ignore_ascii_case(&mac) {
        return Err(bad(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left \
             empty",
        ));
    }
    Ok(version.at_least(SEVERAL).then_some(OLD_MAC))
}

/// Notes that a container is to be on a network.
///
/// # Errors
/// [`EngineError::BadRequest`] for settings that make no sense on the network, and for a network that goes with no other.
pub(crate) fn connect(
    container: &Container,
    network: &Network,
    settings: EndpointSettings,
) -> Result<(), EngineError> {
    let mut record = container.record.borrow_mut();
    add(record.networks.endpoints_config.get_or_insert_default(), network, settings)
}

/// Notes that a container is not to be on a network; answers what it wanted there, by the network's name.
pub(crate) fn disconnect(container: &Container, network: &Network) -> Option<(String, EndpointSettings)> {
    let mut record = container.record.borrow_mut();
    let endpoints = record.networks.endpoints_config.as_mut()?;
    let is_it = |settings: &EndpointSettings| settings.network_id.as_deref() == Some(&network.id);
    let name = endpoints.iter().find(|(_, settings)| is_it(settings))?.0.clone();
    endpoints.remove_entry(&name)
}

/// Takes back that a container is not to be on a network.
pub(crate) fn restore(container: &Container, endpoint: Option<(String, EndpointSettings)>) {
    let mut record = container.record.borrow_mut();
    record.networks.endpoints_config.get_or_insert_default().extend(endpoint);
}

/// One that is not there is looked for again at the start, as Docker does: a client takes what is not found for the image.
fn add_named(
    daemon: &Daemon,
    endpoints: &mut HashMap<String, EndpointSettings>,
    wanted: &str,
    mut settings: EndpointSettings,
) -> Result<(), EngineError> {
    match daemon.networks.find(wanted) {
        Ok(network) => add(endpoints, &network, settings),
        Err(EngineError::NotFound(_)) => {
            check(wanted, None, &mut settings)?;
            endpoints.insert(wanted.to_owned(), settings);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn add(
    endpoints: &mut HashMap<String, EndpointSettings>,
    network: &Network,
    mut settings: EndpointSettings,
) -> Result<(), EngineError> {
    if network.driver == "host" {
        return Err(bad(
            "cannot connect container to host network - container must be created in host network mode",
        ));
    }
    let is_other = |name: &String| *name != network.name;
    if endpoints.keys().any(|name| is_other(name) && (name == "none" || network.driver == "null")) {
        return Err(bad(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ));
    }
    if endpoints.len() >= spec::launch::MAX_INTERFACES && !endpoints.contains_key(&network.name) {
        return Err(bad(format!("a container has at most {} networks", spec::launch::MAX_INTERFACES)));
    }
    check(&network.name, Some(network), &mut settings)?;
    settings.network_id = Some(network.id.clone());
    endpoints.insert(network.name.clone(), settings);
    Ok(())
}

/// Checks what a container wants on a network, if that is there, and brings it into its usual form.
fn check(name: &str, network: Option<&Network>, settings: &mut EndpointSettings) -> Result<(), EngineError> {
    let mut wrong = Vec::new();
    if settings.links.as_ref().is_some_and(|links| !links.is_empty()) {
        wrong.push("links are not supported: containers of a network find each other by name".to_owned());
    }
    if let Some(option) =
        settings.driver_opts.iter().flatten().find(|(name, _)| REFUSED.contains(&name.as_str()))
    {
        wrong.push(format!("driver option {} is not supported", option.0));
    }
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    let ip = ipam.ipv4_address.filter(|text| !text.is_empty());
    let ip6 = ipam.ipv6_address.filter(|text| !text.is_empty());
    if crate::network::is_predefined(name) {
        if ip.is_some() || ip6.is_some() {
            wrong.push("user-specified IP address is supported on user-defined networks only".to_owned());
        }
        if settings.aliases.as_ref().is_some_and(|aliases| !aliases.is_empty()) {
            wrong.push("network-scoped aliases are only supported for user-defined networks".to_owned());
        }
    } else {
        if let Some(text) = ip {
            match text.parse::<Ipv4Addr>() {
                Ok(address) => wrong.extend(not_in(network, address.into())),
                Err(_) => wrong.push(format!("invalid IPv4 address: {text}")),
            }
        }
        if let Some(text) = ip6 {
            match text.parse::<Ipv6Addr>() {
                Ok(address) => wrong.extend(not_in(network, address.into())),
                Err(_) => wrong.push(format!("invalid IPv6 address: {text}")),
            }
        }
    }
    if ipam.link_local_ips.is_some_and(|list| !list.is_empty()) {
        wrong.push("link-local addresses beside the interface's own are not supported".to_owned());
    }
    if let Some(alias) = settings.aliases.iter().flatten().find(|alias| !is_name(alias)) {
        wrong.push(format!("invalid alias: {alias:?}"));
    }
    if let Some(mac) = settings.mac_address.take().filter(|mac| !mac.is_empty()) {
        match mac.parse::<MacAddress>() {
            Ok(mac) => settings.mac_address = Some(mac.to_string()),
            Err(_) => wrong.push(format!("invalid MAC address: {mac}")),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(bad(format!("invalid endpoint settings:\n{}", joined(&wrong))))
}

fn not_in(network: Option<&Network>, address: std::net::IpAddr) -> Option<String> {
    let is_in = network?.subnets.iter().any(|pool| pool.subnet.contains(address));
    (!is_in).then(|| format!("no configured subnet contains IP address {address}"))
}

/// Whether a resolver can be asked for a name.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=253).contains(&name.len()) && name.bytes().all(is_plain)
}

impl Container {
    /// Whether it was created on a network, or connected to it.
    pub(crate) fn is_on(&self, network_id: &str) -> bool {
        let record = self.record.borrow();
        let mut endpoints = record.networks.endpoints_config.iter().flatten();
        endpoints.any(|(_, settings)| settings.network_id.as_deref() == Some(network_id))
    }

    /// Its networks by name, with the addresses that it has in this run.
    pub(crate) fn endpoints(&self) -> HashMap<String, EndpointSettings> {
        let record = self.record.borrow();
        let live = self.places.borrow();
        let mut endpoints = record.networks.endpoints_config.clone().unwrap_or_default();
        for (name, settings) in &mut endpoints {
            if !crate::network::is_predefined(name) {
                settings.dns_names = Some(names(&record, settings));
            }
            let place = live.iter().find(|place| settings.network_id.as_ref() == Some(&place.network));
            fill(settings, place);
        }
        endpoints
    }
}

/// By what the others on a network find a container: by its name, its aliases there, the beginning of its id and its host
/// name, each once.
pub(super) fn names(record: &super::record::Record, settings: &EndpointSettings) -> Vec<String> {
    let mut names = vec![record.name.clone()];
    let hostname = record.config.hostname.clone().unwrap_or_default();
    let more = settings.aliases.iter().flatten().cloned().chain([record.id[..12].to_owned(), hostname]);
    for name in more {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Shows what a place on a network has come to; empty texts where the container does not run.
fn fill(settings: &mut EndpointSettings, place: Option<&net::Answer>) {
    let own =
        |ipv6: bool| place.and_then(|place| place.addresses.iter().find(|own| own.address.is_ipv6() == ipv6));
    let address = |ipv6| own(ipv6).map(|own| own.address.to_string()).unwrap_or_default();
    let length = |ipv6| own(ipv6).map_or(0, |own| own.prefix_length.into());
    let gateway = place.and_then(|place| place.gateway).map(|address| address.to_string());
    let gateway6 = place.and_then(|place| place.gateway6).map(|address| address.to_string());
    settings.network_id.get_or_insert_default();
    settings.endpoint_id = Some(place.and(settings.endpoint_id.take()).unwrap_or_default());
    settings.gateway = Some(gateway.unwrap_or_default());
    settings.ip_address = Some(address(false));
    settings.ip_prefix_len = Some(length(false));
    settings.ipv6_gateway = Some(gateway6.unwrap_or_default());
    settings.global_ipv6_address = Some(address(true));
    settings.global_ipv6_prefix_len = Some(length(true));
    // What it wants is shown while it does not run.
    let wish = settings.mac_address.take().unwrap_or_default();
    settings.mac_address = Some(place.map_or(wish, |place| place.mac.to_string()));
    settings.gw_priority.get_or_insert_default();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::*;
    use crate::network::Pool;

    fn network(name: &str) -> Network {
        Network {
            id: "ab".repeat(32),
            name: name.into(),
            created: SystemTime::UNIX_EPOCH,
            driver: if name == "none" { "null".into() } else { "bridge".into() },
            internal: false,
            attachable: false,
            ipv4: true,
            ipv6: false,
            subnets: vec![Pool::of("10.9.0.0/16".parse().unwrap())],
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    fn checked(name: &str, json: &str) -> Result<EndpointSettings, String> {
        let mut settings = serde_json::from_str(json).unwrap();
        check(name, Some(&network(name)), &mut settings).map_err(|error| error.to_string())?;
        Ok(settings)
    }

    #[test]
    fn settings_are_checked_in_dockers_words() {
        for (name, json, words) in [
            (
                "bridge",
                r#"{"Aliases":["a"]}"#,
                "network-scoped aliases are only supported for user-defined networks",
            ),
            (
                "bridge",
                r#"{"IPAMConfig":{"IPv4Address":"172.17.0.9"}}"#,
                "supported on user-defined networks only",
            ),
            (
                "back",
                r#"{"IPAMConfig":{"IPv4Address":"10.8.0.9"}}"#,
                "no configured subnet contains IP address 10.8.0.9",
            ),
            ("back", r#"{"IPAMConfig":{"IPv4Address":"x"}}"#, "invalid IPv4 address: x"),
            ("back", r#"{"IPAMConfig":{"IPv6Address":"10.9.0.9"}}"#, "invalid IPv6 address: 10.9.0.9"),
            ("back", r#"{"IPAMConfig":{"LinkLocalIPs":["169.254.1.1"]}}"#, "link-local"),
            ("back", r#"{"Links":["db:db"]}"#, "links are not supported"),
            ("back", r#"{"MacAddress":"01:00:5e:00:00:01"}"#, "invalid MAC address"),
            ("back", r#"{"Aliases":["a b"]}"#, "invalid alias"),
            ("back", r#"{"DriverOpts":{"com.docker.network.endpoint.sysctls":"x"}}"#, "endpoint.sysctls"),
        ] {
            let said = checked(name, json).unwrap_err();
            assert!(
                said.starts_with("invalid endpoint settings:\n") && said.contains(words),
                "{json}: {said}"
            );
        }
        let both = checked("back", r#"{"MacAddress":"x","Links":["a"]}"#).unwrap_err();
        assert_eq!(both.lines().count(), 3, "{both}");
    }

    #[test]
    fn settings_come_into_one_form() {
        let settings =
            r#"{"MacAddress":"02-42-AC-12-00-09","Aliases":["db"],"IPAMConfig":{"IPv4Address":"10.9.0.9"}}"#;
        let settings = checked("back", settings).unwrap();
        assert_eq!(settings.mac_address.as_deref(), Some("02:42:ac:12:00:09"));
        assert_eq!(checked("back", r#"{"MacAddress":""}"#).unwrap().mac_address, None);
    }

    #[test]
    fn none_goes_with_no_other_network() {
        for (first, second) in [("none", "back"), ("back", "none")] {
            let mut endpoints = HashMap::new();
            add(&mut endpoints, &network(first), EndpointSettings::default()).unwrap();
            let said = add(&mut endpoints, &network(second), EndpointSettings::default()).unwrap_err();
            assert!(said.to_string().contains("private (none) mode"), "{said}");
            assert_eq!(endpoints.len(), 1);
        }
    }
}
