//! What a guest may ask to be done with a frame.

use super::*;

const TCP4: Layout =
    Layout { network: Network::Ipv4, transport: 34, protocol: 6, fragment: false, discovery: false };
const TCP6: Layout = Layout { network: Network::Ipv6, transport: 54, ..TCP4 };
const UDP4: Layout = Layout { protocol: 17, ..TCP4 };

/// The bytes of a header.
fn header(flags: u8, gso_type: u8, gso_size: u16, start: u16, offset: u16) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    (bytes[0], bytes[1]) = (flags, gso_type);
    bytes[4..6].copy_from_slice(&gso_size.to_le_bytes());
    bytes[6..8].copy_from_slice(&start.to_le_bytes());
    bytes[8..10].copy_from_slice(&offset.to_le_bytes());
    bytes
}

fn fits(header: [u8; HEADER_LEN], layout: &Layout, len: usize) -> bool {
    Header::parse(&header, u64::MAX).is_ok_and(|header| header.fit(layout, len, 1500).is_ok())
}

#[test]
fn checksums_lie_behind_what_was_checked() {
    let arp = Layout { network: Network::Arp, transport: 42, ..TCP4 };
    let discovery = Layout { protocol: 58, discovery: true, ..TCP6 };
    assert!(fits(header(1, 0, 0, 34, 16), &TCP4, 1000));
    assert!(fits(header(1, 0, 0, 34, 964), &TCP4, 1000));
    assert!(!fits(header(1, 0, 0, 34, 965), &TCP4, 1000));
    // The IPv4 source; the byte before the transport; the end; wrapping.
    assert!(!fits(header(1, 0, 0, 14, 12), &TCP4, 1000));
    assert!(!fits(header(1, 0, 0, 33, 16), &TCP4, 1000));
    assert!(!fits(header(1, 0, 0, 0, 26), &TCP4, 1000));
    assert!(!fits(header(1, 0, 0, 1000, 0), &TCP4, 1000));
    assert!(!fits(header(1, 0, 0, 65535, 65535), &TCP4, 1000));
    assert!(!fits(header(1, 0, 0, 42, 0), &arp, 1000));
    assert!(!fits(header(1, 0, 0, 54, 2), &discovery, 1000));
    assert!(fits(header(0, 0, 0, 65535, 65535), &discovery, 1000));
}

#[test]
fn segments_are_of_the_packets_protocol() {
    for (gso_type, good, offset, start) in [(1, TCP4, 16, 34), (4, TCP6, 16, 54), (5, UDP4, 6, 34)] {
        let asked = |flags, size| header(flags, gso_type, size, start, offset);
        assert!(fits(asked(1, 1448), &good, 65549));
        assert!(!fits(asked(1, 1448), &good, 65550));
        assert!(!fits(asked(1, 0), &good, 3000));
        assert!(!fits(asked(0, 1448), &good, 3000));
        assert!(!fits(header(1, gso_type, 1448, start, offset + 2), &good, 3000));
        assert!(!fits(header(1, gso_type, 1448, start + 1, offset), &good, 3000));
        assert!(!fits(asked(1, 1448), &Layout { fragment: true, ..good }, 3000));
        assert!(!fits(asked(1, 1448), &Layout { protocol: 1, ..good }, 3000));
        assert!(!fits(header(1, gso_type | 0x80, 1448, start, offset), &good, 3000));
    }
    assert!(!fits(header(1, 1, 1448, 54, 16), &TCP6, 3000));
    assert!(!fits(header(1, 4, 1448, 34, 16), &TCP4, 3000));
    for gso_type in [2, 3, 6, 0x80, 0xff] {
        assert!(!fits(header(1, gso_type, 1448, 34, 16), &TCP4, 3000));
    }
}

#[test]
fn segments_are_counted() {
    assert!(fits(header(1, 1, 36, 34, 16), &TCP4, 65549));
    assert!(!fits(header(1, 1, 1, 34, 16), &TCP4, 65549));
    assert!(fits(header(1, 5, 100, 34, 6), &UDP4, 42 + 12_800));
    assert!(!fits(header(1, 5, 100, 34, 6), &UDP4, 42 + 12_801));
}

#[test]
fn a_frame_that_is_not_cut_fits_the_link() {
    assert!(fits(header(0, 0, 0, 0, 0), &TCP4, 1514));
    assert!(!fits(header(0, 0, 0, 0, 0), &TCP4, 1515));
}

#[test]
fn each_wish_needs_its_feature() {
    for (bytes, needed) in [
        (header(1, 0, 0, 34, 16), feature::CSUM),
        (header(0, 1, 1, 34, 16), feature::HOST_TSO4),
        (header(0, 4, 1, 34, 16), feature::HOST_TSO6),
        (header(0, 5, 1, 34, 16), feature::HOST_USO),
    ] {
        assert!(Header::parse(&bytes, needed).is_ok());
        assert!(Header::parse(&bytes, !needed).is_err());
    }
}
