//! Subnets: read, compared, counted, and found where none is asked for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Docker's default pools: 172.17.0.0/16 is the default bridge's, the next are for networks without a subnet of their own,
/// then the /20 parts of 192.168.0.0/16.
const FIRST_LARGE: u8 = 17;
const LAST_LARGE: u8 = 31;

/// Addresses with a common start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: IpAddr,
    length: u8,
}

/// A text that is no subnet.
#[derive(Debug, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct SubnetError(String);

impl Subnet {
    /// That of Docker's default bridge.
    #[must_use]
    pub const fn default_bridge() -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(172, FIRST_LARGE, 0, 0)), length: 16 }
    }

    /// The first of Docker's default pools that overlaps none of those.
    #[must_use]
    pub fn free(taken: &[Self]) -> Option<Self> {
        let large = (FIRST_LARGE + 1..=LAST_LARGE).map(|part| (Ipv4Addr::new(172, part, 0, 0), 16));
        let small = (0..16).map(|part| (Ipv4Addr::new(192, 168, part * 16, 0), 20));
        let mut pools = large.chain(small).map(|(address, length)| Self { address: address.into(), length });
        pools.find(|pool| !taken.iter().any(|other| other.overlaps(pool)))
    }

    /// A unique local prefix of 64 bits made of an id's digits (RFC 4193).
    #[must_use]
    pub fn unique_local(id: &str) -> Self {
        let digits = u64::from_str_radix(id.get(..14).unwrap_or_default(), 16).unwrap_or_default();
        let prefix = (0xfd_u64 << 56) | (digits & 0x00ff_ffff_ffff_ffff);
        Self { address: Ipv6Addr::from_bits(u128::from(prefix) << 64).into(), length: 64 }
    }

    /// The first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits of the prefix.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Whether any address is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.is_ipv6() == other.is_ipv6() && {
            let length = self.length.min(other.length);
            self.start(length) == other.start(length)
        }
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.overlaps(&Self { address, length: width(address) })
    }

    /// Whether all of another is in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.overlaps(other)
    }

    /// Whether its addresses are of IPv6.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// The first address behind the network's own.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.nth(1)
    }

    /// The address so many behind the first; past the end, what comes behind the subnet.
    #[must_use]
    pub fn nth(&self, index: u128) -> IpAddr {
        let bits = self.start(self.length).saturating_add(index);
        match self.address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
        }
    }

    /// How many addresses it has; `u128::MAX` stands for all of IPv6.
    #[must_use]
    pub fn size(&self) -> u128 {
        1_u128.checked_shl(u32::from(width(self.address) - self.length)).unwrap_or(u128::MAX)
    }

    /// The address that reaches all hosts, of IPv4 subnets that have one (RFC 3021: not of pairs).
    #[must_use]
    pub fn broadcast(&self) -> Option<IpAddr> {
        (!self.is_ipv6() && self.length < 31).then(|| self.nth(self.size() - 1))
    }

    /// The bits of the address that count, the others zero.
    fn start(&self, length: u8) -> u128 {
        let bits = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let free = u32::from(width(self.address) - length.min(width(self.address)));
        bits.checked_shr(free).unwrap_or(0).checked_shl(free).unwrap_or(0)
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (address, length) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            let length: u8 = length.parse().ok()?;
            (length <= width(address)).then_some(Self { address, length })
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
    fn addresses_are_counted() {
        let small = subnet("10.0.0.8/30");
        assert_eq!((small.size(), small.nth(3).to_string()), (4, "10.0.0.11".into()));
        assert_eq!(small.broadcast(), Some("10.0.0.11".parse().unwrap()));
        assert_eq!(subnet("10.0.0.8/31").broadcast(), None);
        assert_eq!(subnet("fd00::/64").broadcast(), None);
        assert_eq!(subnet("::/0").size(), u128::MAX);
        assert_eq!(subnet("0.0.0.0/0").broadcast(), Some("255.255.255.255".parse().unwrap()));
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
