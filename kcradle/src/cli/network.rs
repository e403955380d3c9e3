//! The grammar of `kcradle network`, and of what `summon` and `run` say of networks. Names and forms are Docker's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::{Args, Subcommand};
use net::Subnet;
use spec::MacAddress;

/// The networks of a pod.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// Be on this network; none, default, or one of `kcradle network ls`. May be given several times [default: none]
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Vec<String>,
    /// Publish a port of the pod on the host, as in 8080:80, 127.0.0.1:5353:53/udp or 8000-8009:80
    #[arg(long, short, value_name = "[[IP:]HOST_PORT:]PORT")]
    pub(crate) publish: Vec<String>,
    /// The pod's IPv4 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<Ipv4Addr>,
    /// The pod's IPv6 address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip6: Option<Ipv6Addr>,
    /// The pod's MAC address on the first network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) mac_address: Option<MacAddress>,
    /// Another name by which the networks' other pods find this one
    #[arg(long, value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// Ask this resolver in place of the host's
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<IpAddr>,
    /// Look for names in this domain, too
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Give an address a name inside; host-gateway stands for the host's
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(crate) add_host: Vec<String>,
}

impl NetworkArgs {
    /// The arguments once more, for a process that is to have the same.
    pub(crate) fn arguments(&self) -> Vec<String> {
        fn option(name: &str, value: impl ToString) -> String {
            format!("--{name}={}", value.to_string())
        }
        let mut all = Vec::new();
        for (name, values) in [
            ("network", &self.network),
            ("publish", &self.publish),
            ("network-alias", &self.network_alias),
            ("dns-search", &self.dns_search),
            ("add-host", &self.add_host),
        ] {
            all.extend(values.iter().map(|value| option(name, value)));
        }
        all.extend(self.dns.iter().map(|value| option("dns", value)));
        all.extend(self.ip.map(|value| option("ip", value)));
        all.extend(self.ip6.map(|value| option("ip6", value)));
        all.extend(self.mac_address.map(|value| option("mac-address", value)));
        all
    }

    /// Whether nothing is said of networks.
    pub(crate) fn is_empty(&self) -> bool {
        self.arguments().is_empty()
    }
}

/// `kcradle network`.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Make a network
    #[command(after_help = "Examples:\n  \
        kcradle network create shop\n  \
        kcradle network create --subnet 10.9.0.0/24 --ip-range 10.9.0.128/25 --ipv6 office\n  \
        kcradle network create --internal backend")]
    Create(CreateArgs),
    /// List networks
    #[command(after_help = "Examples:\n  kcradle network ls\n  kcradle network ls --json")]
    Ls(LsArgs),
    /// Describe networks, as JSON
    #[command(after_help = "Examples:\n  kcradle network inspect shop")]
    Inspect(NamesArgs),
    /// Remove networks that no pod is on
    #[command(after_help = "Examples:\n  kcradle network rm shop")]
    Rm(NamesArgs),
    /// Remove networks that no pod names, and what killed processes left of others
    #[command(after_help = "Examples:\n  kcradle network prune")]
    Prune(PruneArgs),
}

/// `kcradle network create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name
    pub(crate) name: String,
    /// Its addresses, as in 10.9.0.0/24; once for each family [default: a free part of 172.16.0.0/12 or 192.168.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub(crate) subnet: Vec<Subnet>,
    /// The host's address on it, once for each family [default: the first one]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Vec<IpAddr>,
    /// Give pods addresses of this part only, once for each family
    #[arg(long, value_name = "CIDR")]
    pub(crate) ip_range: Vec<Subnet>,
    /// Never give a pod this address
    #[arg(long, value_name = "[NAME=]ADDRESS")]
    pub(crate) aux_address: Vec<String>,
    /// Give pods IPv6 addresses, too: of a unique local subnet, unless --subnet says otherwise
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// Have no way out: pods reach each other alone
    #[arg(long)]
    pub(crate) internal: bool,
    /// Keep the network's pods from each other
    #[arg(long)]
    pub(crate) isolated: bool,
    /// Bytes of the longest packet [default: 1500]
    #[arg(long, value_name = "BYTES")]
    pub(crate) mtu: Option<u16>,
    /// Give the network a label
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) label: Vec<String>,
}

/// `kcradle network ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Print the ids alone
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
}

/// `kcradle network inspect` and `rm`.
#[derive(Debug, Args)]
pub(crate) struct NamesArgs {
    /// Names of networks, or the unique start of ids
    #[arg(required = true, value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
}

/// `kcradle network prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Print what was removed as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
