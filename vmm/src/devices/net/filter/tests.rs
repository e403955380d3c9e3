//! What a guest may send and what it may not.

mod discovery;
mod fuzz;

use super::super::tests::{ADDRESS, ADDRESS6, MAC, config};
use super::*;

const OTHER_MAC: [u8; 6] = [2, 0x42, 0xac, 0x11, 0, 3];
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x42, 0xacff, 0xfe11, 2);

fn identity() -> Identity {
    Identity::of(&config(Vec::new()))
}

fn check(frame: &[u8]) -> Result<Layout, Refusal> {
    identity().check(&frame[..frame.len().min(INSPECTED)], frame.len())
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[0xff; 6], &MAC[..], &ether_type.to_be_bytes(), payload].concat()
}

/// An IPv4 packet with so many bytes of options.
fn ipv4(source: Ipv4Addr, protocol: u8, fragment: u16, options: usize, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20 + options];
    packet[0] = 0x40 | u8::try_from(5 + options / 4).unwrap();
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&[172, 17, 0, 1]);
    ethernet(0x0800, &[&packet, payload].concat())
}

fn ipv6(source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next, 255]);
    packet.extend(source.octets());
    packet.extend(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    ethernet(0x86dd, &[&packet, payload].concat())
}

fn arp(kind: u8, hardware: [u8; 6], sender: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, kind];
    packet.extend(hardware);
    packet.extend(sender.octets());
    packet.extend([0; 6]);
    packet.extend([172, 17, 0, 1]);
    ethernet(0x0806, &packet)
}

#[test]
fn the_link_local_address_is_that_of_the_mac_address() {
    assert!(identity().v6.contains(&LINK_LOCAL));
}

#[test]
fn frames_of_the_pod_go_out_with_their_layout() {
    let layout = |network, transport, protocol, fragment| {
        Ok(Layout { network, transport, protocol, fragment, discovery: false })
    };
    assert_eq!(check(&ipv4(ADDRESS, 6, 0, 0, &[0; 20])), layout(Network::Ipv4, 34, 6, false));
    assert_eq!(check(&ipv4(ADDRESS, 17, 0x4000, 40, &[0; 8])), layout(Network::Ipv4, 74, 17, false));
    assert_eq!(check(&ipv4(ADDRESS, 6, 0x2000, 0, &[0; 20])), layout(Network::Ipv4, 34, 6, true));
    assert_eq!(check(&ipv4(ADDRESS, 6, 0x0001, 0, &[0; 20])), layout(Network::Ipv4, 34, 6, true));
    assert_eq!(check(&ipv4(ADDRESS, 1, 0, 0, &[])), layout(Network::Ipv4, 34, 1, false));
    assert_eq!(check(&ipv6(ADDRESS6, 6, &[0; 20])), layout(Network::Ipv6, 54, 6, false));
    assert_eq!(check(&ipv6(LINK_LOCAL, 17, &[0; 8])), layout(Network::Ipv6, 54, 17, false));
    assert_eq!(check(&ipv6(ADDRESS6, 59, &[])), layout(Network::Ipv6, 54, 59, false));
    assert_eq!(check(&arp(1, MAC, ADDRESS)), layout(Network::Arp, 42, 59, false));
    assert_eq!(check(&arp(2, MAC, ADDRESS)), layout(Network::Arp, 42, 59, false));
}

#[test]
fn another_hardware_source_is_refused() {
    for mut frame in [ipv4(ADDRESS, 6, 0, 0, &[0; 20]), ipv6(ADDRESS6, 6, &[0; 20]), arp(1, MAC, ADDRESS)] {
        for source in [OTHER_MAC, [0; 6], [0xff; 6], [MAC[0] ^ 1, MAC[1], MAC[2], MAC[3], MAC[4], MAC[5]]] {
            frame[6..12].copy_from_slice(&source);
            assert_eq!(check(&frame), Err(Refusal::HardwareSource));
        }
    }
}

