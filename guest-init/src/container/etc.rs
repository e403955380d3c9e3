//! The texts of /etc/hosts, /etc/resolv.conf and /etc/hostname that every container gets, as Docker's.

use spec::launch::NetworkSpec;
use std::fmt::Write as _;

/// What Docker writes into every /etc/hosts.
const LOCAL_HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                           ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// `/etc/hosts`.
pub(crate) fn hosts(network: &NetworkSpec) -> String {
    network.hosts.iter().fold(LOCAL_HOSTS.to_owned(), |mut text, entry| {
        let _infallible = writeln!(text, "{}\t{}", entry.address, entry.name);
        text
    })
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
    text
}

/// `/etc/hostname`.
pub(crate) fn hostname(name: &str) -> String {
    format!("{name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::launch::HostEntry;

    #[test]
    fn texts_hold_what_the_network_says() {
        let network = NetworkSpec {
            nameservers: vec!["10.0.0.1".into(), "fd00::1".into()],
            search_domain: "pod.example".into(),
            hosts: vec![HostEntry { name: "db".into(), address: "10.0.0.7".into() }],
            ..NetworkSpec::default()
        };
        assert_eq!(resolv_conf(&network), "nameserver 10.0.0.1\nnameserver fd00::1\nsearch pod.example\n");
        assert!(hosts(&network).starts_with("127.0.0.1\tlocalhost\n"));
        assert!(hosts(&network).ends_with("ff02::2\tip6-allrouters\n10.0.0.7\tdb\n"));
        assert_eq!(resolv_conf(&NetworkSpec::default()), "");
        assert_eq!(hostname("box"), "box\n");
    }
}
