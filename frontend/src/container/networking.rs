//! What a pod is told of its networks before it is started, and what it got of them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;

use bollard_stubs::models::{EndpointSettings, HostConfig, NetworkingConfig};
use net::{AttachError, Change, NetworkDir};
use pod::{Attachment, LinkError, Networking, PodDir};
use vdocker::EngineError;

use super::record::Record;
use super::{Container, endpoints, ports, process};
use crate::daemon::Daemon;
use crate::events::Event;
use crate::failure::{failed, report};
use crate::network::Network;
use crate::network::options::Options;

/// Writes down for the pod's next start on what networks it is, and as what.
///
/// # Errors
/// A network is gone, or the pod's files cannot be written.
pub(super) async fn prepare(
    daemon: &Rc<Daemon>,
    container: &Container,
    dir: &PodDir,
) -> Result<(), EngineError> {
    settle(daemon, &mut container.record.borrow_mut())?;
    let networking = {
        let record = container.record.borrow();
        let without =
            daemon.without_network.is_some() && can_do_without(&record.networks, &record.host_config);
        let networks = if without { Vec::new() } else { wanted(daemon, &record)? };
        let changes = daemon.without_network.is_none() && may_change(&record);
        Networking { changes, ..networking(daemon.networks.root(), &record, &networks)? }
    };
    let dir = dir.clone();
    daemon.blocking(move || write(&dir, networking)).await?
}

/// Whether a container that cannot have its networks is started without them: it asks for nothing but the default one.
fn can_do_without(networks: &NetworkingConfig, host: &HostConfig) -> bool {
    let mut names = networks.endpoints_config.iter().flatten().map(|(name, _)| name.as_str());
    names.all(|name| name == "bridge") && !ports::publishes(host)
}

/// Whether networks may come and go while a container runs: it has a network of its own.
fn may_change(record: &Record) -> bool {
    let mut names = record.networks.endpoints_config.iter().flatten().map(|(name, _)| name.as_str());
    record.config.network_disabled != Some(true) && !names.any(|name| name == "none")
}

/// What a client is told of a container's networks where none can be made.
pub(super) fn warning(daemon: &Daemon, networks: &NetworkingConfig, host: &HostConfig) -> Option<String> {
    let why = daemon.without_network.as_ref()?;
    let mut names = networks.endpoints_config.iter().flatten();
    if names.all(|(name, _)| name == "none") {
        return None;
    }
    let what = if can_do_without(networks, host) { "has no network" } else { "cannot be started" };
    Some(format!("The container {what} on this host: {why}"))
}

/// Finds the networks that were not there when the container was created, and gives each endpoint an id of this run.
fn settle(daemon: &Daemon, record: &mut Record) -> Result<(), EngineError> {
    let mut settled = HashMap::new();
    for (name, settings) in record.networks.endpoints_config.iter().flatten() {
        // One that was made anew under the same name is another one.
        let network = daemon.networks.find(settings.network_id.as_deref().unwrap_or(name))?;
        let mut settings = settings.clone();
        settings.network_id = Some(network.id);
        settings.endpoint_id = Some(crate::network::new_id()?);
        settled.insert(network.name, settings);
    }
    record.networks.endpoints_config = Some(settled);
    Ok(())
}

fn write(dir: &PodDir, networking: Networking) -> Result<(), EngineError> {
    if dir.read_record().map_err(|error| failed(&error))?.networking == networking {
        return Ok(());
    }
    let changed = dir.change_record(|record| {
        record.networking = networking;
        Ok::<_, Infallible>(())
    });
    changed.map(|Ok(())| ()).map_err(|error| failed(&error))
}

/// A network that a container is to be on, and what it wants there.
type Wanted = (Network, EndpointSettings);

/// The networks of a container in the order of its interfaces. The first has the way out and publishes the ports: one that
/// has a way out, of the highest priority, by its name where that is the same.
fn wanted(daemon: &Daemon, record: &Record) -> Result<Vec<Wanted>, EngineError> {
    let mut wanted = Vec::new();
    for (name, settings) in record.networks.endpoints_config.iter().flatten() {
        let network = daemon.networks.find(settings.network_id.as_deref().unwrap_or(name))?;
        if network.driver == "bridge" {
            wanted.push((network, settings.clone()));
        }
    }
    wanted.sort_by_key(|(network, settings)| {
        (network.internal, -settings.gw_priority.unwrap_or_default(), network.name.clone())
    });
    Ok(wanted)
}

fn networking(root: &Path, record: &Record, wanted: &[Wanted]) -> Result<Networking, EngineError> {
    let attachment = |(network, settings): &Wanted| {
        let ipam = settings.ipam_config.as_ref();
        Attachment {
            dir: root.join(&network.id),
            // On the default network nobody is found by name.
            names: if network.is_predefined() { Vec::new() } else { endpoints::names(record, settings) },
            ip: ipam.and_then(|ipam| ipam.ipv4_address.as_ref()?.parse().ok()),
            ip6: ipam.and_then(|ipam| ipam.ipv6_address.as_ref()?.parse().ok()),
            mac: settings.mac_address.as_ref().and_then(|mac| mac.parse().ok()),
        }
    };
    let Some((first, _)) = wanted.first() else { return Ok(Networking::default()) };
    Ok(Networking {
        changes: false,
        name: record.name.clone(),
        networks: wanted.iter().map(attachment).collect(),
        ports: ports::wishes(record, Options::of(first)?.host_binding)?,
        host_gateway: process::wants_host_gateway(&record.host_config),
        dns: record.host_config.dns.iter().flatten().filter_map(|text| text.parse().ok()).collect(),
    })
}

