//! What a network is: `network.json` of its directory. Written when it is made, never changed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use spec::launch::{MAX_MTU, MIN_MTU, MIN_MTU6};
use thiserror::Error;

use crate::subnet::Subnet;

/// Why a definition makes no sense.
#[derive(Debug, Error)]
#[error("network {name}: {why}")]
pub struct DefinitionError {
    name: String,
    why: String,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Definition {
    /// [`Definition::VERSION`].
    pub version: u32,
    /// 64 lower-case hexadecimal digits.
    pub id: String,
    /// Its name, for people and for the errors they read.
    pub name: String,
    /// Nanoseconds since 1970 at which it was made.
    pub created: u64,
    /// Its addresses: at most one pool of each family, at least one.
    pub pools: Vec<Pool>,
    /// Whether it has no way out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Whether its pods cannot reach each other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
    /// Bytes of the longest packet.
    pub mtu: u16,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Pool {
    /// All of them.
    pub subnet: Subnet,
    /// That of the bridge, where the resolver is.
    pub gateway: IpAddr,
    /// Where addresses that nobody chose come from; `None`: the whole subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Subnet>,
    /// Addresses that no pod gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<IpAddr>,
}

impl Pool {
    /// A subnet whose first address is the gateway's.
    #[must_use]
    pub fn of(subnet: Subnet) -> Self {
        Self { subnet, gateway: subnet.first(), range: None, reserved: Vec::new() }
    }
}

impl Definition {
    /// The version of this type.
    pub const VERSION: u32 = 1;
    /// Bytes of the longest packet where nothing is said.
    pub const DEFAULT_MTU: u16 = 1500;

    /// The pool of IPv4 addresses.
    #[must_use]
    pub fn ipv4(&self) -> Option<&Pool> {
        self.pools.iter().find(|pool| !pool.subnet.is_ipv6())
    }

    /// The pool of IPv6 addresses.
    #[must_use]
    pub fn ipv6(&self) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.is_ipv6())
    }

    /// The first eight digits of the id: what interfaces and rules are named after.
    #[must_use]
    pub fn short_id(&self) -> &str {
        &self.id[..8]
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let wrong = |why: String| DefinitionError { name: self.name.clone(), why };
        let require = |sound: bool, why: &dyn Fn() -> String| if sound { Ok(()) } else { Err(wrong(why())) };
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        require(self.id.len() == 64 && self.id.bytes().all(digit), &|| format!("id {:?}", self.id))?;
        require(!self.pools.is_empty(), &|| "it has no subnet".into())?;
        let families = [self.ipv4(), self.ipv6()].into_iter().flatten().count();
        require(families == self.pools.len(), &|| "it has two subnets of one family".into())?;
        let least = if self.ipv6().is_some() { MIN_MTU6 } else { MIN_MTU };
        require((least..=MAX_MTU).contains(&self.mtu), &|| format!("MTU {} is out of range", self.mtu))?;
        for pool in &self.pools {
            let subnet = pool.subnet;
            let longest = if subnet.is_ipv6() { 126 } else { 30 };
            require((8..=longest).contains(&subnet.length()), &|| format!("subnet {subnet} has no use"))?;
            let first = subnet.address();
            let host = !first.is_loopback() && !first.is_multicast() && !first.is_unspecified();
            require(host, &|| format!("subnet {subnet} is not for hosts"))?;
            let edge = [Some(first), subnet.broadcast()].contains(&Some(pool.gateway));
            let inside = subnet.contains(pool.gateway) && !edge;
            require(inside, &|| format!("no matching subnet for gateway {}", pool.gateway))?;
            if let Some(range) = &pool.range {
                require(subnet.covers(range), &|| {
                    format!("allocated ip range {range} is not in subnet {subnet}")
                })?;
            }
            for address in &pool.reserved {
                require(subnet.contains(*address), &|| format!("no matching subnet for {address}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A network of both families.
    pub(crate) fn sound() -> Definition {
        serde_json::from_str(&golden()).unwrap()
    }

    fn golden() -> String {
        format!(
            r#"{{"version":1,"id":"{}","name":"web","created":1,"pools":[{{"subnet":"172.18.0.0/16","gateway":"172.18.0.1"}},{{"subnet":"fd00::/64","gateway":"fd00::1","range":"fd00::/80","reserved":["fd00::5"]}}],"internal":true,"mtu":1500,"labels":{{"a":"b"}}}}"#,
            "ab".repeat(32)
        )
    }

    #[test]
    fn a_definition_has_this_form() {
        let definition = sound();
        definition.check().unwrap();
        assert_eq!(serde_json::to_string(&definition).unwrap(), golden());
        assert_eq!(definition.short_id(), "abababab");
        assert_eq!(definition.ipv4().unwrap().gateway.to_string(), "172.18.0.1");
        assert_eq!(definition.ipv6().unwrap().gateway.to_string(), "fd00::1");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refusal = |change: &dyn Fn(&mut Definition)| {
            let mut definition = sound();
            change(&mut definition);
            definition.check().expect_err("taken").to_string()
        };
        assert!(refusal(&|one| one.id = "../../etc".into()).contains("id"));
        assert!(refusal(&|one| one.pools.clear()).contains("no subnet"));
        assert!(refusal(&|one| one.pools[1] = one.pools[0].clone()).contains("one family"));
        assert!(refusal(&|one| one.mtu = 1279).contains("1279"));
        for gateway in ["172.18.0.0", "172.18.255.255", "172.19.0.1", "fd00::1"] {
            assert!(refusal(&|one| one.pools[0].gateway = gateway.parse().unwrap()).contains(gateway));
        }
        for subnet in ["127.0.0.0/8", "224.0.0.0/8", "0.0.0.0/8", "172.18.0.0/31"] {
            assert!(refusal(&|one| one.pools[0] = Pool::of(subnet.parse().unwrap())).contains(subnet));
        }
        assert!(refusal(&|one| one.pools[0].range = Some("10.0.0.0/24".parse().unwrap())).contains("range"));
        assert!(refusal(&|one| one.pools[0].reserved = vec!["10.0.0.1".parse().unwrap()]).contains("10.0"));
    }
}