#[test]
fn other_protocols_are_refused() {
    // VLAN tags of both kinds before sound packets, LLDP, EAPOL, MPLS, jumbo, a length, PPPoE, loopback test.
    for tag in [0x8100u16, 0x88a8, 0x9100] {
        let mut frame = ipv4(ADDRESS, 6, 0, 0, &[0; 20]);
        frame.splice(12..12, [tag.to_be_bytes(), 5u16.to_be_bytes()].concat());
        assert_eq!(check(&frame), Err(Refusal::Protocol), "{tag:#x}");
    }
    for ether_type in [0x88cc, 0x888e, 0x8847, 0x8870, 0x0026, 0x05dc, 0x8863, 0x8864, 0x9000, 0x0805, 0x0000]
    {
        assert_eq!(check(&ethernet(ether_type, &[0; 100])), Err(Refusal::Protocol), "{ether_type:#x}");
    }
}

#[test]
fn every_truncation_is_refused() {
    let dest = [17, 3].iter().chain(&[0; 30]).copied().collect::<Vec<u8>>();
    for (frame, headers) in [
        (ipv4(ADDRESS, 6, 0, 0, &[0; 20]), 34),
        (ipv4(ADDRESS, 6, 0, 12, &[0; 20]), 46),
        (ipv6(ADDRESS6, 6, &[0; 20]), 54),
        (ipv6(ADDRESS6, 60, &[&dest[..], &[0; 20]].concat()), 86),
        (arp(1, MAC, ADDRESS), 42),
    ] {
        for len in 0..frame.len() {
            let result = check(&frame[..len]);
            assert_eq!(result.is_ok(), len >= headers, "{len} of {headers}: {result:?}");
            if len >= 12 && len < headers {
                assert_eq!(result, Err(Refusal::Malformed), "{len} of {headers}");
            }
        }
    }
}

#[test]
fn other_sources_are_refused() {
    for source in
        ["172.17.0.3", "0.0.0.0", "127.0.0.1", "255.255.255.255", "172.17.0.1", "169.254.1.1", "224.0.0.1"]
    {
        let source = source.parse().unwrap();
        for (fragment, options) in [(0, 0), (0x2000, 0), (0x1fff, 0), (0, 40)] {
            assert_eq!(
                check(&ipv4(source, 17, fragment, options, &[0; 20])),
                Err(Refusal::Source),
                "{source}"
            );
        }
    }
    for source in [
        "fd00::3",
        "::1",
        "::ffff:172.17.0.2",
        "::172.17.0.2",
        "64:ff9b::172.17.0.2",
        "fe80::1",
        "fe80::42:acff:fe11:3",
        "fe80:0:0:1:42:acff:fe11:2",
        "ff02::1",
        "::",
    ] {
        let source = source.parse().unwrap();
        let fragment = [17, 0, 0, 8, 0, 0, 0, 1, 0, 0];
        for (next, payload) in [(17, &[0; 20][..]), (44, &fragment), (58, &[128; 20]), (59, &[])] {
            assert_eq!(check(&ipv6(source, next, payload)), Err(Refusal::Source), "{source}");
        }
    }
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let with = |mut frame: Vec<u8>, offset: usize, byte| {
        frame[offset] = byte;
        check(&frame)
    };
    let four = || ipv4(ADDRESS, 6, 0, 0, &[0; 20]);
    // Another version; headers shorter than the least; a header behind the end.
    for byte in [0x65, 0x55, 0x05, 0x44, 0x40, 0x4f] {
        assert_eq!(with(four(), 14, byte), Err(Refusal::Malformed), "{byte:#x}");
    }
    for byte in [0x40, 0x45, 0x50, 0x00, 0x70] {
        assert_eq!(with(ipv6(ADDRESS6, 6, &[0; 20]), 14, byte), Err(Refusal::Malformed), "{byte:#x}");
    }
    // ARP for other hardware, other protocols, other lengths, and other questions (RARP, InARP, none).
    for (offset, byte) in
        [(15, 6), (16, 0x86), (17, 0xdd), (18, 8), (19, 16), (21, 0), (21, 3), (21, 8), (20, 1)]
    {
        assert_eq!(with(arp(1, MAC, ADDRESS), offset, byte), Err(Refusal::Malformed), "{offset}");
    }
}

