//! A pod that runs is put on another network, or taken from one. Its process hears of it on `control.sock` and has its guest
//! follow; `network.json` says afterwards what the pod is on. One caller at a time, who keeps others from the pod.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use net::{Answer, AttachError, Change, Endpoint, NetworkDir};
use spec::LaunchSpec;
use spec::control::{Reply, Verb};
use spec::launch::{InterfaceSpec, MAX_INTERFACES};
use thiserror::Error;

use crate::dir::{PodDir, PodError};
use crate::network::{self, Attached, Attachment, Networking, PodNetworks, Role};
use crate::{atomic_file, control};

/// How long a guest may take to follow.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a network may take to give ports back.
const RELEASE: Duration = Duration::from_secs(2);
/// The time between two questions meanwhile.
const INTERVAL: Duration = Duration::from_millis(5);

/// Why a pod that runs is not put on a network, or taken from it.
#[derive(Debug, Error)]
pub enum LinkError {
    /// Its files cannot be read.
    #[error(transparent)]
    Read(#[from] PodError),
    /// The network has no place for it.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// It has as many interfaces as it can have.
    #[error("the pod has {MAX_INTERFACES} interfaces, the most it can have")]
    Full,
    /// It is not on the network.
    #[error("the pod is not on that network")]
    Absent,
    /// Its process cannot be reached.
    #[error("cannot reach the pod's process")]
    Reach(#[source] io::Error),
    /// Its process or its guest refuses.
    #[error("the pod refuses: {0}")]
    Refused(String),
    /// `network.json` cannot be written.
    #[error("cannot write network.json")]
    Write(#[source] io::Error),
}

/// What a pod that has left a network is on.
#[derive(Debug)]
pub struct Left {
    /// Its places.
    pub places: Vec<Answer>,
    /// Why its ports are published no more.
    pub unpublished: Option<AttachError>,
}

/// What a pod is on.
#[derive(Debug)]
struct Links<'a> {
    dir: &'a PodDir,
    attached: Vec<Attached>,
}

/// Puts a pod that runs on the network with that index of `networking`, and answers what it got. `program` as in
/// [`net::attach`].
///
/// # Errors
/// Each variant; it is not on the network then.
pub fn connect(
    dir: &PodDir,
    networking: &Networking,
    index: usize,
    program: &Path,
) -> Result<Answer, LinkError> {
    let launch = dir.read_launch()?;
    let mut links = Links::read(dir)?;
    let interface = links.free_name().ok_or(LinkError::Full)?;
    // Its ports and its way to the host are on the first network that has a way out.
    let role = if links.way_out().is_none() { Role::First } else { Role::Further };
    let request = network::request(networking, index, role, &launch);
    let endpoint = net::attach(&NetworkDir::at(&networking.networks[index].dir), &request, program)?;
    links.hand(&interface, &endpoint)?;
    let Endpoint { answer, .. } = endpoint;
    links.attached.push(Attached { interface, endpoint: answer.clone() });
    links.write()?;
    links.tell_siblings(networking, &launch);
    Ok(answer)
}

/// Takes a pod that runs from the network of that id. `networking` is what it is on afterwards. Its ports go to another network
/// that has a way out.
///
/// # Errors
/// Each variant but [`LinkError::Attach`] and [`LinkError::Full`].
pub fn disconnect(dir: &PodDir, networking: &Networking, network: &str) -> Result<Left, LinkError> {
    let launch = dir.read_launch()?;
    let mut links = Links::read(dir)?;
    let position = links.attached.iter().position(|one| one.endpoint.network == network);
    let interface = links.attached[position.ok_or(LinkError::Absent)?].interface.clone();
    links.ask(Verb::Disconnect { interface: interface.clone() }, &interface)?;
    let before = links.way_out();
    links.attached.remove(position.ok_or(LinkError::Absent)?);
    links.tell_siblings(networking, &launch);
    let unpublished = match links.way_out().filter(|_| before == position) {
        Some(next) => links.publish(networking, next, &launch).err(),
        None => None,
    };
    links.write()?;
    Ok(Left { places: links.attached.into_iter().map(|one| one.endpoint).collect(), unpublished })
}

impl<'a> Links<'a> {
    fn read(dir: &'a PodDir) -> Result<Self, LinkError> {
        let attached = dir.read_network()?.map(|found| found.networks).unwrap_or_default();
        Ok(Self { dir, attached })
    }

    fn write(&self) -> Result<(), LinkError> {
        let networks = PodNetworks { version: network::VERSION, networks: self.attached.clone() };
        let json = serde_json::to_vec(&networks).map_err(|error| LinkError::Write(error.into()))?;
        atomic_file::write(&self.dir.network(), &json, 0o600).map_err(LinkError::Write)
    }

    /// A name that no interface has.
    fn free_name(&self) -> Option<String> {
        let mut names = (0..MAX_INTERFACES).map(|index| format!("eth{index}"));
        names.find(|name| !self.attached.iter().any(|one| one.interface == *name))
    }

    /// Which of them is the first with a way out.
    fn way_out(&self) -> Option<usize> {
        let leads_out = |one: &Attached| one.endpoint.gateway.is_some() || one.endpoint.gateway6.is_some();
        self.attached.iter().position(leads_out)
    }

    /// Gives a place on a network to the pod's process, and waits until the guest has the interface.
    fn hand(&self, interface: &str, endpoint: &Endpoint) -> Result<(), LinkError> {
        let Endpoint { answer, queues, lease } = endpoint;
        let verb = Verb::Connect {
            interface: InterfaceSpec {
                name: interface.to_owned(),
                mac: answer.mac,
                mtu: answer.mtu,
                addresses: answer.addresses.clone(),
                gateway: answer.gateway,
                gateway6: answer.gateway6,
            },
            nameservers: answer.nameservers.iter().map(ToString::to_string).collect(),
        };
        let descriptors: Vec<_> = queues.iter().map(|queue| queue.as_fd()).chain([lease.as_fd()]).collect();
        match control::hand(self.dir, verb, &descriptors).map_err(LinkError::Reach)? {
            Reply::Error(why) => Err(LinkError::Refused(why)),
            _ => self.settle(interface),
        }
    }

    fn ask(&self, verb: Verb, interface: &str) -> Result<(), LinkError> {
        match control::ask(self.dir, verb).map_err(LinkError::Reach)? {
            Reply::Error(why) => Err(LinkError::Refused(why)),
            _ => self.settle(interface),
        }
    }

    /// Waits until the guest has followed.
    fn settle(&self, interface: &str) -> Result<(), LinkError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let give_up = Instant::now() >= deadline;
            let verb = Verb::Settle { interface: interface.to_owned(), give_up };
            match control::ask(self.dir, verb).map_err(LinkError::Reach)? {
                Reply::Pending if !give_up => std::thread::sleep(INTERVAL),
                Reply::Ok => return Ok(()),
                Reply::Error(why) => return Err(LinkError::Refused(why)),
                other => return Err(LinkError::Refused(format!("{other:?} is no answer"))),
            }
        }
    }

