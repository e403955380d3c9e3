//! The rules of a network: one table of nftables, loaded when the network is made; published ports and pods that may reach
//! the host are elements of its maps and sets. Loaded by `nft` (Debian's package nftables).

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::{Command, Stdio};

use super::bridge::bridge_name;
use super::place::Place;
use crate::definition::Definition;
use crate::port::Port;

/// Why rules were not loaded.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// There is no `nft`.
    #[error("there is no program nft, which loads the network's rules: install nftables")]
    Missing,
    /// It could not be run.
    #[error("cannot run nft")]
    Run(#[source] io::Error),
    /// It refused.
    #[error("nft refuses the network's rules: {0}")]
    Refused(String),
}

/// Loads the rules of a network, in place of what a process before left of them.
pub(super) fn load(place: &Place, definition: &Definition, hosts: &[IpAddr]) -> Result<(), RulesError> {
    apply(place, table(definition, hosts))
}

/// Removes them; passed over where there are none.
pub(super) fn remove(place: &Place, definition: &Definition) -> Result<(), RulesError> {
    let table = bridge_name(definition);
    // `add` makes the removal of what is not there no error.
    apply(place, format!("add table inet {table}\ndelete table inet {table}\n"))
}

/// Leads what arrives from other hosts for published ports to the pod at these addresses; with `add` false, no more.
pub(super) fn publish(
    place: &Place,
    definition: &Definition,
    ports: &[(Port, IpAddr)],
    add: bool,
) -> Result<(), RulesError> {
    let (table, verb) = (bridge_name(definition), if add { "add" } else { "delete" });
    let mut script = String::new();
    for (port, pod) in ports.iter().filter(|(port, pod)| port.host_ip.is_ipv4() == pod.is_ipv4()) {
        let family = if pod.is_ipv4() { 4 } else { 6 };
        let key = format!("{} . {}", port.protocol, port.host_port);
        let (map, key) = match port.host_ip.is_unspecified() {
            true => ("any", key),
            // What is for loopback does not arrive from elsewhere.
            false if port.host_ip.is_loopback() => continue,
            false => ("one", format!("{} . {key}", port.host_ip)),
        };
        let value = if add { format!(" : {pod} . {}", port.guest_port) } else { String::new() };
        let _ = writeln!(script, "{verb} element inet {table} {map}{family} {{ {key}{value} }}");
    }
    if script.is_empty() { Ok(()) } else { apply(place, script) }
}

/// Lets the pod at these addresses reach the host at the gateway's; with `add` false, no more.
pub(super) fn admit(
    place: &Place,
    definition: &Definition,
    pod: &[IpAddr],
    add: bool,
) -> Result<(), RulesError> {
    let (table, verb) = (bridge_name(definition), if add { "add" } else { "delete" });
    let mut script = String::new();
    for address in pod {
        let family = if address.is_ipv4() { 4 } else { 6 };
        let _ = writeln!(script, "{verb} element inet {table} host{family} {{ {address} }}");
    }
    apply(place, script)
}

