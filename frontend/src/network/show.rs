//! A network in the form of the API.

use std::collections::{BTreeMap, HashMap};

use bollard_stubs::models;
use vdocker::time;

use super::{Network, Pool};
use crate::container::Container;
use crate::daemon::Daemon;

/// A network; lists have it without its containers.
pub(super) fn network(daemon: &Daemon, network: &Network, with_containers: bool) -> models::Network {
    let containers = if with_containers { containers(daemon, network) } else { HashMap::new() };
    models::Network {
        name: Some(network.name.clone()),
        id: Some(network.id.clone()),
        created: Some(time::trimmed(network.created)),
        scope: Some("local".into()),
        driver: Some(network.driver.clone()),
        enable_ipv4: Some(network.ipv4),
        enable_ipv6: Some(network.ipv6),
        ipam: Some(models::Ipam {
            driver: Some("default".into()),
            config: Some(network.subnets.iter().map(pool).collect()),
            options: None,
        }),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        ingress: Some(false),
        config_from: Some(models::ConfigReference { network: Some(String::new()) }),
        config_only: Some(false),
        containers: Some(containers),
        options: Some(map(&network.options)),
        labels: Some(map(&network.labels)),
        ..models::Network::default()
    }
}

fn map(from: &BTreeMap<String, String>) -> HashMap<String, String> {
    from.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn pool(pool: &Pool) -> models::IpamConfig {
    let auxiliary = pool.auxiliary.iter().map(|(name, address)| (name.clone(), address.to_string()));
    models::IpamConfig {
        subnet: Some(pool.subnet.to_string()),
        gateway: pool.gateway.map(|gateway| gateway.to_string()),
        ip_range: pool.range.map(|range| range.to_string()),
        auxiliary_addresses: (!pool.auxiliary.is_empty()).then(|| auxiliary.collect()),
    }
}

/// The containers that run on a network, by id.
fn containers(daemon: &Daemon, network: &Network) -> HashMap<String, models::NetworkContainer> {
    let mut running = daemon.containers.all();
    running.retain(|container| container.is_running());
    running.iter().filter_map(|container| Some((container.id.clone(), member(container, network)?))).collect()
}

fn member(container: &Container, network: &Network) -> Option<models::NetworkContainer> {
    let endpoint = container.endpoints().remove(&network.name)?;
    let with_length = |address: Option<String>, length: Option<i64>| {
        let address = address.filter(|address| !address.is_empty());
        address.map_or_else(String::new, |address| format!("{address}/{}", length.unwrap_or_default()))
    };
    Some(models::NetworkContainer {
        name: Some(container.name()),
        endpoint_id: Some(endpoint.endpoint_id.unwrap_or_default()),
        mac_address: Some(endpoint.mac_address.unwrap_or_default()),
        ipv4_address: Some(with_length(endpoint.ip_address, endpoint.ip_prefix_len)),
        ipv6_address: Some(with_length(endpoint.global_ipv6_address, endpoint.global_ipv6_prefix_len)),
    })
}