/// Has the networks of a pod that runs find it by its container's new name. One whose process does not answer knows it at
/// the pod's next start.
pub(super) async fn rename(daemon: &Rc<Daemon>, container: &Container) {
    let root = daemon.networks.root().to_owned();
    let told = {
        let record = container.record.borrow();
        wanted(daemon, &record).and_then(|networks| networking(&root, &record, &networks))
    };
    let networks = told.map(|networking| networking.networks).unwrap_or_default();
    let id = container.id.clone();
    let tell = move || {
        for network in networks.iter().filter(|network| !network.names.is_empty()) {
            if let Err(error) =
                net::change(&NetworkDir::at(&network.dir), &id, Change::Names(network.names.clone()))
            {
                report("a network does not learn the new name of a container", &error);
            }
        }
    };
    if let Err(error) = daemon.blocking(tell).await {
        report("networks do not learn the new name of a container", &error);
    }
}

/// Puts a container that runs on a network that its record has since.
///
/// # Errors
/// The network has no place for it, in Docker's words; its pod cannot be reached, or its guest does not follow.
pub(crate) async fn plug(daemon: &Rc<Daemon>, container: &Container, id: &str) -> Result<(), EngineError> {
    let (dir, program) = (pod_dir(daemon, container)?, daemon.pods.program().to_owned());
    let (networking, index) = {
        let mut record = container.record.borrow_mut();
        for settings in record.networks.endpoints_config.iter_mut().flat_map(HashMap::values_mut) {
            if settings.network_id.as_deref() == Some(id) {
                settings.endpoint_id = Some(crate::network::new_id()?);
            }
        }
        let networks = wanted(daemon, &record)?;
        let index = networks.iter().position(|(network, _)| network.id == id);
        (networking(daemon.networks.root(), &record, &networks)?, index)
    };
    // One without a driver is none that a pod knows.
    let Some(index) = index else { return Ok(()) };
    let plugged = daemon.blocking(move || pod::link::connect(&dir, &networking, index, &program)).await?;
    let place = plugged.map_err(|error| refusal(&error))?;
    container.places.borrow_mut().push(place);
    Ok(())
}

/// Takes a container that runs from a network that its record has no more.
///
/// # Errors
/// Its pod cannot be reached.
pub(crate) async fn unplug(daemon: &Rc<Daemon>, container: &Container, id: &str) -> Result<(), EngineError> {
    let dir = pod_dir(daemon, container)?;
    let networking = {
        let record = container.record.borrow();
        networking(daemon.networks.root(), &record, &wanted(daemon, &record)?)?
    };
    let id = id.to_owned();
    match daemon.blocking(move || pod::link::disconnect(&dir, &networking, &id)).await? {
        Ok(left) => {
            container.places.replace(left.places);
            if let Some(error) = left.unpublished {
                report("a container's ports are published no more", &error);
            }
        }
        // It was started without.
        Err(LinkError::Absent) => {}
        Err(error) => return Err(refusal(&error)),
    }
    Ok(())
}

fn pod_dir(daemon: &Daemon, container: &Container) -> Result<PodDir, EngineError> {
    daemon.pods.of(&container.id).map_err(|error| failed(&error))
}

fn refusal(error: &LinkError) -> EngineError {
    match error {
        LinkError::Attach(AttachError::Refused(why)) if why.starts_with("Address already in use") => {
            EngineError::Denied(why.clone())
        }
        LinkError::Attach(error) => EngineError::Failed(error.to_string()),
        error => failed(error),
    }
}

/// Learns what a pod that has been started got of its networks.
pub(super) async fn learn(daemon: &Rc<Daemon>, container: &Container) {
    let Ok(dir) = daemon.pods.of(&container.id) else { return };
    match daemon.blocking(move || dir.read_network()).await {
        Ok(Ok(found)) => {
            let networks = found.map(|found| found.networks).unwrap_or_default();
            container.places.replace(networks.into_iter().map(|network| network.endpoint).collect());
        }
        Ok(Err(error)) => report("cannot read what a pod got of its networks", &error),
        Err(error) => report("cannot read what a pod got of its networks", &error),
    }
}

/// What the networks of a container tell of it: `connect` or `disconnect`.
pub(super) fn events(daemon: &Daemon, container: &Container, action: &str) -> Vec<Event> {
    let record = container.record.borrow();
    let ids = record
        .networks
        .endpoints_config
        .iter()
        .flatten()
        .filter_map(|(_, settings)| settings.network_id.as_deref());
    let networks = ids.filter_map(|id| daemon.networks.find(id).ok());
    networks.map(|network| network.event(action, &[("container", &container.id)])).collect()
}
