//! Packets and chains that no honest driver makes.

use std::io::Write;

use super::*;
use crate::virtio::harness::{Desc, Numbers, fuzz, malformed_chains};

#[test]
fn packets_with_wrong_fields_end_their_connection() {
    type Spoil = fn(&mut Header);
    let spoils: [(&str, Spoil); 9] = [
        ("length beyond the data", |header| header.len = 5),
        ("huge length", |header| header.len = u32::MAX),
        ("unknown type", |header| header.kind = 0),
        ("seqpacket", |header| header.kind = 2),
        ("unknown operation", |header| header.op = 0),
        ("far operation", |header| header.op = 99),
        ("second request", |header| header.op = op::REQUEST),
        ("unasked response", |header| header.op = op::RESPONSE),
        ("data in a credit update", |header| header.op = op::CREDIT_UPDATE),
    ];
    for (name, spoil) in spoils {
        let (mut guest, mut far) = connected();
        let mut header = Header { len: 4, ..guest.header(EPHEMERAL, HOST_PORT, op::RW) };
        spoil(&mut header);
        guest.send_raw(&header, b"data");
        guest.expect(op::RST);
        assert_eq!(read_all(&mut far), (Vec::new(), true), "{name}");
    }
}

#[test]
fn packets_to_nobody_are_reset_and_resets_are_not() {
    let (mut guest, _dir, _far) = started();
    for op in [op::RESPONSE, op::SHUTDOWN, op::RW, op::CREDIT_UPDATE, op::CREDIT_REQUEST, 0, 77] {
        guest.send(op, 0, &[]);
        guest.expect(op::RST);
    }
    guest.send(op::RST, 0, &[]);
    guest.expect_nothing();
}

#[test]
fn packets_of_other_addresses_are_dropped() {
    let (mut guest, mut far) = connected();
    for (src_cid, dst_cid) in [(2, 2), (4, 2), (3, 3), (3, 0), (3, 1), (3, u64::MAX), (u64::MAX, 2)] {
        let header = guest.header(EPHEMERAL, HOST_PORT, op::RST);
        guest.send_raw(&Header { src_cid, dst_cid, ..header }, &[]);
        guest.expect_nothing();
    }
    guest.send(op::RW, 0, b"unharmed");
    assert_eq!(read_all(&mut far).0, b"unharmed");
}

#[test]
fn answers_that_the_guest_leaves_lying_are_bounded() {
    let (mut guest, _dir, _far) = device(Duration::from_secs(60));
    guest.harness.start(u64::MAX);
    let mut sent = 0;
    let mut taken = 0;
    for port in 0..2000 {
        if sent - taken >= 128 {
            break;
        }
        let request = guest.header(port, 99, op::REQUEST);
        guest.queue(&request, &[]);
        guest.harness.kick(TX);
        sent += 1;
        while guest.harness.used(TX).is_some() {
            taken += 1;
        }
    }
    assert_eq!(taken, 256, "packets are left in the queue once that many answers wait");
    let mut resets = 0;
    for _ in 0..sent {
        guest.give_buffer();
        guest.harness.kick(RX);
        resets += u32::from(guest.harness.used(RX).is_some());
    }
    assert_eq!(resets, sent);
}

#[test]
fn split_packets_are_understood() {
    let (mut guest, mut far) = connected();
    let bytes =
        [&Header { len: 6, ..guest.header(EPHEMERAL, HOST_PORT, op::RW) }.encode()[..], b"pieces"].concat();
    let parts: Vec<_> =
        bytes.chunks(7).zip(0u64..).map(|(chunk, at)| Part::Out(TX_AREA + at * 64, chunk)).collect();
    guest.harness.add(TX, &parts);
    guest.harness.kick(TX);
    assert_eq!(read_all(&mut far).0, b"pieces");
}

#[test]
fn malformed_chains_come_back() {
    for queue in [RX, TX] {
        for (name, table) in malformed_chains(256) {
            let (mut guest, _dir, mut far) = device(Duration::from_secs(60));
            guest.harness.start(u64::MAX);
            guest.send(op::REQUEST, 0, &[]);
            guest.harness.offer(queue, &table);
            let taken = guest.harness.used(queue).is_some();
            assert!(taken, "{name}: kept in queue {queue}");
            guest.give_buffer();
            guest.give_buffer();
            guest.harness.kick(RX);
            far.write_all(b"alive").unwrap();
            guest.send(op::RW, 0, b"alive");
            assert!(read_all(&mut far).0.ends_with(b"alive"), "{name}: dead after it");
        }
    }
}

#[test]
fn a_buffer_without_room_for_data_comes_back() {
    let (mut guest, _dir, _far) = device(Duration::from_secs(60));
    guest.harness.start(u64::MAX);
    guest.send(op::REQUEST, 0, &[]);
    guest.harness.add(RX, &[Part::In(RX_AREA, 44)]);
    guest.harness.kick(RX);
    assert_eq!(guest.harness.used(RX).map(|used| used.len), Some(0));
}

#[test]
fn the_event_queue_keeps_its_buffers() {
    let (mut guest, _dir, _far) = started();
    guest.harness.offer(2, &[Desc { address: RX_AREA, len: 4, flags: 2, next: 0 }]);
    assert!(guest.harness.used(2).is_none());
    assert!(!guest.harness.needs_reset());
}

#[test]
fn random_packets_do_no_harm() {
    let (mut guest, dir, mut far) = device(Duration::from_secs(60));
    guest.harness.start(u64::MAX);
    let mut hosts = Vec::new();
    fuzz(&mut guest.harness, 8_000, 4, |numbers: &mut Numbers| {
        let _ = far.write(&[7; 512]);
        if numbers.below(500) == 0 && hosts.len() < 64 {
            hosts.push(connect(&dir));
        }
        let small = |numbers: &mut Numbers, limit| u32::try_from(numbers.below(limit)).unwrap();
        let header = Header {
            src_cid: if numbers.below(30) == 0 { numbers.next() } else { 3 },
            dst_cid: if numbers.below(30) == 0 { numbers.next() } else { 2 },
            src_port: small(numbers, 3),
            dst_port: if numbers.below(2) == 0 { HOST_PORT } else { (1 << 30) + small(numbers, 4) },
            len: if numbers.below(4) == 0 { small(numbers, 5000) } else { 0 },
            kind: if numbers.below(30) == 0 { 0 } else { STREAM },
            op: u16::try_from(numbers.below(9)).unwrap(),
            flags: small(numbers, 5),
            buf_alloc: if numbers.below(10) == 0 { u32::MAX } else { 4096 },
            fwd_cnt: small(numbers, 100),
        };
        header.encode().to_vec()
    });
}
