//! What the host's own routing table reaches: a network without a subnet of its own gets none of that, or the host's
//! neighbours could not be reached any more.

use std::net::Ipv4Addr;

use crate::subnet::Subnet;

/// The IPv4 routes of this network namespace (proc(5)).
const TABLE: &str = "/proc/net/route";

/// The subnets of the host's routes; none where they cannot be read.
#[must_use]
pub fn host_routes() -> Vec<Subnet> {
    std::fs::read_to_string(TABLE).map_or_else(|_| Vec::new(), |table| read(&table))
}

fn read(table: &str) -> Vec<Subnet> {
    table.lines().skip(1).filter_map(subnet).collect()
}

/// Destination and mask of a line, hexadecimal numbers of the bytes as they lie in memory. The default route reaches
/// everything, and does not count.
fn subnet(line: &str) -> Option<Subnet> {
    let mut words = line.split_ascii_whitespace();
    let mut number = |skipped| {
        let number = u32::from_str_radix(words.nth(skipped)?, 16).ok()?;
        Some(u32::from_be_bytes(number.to_ne_bytes()))
    };
    let (destination, mask) = (number(1)?, number(5)?);
    let length = mask.leading_ones();
    format!("{}/{length}", Ipv4Addr::from_bits(destination)).parse().ok().filter(|_| length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_subnets_but_for_the_default_one() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                     garbage\nvpn\t0100000A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n";
        let found: Vec<_> = read(table).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["172.18.0.0/16", "10.0.0.1/32"]);
    }
}
