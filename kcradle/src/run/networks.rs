//! The networks of a run: the pod asks for a place on each before its machine is made, and has it for as long as this
//! process lives.

use std::path::Path;

use anyhow::Context as _;
use net::{Endpoint, NetworkDir};
use pod::network::Role;
use pod::{Attached, Networking, PodDir, PodNetworks, atomic_file, network};
use spec::LaunchSpec;
use spec::launch::{HostEntry, InterfaceSpec, NetworkSpec};
use vmm::devices::net::NetConfig;

use crate::failure::Failure;
use crate::network::wishes::HOST_GATEWAY;

use super::links::{Link, Links};

/// The same program, also where another has been installed in its place.
const PROGRAM: &str = "/proc/self/exe";

/// The places of a pod on its networks, one an interface.
#[derive(Default)]
pub(super) struct Networks {
    configs: Vec<NetConfig>,
    links: Vec<Link>,
    /// What the guest is told beside them.
    network: NetworkSpec,
}

/// Asks for the places, tells the guest of them, and writes `network.json`.
pub(super) fn attach(
    dir: &PodDir,
    networking: &Networking,
    launch: &mut LaunchSpec,
) -> Result<Networks, Failure> {
    let mut networks = Networks::default();
    let mut attached = Vec::new();
    for index in 0..networking.networks.len() {
        let role = if index == 0 { Role::First } else { Role::Further };
        let request = network::request(networking, index, role, launch);
        let network = NetworkDir::at(&networking.networks[index].dir);
        let endpoint = net::attach(&network, &request, Path::new(PROGRAM)).map_err(anyhow::Error::from)?;
        let name = format!("eth{index}");
        let interface = interface(&name, &endpoint.answer);
        launch.network.interfaces.push(interface.clone());
        attached.push(Attached { interface: name, endpoint: networks.keep(interface, endpoint) });
    }
    name_host(launch, &attached);
    if networking.changes {
        networks.network = NetworkSpec { interfaces: Vec::new(), ..launch.network.clone() };
    }
    if attached.is_empty() {
        // What an earlier run was on is nothing of this one's.
        let _ = std::fs::remove_file(dir.network());
    } else {
        networks.network.nameservers.clear();
        launch.network.nameservers =
            attached.iter().flat_map(|one| &one.endpoint.nameservers).map(ToString::to_string).collect();
        let networks = PodNetworks { version: network::VERSION, networks: attached };
        let json = serde_json::to_vec(&networks).context("cannot write network.json")?;
        atomic_file::write(&dir.network(), &json, 0o600).context("cannot write network.json")?;
    }
    Ok(networks)
}

impl Networks {
    /// The pod's interfaces on the machine's network devices, in these slots.
    pub(super) fn into_links(self, slots: Vec<u32>) -> Links {
        Links::new(self.network, self.links, slots)
    }

    /// The machine's network devices; the places stay with this value.
    pub(super) fn take_configs(&mut self) -> Vec<NetConfig> {
        std::mem::take(&mut self.configs)
    }

    fn keep(&mut self, interface: InterfaceSpec, endpoint: Endpoint) -> net::Answer {
        let Endpoint { answer, queues, lease } = endpoint;
        self.configs.push(NetConfig {
            queues,
            mac: answer.mac,
            mtu: answer.mtu,
            addresses: answer.addresses.iter().map(|own| own.address).collect(),
        });
        let nameservers = answer.nameservers.iter().map(ToString::to_string).collect();
        self.links.push(Link { interface, nameservers, lease: lease.into() });
        answer
    }
}

/// The interface of a place.
fn interface(name: &str, answer: &net::Answer) -> InterfaceSpec {
    InterfaceSpec {
        name: name.to_owned(),
        mac: answer.mac,
        mtu: answer.mtu,
        addresses: answer.addresses.clone(),
        gateway: answer.gateway,
        gateway6: answer.gateway6,
    }
}

/// Puts the host's addresses where the pod's files want them. Without a network there are none.
fn name_host(launch: &mut LaunchSpec, attached: &[Attached]) {
    let host = attached.first().map(|one| one.endpoint.nameservers.as_slice()).unwrap_or_default();
    let entries = std::mem::take(&mut launch.network.hosts).into_iter();
    let named = entries.flat_map(|entry| match entry.address.as_str() {
        HOST_GATEWAY => host
            .iter()
            .map(|address| HostEntry { name: entry.name.clone(), address: address.to_string() })
            .collect(),
        _ => vec![entry],
    });
    launch.network.hosts = named.collect();
}
