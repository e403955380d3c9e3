//! The places on a network: what a pod gets, and what goes back when it has gone.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use spec::MacAddress;
use spec::launch::InterfaceAddress;

use super::addresses::Addresses;
use super::bridge::{self, OpenTap};
use super::conntrack;
use super::place::Place;
use super::pods::{Pod, Pods};
use super::publish::{Published, Publisher};
use super::resolver::Resolver;
use super::rules;
use crate::definition::Definition;
use crate::message::{Answer, Request};
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
    used: Cell<bool>,
}

/// A pod's place; dropped, its addresses, names and ports are free.
#[derive(Debug)]
pub(super) struct Lease {
    network: Rc<Network>,
    addresses: Vec<IpAddr>,
    number: Option<u64>,
    admitted: bool,
    published: Published,
}

impl Network {
    /// Without a pod.
    pub(super) fn new(definition: &Definition, place: &Place, open_tap: OpenTap) -> Rc<Self> {
        let pods = Rc::new(Pods::new(&definition.name));
        Rc::new(Self {
            resolver: Resolver::new(Rc::clone(&pods), definition.internal),
            addresses: RefCell::new(definition.pools.iter().cloned().map(Addresses::new).collect()),
            publisher: Publisher::new(place.clone()),
            definition: definition.clone(),
            place: place.clone(),
            open_tap,
            pods,
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

    /// Calls a pod otherwise, or says why not.
    pub(super) fn rename(&self, pod: &str, wished: &[String]) -> Result<(), String> {
        let found = self.pods.rename(pod, &names(wished));
        if found { Ok(()) } else { Err(format!("pod {pod} is not on network {}", self.definition.name)) }
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
        let says = |error: &dyn std::error::Error| super::chain(error);
        if self.pods.count() >= MOST_PODS {
            return Err(format!(
                "network {} has {MOST_PODS} pods, the most it can have",
                self.definition.name
            ));
        }
        // From here on whatever was taken goes back where a later step fails.
        let mut lease = Lease {
            network: Rc::clone(self),
            addresses: Vec::new(),
            number: None,
            admitted: false,
            published: Published::default(),
        };
        for pool in self.addresses.borrow_mut().iter_mut() {
            let wish = if pool.is_ipv6() { request.ip6.map(IpAddr::V6) } else { request.ip.map(IpAddr::V4) };
            lease.addresses.push(pool.take(wish).map_err(|error| says(&error))?);
        }
        self.check_families(&request)?;
        let mac = self.mac(&request, &lease.addresses)?;
        let queues = request.queues.clamp(1, MAX_QUEUES);
        let taps = bridge::add_tap(&self.place, &self.definition, self.open_tap, queues, mac);
        let taps = taps.map_err(|error| says(&error))?;
        lease.number = Some(self.pods.add(Pod {
            id: request.pod.clone(),
            names: names(&request.names),
            addresses: lease.addresses.clone(),
            mac,
            dns: request.dns,
            siblings: request.siblings,
        }));
        self.used.set(true);
        if request.host_gateway {
            rules::admit(&self.place, &self.definition, &lease.addresses, true)
                .map_err(|error| says(&error))?;
            lease.admitted = true;
        }
        // Nobody reaches a network without a way out.
        if !self.definition.internal {
            lease.published = self.publisher.publish(&request.ports, &lease.addresses).map_err(|error| {
                let (name, pod) = (&request.name, &request.pod);
                format!("driver failed programming external connectivity on endpoint {name} ({pod}): {error}")
            })?;
            if !self.place.is_own() {
                let redirected = lease.published.redirected();
                rules::publish(&self.place, &self.definition, &redirected, true)
                    .map_err(|error| says(&error))?;
            }
        }
        Ok((self.answer(mac, &lease), taps, lease))
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

    fn answer(&self, mac: MacAddress, lease: &Lease) -> Answer {
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
            ports: lease.published.ports(),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let network = &self.network;
        if let Some(number) = self.number {
            network.pods.remove(number);
        }
        let told = |result: Result<(), rules::RulesError>| {
            if let Err(error) = result {
                eprintln!("{}", super::chain(&error));
            }
        };
        let redirected = self.published.redirected();
        // A network that nobody uses any more is removed as a whole.
        if self.admitted && !network.is_left() {
            told(rules::admit(&network.place, &network.definition, &self.addresses, false));
        }
        // Also of the last pod: a connection that begins between the two would be remembered.
        if !network.place.is_own() && !redirected.is_empty() {
            told(rules::publish(&network.place, &network.definition, &redirected, false));
            forget(&self.addresses);
        }
        for (pool, address) in network.addresses.borrow_mut().iter_mut().zip(&self.addresses) {
            pool.free_again(*address);
        }
    }
}

/// What other hosts still send to the ports of a pod that has gone is for no pod that gets its addresses.
fn forget(addresses: &[IpAddr]) {
    for address in addresses {
        if let Err(error) = conntrack::forget(*address) {
            eprintln!("cannot forget the connections to {address}: {error}");
        }
    }
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
