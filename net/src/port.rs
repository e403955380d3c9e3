//! Published ports: what is asked for (`-p`) and what was bound.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is no port to publish.
#[derive(Debug, Error)]
pub enum PortError {
    /// Not of the form that `-p` takes.
    #[error("invalid port specification \"{0}\": write [[IP:][HOST_PORT]:]PORT[/tcp|udp], as in 8080:80")]
    Form(String),
    /// Ranges of different lengths.
    #[error("invalid port specification \"{0}\": its ranges have different lengths")]
    Lengths(String),
}

/// What carries the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the pod that is to be reached through the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PortWish {
    /// The host's address; `None`: all of both families.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The first and the last of the host's ports of which the first free one is taken; 0 and 0: one that the kernel
    /// chooses.
    pub host_ports: (u16, u16),
    /// The pod's port.
    pub guest_port: u16,
    /// What carries it.
    pub protocol: Protocol,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Port {
    /// The host's address; unspecified: all of that family.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The pod's port.
    pub guest_port: u16,
    /// What carries it.
    pub protocol: Protocol,
}

impl PortWish {
    /// Reads `[[IP:][HOST_PORT]:]PORT[/PROTOCOL]` as Docker does. Ports may be ranges (`8000-8009`): of the same length one
    /// for one; a host's range before one port is where a free one is looked for.
    ///
    /// # Errors
    /// Each variant.
    pub fn parse(text: &str) -> Result<Vec<Self>, PortError> {
        let wrong = || PortError::Form(text.to_owned());
        let (rest, protocol) = match text.rsplit_once('/') {
            None => (text, Protocol::Tcp),
            Some((rest, protocol)) => match protocol.to_ascii_lowercase().as_str() {
                "tcp" => (rest, Protocol::Tcp),
                "udp" => (rest, Protocol::Udp),
                _ => return Err(wrong()),
            },
        };
        let (host, guest) = match rest.rsplit_once(':') {
            None => (None, rest),
            Some((host, guest)) => (Some(host), guest),
        };
        let (guest_first, guest_last) = range(guest).ok_or_else(wrong)?;
        let (host_ip, host_ports) = match host {
            None => (None, ""),
            Some(host) => match host.rsplit_once(':') {
                None => (None, host),
                Some((ip, ports)) => (address(ip).ok_or_else(wrong)?, ports),
            },
        };
        let of = |guest_port, host_ports| Self { host_ip, host_ports, guest_port, protocol };
        if matches!(host_ports, "" | "0") {
            return Ok((guest_first..=guest_last).map(|port| of(port, (0, 0))).collect());
        }
        let (host_first, host_last) = range(host_ports).ok_or_else(wrong)?;
        if guest_first == guest_last {
            return Ok(vec![of(guest_first, (host_first, host_last))]);
        }
        if host_last - host_first != guest_last - guest_first {
            return Err(PortError::Lengths(text.to_owned()));
        }
        Ok((guest_first..=guest_last)
            .zip(host_first..=host_last)
            .map(|(guest, host)| of(guest, (host, host)))
            .collect())
    }
}

/// `80` or `80-90`, none of them 0.
fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|port| digits && *port > 0)
    };
    match text.split_once('-') {
        None => number(text).map(|port| (port, port)),
        Some((first, last)) => number(first).zip(number(last)).filter(|(first, last)| first <= last),
    }
}

/// An address as it stands before a port: IPv6 in brackets; empty: none.
fn address(text: &str) -> Option<Option<IpAddr>> {
    if text.is_empty() {
        return Some(None);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse().ok().filter(IpAddr::is_ipv6).map(Some),
        None => text.parse().ok().filter(IpAddr::is_ipv4).map(Some),
    }
}

impl FromStr for Protocol {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(PortError::Form(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(host_ip: Option<&str>, host_ports: (u16, u16), guest_port: u16, protocol: Protocol) -> PortWish {
        PortWish { host_ip: host_ip.map(|ip| ip.parse().unwrap()), host_ports, guest_port, protocol }
    }

    #[test]
    fn ports_are_read_as_docker_does() {
        use Protocol::{Tcp, Udp};
        for (text, wished) in [
            ("80", vec![wish(None, (0, 0), 80, Tcp)]),
            ("8080:80", vec![wish(None, (8080, 8080), 80, Tcp)]),
            ("53:53/udp", vec![wish(None, (53, 53), 53, Udp)]),
            ("127.0.0.1:8080:80/TCP", vec![wish(Some("127.0.0.1"), (8080, 8080), 80, Tcp)]),
            ("127.0.0.1::80", vec![wish(Some("127.0.0.1"), (0, 0), 80, Tcp)]),
            (":80", vec![wish(None, (0, 0), 80, Tcp)]),
            ("0:80", vec![wish(None, (0, 0), 80, Tcp)]),
            ("[::1]:8080:80", vec![wish(Some("::1"), (8080, 8080), 80, Tcp)]),
            ("8000-8010:80", vec![wish(None, (8000, 8010), 80, Tcp)]),
            ("80-81", vec![wish(None, (0, 0), 80, Tcp), wish(None, (0, 0), 81, Tcp)]),
            ("8000-8001:80-81", vec![wish(None, (8000, 8000), 80, Tcp), wish(None, (8001, 8001), 81, Tcp)]),
        ] {
            assert_eq!(PortWish::parse(text).unwrap(), wished, "{text}");
        }
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            "x",
            "0",
            "65536",
            "80/sctp",
            "a:80",
            "1.2.3:1:80",
            "::1:80:80",
            "80-79",
            "+80",
            "80:",
            "1-2-3",
            "[127.0.0.1]:1:2",
        ] {
            let error = PortWish::parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
        assert!(matches!(PortWish::parse("1-3:1-2"), Err(PortError::Lengths(_))));
    }

    #[test]
    fn the_last_port_is_a_port() {
        assert_eq!(PortWish::parse("65534-65535:65534-65535").unwrap().len(), 2);
    }
}
