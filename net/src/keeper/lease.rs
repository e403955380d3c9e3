//! The places on a network: what a pod gets, and what goes back when it has gone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use spec::MacAddress;
use spec::launch::InterfaceAddress;

use super::addresses::Addresses;
use super::bridge::{self, OpenTap};
use super::outward::{Outward, Wish};
use super::place::Place;
use super::pods::{Pod, Pods};
use super::publish::Publisher;
use super::resolver::Resolver;
use super::store::{self, Store};
use crate::definition::Definition;
use crate::message::{Answer, Change, Request};
use crate::port::{Port, PortWish};
use crate::wire::MAX_QUEUES;

/// The most pods on a network: a bridge of Linux has 1023 ports.
const MOST_PODS: usize = 1000;
/// The most names of a pod.
const MOST_NAMES: usize = 64;

/// A network at work.
#[derive(Debug)]
pub(super) struct Network {
    definition: Definition,
    place: Place,
    open_tap: OpenTap,
    addresses: RefCell<Vec<Addresses>>,
    pods: Rc<Pods>,
    resolver: Rc<Resolver>,
    publisher: Publisher,
    /// By a pod's number.
    outward: RefCell<BTreeMap<u64, Outward>>,
    /// What would get each pod what it has, by its number: for a keeper after this one.
    requests: RefCell<BTreeMap<u64, Request>>,
    store: Option<Rc<Store>>,
    used: Cell<bool>,
}

/// A pod's place; dropped, its addresses, names and ports are free.
#[derive(Debug)]
pub(super) struct Lease {
    network: Rc<Network>,
    addresses: Vec<IpAddr>,
    number: Option<u64>,
}

impl Network {
    /// Without a pod.
    pub(super) fn new(
        definition: &Definition,
        place: &Place,
        open_tap: OpenTap,
        store: Option<Rc<Store>>,
    ) -> Rc<Self> {
        let pods = Rc::new(Pods::new(&definition.name));
        Rc::new(Self {
            resolver: Resolver::new(Rc::clone(&pods), definition.internal),
            addresses: RefCell::new(definition.pools.iter().cloned().map(Addresses::new).collect()),
            publisher: Publisher::new(place.clone()),
            definition: definition.clone(),
            place: place.clone(),
            open_tap,
            pods,
            outward: RefCell::default(),
            requests: RefCell::default(),
            store,
            used: Cell::new(false),
        })
    }

    /// What answers the pods' queries.
    pub(super) fn resolver(&self) -> &Rc<Resolver> {
        &self.resolver
    }

    /// The pods and their names.
    pub(super) fn pods(&self) -> &Pods {
        &self.pods
    }