#[test]
fn arp_speaks_for_the_pod_alone() {
    let other = Ipv4Addr::new(172, 17, 0, 1);
    for kind in [1, 2] {
        assert_eq!(check(&arp(kind, MAC, other)), Err(Refusal::Source));
        assert_eq!(check(&arp(kind, OTHER_MAC, ADDRESS)), Err(Refusal::Source));
        // Gratuitous: sender and target are the same.
        for (sender, result) in [(ADDRESS, true), (other, false)] {
            let mut frame = arp(kind, MAC, sender);
            frame[38..42].copy_from_slice(&sender.octets());
            assert_eq!(check(&frame).is_ok(), result);
        }
    }
    // A probe asks; nobody answers without an address.
    assert!(check(&arp(1, MAC, Ipv4Addr::UNSPECIFIED)).is_ok());
    assert_eq!(check(&arp(1, OTHER_MAC, Ipv4Addr::UNSPECIFIED)), Err(Refusal::Source));
    assert_eq!(check(&arp(2, MAC, Ipv4Addr::UNSPECIFIED)), Err(Refusal::Source));
}

#[test]
fn a_pod_gives_no_addresses_out() {
    for port in [67u16, 547] {
        let udp = [&port.to_be_bytes(), &[0; 30][..]].concat();
        // Another packet's port, a later fragment, and a frame that ends before its ports.
        for frame in
            [ipv4(ADDRESS, 6, 0, 0, &udp), ipv4(ADDRESS, 17, 4, 0, &udp), ipv4(ADDRESS, 17, 0, 0, &udp[..1])]
        {
            assert!(check(&frame).is_ok());
        }
        for fragment in [0, 0x2000] {
            assert_eq!(check(&ipv4(ADDRESS, 17, fragment, 0, &udp)), Err(Refusal::Lease));
            assert_eq!(check(&ipv4(ADDRESS, 17, fragment, 40, &udp)), Err(Refusal::Lease));
        }
        let options = [&[17, 0, 1, 4, 0, 0, 0, 0], &udp[..]].concat();
        let first = [&[17, 0, 0, 1, 0, 0, 0, 1], &udp[..]].concat();
        for (next, payload) in [(17, &udp), (60, &options), (44, &first)] {
            assert_eq!(check(&ipv6(ADDRESS6, next, payload)), Err(Refusal::Lease));
        }
        // As far away as headers may be, and behind what is looked at.
        for units in [24u8, 25, 26] {
            let mut options = vec![0; 8 + 8 * usize::from(units)];
            (options[0], options[1]) = (17, units);
            assert!(check(&ipv6(ADDRESS6, 60, &[&options[..], &udp].concat())).is_err(), "{units}");
        }
    }
}

#[test]
fn a_pod_without_addresses_of_a_family_speaks_none_of_it() {
    let mut config = config(Vec::new());
    config.addresses = vec![ADDRESS.into()];
    let only4 = Identity::of(&config);
    config.addresses = vec![ADDRESS6.into()];
    let only6 = Identity::of(&config);
    let check = |identity: &Identity, frame: &[u8]| identity.check(frame, frame.len());
    let probe6 = ipv6(Ipv6Addr::UNSPECIFIED, 58, &[143; 28]);
    for frame in [ipv6(ADDRESS6, 6, &[0; 20]), ipv6(LINK_LOCAL, 6, &[0; 20]), probe6.clone()] {
        assert_eq!(check(&only4, &frame), Err(Refusal::Source));
        assert!(check(&only6, &frame).is_ok());
    }
    for frame in [ipv4(ADDRESS, 6, 0, 0, &[0; 20]), arp(1, MAC, ADDRESS), arp(1, MAC, Ipv4Addr::UNSPECIFIED)]
    {
        assert_eq!(check(&only6, &frame), Err(Refusal::Source));
        assert!(check(&only4, &frame).is_ok());
    }
}
