//! Who has which address: the lowest free one of the pool's range, or the one that was wished.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::definition::Pool;

/// Looks at so many addresses at most: more than a bridge has ports.
const MOST: u128 = 1 << 16;

/// Why a pod gets no address. The words are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The address is another pod's, the gateway's or kept.
    #[error("Address already in use")]
    Taken,
    /// It is in none of the network's subnets, or stands for no host.
    #[error("invalid address {0}: It does not belong to any of this network's subnets")]
    Foreign(IpAddr),
    /// There is none left.
    #[error("no available IPv{0} addresses on this network's address pools")]
    Full(u8),
}

/// The addresses of a pool that pods have.
#[derive(Debug)]
pub(super) struct Addresses {
    pool: Pool,
    taken: BTreeSet<IpAddr>,
}

impl Addresses {
    /// None is taken.
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, taken: BTreeSet::new() }
    }

    /// Whether they are of IPv6.
    pub(super) fn is_ipv6(&self) -> bool {
        self.pool.subnet.is_ipv6()
    }

    /// Takes an address.
    pub(super) fn take(&mut self, wish: Option<IpAddr>) -> Result<IpAddr, AddressError> {
        let address = match wish {
            Some(wish) if !self.is_host(wish) => return Err(AddressError::Foreign(wish)),
            Some(wish) if self.is_kept(wish) => return Err(AddressError::Taken),
            Some(wish) => wish,
            None => self.free()?,
        };
        self.taken.insert(address);
        Ok(address)
    }

    /// Gives one back.
    pub(super) fn free_again(&mut self, address: IpAddr) {
        self.taken.remove(&address);
    }

    fn free(&self) -> Result<IpAddr, AddressError> {
        let from = self.pool.range.unwrap_or(self.pool.subnet);
        let all = (0..from.size().min(MOST)).map(|index| from.nth(index));
        let family = if from.is_ipv6() { 6 } else { 4 };
        let mut free = all.filter(|address| {
            self.is_host(*address) && !self.is_kept(*address) && !self.pool.reserved.contains(address)
        });
        free.next().ok_or(AddressError::Full(family))
    }

    fn is_host(&self, address: IpAddr) -> bool {
        let subnet = self.pool.subnet;
        subnet.contains(address) && address != subnet.address() && Some(address) != subnet.broadcast()
    }

    fn is_kept(&self, address: IpAddr) -> bool {
        address == self.pool.gateway || self.taken.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_lowest_free_one_is_taken_and_given_back() {
        let mut addresses = Addresses::new(Pool::of("10.0.0.0/29".parse().unwrap()));
        let all: Vec<_> = (0..5).map(|_| addresses.take(None).unwrap().to_string()).collect();
        assert_eq!(all, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert!(matches!(addresses.take(None), Err(AddressError::Full(4))));
        addresses.free_again(ip("10.0.0.4"));
        assert_eq!(addresses.take(None).unwrap(), ip("10.0.0.4"));
    }

    #[test]
    fn wishes_are_kept_or_refused() {
        let mut pool = Pool::of("10.0.0.0/24".parse().unwrap());
        pool.range = Some("10.0.0.128/25".parse().unwrap());
        pool.reserved = vec![ip("10.0.0.129")];
        let mut addresses = Addresses::new(pool);
        assert_eq!(addresses.take(None).unwrap(), ip("10.0.0.128"));
        assert_eq!(addresses.take(None).unwrap(), ip("10.0.0.130"));
        assert_eq!(addresses.take(Some(ip("10.0.0.9"))).unwrap(), ip("10.0.0.9"));
        for taken in ["10.0.0.9", "10.0.0.1", "10.0.0.130"] {
            assert!(matches!(addresses.take(Some(ip(taken))), Err(AddressError::Taken)), "{taken}");
        }
        for foreign in ["10.0.0.0", "10.0.0.255", "10.0.1.1", "fd00::1"] {
            assert!(matches!(addresses.take(Some(ip(foreign))), Err(AddressError::Foreign(_))), "{foreign}");
        }
    }

    #[test]
    fn addresses_of_ipv6_begin_behind_the_gateway() {
        let mut addresses = Addresses::new(Pool::of("fd00::/64".parse().unwrap()));
        assert_eq!(addresses.take(None).unwrap(), ip("fd00::2"));
    }
}
