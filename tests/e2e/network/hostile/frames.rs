//! Frames as a hostile guest's own driver would send them: each kind of lie about who one is, and the truth beside them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// EtherTypes.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

const BROADCAST: [u8; 6] = [0xff; 6];
/// Nobody's.
const STRANGER: [u8; 6] = [2, 0xde, 0xad, 0, 0, 1];
/// All hosts of a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ICMPV6: u8 = 58;
const UDP: u8 = 17;

/// One of a network.
pub(super) struct Side {
    pub(super) ip: Ipv4Addr,
    pub(super) ip6: Ipv6Addr,
}

impl Side {
    /// The MAC address of a pod that wished none.
    pub(super) fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.ip.octets();
        [2, 0x42, a, b, c, d]
    }
}

/// The link-local address that belongs to a MAC address (RFC 4291, appendix A).
pub(super) fn link_local([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

pub(super) fn ethernet(from: [u8; 6], to: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 6 { IPV6 } else { IPV4 };
    of_type(from, to, kind, packet)
}

fn of_type(from: [u8; 6], to: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// The Internet checksum (RFC 1071).
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let [high, low] = fragment.to_be_bytes();
    let mut packet = vec![0x45, 0, len[0], len[1], 0, 7, high, low, 64, protocol, 0, 0];
    packet.extend(from.octets().iter().chain(&to.octets()));
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0, len[0], len[1], next, 255][..], &from.octets(), &to.octets(), payload].concat()
}

/// The checksum of a protocol above IPv6 (RFC 8200, section 8.1) in a message that has zeros in its place.
fn checksum6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, message: &[u8]) -> [u8; 2] {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    checksum(&[&from.octets(), &to.octets(), &len, &[0, 0, 0, protocol], message])
}

/// A sound UDP packet from some port to that one.
pub(super) fn udp(from: IpAddr, to: IpAddr, port: u16, text: &str) -> Vec<u8> {
    datagram(from, to, [4000, port], text)
}

fn datagram(from: IpAddr, to: IpAddr, ports: [u16; 2], text: &str) -> Vec<u8> {
    let len = u16::try_from(8 + text.len()).unwrap();
    let mut message =
        [ports[0], ports[1], len, 0].iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    message.extend(text.bytes());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, UDP, 0, &message),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let sum = checksum6(from, to, UDP, &message);
            message[6..8].copy_from_slice(&sum);
            ipv6(from, to, UDP, &message)
        }
        _ => panic!("{from} and {to} are not of one family"),
    }
}

fn arp(kind: u8, hardware: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr, mark: &str) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, kind];
    [&head[..], &hardware, &sender.octets(), &[0; 6], &target.octets(), mark.as_bytes()].concat()
}

