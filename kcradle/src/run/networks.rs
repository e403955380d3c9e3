//! The networks of a run: the pod asks for a place on each before its machine is made, and has it for as long as this
//! process lives.

use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::Context as _;
use net::{Endpoint, NetworkDir, Request};
use pod::{Attached, Networking, PodDir, PodNetworks, atomic_file, network};
use spec::LaunchSpec;
use spec::launch::{HostEntry, InterfaceSpec};
use vmm::devices::net::{MAX_QUEUES, NetConfig};

use crate::failure::Failure;
use crate::network::wishes::HOST_GATEWAY;

/// The same program, also where another has been installed in its place.
const PROGRAM: &str = "/proc/self/exe";

/// The places of a pod on its networks, one an interface.
#[derive(Default)]
pub(super) struct Networks {
    configs: Vec<NetConfig>,
    /// The places are the pod's while these are open.
    leases: Vec<UnixStream>,
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
        let request = request(networking, index, launch);
        let network = NetworkDir::at(&networking.networks[index].dir);
        let endpoint = net::attach(&network, &request, Path::new(PROGRAM)).map_err(anyhow::Error::from)?;
        let interface = format!("eth{index}");
        tell(launch, &interface, &endpoint);
        attached.push(Attached { interface, endpoint: networks.keep(endpoint) });
    }
    name_host(launch, &attached);
    if attached.is_empty() {
        // What an earlier run was on is nothing of this one's.
        let _ = std::fs::remove_file(dir.network());
    } else {
        launch.network.nameservers =
            attached.iter().flat_map(|one| &one.endpoint.nameservers).map(ToString::to_string).collect();
        let networks = PodNetworks { version: network::VERSION, networks: attached };
        let json = serde_json::to_vec(&networks).context("cannot write network.json")?;
        atomic_file::write(&dir.network(), &json, 0o600).context("cannot write network.json")?;
    }
    Ok(networks)
}

impl Networks {
    /// The machine's network devices; the places stay with this value.
    pub(super) fn take_configs(&mut self) -> Vec<NetConfig> {
        std::mem::take(&mut self.configs)
    }

    fn keep(&mut self, endpoint: Endpoint) -> net::Answer {
        let Endpoint { answer, queues, lease } = endpoint;
        self.configs.push(NetConfig {
            queues,
            mac: answer.mac,
            mtu: answer.mtu,
            addresses: answer.addresses.iter().map(|own| own.address).collect(),
        });
        self.leases.push(lease);
        answer
    }
}

/// What the pod asks of one of its networks. Ports and the host are the first's.
fn request(networking: &Networking, index: usize, launch: &LaunchSpec) -> Request {
    let wanted = &networking.networks[index];
    let first = index == 0;
    let others = networking.networks.iter().enumerate().filter(|(other, _)| *other != index);
    let queues = usize::try_from(launch.resources.cpu).unwrap_or(1).clamp(1, MAX_QUEUES);
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
        queues: u8::try_from(queues).unwrap_or(1),
        host_gateway: first && networking.host_gateway,
        dns: if networking.dns.is_empty() { named.collect() } else { networking.dns.clone() },
        siblings: others.map(|(_, other)| other.dir.clone()).collect(),
    }
}

/// Tells the guest of an interface.
fn tell(launch: &mut LaunchSpec, name: &str, endpoint: &Endpoint) {
    let answer = &endpoint.answer;
    launch.network.interfaces.push(InterfaceSpec {
        name: name.to_owned(),
        mac: answer.mac,
        mtu: answer.mtu,
        addresses: answer.addresses.clone(),
        gateway: answer.gateway,
        gateway6: answer.gateway6,
    });
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
