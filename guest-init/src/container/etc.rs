//! The texts of /etc/hosts, /etc/resolv.conf and /etc/hostname that every container gets, as Docker's.

use spec::launch::NetworkSpec;
use std::fmt::Write as _;

/// What Docker writes into every /etc/hosts.
const LOCAL_HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                           ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// `/etc/hosts` of a container with that host name, which is known in its domain and by its first part too.
pub(crate) fn hosts(network: &NetworkSpec, hostname: &str) -> String {
    let mut text = LOCAL_HOSTS.to_owned();
    for entry in &network.hosts {
        let _infallible = writeln!(text, "{}\t{}", entry.address, entry.name);
    }
    text + &own_hosts(network, hostname)
}

/// The lines of a container's own addresses in it.
pub(crate) fn own_hosts(network: &NetworkSpec, hostname: &str) -> String {
    let mut text = String::new();
    let domain = &network.domainname;
    let short = hostname.split_once('.').map(|(short, _)| format!(" {short}")).unwrap_or_default();
    let own = if domain.is_empty() { hostname.to_owned() } else { format!("{hostname}.{domain} {hostname}") };
    for place in network.interfaces.iter().flat_map(|interface| &interface.addresses) {
        let _infallible = writeln!(text, "{}\t{own}{short}", place.address);
    }
    text
}

/// `/etc/resolv.conf`.
pub(crate) fn resolv_conf(network: &NetworkSpec) -> String {
    let mut text = String::new();
    for server in &network.nameservers {
        let _infallible = writeln!(text, "nameserver {server}");
    }
    if !network.search_domain.is_empty() {
        let _infallible = writeln!(text, "search {}", network.search_domain);
    }
    if !network.options.is_empty() {
        let _infallible = writeln!(text, "options {}", network.options.join(" "));
    }
    text
}

/// `/etc/hostname`.
pub(crate) fn hostname(name: &str) -> String {
    format!("{name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_hold_what_the_network_says() {
        let network: NetworkSpec = serde_json::from_str(
            r#"{"interfaces":[{"name":"eth0","mac":"02:42:0a:00:00:02","mtu":1500,"addresses":[
                {"address":"10.0.0.2","prefixLength":8},{"address":"fd00::2","prefixLength":64}]}],
                "nameservers":["10.0.0.1","fd00::1"],"searchDomain":"pod.example a.example",
                "options":["ndots:2","rotate"],"hosts":[{"name":"db","address":"10.0.0.7"}]}"#,
        )
        .unwrap();
        assert_eq!(
            resolv_conf(&network),
            "nameserver 10.0.0.1\nnameserver fd00::1\nsearch pod.example a.example\noptions ndots:2 rotate\n"
        );
        let local = LOCAL_HOSTS;
        assert_eq!(hosts(&network, "box"), format!("{local}10.0.0.7\tdb\n10.0.0.2\tbox\nfd00::2\tbox\n"));
        assert!(hosts(&network, "box.a.example").ends_with("\nfd00::2\tbox.a.example box\n"));
        assert_eq!(hosts(&NetworkSpec::default(), "box"), local);
        let network = NetworkSpec { domainname: "a.example".into(), ..network };
        assert!(hosts(&network, "box").ends_with("\nfd00::2\tbox.a.example box\n"));
        assert_eq!(resolv_conf(&NetworkSpec::default()), "");
        assert_eq!(hostname("box"), "box\n");
    }
}