    /// Changes something for a pod, or says why not; answers its ports where they change.
    pub(super) fn change(&self, pod: &str, change: Change) -> Result<Vec<Port>, String> {
        let missing = || format!("pod {pod} is not on network {}", self.definition.name);
        let mut addresses = Vec::new();
        let number = self.pods.change(pod, |pod| addresses.clone_from(&pod.addresses)).ok_or_else(missing)?;
        let opened = match &change {
            Change::Ports { name, ports, host_gateway } => {
                self.withdraw(number, &addresses);
                let wish = Wish { name, pod, ports, host_gateway: *host_gateway };
                Some(self.open(number, &addresses, &wish))
            }
            _ => None,
        };
        self.pods.change(pod, |pod| match &change {
            Change::Names(wished) => pod.names = names(wished),
            Change::Siblings(siblings) => pod.siblings.clone_from(siblings),
            Change::Ports { .. } => {}
        });
        if let Some(request) = self.requests.borrow_mut().get_mut(&number) {
            match change {
                Change::Names(wished) => request.names = wished,
                Change::Siblings(siblings) => request.siblings = siblings,
                Change::Ports { host_gateway, .. } => {
                    request.ports = exact(opened.iter().flatten().flatten());
                    request.host_gateway = host_gateway;
                }
            }
            self.put(number, None, request);
        }
        opened.unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Keeps a pod's place for a keeper after this one; the place lasts as long as the connection.
    pub(super) fn keep(&self, lease: &Lease, connection: BorrowedFd<'_>) {
        let requests = self.requests.borrow();
        if let Some((number, request)) =
            lease.number.and_then(|number| Some((number, requests.get(&number)?)))
        {
            self.put(number, Some(connection), request);
        }
    }

    fn put(&self, number: u64, connection: Option<BorrowedFd<'_>>, request: &Request) {
        if let (Some(store), Ok(bytes)) = (&self.store, serde_json::to_vec(request)) {
            store.put(store::FIRST_POD + number, connection, &bytes);
        }
    }

    /// Keeps nothing for a pod that has gone.
    pub(super) fn forget(&self, number: u64) {
        if let Some(store) = &self.store {
            store.remove(store::FIRST_POD + number);
        }
    }

    /// Says that there were pods: without one, there is nothing left to do.
    pub(super) fn was_used(&self) {
        self.used.set(true);
    }

    /// Opens what a pod wants to be open of the outside; answers its ports.
    fn open(&self, number: u64, addresses: &[IpAddr], wish: &Wish<'_>) -> Result<Vec<Port>, String> {
        let mut outward = Outward::default();
        let opened = outward.open(&self.place, &self.definition, &self.publisher, addresses, wish);
        let ports = outward.ports();
        self.outward.borrow_mut().insert(number, outward);
        // What was opened before the step that failed.
        opened.inspect_err(|_| self.withdraw(number, addresses)).map(|()| ports)
    }

    /// Closes it again.
    fn withdraw(&self, number: u64, addresses: &[IpAddr]) {
        if let Some(outward) = self.outward.borrow_mut().remove(&number) {
            outward.close(&self.place, &self.definition, addresses, self.is_left());
        }
    }

    /// Whether it had pods and has none any more.
    pub(super) fn is_left(&self) -> bool {
        self.used.get() && self.pods.count() == 0
    }

    /// Whether it never had a pod.
    pub(super) fn is_unused(&self) -> bool {
        !self.used.get()
    }

    /// Gives a pod a place, or says why not.
    pub(super) fn attach(self: &Rc<Self>, request: Request) -> Result<(Answer, Vec<OwnedFd>, Lease), String> {
        let queues = request.queues.clamp(1, MAX_QUEUES);
        let tap = |mac| {
            let taps = bridge::add_tap(&self.place, &self.definition, self.open_tap, queues, mac);
            taps.map_err(|error| super::chain(&error))
        };
        self.admit(request, None, tap)
    }

    /// Gives a pod the place that it has had under another keeper; its tap is there. What of its ports others have taken
    /// meanwhile is lost.
    pub(super) fn adopt(self: &Rc<Self>, request: Request, number: u64) -> Result<Lease, String> {
        let without = Request { ports: Vec::new(), ..request.clone() };
        let adopt =
            |request| self.admit(request, Some(number), |_| Ok(Vec::new())).map(|(_, _, lease)| lease);
        adopt(request).or_else(|why| {
            eprintln!("{why}");
            adopt(without)
        })
    }

    fn admit(
        self: &Rc<Self>,
        request: Request,
        number: Option<u64>,
        tap: impl FnOnce(MacAddress) -> Result<Vec<OwnedFd>, String>,
    ) -> Result<(Answer, Vec<OwnedFd>, Lease), String> {
        let says = |error: &dyn std::error::Error| super::chain(error);
        if self.pods.count() >= MOST_PODS {
            return Err(format!(
                "network {} has {MOST_PODS} pods, the most it can have",
                self.definition.name
            ));
        }
        // From here on whatever was taken goes back where a later step fails.
        let mut lease = Lease { network: Rc::clone(self), addresses: Vec::new(), number: None };
        for pool in self.addresses.borrow_mut().iter_mut() {
            let wish = if pool.is_ipv6() { request.ip6.map(IpAddr::V6) } else { request.ip.map(IpAddr::V4) };
            lease.addresses.push(pool.take(wish).map_err(|error| says(&error))?);
        }
        self.check_families(&request)?;
        let mac = self.mac(&request, &lease.addresses)?;
        let taps = tap(mac)?;
        let pod = Pod {
            id: request.pod.clone(),
            names: names(&request.names),
            addresses: lease.addresses.clone(),
            mac,
            dns: request.dns.clone(),
            siblings: request.siblings.clone(),
        };
        let number = self.pods.add(pod, number);
        lease.number = Some(number);
        self.used.set(true);
        let wish = Wish {
            name: &request.name,
            pod: &request.pod,
            ports: &request.ports,
            host_gateway: request.host_gateway,
        };
        let ports = self.open(number, &lease.addresses, &wish)?;
        let (mut ip, mut ip6) = (None, None);
        for address in &lease.addresses {
            match address {
                IpAddr::V4(address) => ip = Some(*address),
                IpAddr::V6(address) => ip6 = Some(*address),
            }
        }
        let request = Request { ip, ip6, mac: Some(mac), ports: exact(&ports), ..request };
        self.requests.borrow_mut().insert(number, request);
        Ok((self.answer(mac, &lease, ports), taps, lease))
    }

    /// A wish for an address of a family that the network does not have.
    fn check_families(&self, request: &Request) -> Result<(), String> {
        let foreign4 = request.ip.filter(|_| self.definition.ipv4().is_none()).map(IpAddr::V4);
        let foreign6 = request.ip6.filter(|_| self.definition.ipv6().is_none()).map(IpAddr::V6);
        match foreign4.or(foreign6) {
            Some(address) => Err(super::AddressError::Foreign(address).to_string()),
            None => Ok(()),
        }
    }

    /// The MAC address that is wished, or one made of the pod's address.
    fn mac(&self, request: &Request, addresses: &[IpAddr]) -> Result<MacAddress, String> {
        let taken = |mac| self.pods.has_mac(mac) || mac == bridge::bridge_mac(&self.definition);
        let made = || addresses.iter().find_map(|address| bridge::pod_mac(*address));
        let mac = request.mac.or_else(made).ok_or("the pod has no address")?;
        if taken(mac) { Err(format!("MAC address {mac} already in use on this network")) } else { Ok(mac) }
    }

    fn answer(&self, mac: MacAddress, lease: &Lease, ports: Vec<Port>) -> Answer {
        let pools = &self.definition.pools;
        let with_length = pools.iter().zip(&lease.addresses);
        let way_out = || pools.iter().map(|pool| pool.gateway).filter(|_| !self.definition.internal);
        Answer {
            network: self.definition.id.clone(),
            name: self.definition.name.clone(),
            mac,
            mtu: self.definition.mtu,
            addresses: with_length
                .map(|(pool, address)| InterfaceAddress {
                    address: *address,
                    prefix_length: pool.subnet.length(),
                })
                .collect(),
            gateway: way_out().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }),
            gateway6: way_out().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }),
            nameservers: pools.iter().map(|pool| pool.gateway).collect(),
            ports,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let network = &self.network;
        if let Some(number) = self.number {
            network.pods.remove(number);
            network.withdraw(number, &self.addresses);
            network.requests.borrow_mut().remove(&number);
            network.forget(number);
        }
        for (pool, address) in network.addresses.borrow_mut().iter_mut().zip(&self.addresses) {
            pool.free_again(*address);
        }
    }
}

/// The wishes that come to these ports and no others.
fn exact<'p>(ports: impl IntoIterator<Item = &'p Port>) -> Vec<PortWish> {
    let wish = |port: &Port| PortWish {
        host_ip: Some(port.host_ip),
        host_ports: (port.host_port, port.host_port),
        guest_port: port.guest_port,
        protocol: port.protocol,
    };
    ports.into_iter().map(wish).collect()
}

/// Names as queries have them: lower-case, no longer than DNS takes, each once.
fn names(wished: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in wished.iter().take(MOST_NAMES) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let sound = name.len() < 190
            && name.split('.').all(|label| (1..=63).contains(&label.len()))
            && name.bytes().all(|byte| byte.is_ascii_graphic());
        if sound && !names.contains(&name) && name.parse::<IpAddr>().is_err() {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_are_passed_over() {
        let long = "a".repeat(64);
        let wished = ["Web", "web.", "", "a b", &long, "a..b", "10.0.0.1", "x.y"].map(str::to_owned);
        assert_eq!(names(&wished), ["web", "x.y"]);
    }
}