    /// Tells the networks that the pod is on of the others, whose names are its, too. One whose process does not answer knows
    /// it at the pod's next start.
    fn tell_siblings(&self, networking: &Networking, launch: &LaunchSpec) {
        for wanted in &networking.networks {
            let siblings = networking.networks.iter().filter(|other| other.dir != wanted.dir);
            let siblings = Change::Siblings(siblings.map(|other| other.dir.clone()).collect());
            let _ = net::change(&NetworkDir::at(&wanted.dir), &launch.id, siblings);
        }
    }

    /// Has another network publish the pod's ports.
    fn publish(
        &mut self,
        networking: &Networking,
        index: usize,
        launch: &LaunchSpec,
    ) -> Result<(), AttachError> {
        let endpoint = &mut self.attached[index].endpoint;
        let is_it = |one: &Attachment| {
            NetworkDir::at(&one.dir).read().is_ok_and(|definition| definition.id == endpoint.network)
        };
        let found = networking.networks.iter().position(is_it);
        let Some(wanted) = found.filter(|_| !networking.ports.is_empty() || networking.host_gateway) else {
            return Ok(());
        };
        let request = network::request(networking, wanted, Role::First, launch);
        let change =
            Change::Ports { name: request.name, ports: request.ports, host_gateway: request.host_gateway };
        let dir = NetworkDir::at(&networking.networks[wanted].dir);
        let deadline = Instant::now() + RELEASE;
        loop {
            match net::change(&dir, &launch.id, change.clone()) {
                // The network that was left closes its sockets when it hears of it.
                Err(AttachError::Refused(_)) if Instant::now() < deadline => std::thread::sleep(INTERVAL),
                done => {
                    endpoint.ports = done?;
                    return Ok(());
                }
            }
        }
    }
}
