//! The filter's part for IPv6 (RFC 8200): extension headers are followed as far as a receiver would, since
//! neighbour discovery (RFC 4861) can hide behind them.

use std::net::Ipv6Addr;

use super::{Frame, Identity, Refusal};
use crate::devices::net::layout::{ETHERNET_LEN, Layout, Network, protocol};

/// Bytes of the fixed header.
const HEADER_LEN: usize = 40;

/// Extension headers (RFC 8200, section 4; RFC 4302).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Types of ICMPv6 messages (RFC 2710, RFC 3810, RFC 4861).
mod icmp {
    pub(super) const LISTENER_REPORT: u8 = 131;
    pub(super) const LISTENER_DONE: u8 = 132;
    pub(super) const ROUTER_SOLICITATION: u8 = 133;
    pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub(super) const REDIRECT: u8 = 137;
    pub(super) const LISTENER_REPORT_2: u8 = 143;
}

/// What the extension headers lead to.
struct Upper {
    protocol: u8,
    offset: usize,
    fragment: bool,
}

impl Identity {
    pub(super) fn check_ipv6(&self, frame: Frame<'_>) -> Result<Layout, Refusal> {
        let [version] = frame.bytes(ETHERNET_LEN)?;
        frame.has(ETHERNET_LEN + HEADER_LEN)?;
        if version >> 4 != 6 {
            return Err(Refusal::Malformed);
        }
        let source = Ipv6Addr::from(frame.bytes::<16>(ETHERNET_LEN + 8)?);
        let own = self.v6.contains(&source);
        if !(own || source.is_unspecified() && !self.v6.is_empty()) {
            return Err(Refusal::Source);
        }
        let Upper { protocol, offset, fragment } = upper(frame)?;
        if protocol == protocol::UDP {
            frame.is_no_lease(offset)?;
        }
        let kind = match protocol {
            protocol::ICMPV6 => Some(frame.bytes::<1>(offset)?[0]),
            _ => None,
        };
        if !own && !kind.is_some_and(is_sent_without_address) {
            return Err(Refusal::Source);
        }
        let discovery = kind.is_some_and(|kind| (icmp::ROUTER_SOLICITATION..=icmp::REDIRECT).contains(&kind));
        if let (true, Some(kind)) = (discovery, kind) {
            // A receiver drops it in fragments (RFC 6980, section 5).
            if fragment {
                return Err(Refusal::Discovery);
            }
            self.check_discovery(frame, kind, offset, own)?;
        }
        Ok(Layout { network: Network::Ipv6, transport: offset, protocol, fragment, discovery })
    }

    /// `own`: the source is one of the pod's addresses, else it is the unspecified one.
    fn check_discovery(&self, frame: Frame<'_>, kind: u8, offset: usize, own: bool) -> Result<(), Refusal> {
        let target = || Ok(Ipv6Addr::from(frame.bytes::<16>(offset + 8)?));
        let options = match kind {
            icmp::ROUTER_SOLICITATION => offset + 8,
            // Who asks whether an address is taken speaks of the one that it is to have.
            icmp::NEIGHBOUR_SOLICITATION if own || self.v6.contains(&target()?) => offset + 24,
            icmp::NEIGHBOUR_ADVERTISEMENT if self.v6.contains(&target()?) => offset + 24,
            _ => return Err(Refusal::Discovery),
        };
        self.check_options(frame, options)
    }

    /// The link-layer addresses told have to be the pod's (RFC 4861, section 4.6.1).
    fn check_options(&self, frame: Frame<'_>, mut offset: usize) -> Result<(), Refusal> {
        const SOURCE: u8 = 1;
        const TARGET: u8 = 2;
        let payload = u16::from_be_bytes(frame.bytes(ETHERNET_LEN + 4)?);
        let end = ETHERNET_LEN + HEADER_LEN + usize::from(payload);
        frame.has(end)?;
        if offset > end {
            return Err(Refusal::Malformed);
        }
        while offset < end {
            let [kind, eighths] = frame.bytes(offset)?;
            if eighths == 0 {
                return Err(Refusal::Malformed);
            }
            if matches!(kind, SOURCE | TARGET) && frame.bytes::<6>(offset + 2)? != self.mac {
                return Err(Refusal::Discovery);
            }
            offset += usize::from(eighths) * 8;
        }
        Ok(())
    }
}

/// Whether a host without an address may send the message (RFC 4861, RFC 3590).
fn is_sent_without_address(kind: u8) -> bool {
    matches!(
        kind,
        icmp::NEIGHBOUR_SOLICITATION
            | icmp::ROUTER_SOLICITATION
            | icmp::LISTENER_REPORT
            | icmp::LISTENER_DONE
            | icmp::LISTENER_REPORT_2
    )
}

/// Follows the extension headers.
fn upper(frame: Frame<'_>) -> Result<Upper, Refusal> {
    let [mut protocol] = frame.bytes(ETHERNET_LEN + 6)?;
    let mut offset = ETHERNET_LEN + HEADER_LEN;
    let mut fragment = false;
    loop {
        let [next, units] = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION | AUTHENTICATION | protocol::FRAGMENT => {
                frame.bytes(offset)?
            }
            _ => return Ok(Upper { protocol, offset, fragment }),
        };
        match protocol {
            protocol::FRAGMENT => {
                fragment = true;
                let place = u16::from_be_bytes(frame.bytes(offset + 2)?) >> 3;
                offset += 8;
                if place != 0 {
                    frame.has(offset)?;
                    return Ok(Upper { protocol, offset, fragment });
                }
            }
            AUTHENTICATION => offset += (usize::from(units) + 2) * 4,
            _ => offset += (usize::from(units) + 1) * 8,
        }
        frame.has(offset)?;
        protocol = next;
    }
}
