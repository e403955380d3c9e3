//! What of a pod is open to the outside: its published ports, and its way to the host itself.

use std::net::IpAddr;

use super::conntrack;
use super::place::Place;
use super::publish::{Published, Publisher};
use super::rules::{self, RulesError};
use crate::definition::Definition;
use crate::port::{Port, PortWish};

/// What a pod wants to be open.
pub(super) struct Wish<'a> {
    /// The pod's name, as errors call it.
    pub(super) name: &'a str,
    /// Its id.
    pub(super) pod: &'a str,
    pub(super) ports: &'a [PortWish],
    pub(super) host_gateway: bool,
}

/// What is open. Its rules go with [`Self::close`], its sockets with the value.
#[derive(Debug, Default)]
pub(super) struct Outward {
    admitted: bool,
    published: Published,
}

impl Outward {
    /// Opens what the pod at these addresses wants, or says why not.
    pub(super) fn open(
        &mut self,
        place: &Place,
        definition: &Definition,
        publisher: &Publisher,
        addresses: &[IpAddr],
        wish: &Wish<'_>,
    ) -> Result<(), String> {
        let says = |error: RulesError| super::chain(&error);
        if wish.host_gateway {
            rules::admit(place, definition, addresses, true).map_err(says)?;
            self.admitted = true;
        }
        // Nobody reaches a network without a way out.
        if definition.internal {
            return Ok(());
        }
        self.published = publisher.publish(wish.ports, addresses).map_err(|error| {
            let Wish { name, pod, .. } = wish;
            format!("driver failed programming external connectivity on endpoint {name} ({pod}): {error}")
        })?;
        if place.is_own() {
            return Ok(());
        }
        rules::publish(place, definition, &self.published.redirected(), true).map_err(says)
    }

    /// The ports that are published.
    pub(super) fn ports(&self) -> Vec<Port> {
        self.published.ports()
    }

    /// Closes it; `is_last`: a network that nobody uses any more is removed as a whole.
    pub(super) fn close(self, place: &Place, definition: &Definition, addresses: &[IpAddr], is_last: bool) {
        let told = |result: Result<(), RulesError>| {
            if let Err(error) = result {
                eprintln!("{}", super::chain(&error));
            }
        };
        let redirected = self.published.redirected();
        if self.admitted && !is_last {
            told(rules::admit(place, definition, addresses, false));
        }
        // Also of the last pod: a connection that begins between the two would be remembered.
        if !place.is_own() && !redirected.is_empty() {
            told(rules::publish(place, definition, &redirected, false));
            forget(addresses);
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
