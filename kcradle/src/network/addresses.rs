//! Addresses that a pod file gives: they mean the network that has them, which is made where there is none.

use std::net::IpAddr;

use net::{Definition, NetworkDir, Pool, Subnet};
use pod::{Attachment, state};

use super::Networks;
use super::store::new_id;
use crate::failure::Failure;

/// The addresses of a pod and its gateways, at most one of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// Those of IPv4 and of IPv6.
    pub(crate) families: Vec<Family>,
}

/// An address with its gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    address: IpAddr,
    /// Bits of the subnet's prefix, where the file tells one.
    length: Option<u8>,
    gateway: Option<IpAddr>,
}

impl Family {
    /// Reads the one address of a family, `10.0.0.2/24` or without its prefix, and its gateway; `None` where there is neither.
    /// The error says which of them is wrong, and why.
    pub(crate) fn read(
        addresses: &[String],
        gateway: &str,
        ipv6: bool,
    ) -> Result<Option<Self>, (bool, String)> {
        let family = |address: &IpAddr| address.is_ipv6() == ipv6;
        let wrong = |text: &str| format!("\"{text}\" is no IPv{} address", if ipv6 { 6 } else { 4 });
        let gateway = match gateway {
            "" => None,
            text => Some(text.parse().ok().filter(family).ok_or_else(|| (false, wrong(text)))?),
        };
        let text = match addresses {
            [] if gateway.is_none() => return Ok(None),
            [] => return Err((false, "a gateway needs an address".to_owned())),
            [one] => one,
            _ => return Err((true, "a pod has one address of a family".to_owned())),
        };
        let (address, length) = match text.split_once('/') {
            None => (text.as_str(), None),
            Some((address, length)) => {
                let length = length.parse().ok().filter(|length| *length <= if ipv6 { 128 } else { 32 });
                (address, Some(length.ok_or_else(|| (true, wrong(text)))?))
            }
        };
        let address = address.parse().ok().filter(family).ok_or_else(|| (true, wrong(text)))?;
        Ok(Some(Self { address, length, gateway }))
    }

    /// Whether a pool has the address behind that gateway.
    fn fits(&self, pool: &Pool) -> bool {
        pool.subnet.contains(self.address) && self.gateway.is_none_or(|gateway| gateway == pool.gateway)
    }

    /// A pool for the address: of the prefix that the file tells, else the smallest that has the gateway, too.
    fn pool(&self) -> Result<Pool, Failure> {
        let longest = if self.address.is_ipv4() { 30 } else { 126 };
        let told = self.length.filter(|length| *length <= longest);
        let usual = if self.address.is_ipv4() { 24 } else { 64 };
        let lengths = match (told, self.gateway) {
            (Some(told), _) => told..=told,
            (None, None) => usual..=usual,
            (None, Some(_)) => 8..=longest,
        };
        let inside = |subnet: &Subnet, address: IpAddr| {
            subnet.contains(address) && address != subnet.address() && Some(address) != subnet.broadcast()
        };
        let subnets = lengths.rev().filter_map(|length| format!("{}/{length}", self.address).parse().ok());
        let mut pools = subnets.filter_map(|subnet: Subnet| {
            let gateway = self.gateway.unwrap_or(subnet.first());
            let sound = inside(&subnet, self.address) && inside(&subnet, gateway) && gateway != self.address;
            sound.then(|| Pool { gateway, ..Pool::of(subnet) })
        });
        pools.next().ok_or_else(|| {
            Failure::new(format!("no subnet has {} and its gateway", self.address))
                .hint("give the address its prefix, as in 10.0.0.2/24, or leave the gateway out")
        })
    }
}

impl Addresses {
    /// The network that has these addresses, and what the pod wants there.
    pub(crate) fn attachment(&self, networks: &Networks) -> Result<Attachment, Failure> {
        let fits = |definition: &Definition| {
            self.families.iter().all(|family| definition.pools.iter().any(|pool| family.fits(pool)))
        };
        let known = networks.all()?.into_iter().find(|(_, definition)| fits(definition));
        let dir = match known {
            Some((dir, _)) => dir,
            None => self.make(networks)?,
        };
        let mut attachment = Attachment { dir: dir.path().to_owned(), ..Attachment::default() };
        self.wish(&mut attachment);
        Ok(attachment)
    }

    /// Has a pod that is on a network already ask for the addresses there.
    pub(crate) fn wish(&self, attachment: &mut Attachment) {
        for family in &self.families {
            match family.address {
                IpAddr::V4(address) => attachment.ip = attachment.ip.or(Some(address)),
                IpAddr::V6(address) => attachment.ip6 = attachment.ip6.or(Some(address)),
            }
        }
    }

    fn make(&self, networks: &Networks) -> Result<NetworkDir, Failure> {
        let pools = self.families.iter().map(Family::pool).collect::<Result<Vec<_>, _>>()?;
        networks.refuse_overlap(pools.iter().map(|pool| &pool.subnet))?;
        let id = new_id()?;
        let definition = Definition {
            version: Definition::VERSION,
            name: format!("pod-{}", &id[..12]),
            id,
            created: state::now(),
            pools,
            internal: false,
            isolated: false,
            mtu: Definition::DEFAULT_MTU,
            labels: std::collections::BTreeMap::new(),
        };
        networks.make(&definition)?;
        networks.named(&definition.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(address: &str, gateway: &str) -> Family {
        Family::read(&[address.to_owned()], gateway, address.contains(':')).unwrap().unwrap()
    }

    #[test]
    fn a_pool_has_address_and_gateway() {
        for (address, gateway, subnet, first) in [
            ("10.0.0.2/24", "", "10.0.0.0/24", "10.0.0.1"),
            ("10.0.0.2", "", "10.0.0.0/24", "10.0.0.1"),
            ("10.0.0.2/32", "10.0.0.1", "10.0.0.0/30", "10.0.0.1"),
            ("10.0.0.3", "10.0.0.1", "10.0.0.0/29", "10.0.0.1"),
            ("10.0.0.9/24", "10.0.0.254", "10.0.0.0/24", "10.0.0.254"),
            ("fd00::5", "fd00::1", "fd00::/125", "fd00::1"),
        ] {
            let pool = family(address, gateway).pool().unwrap();
            assert_eq!((pool.subnet.to_string(), pool.gateway.to_string()), (subnet.into(), first.into()));
        }
        assert!(family("10.0.0.2/24", "10.0.1.1").pool().is_err());
        assert!(family("10.0.0.2/24", "10.0.0.2").pool().is_err());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let read = |addresses: &[&str], gateway, ipv6| {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            Family::read(&addresses, gateway, ipv6)
        };
        assert_eq!(read(&[], "", false), Ok(None));
        assert!(read(&[], "10.0.0.1", false).is_err());
        assert!(read(&["10.0.0.2", "10.0.0.3"], "", false).is_err());
        assert!(read(&["fd00::1"], "", false).is_err());
        assert!(read(&["10.0.0.2"], "", true).is_err());
        assert!(read(&["10.0.0.2/33"], "", false).is_err());
        assert!(read(&["10.0.0.2"], "x", false).is_err());
    }
}