/// The whole table. `hosts`: addresses that are the host's and not those of the namespace, where the network has its own.
fn table(definition: &Definition, hosts: &[IpAddr]) -> String {
    let bridge = bridge_name(definition);
    let mut text = format!("add table inet {bridge}\ndelete table inet {bridge}\ntable inet {bridge} {{\n");
    for (family, kind) in [(4, "ipv4_addr"), (6, "ipv6_addr")] {
        let _ = write!(
            text,
            "set host{family} {{ type {kind}; }}\n\
             map any{family} {{ type inet_proto . inet_service : {kind} . inet_service; }}\n\
             map one{family} {{ type {kind} . inet_proto . inet_service : {kind} . inet_service; }}\n"
        );
    }
    // The resolver is the pods', and the host's own: neighbours of the host reach its address on the bridge, too.
    text.push_str("chain input {\ntype filter hook input priority filter; policy accept;\n");
    for gateway in definition.pools.iter().map(|pool| pool.gateway) {
        let ip = if gateway.is_ipv4() { "ip" } else { "ip6" };
        let _ = writeln!(
            text,
            "iifname != {{ \"lo\", \"{bridge}\" }} {ip} daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 drop"
        );
    }
    // What pods may ask of the host itself.
    let _ = write!(text, "iifname != \"{bridge}\" accept\nct state established,related accept\n");
    for pool in &definition.pools {
        let gateway = pool.gateway;
        let (ip, icmp, set) =
            if gateway.is_ipv4() { ("ip", "icmp", "host4") } else { ("ip6", "ipv6-icmp", "host6") };
        let _ = write!(
            text,
            "{ip} daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 accept\n\
             {ip} daddr {gateway} meta l4proto {icmp} accept\n\
             {ip} saddr @{set} {ip} daddr {gateway} accept\n"
        );
    }
    if definition.ipv6().is_some() {
        text.push_str("icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n");
    }
    text.push_str("drop\n}\n");
    // What goes through the host: out, back, and to published ports; never to another network of pods.
    // Pods that cannot reach each other on the bridge could through the host, which would send on what is for another one.
    let between = if definition.isolated { "drop" } else { "accept" };
    let out = if definition.internal { "drop" } else { "accept" };
    let _ = write!(
        text,
        "chain forward {{\ntype filter hook forward priority filter; policy accept;\n\
         iifname \"{bridge}\" oifname \"{bridge}\" {between}\n\
         iifname \"{bridge}\" oifname \"cradle-*\" drop\n"
    );
    for address in hosts {
        let ip = if address.is_ipv4() { "ip" } else { "ip6" };
        let _ = writeln!(text, "iifname \"{bridge}\" {ip} daddr {address} drop");
    }
    // Addresses of IPv4 in the form of IPv6 are none of the wire: whoever reads one as 127.0.0.1 means itself.
    let _ = write!(
        text,
        "iifname \"{bridge}\" ip6 daddr ::ffff:0.0.0.0/96 drop\n\
         iifname \"{bridge}\" {out}\n\
         oifname \"{bridge}\" ct state established,related accept\n\
         oifname \"{bridge}\" ct status dnat accept\n\
         oifname \"{bridge}\" drop\n}}\n"
    );
    let _ = write!(
        text,
        "chain prerouting {{\ntype nat hook prerouting priority dstnat;\niifname \"{bridge}\" return\n\
         fib daddr type local dnat ip to meta l4proto . th dport map @any4\n\
         fib daddr type local dnat ip6 to meta l4proto . th dport map @any6\n\
         dnat ip to ip daddr . meta l4proto . th dport map @one4\n\
         dnat ip6 to ip6 daddr . meta l4proto . th dport map @one6\n}}\n\
         chain postrouting {{\ntype nat hook postrouting priority srcnat;\n"
    );
    for pool in &definition.pools {
        let ip = if pool.gateway.is_ipv4() { "ip" } else { "ip6" };
        let _ = writeln!(text, "{ip} saddr {} oifname != \"{bridge}\" masquerade", pool.subnet);
    }
    text.push_str("}\n}\n");
    text
}

/// Has `nft` apply a script, as one transaction.
fn apply(place: &Place, script: String) -> Result<(), RulesError> {
    place.run(move || feed(&["-f", "-"], &script)).map_err(RulesError::Run)?
}

/// Whether rules can be loaded at all; nothing is changed.
pub(super) fn check(place: &Place) -> Result<(), RulesError> {
    place.run(|| feed(&["list", "tables"], "")).map_err(RulesError::Run)?
}

fn feed(arguments: &[&str], script: &str) -> Result<(), RulesError> {
    let mut command = Command::new("nft");
    command.args(arguments).env_clear().env("PATH", super::PATH);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RulesError::Missing,
        _ => RulesError::Run(error),
    })?;
    if let Some(mut input) = child.stdin.take() {
        // Where it has ended it says why.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(RulesError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(RulesError::Refused(said.lines().take(4).collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::tests::sound;

    #[test]
    fn a_network_without_a_way_out_forwards_nothing() {
        let mut definition = sound();
        assert!(table(&definition, &[]).contains("iifname \"cradle-abababab\" drop\n"));
        definition.internal = false;
        assert!(table(&definition, &[]).contains("iifname \"cradle-abababab\" accept\n"));
    }

    #[test]
    fn pods_that_are_isolated_do_not_meet_through_the_host() {
        let mut definition = sound();
        let within = |end| format!("iifname \"cradle-abababab\" oifname \"cradle-abababab\" {end}\n");
        assert!(table(&definition, &[]).contains(&within("accept")));
        definition.isolated = true;
        assert!(table(&definition, &[]).contains(&within("drop")));
    }

    #[test]
    fn the_hosts_neighbours_and_its_addresses_are_kept_apart_from_pods() {
        let rules = table(&sound(), &["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]);
        let (input, forward) = rules.split_once("chain forward").unwrap();
        let resolver = input.find("iifname != { \"lo\", \"cradle-abababab\" } ip daddr 172.18.0.1 ").unwrap();
        assert!(resolver < input.find("iifname != \"cradle-abababab\" accept").unwrap());
        let end = forward.find("iifname \"cradle-abababab\" drop\n").unwrap();
        for address in ["ip daddr 192.0.2.7", "ip6 daddr 2001:db8::7", "ip6 daddr ::ffff:0.0.0.0/96"] {
            assert!(forward.find(&format!("iifname \"cradle-abababab\" {address} drop\n")).unwrap() < end);
        }
    }
}
