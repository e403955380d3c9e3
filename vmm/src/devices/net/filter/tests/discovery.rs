//! Neighbour discovery, and how it could be hidden.

use super::*;

const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const NOBODY: Ipv6Addr = Ipv6Addr::UNSPECIFIED;

/// A solicitation (135) or advertisement (136) with a link-layer address option.
fn about(kind: u8, target: Ipv6Addr, mac: Option<[u8; 6]>) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 0x20, 0, 0, 0];
    message.extend(target.octets());
    if let Some(mac) = mac {
        message.extend([if kind == 135 { 1 } else { 2 }, 1]);
        message.extend(mac);
    }
    message
}

fn icmp(source: Ipv6Addr, message: &[u8]) -> Result<Layout, Refusal> {
    check(&ipv6(source, 58, message))
}

#[test]
fn the_pod_asks_and_answers_for_itself() {
    for source in [ADDRESS6, LINK_LOCAL] {
        assert!(icmp(source, &about(135, ROUTER, Some(MAC))).unwrap().discovery);
        assert!(icmp(source, &about(135, ROUTER, None)).is_ok());
        for target in [ADDRESS6, LINK_LOCAL] {
            assert!(icmp(source, &about(136, target, Some(MAC))).is_ok());
            assert!(icmp(source, &about(136, target, None)).is_ok());
        }
        assert!(icmp(source, &[133, 0, 0, 0, 0, 0, 0, 0]).is_ok());
        assert!(!icmp(source, &[128; 30]).unwrap().discovery);
    }
}

#[test]
fn duplicate_address_detection_is_for_own_addresses() {
    for target in [ADDRESS6, LINK_LOCAL] {
        assert!(icmp(NOBODY, &about(135, target, None)).is_ok());
    }
    assert_eq!(icmp(NOBODY, &about(135, ROUTER, None)), Err(Refusal::Discovery));
    assert_eq!(icmp(NOBODY, &about(136, ADDRESS6, None)), Err(Refusal::Source));
    // Reports of multicast listeners, hop-by-hop as they are sent; not an echo, not data.
    let report = [&[58, 0, 5, 2, 0, 0, 1, 0], &[143; 28][..]].concat();
    assert!(check(&ipv6(NOBODY, 0, &report)).is_ok());
    assert_eq!(icmp(NOBODY, &[128; 30]), Err(Refusal::Source));
    assert_eq!(check(&ipv6(NOBODY, 17, &[0; 20])), Err(Refusal::Source));
}

#[test]
fn nobody_is_spoken_for() {
    for source in [ADDRESS6, LINK_LOCAL] {
        assert_eq!(icmp(source, &about(136, ROUTER, Some(MAC))), Err(Refusal::Discovery));
        assert_eq!(icmp(source, &about(136, ADDRESS6, Some(OTHER_MAC))), Err(Refusal::Discovery));
        assert_eq!(icmp(source, &about(135, ROUTER, Some(OTHER_MAC))), Err(Refusal::Discovery));
        assert_eq!(
            icmp(source, &[133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2]),
            Err(Refusal::Discovery)
        );
        // Router advertisement, redirect.
        assert_eq!(icmp(source, &[134; 16]), Err(Refusal::Discovery));
        assert_eq!(icmp(source, &[137; 40]), Err(Refusal::Discovery));
    }
    for other in [ROUTER, "fe80::1".parse().unwrap()] {
        assert_eq!(icmp(other, &about(136, ROUTER, Some(MAC))), Err(Refusal::Source));
        assert_eq!(icmp(other, &about(135, ROUTER, Some(MAC))), Err(Refusal::Source));
    }
}