/// A message of ICMPv6 with its checksum: type, the rest behind the checksum.
fn icmp6(from: Ipv6Addr, to: Ipv6Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0], rest].concat();
    let sum = checksum6(from, to, ICMPV6, &message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// An advertisement: whoever has `target` is at `mac`. 0xa0: from a router, and in place of what was known.
fn advertisement(from: Ipv6Addr, target: Ipv6Addr, mac: [u8; 6], flags: u8) -> Vec<u8> {
    let rest = [&[flags, 0, 0, 0][..], &target.octets(), &[2, 1], &mac].concat();
    ipv6(from, ALL_NODES, ICMPV6, &icmp6(from, ALL_NODES, 136, &rest))
}

/// A router's advertisement of itself and of a prefix.
fn router(from: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0).octets();
    let prefix = [&[3, 4, 64, 0xc0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &prefix].concat();
    let rest = [&[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], &[1, 1], &mac, &prefix].concat();
    icmp6(from, ALL_NODES, 134, &rest)
}

/// Frames that speak for another than `own`, whose MAC address all have but those that lie in it. Each ends with EVIL and
/// what it is.
pub(super) fn unsound(own: &Side, victim: &Side, gateway: &Side, gateway_mac: [u8; 6]) -> Vec<Vec<u8>> {
    let frames = [
        arps(own, victim, gateway),
        sources(own, victim, gateway, gateway_mac),
        neighbours(own, victim, gateway),
    ];
    [frames.concat(), routers(own, gateway), wrapped(own, victim, gateway), servers(own)].concat()
}

fn arps(own: &Side, victim: &Side, gateway: &Side) -> Vec<Vec<u8>> {
    let mac = own.mac();
    let mut frames = Vec::new();
    for kind in [1, 2] {
        for (source, hardware, sender) in [
            (mac, mac, gateway.ip),
            (mac, mac, victim.ip),
            (mac, victim.mac(), victim.ip),
            (mac, STRANGER, own.ip),
            (victim.mac(), victim.mac(), victim.ip),
            (STRANGER, STRANGER, gateway.ip),
        ] {
            for target in [sender, victim.ip] {
                frames.push(of_type(
                    source,
                    BROADCAST,
                    ARP,
                    &arp(kind, hardware, sender, target, "EVIL-arp"),
                ));
            }
        }
    }
    frames
}

fn sources(own: &Side, victim: &Side, gateway: &Side, gateway_mac: [u8; 6]) -> Vec<Vec<u8>> {
    let mac = own.mac();
    let four =
        ["127.0.0.1", "0.0.0.0", "255.255.255.255", "10.79.0.2", "192.0.2.7", "224.0.0.1", "169.254.0.9"];
    let six = ["::1", "::", "fe80::1", "fd79::2", "ff02::1", "::ffff:10.78.0.66"];
    let mut others: Vec<IpAddr> = four.iter().chain(&six).map(|text| text.parse().unwrap()).collect();
    others.extend([victim.ip.into(), gateway.ip.into(), IpAddr::from(victim.ip6), gateway.ip6.into()]);
    let mut frames = Vec::new();
    for from in others {
        let to = if from.is_ipv4() { victim.ip.into() } else { IpAddr::from(victim.ip6) };
        for mac_to in [victim.mac(), gateway_mac, BROADCAST] {
            frames.push(ethernet(mac, mac_to, &udp(from, to, 7000, "EVIL-source")));
        }
    }
    for source in [victim.mac(), gateway_mac, STRANGER, [0; 6], BROADCAST] {
        frames.push(ethernet(source, victim.mac(), &udp(own.ip.into(), victim.ip.into(), 7000, "EVIL-mac")));
    }
    // More fragments, a later one, and one behind the end of all packets.
    for fragment in [0x2000, 0x0003, 0x1fff] {
        let packet = ipv4(victim.ip, gateway.ip, UDP, fragment, b"\x0f\xa0\x1b\x58\0\x18\0\0EVIL-fragment");
        frames.push(ethernet(mac, gateway_mac, &packet));
    }
    frames
}

fn neighbours(own: &Side, victim: &Side, gateway: &Side) -> Vec<Vec<u8>> {
    let mac = own.mac();
    let mut frames = Vec::new();
    for (target, hardware, flags) in [
        (victim.ip6, mac, 0x20),
        (victim.ip6, mac, 0x60),
        (gateway.ip6, mac, 0xa0),
        (own.ip6, STRANGER, 0x20),
        (link_local(victim.mac()), mac, 0x20),
    ] {
        frames.push(ethernet(
            mac,
            [0x33, 0x33, 0, 0, 0, 1],
            &advertisement(own.ip6, target, hardware, flags),
        ));
    }
    // A question that tells another's hardware address as its own, and a redirection to a stranger.
    let rest = [&[0; 4][..], &victim.ip6.octets(), &[1, 1], &STRANGER].concat();
    frames.push(ethernet(
        mac,
        victim.mac(),
        &ipv6(own.ip6, victim.ip6, ICMPV6, &icmp6(own.ip6, victim.ip6, 135, &rest)),
    ));
    let rest = [&[0; 4][..], &own.ip6.octets(), &gateway.ip6.octets(), &[2, 1], &STRANGER].concat();
    frames.push(ethernet(
        mac,
        victim.mac(),
        &ipv6(own.ip6, victim.ip6, ICMPV6, &icmp6(own.ip6, victim.ip6, 137, &rest)),
    ));
    mark(frames, "EVIL-neighbour")
}

/// Routers, also behind headers that a receiver passes over.
fn routers(own: &Side, gateway: &Side) -> Vec<Vec<u8>> {
    let mac = own.mac();
    let mut frames = Vec::new();
    for from in [link_local(mac), gateway.ip6] {
        let message = router(from, mac);
        let with = |header: &[u8]| [header, &message].concat();
        let padding = [ICMPV6, 0, 1, 4, 0, 0, 0, 0];
        let two = [&[60, 0, 1, 4, 0, 0, 0, 0], &padding[..]].concat();
        for (next, payload) in [
            (ICMPV6, message.clone()),
            (0, with(&padding)),
            (60, with(&padding)),
            (0, with(&two)),
            (43, with(&[ICMPV6, 0, 0, 0, 0, 0, 0, 0])),
            // Parts of a packet, and a packet of one part.
            (44, with(&[ICMPV6, 0, 0, 1, 0, 0, 0, 1])),
            (44, with(&[ICMPV6, 0, 0, 0, 0, 0, 0, 2])),
        ] {
            frames.push(ethernet(mac, [0x33, 0x33, 0, 0, 0, 1], &ipv6(from, ALL_NODES, next, &payload)));
        }
    }
    mark(frames, "EVIL-router")
}

/// Frames within other frames, and frames that bridges and switches take for themselves.
fn wrapped(own: &Side, victim: &Side, gateway: &Side) -> Vec<Vec<u8>> {
    let mac = own.mac();
    let lie = arp(2, mac, gateway.ip, victim.ip, "");
    let truth = udp(own.ip.into(), victim.ip.into(), 7000, "");
    let mut frames = Vec::new();
    for tags in [
        &[0x8100_u16][..],
        &[0x88a8],
        &[0x9100],
        &[0x8100, 0x8100],
        &[0x88a8, 0x8100],
        &[0x88a8, 0x88a8, 0x8100],
    ] {
        for (kind, packet) in [(ARP, &lie), (IPV4, &truth)] {
            // The network without a number, and the first.
            for vlan in [0_u16, 1] {
                let mut tagged: Vec<u8> = Vec::new();
                for tag in tags.iter().skip(1) {
                    tagged.extend(vlan.to_be_bytes().iter().chain(&tag.to_be_bytes()));
                }
                tagged.extend(vlan.to_be_bytes().iter().chain(&kind.to_be_bytes()));
                frames.push(of_type(mac, BROADCAST, tags[0], &[&tagged, &packet[..]].concat()));
            }
        }
    }
    let bridges = [1, 0x80, 0xc2, 0, 0, 0];
    for kind in [0x0026, 0x88cc, 0x888e, 0x8847, 0x8863, 0x8864, 0x8035, 0x9000, 0x22f0, 0x88f7] {
        frames.push(of_type(mac, bridges, kind, &[0x42; 46]));
        frames.push(of_type(mac, BROADCAST, kind, &truth));
    }
    mark(frames, "EVIL-wrapped")
}

/// Servers that give addresses and routers out, to all who listen.
fn servers(own: &Side) -> Vec<Vec<u8>> {
    let nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    let offer = datagram(own.ip.into(), Ipv4Addr::BROADCAST.into(), [67, 68], "EVIL-dhcp");
    let reply = datagram(own.ip6.into(), nodes.into(), [547, 546], "EVIL-dhcp");
    vec![ethernet(own.mac(), BROADCAST, &offer), ethernet(own.mac(), [0x33, 0x33, 0, 0, 0, 1], &reply)]
}

fn mark(frames: Vec<Vec<u8>>, mark: &str) -> Vec<Vec<u8>> {
    frames.into_iter().map(|frame| [&frame, mark.as_bytes()].concat()).collect()
}

/// Frames in a pod's own name, of all kinds that are looked at. The last one ends with GOOD-last.
pub(super) fn sound(own: &Side, gateway: &Side, gateway_mac: [u8; 6]) -> Vec<Vec<u8>> {
    let mac = own.mac();
    let part = ipv4(own.ip, gateway.ip, UDP, 0x2000, b"\x0f\xa0\x1b\x58\0\x18\0\0GOOD-fragment");
    let advertised = advertisement(own.ip6, own.ip6, mac, 0x20);
    let mut frames = vec![
        of_type(mac, BROADCAST, ARP, &arp(1, mac, own.ip, gateway.ip, "GOOD-arp")),
        ethernet(mac, gateway_mac, &udp(own.ip.into(), gateway.ip.into(), 7000, "GOOD-ip4")),
        ethernet(mac, gateway_mac, &udp(own.ip6.into(), gateway.ip6.into(), 7000, "GOOD-ip6")),
        ethernet(mac, gateway_mac, &part),
    ];
    frames.extend(mark(vec![ethernet(mac, [0x33, 0x33, 0, 0, 0, 1], &advertised)], "GOOD-neighbour"));
    frames.push(ethernet(mac, gateway_mac, &udp(own.ip.into(), gateway.ip.into(), 7000, "GOOD-last")));
    frames
}
