//! Damaged frames: what comes through has to be the pod's by a second, simpler look at it.

use ::fuzz::{Fuzz, shape};

use super::super::super::header::{HEADER_LEN, Header};
use super::*;

#[test]
fn frames() {
    let message = |header: [u8; HEADER_LEN], frame: Vec<u8>| [&header[..], &frame].concat();
    let plain = [0; HEADER_LEN];
    let hop = [&[58, 0, 5, 2, 0, 0, 1, 0], &[143; 28][..]].concat();
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &ADDRESS6.octets(), &[1, 1], &MAC].concat();
    let advertisement = [&[136, 0, 0, 0, 0, 0, 0, 0][..], &ADDRESS6.octets(), &[2, 1], &MAC].concat();
    let seeds = [
        message(plain, ipv4(ADDRESS, 17, 0, 0, &[0; 40])),
        message([1, 1, 54, 0, 100, 0, 34, 0, 16, 0, 0, 0], ipv4(ADDRESS, 6, 0, 0, &[0; 400])),
        message([1, 4, 74, 0, 100, 0, 54, 0, 16, 0, 0, 0], ipv6(ADDRESS6, 6, &[0; 400])),
        message([1, 5, 42, 0, 100, 0, 34, 0, 6, 0, 0, 0], ipv4(ADDRESS, 17, 0, 0, &[0; 400])),
        message(plain, ipv6(Ipv6Addr::UNSPECIFIED, 0, &hop)),
        message(plain, ipv6(ADDRESS6, 58, &solicitation)),
        message(plain, ipv6(LINK_LOCAL, 58, &advertisement)),
        message(plain, arp(1, MAC, ADDRESS)),
    ];
    let words = [&MAC[..], &OTHER_MAC, &[8, 0], &[8, 6], &[0x86, 0xdd], &[0x81, 0], &[58], &[44], &[60]];
    let identity = identity();
    Fuzz::new("net-filter", seeds).words(words).run(|bytes| {
        let Some((header, frame)) = bytes.split_first_chunk::<HEADER_LEN>() else { return 0 };
        let layout = identity.check(&frame[..frame.len().min(INSPECTED)], frame.len());
        let asked = Header::parse(header, u64::MAX);
        let (Ok(layout), Ok(asked)) = (layout, asked) else { return shape((layout, asked.is_ok())) };
        assert_eq!(frame[6..12], MAC);
        let own = match layout.network {
            Network::Ipv4 => frame[26..30] == ADDRESS.octets(),
            Network::Arp => {
                frame[22..28] == MAC
                    && [ADDRESS.octets(), [0; 4]].contains(&frame[28..32].try_into().unwrap())
            }
            Network::Ipv6 => {
                let own = [ADDRESS6.octets(), LINK_LOCAL.octets()];
                let source = frame[22..38].try_into().unwrap();
                own.contains(&source) || source == [0; 16] && layout.protocol == 58
            }
        };
        assert!(own && layout.transport <= frame.len());
        let port = frame.get(layout.transport..layout.transport + 2);
        assert!(layout.protocol != 17 || layout.fragment || !matches!(port, Some([0, 67] | [2, 35])));
        let fitted = asked.fit(&layout, frame.len(), 1500);
        if let Ok(header) = fitted {
            let number =
                |offset: usize| usize::from(u16::from_le_bytes([header[offset], header[offset + 1]]));
            // A checksum changes nothing that was looked at.
            assert!(header[0] == 0 || number(6) >= layout.transport && !layout.discovery);
            assert!(header[0] == 0 || number(6) + number(8) + 2 <= frame.len());
            assert!(header[1] == 0 || header[0] == 1 && number(4) > 0);
            assert!(header[1] != 0 || frame.len() <= 1514);
        }
        shape((layout, fitted.is_ok()))
    });
}