#[test]
fn options_are_followed_to_the_end() {
    // A second option behind a sound one, and behind one of an unknown kind.
    let mut message = about(136, ADDRESS6, Some(MAC));
    message.extend([2, 1]);
    message.extend(OTHER_MAC);
    assert_eq!(icmp(ADDRESS6, &message), Err(Refusal::Discovery));
    let nonce = [&about(135, ROUTER, None)[..], &[14, 1, 1, 2, 3, 4, 5, 6], &[1, 1], &OTHER_MAC].concat();
    assert_eq!(icmp(ADDRESS6, &nonce), Err(Refusal::Discovery));
    assert!(icmp(ADDRESS6, &nonce[..32]).is_ok());
    // No length; cut off; more than is looked at.
    let with = |option: &[u8]| icmp(ADDRESS6, &[&about(135, ROUTER, None)[..], option].concat());
    assert_eq!(with(&[1, 0, 0, 0, 0, 0, 0, 0]), Err(Refusal::Malformed));
    assert_eq!(with(&[1, 1, 2]), Err(Refusal::Malformed));
    assert_eq!(with(&[1]), Err(Refusal::Malformed));
    assert_eq!(with(&[[14, 1, 0, 0, 0, 0, 0, 0]; 40].concat()), Err(Refusal::Malformed));
    // What lies behind the packet's own length is no option, and a longer length is none of a frame.
    let mut padded = ipv6(ADDRESS6, 58, &about(135, ROUTER, Some(MAC)));
    padded.extend([1, 1, 9, 9, 9, 9, 9, 9]);
    assert!(check(&padded).is_ok());
    padded[18..20].copy_from_slice(&200u16.to_be_bytes());
    assert_eq!(check(&padded), Err(Refusal::Malformed));
    padded[18..20].copy_from_slice(&8u16.to_be_bytes());
    assert_eq!(check(&padded), Err(Refusal::Malformed));
}

#[test]
fn extension_headers_hide_nothing() {
    let spoof = about(136, ROUTER, Some(MAC));
    let hop = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let authentication = |next: u8| [&[next, 4][..], &[0; 22]].concat();
    let fragment = |next: u8, place: u16| [&[next, 0][..], &place.to_be_bytes(), &[0, 0, 0, 1]].concat();
    for (first, headers) in [
        (0, hop(58)),
        (60, hop(58)),
        (43, hop(58)),
        (51, authentication(58)),
        (0, [hop(60), hop(43), hop(58)].concat()),
        (60, [vec![0, 2], vec![0; 22], hop(58)].concat()),
    ] {
        let frame = ipv6(ADDRESS6, first, &[&headers[..], &spoof].concat());
        assert_eq!(check(&frame), Err(Refusal::Discovery), "{first}");
        let echo = check(&ipv6(ADDRESS6, first, &[&headers[..], &[128; 20]].concat())).unwrap();
        assert_eq!((echo.transport, echo.protocol), (54 + headers.len(), 58));
    }
    // A first fragment says what it is and may not be discovery; a later one does not know.
    let sound = about(136, ADDRESS6, Some(MAC));
    for message in [&spoof, &sound] {
        let first = ipv6(ADDRESS6, 44, &[&fragment(58, 1)[..], message].concat());
        assert_eq!(check(&first), Err(Refusal::Discovery));
    }
    let later = check(&ipv6(ADDRESS6, 44, &[&fragment(58, 8)[..], &spoof].concat())).unwrap();
    assert_eq!((later.protocol, later.fragment, later.transport), (44, true, 62));
    // A first fragment that ends before it says what it is; a chain that is longer than is looked at.
    assert_eq!(check(&ipv6(ADDRESS6, 44, &[fragment(60, 1), vec![58]].concat())), Err(Refusal::Malformed));
    assert_eq!(check(&ipv6(ADDRESS6, 44, &fragment(58, 1))), Err(Refusal::Malformed));
    let long = [[60, 0, 1, 4, 0, 0, 0, 0].repeat(40), spoof].concat();
    assert_eq!(check(&ipv6(ADDRESS6, 60, &long)), Err(Refusal::Malformed));
    assert_eq!(check(&ipv6(ADDRESS6, 60, &[58, 255, 0, 0, 0, 0, 0, 0])), Err(Refusal::Malformed));
}
