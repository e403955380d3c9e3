//! Which hosts serve a registry's images and how far they are trusted: mirrors of Docker's own registry, and registries
//! that may do without TLS, as `--registry-mirror` and `--insecure-registry` of Docker's engine name them.

use std::net::{IpAddr, ToSocketAddrs};
use std::str::FromStr;

use ureq::http::Uri;

use crate::reference::{Reference, is_loopback};

/// The engine's settings for registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries {
    /// Asked for images of docker.io before it, in this order.
    pub mirrors: Vec<Mirror>,
    /// Spoken to without checks of certificates, and over plain HTTP where TLS fails. This machine is among them always.
    pub insecure: Vec<Insecure>,
}

/// The address of a mirror: scheme and host, as in `https://mirror.example:5000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(String);

/// Registries that may do without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Insecure {
    /// One host with its port.
    Host(String),
    /// All hosts with addresses in a network: its address, and the bits of it that count.
    Network(IpAddr, u8),
}

/// Why a text is no mirror or insecure registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// A mirror that is no URL of a host alone.
    #[error("invalid mirror: {0:?} must be http:// or https:// and a host, without a path")]
    Mirror(String),
    /// An insecure registry that is neither a host nor a network.
    #[error(
        "insecure registry {0:?} is not valid: use a host, with a port if need be, or a network in CIDR notation"
    )]
    Insecure(String),
}

impl Mirror {
    /// The address without a slash behind it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0
    }
}

impl FromStr for Mirror {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let bad = || HostError::Mirror(text.to_owned());
        let base = text.strip_suffix('/').unwrap_or(text);
        let uri: Uri = base.parse().map_err(|_| bad())?;
        let plain = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        let user = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
        if known && plain && !user { Ok(Self(base.to_owned())) } else { Err(bad()) }
    }
}

impl FromStr for Insecure {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let bad = || HostError::Insecure(text.to_owned());
        if let Some((address, bits)) = text.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
        {
            let most = if address.is_ipv4() { 32 } else { 128 };
            return if bits <= most { Ok(Self::Network(address, bits)) } else { Err(bad()) };
        }
        // What a reference may have in front of its first slash.
        let domain = format!("{text}/x").parse::<Reference>().map_err(|_| bad())?.domain().to_owned();
        if domain == text || !text.contains(['/', '@']) {
            Ok(Self::Host(text.to_owned()))
        } else {
            Err(bad())
        }
    }
}

impl Registries {
    /// Whether a host, with its port if it has one, may do without TLS.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        if is_loopback(host)
            || self.insecure.iter().any(|one| matches!(one, Insecure::Host(name) if name == host))
        {
            return true;
        }
        let networks: Vec<_> = self
            .insecure
            .iter()
            .filter_map(|one| match one {
                Insecure::Network(address, bits) => Some((*address, *bits)),
                Insecure::Host(_) => None,
            })
            .collect();
        let within =
            |address: IpAddr| networks.iter().any(|(network, bits)| is_within(address, *network, *bits));
        !networks.is_empty() && addresses(host).into_iter().any(within)
    }
}

/// The addresses of a host.
fn addresses(host: &str) -> Vec<IpAddr> {
    let bare = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(host, _)| host),
    };
    match bare.parse() {
        Ok(address) => vec![address],
        // A host that is not found fails where it is spoken to.
        Err(_) => (bare, 0).to_socket_addrs().into_iter().flatten().map(|found| found.ip()).collect(),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

/// A server that is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Its host, with a port if it has one.
    pub(super) host: String,
    /// The only scheme that is spoken; `None`: TLS, or plain HTTP where the host is insecure and TLS fails.
    pub(super) scheme: Option<&'static str>,
    /// Whether certificates are checked and a login needs TLS.
    pub(super) insecure: bool,
    /// Whether it stands in for the registry: it gets no login.
    pub(super) mirror: bool,
}

impl Endpoint {
    /// The registry of a reference itself.
    pub(super) fn origin(name: &Reference, registries: &Registries) -> Self {
        let host = name.api_host().to_owned();
        let insecure = registries.is_insecure(&host);
        Self { host, scheme: None, insecure, mirror: false }
    }

    /// All that may have the image, the registry itself last.
    pub(super) fn all(name: &Reference, registries: &Registries) -> Vec<Self> {
        let mirrors = registries.mirrors.iter().filter(|_| name.domain() == "docker.io");
        let mirrors = mirrors.filter_map(|mirror| {
            let (scheme, host) = mirror.0.split_once("://")?;
            let scheme = if scheme == "http" { "http" } else { "https" };
            let insecure = registries.is_insecure(host);
            Some(Self { host: host.to_owned(), scheme: Some(scheme), insecure, mirror: true })
        });
        mirrors.chain([Self::origin(name, registries)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_hosts_with_a_scheme() {
        for text in ["https://mirror.example", "http://127.0.0.1:5000/", "https://[::1]:5000"] {
            assert_eq!(text.parse::<Mirror>().unwrap().url(), text.trim_end_matches('/'));
        }
        for text in ["mirror.example", "ftp://a", "https://", "https://a/b", "https://u:p@a", "https://a?b=c"]
        {
            assert!(text.parse::<Mirror>().is_err(), "{text}");
        }
    }

    #[test]
    fn insecure_registries_are_hosts_or_networks() {
        let registries = |texts: &[&str]| Registries {
            insecure: texts.iter().map(|text| text.parse().unwrap()).collect(),
            ..Registries::default()
        };
        let some = registries(&["reg.example:5000", "10.1.0.0/16", "fd00::/8"]);
        for (host, insecure) in [
            ("reg.example:5000", true),
            ("reg.example", false),
            ("10.1.2.3:443", true),
            ("10.2.2.3", false),
            ("[fd12::1]:5000", true),
            ("[fe80::1]", false),
            ("localhost:1", true),
            ("127.0.0.9", true),
        ] {
            assert_eq!(some.is_insecure(host), insecure, "{host}");
        }
        assert!(registries(&["0.0.0.0/0"]).is_insecure("203.0.113.9"));
        for text in ["", "http://a", "a/b", "10.0.0.0/33", "a b", "a@b"] {
            assert!(text.parse::<Insecure>().is_err(), "{text}");
        }
    }
}
