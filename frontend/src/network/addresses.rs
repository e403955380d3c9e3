//! Subnets: read, compared, and found where none is asked for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Docker's default pools: 172.17.0.0/16 is the bridge's, the next are for networks without a subnet of their own, then the
/// /20 parts of 192.168.0.0/16.
const FIRST_LARGE: u8 = 17;
const LAST_LARGE: u8 = 31;

/// Addresses with a common start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Subnet {
    address: IpAddr,
    length: u8,
}

/// A text that is no subnet.
#[derive(Debug, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub(crate) struct SubnetError(String);

impl Subnet {
    /// The bridge's.
    pub(crate) const fn default_bridge() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(172, FIRST_LARGE, 0, 0)), length: 16 }
    }

    /// The first of Docker's default pools that overlaps none of those.
    pub(crate) fn free(taken: &[Self]) -> Option<Self> {
        let large = (FIRST_LARGE + 1..=LAST_LARGE).map(|part| (Ipv4Addr::new(172, part, 0, 0), 16));
        let small = (0..16).map(|part| (Ipv4Addr::new(192, 168, part * 16, 0), 20));
        let mut pools = large.chain(small).map(|(address, length)| Self { address: address.into(), length });
        pools.find(|pool| !taken.iter().any(|other| other.overlaps(pool)))
    }

    /// A unique local prefix of 64 bits made of an id's digits (RFC 4193).
    pub(crate) fn unique_local(id: &str) -> Self {
        let digits = u64::from_str_radix(id.get(..14).unwrap_or_default(), 16).unwrap_or_default();
        let prefix = (0xfd_u64 << 56) | (digits & 0x00ff_ffff_ffff_ffff);
        Self { address: Ipv6Addr::from_bits(u128::from(prefix) << 64).into(), length: 64 }
    }

    /// Whether any address is in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4() && {
            let length = self.length.min(other.length);
            self.start(length) == other.start(length)
        }
    }

    /// Whether an address is in it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let length = if address.is_ipv4() { 32 } else { 128 };
        self.overlaps(&Self { address, length }) && self.length <= length
    }

    /// Whether all of another is in it.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.overlaps(other)
    }

    /// Whether its addresses are of IPv6.
    pub(crate) const fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// The first address behind the network's own.
    pub(crate) fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => {
                let bits = u32::try_from(self.start(self.length)).unwrap_or_default();
                Ipv4Addr::from_bits(bits.saturating_add(1)).into()
            }
            IpAddr::V6(_) => Ipv6Addr::from_bits(self.start(self.length).saturating_add(1)).into(),
        }
    }

    /// The bits of the address that count, the others zero.
    fn start(&self, length: u8) -> u128 {
        let (bits, width) = match self.address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let free = u32::from(width - length.min(width));
        bits.checked_shr(free).unwrap_or(0).checked_shl(free).unwrap_or(0)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (address, length) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            let subnet = Self { address, length };
            let width = if address.is_ipv4() { 32 } else { 128 };
            (length <= width).then_some(subnet)
        };
        let read = read().ok_or_else(|| SubnetError(text.to_owned()))?;
        let start = read.start(read.length);
        let address = match read.address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(start).unwrap_or_default()).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(start).into(),
        };
        Ok(Self { address, ..read })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_read_and_cut() {
        assert_eq!(subnet("10.1.2.3/8").to_string(), "10.0.0.0/8");
        assert_eq!(subnet("fd00::1/64").to_string(), "fd00::/64");
        assert_eq!(subnet("0.0.0.0/0").to_string(), "0.0.0.0/0");
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "10.0.0.0/-1", "10.0.0.0/8/8"]
        {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn overlaps_are_seen_both_ways() {
        for (one, other, overlap) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.2.0.0/16", false),
            ("0.0.0.0/0", "192.168.0.0/16", true),
            ("::/0", "10.0.0.0/8", false),
            ("fd00::/64", "fd00::/48", true),
        ] {
            assert_eq!(subnet(one).overlaps(&subnet(other)), overlap, "{one} {other}");
            assert_eq!(subnet(other).overlaps(&subnet(one)), overlap, "{other} {one}");
        }
        assert!(subnet("10.0.0.0/8").contains("10.9.9.9".parse().unwrap()));
        assert!(!subnet("10.0.0.0/8").contains("11.0.0.1".parse().unwrap()));
        assert!(subnet("10.0.0.0/8").covers(&subnet("10.4.0.0/16")));
        assert!(!subnet("10.4.0.0/16").covers(&subnet("10.0.0.0/8")));
    }

    #[test]
    fn free_ones_follow_dockers_order() {
        let mut taken = vec![Subnet::default_bridge()];
        let first = Subnet::free(&taken).unwrap();
        assert_eq!(
            (first.to_string(), first.first().to_string()),
            ("172.18.0.0/16".into(), "172.18.0.1".into())
        );
        while let Some(next) = Subnet::free(&taken) {
            taken.push(next);
        }
        assert_eq!(taken.len(), 1 + 14 + 16);
        assert_eq!(taken.last().unwrap().to_string(), "192.168.240.0/20");
    }

    #[test]
    fn local_prefixes_differ_by_id() {
        let one = Subnet::unique_local(&"ab".repeat(32));
        assert_eq!(one.to_string(), "fdab:abab:abab:abab::/64");
        assert_ne!(one, Subnet::unique_local(&"ac".repeat(32)));
    }
}
